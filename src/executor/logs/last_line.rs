//! Compares a place in a log with the last lines of that log. Pure.
//!
//! When a kubelet fails in the middle of a log, the API server ends its answer as if the log were complete (`StreamObject` in
//! `apiserver/pkg/endpoints/handlers/responsewriters/writers.go` ignores errors of the copy; seen: 1.20). A second answer may be cut
//! at the same byte. So the end of a log is confirmed by a request of another kind, which begins at the end.

use super::{
    block::{Block, Piece},
    position::SECOND,
};
use crate::api::LogPoint;

/// The last lines of a log, as Kubernetes counts them: each piece of a long line is one.
#[derive(Debug, Default, PartialEq)]
pub struct LastLines {
    /// The times of the lines. That of the first line is the time of a piece, if the line began before.
    times: Vec<i64>,
    /// The number of bytes of the last line.
    length: u64,
    /// Whether the last line ends with a newline.
    ends: bool,
}

/// The place of a reader, as the last lines show it.
#[derive(Debug, PartialEq)]
pub enum Progress {
    /// At the end of the log.
    End,
    /// There are more lines, the last of them with this time.
    More(i64),
    /// The log has no line, although it had some: its file was rotated.
    Rotated,
    /// More of the last lines are needed to decide.
    Unclear,
}

impl LastLines {
    pub fn add(&mut self, block: &Block) {
        for Piece {
            text,
            point,
            offset,
            ends,
            ..
        } in &block.pieces
        {
            if *offset == 0 {
                self.times.extend(point.map(|point| point.time));
            }
            self.length = offset + text.len() as u64;
            self.ends = *ends;
        }
    }

    /// Compares with the place behind the last line that was read, if any was, of a log that was read from the second `since` on.
    /// `are_all`: there are no lines before these.
    pub fn progress(&self, point: Option<LogPoint>, since: Option<i64>, are_all: bool) -> Progress {
        let Some(&last) = self.times.last() else {
            return point.map_or(Progress::End, |_| Progress::Rotated);
        };
        let Some(point) = point else {
            let is_unwanted = since.is_some_and(|since| last < since * SECOND);
            return if is_unwanted {
                Progress::End
            } else {
                Progress::More(last)
            };
        };
        // The first line may be the last piece of a line, with a time of its own.
        let whole = if are_all {
            &self.times
        } else {
            &self.times[1..]
        };
        if last != point.time {
            return if whole.is_empty() {
                Progress::Unclear
            } else {
                Progress::More(last)
            };
        }
        let is_open_where_read = match point.offset {
            None => self.ends,
            Some(offset) => !self.ends && offset == self.length,
        };
        let equal = whole.iter().filter(|time| **time == last).count();
        if equal > point.nth as usize + 1 {
            return Progress::More(last);
        }
        if !are_all && self.times.iter().all(|time| *time == last) {
            return Progress::Unclear;
        }
        if is_open_where_read {
            Progress::End
        } else {
            Progress::More(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with these times and lengths. The last one is open if `ends` is false.
    fn lines(lines: &[(i64, usize)], ends: bool) -> LastLines {
        let pieces = lines
            .iter()
            .enumerate()
            .map(|(index, (time, length))| Piece {
                stamp: 0..0,
                text: 0..*length,
                point: Some(point(*time, 0, None)),
                offset: 0,
                ends: ends || index + 1 < lines.len(),
            });
        let block = Block {
            bytes: Vec::new(),
            pieces: pieces.collect(),
        };
        let mut last = LastLines::default();
        last.add(&block);
        last
    }

    fn point(time: i64, nth: u32, offset: Option<u64>) -> LogPoint {
        LogPoint {
            time,
            nth,
            offset,
            latest: time,
        }
    }

    /// The progress of a reader at a place, with lines before the last ones or without.
    #[track_caller]
    fn check(log: &LastLines, point: LogPoint, expected: [Progress; 2]) {
        let progress = [false, true].map(|are_all| log.progress(Some(point), None, are_all));
        assert_eq!(progress, expected);
    }

    #[test]
    fn the_end_is_the_place_behind_the_last_line() {
        use Progress::{End, More, Unclear};
        let log = lines(&[(3, 1), (4, 1), (5, 1)], true);
        check(&log, point(5, 0, None), [End, End]);
        check(&log, point(4, 0, None), [More(5), More(5)]);
        assert_eq!(log.progress(None, None, false), More(5));
        let log = lines(&[(5, 1)], true);
        check(&log, point(5, 0, None), [Unclear, End]);
        check(&log, point(4, 0, None), [Unclear, More(5)]);
    }

    #[test]
    fn lines_of_equal_time_are_counted() {
        use Progress::{End, More, Unclear};
        let log = lines(&[(4, 1), (5, 1), (5, 1)], true);
        check(&log, point(5, 1, None), [End, End]);
        check(&log, point(5, 0, None), [More(5), More(5)]);
        // The first one may be a piece of a line that began with another time.
        let log = lines(&[(5, 1), (5, 1), (5, 1)], true);
        check(&log, point(5, 1, None), [Unclear, More(5)]);
        check(&log, point(5, 2, None), [Unclear, End]);
        check(&log, point(5, 0, None), [More(5), More(5)]);
    }

    #[test]
    fn a_line_that_was_cut_is_not_the_end() {
        use Progress::{End, More};
        let log = lines(&[(4, 9), (5, 9)], true);
        check(&log, point(5, 0, Some(3)), [More(5), More(5)]);
        let open = lines(&[(4, 9), (5, 9)], false);
        check(&open, point(5, 0, Some(3)), [More(5), More(5)]);
        check(&open, point(5, 0, Some(9)), [End, End]);
    }

    #[test]
    fn an_empty_log_is_complete_or_was_rotated() {
        let empty = LastLines::default();
        check(
            &empty,
            point(5, 0, None),
            [Progress::Rotated, Progress::Rotated],
        );
        assert_eq!(empty.progress(None, None, false), Progress::End);
        // The lines before the wanted second were not read.
        let old = lines(&[(4 * SECOND, 1)], true);
        assert_eq!(old.progress(None, Some(5), false), Progress::End);
        assert_eq!(
            old.progress(None, Some(4), false),
            Progress::More(4 * SECOND)
        );
    }
}
