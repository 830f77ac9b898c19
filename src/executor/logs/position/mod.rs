//! The place up to which the log of a container was read, so that a broken stream can resume without losing or repeating a line.
//! Pure.
//!
//! Kubernetes can send a log from a whole second on, not from a line on. So a stream is reopened a little before the last line, and
//! the lines up to that line's place are skipped. The place of a line is its time and the number of earlier lines with that time
//! ([`LogPoint`]). It never changes, since a log file only grows at its end, whatever the clocks do. When a line that is newer than
//! all before comes first, the last line is not in the log any more: the file was rotated.

use std::collections::VecDeque;

use crate::api::LogPoint;

/// How many seconds before the last line a stream is reopened. A line may have an earlier time than the line before it, because of
/// a second writer, or because the clock was set back.
const OVERLAP: i64 = 5;
/// The number of lines whose times are remembered, to count those of equal time that are not neighbours.
const REMEMBERED: usize = 1024;

/// One second in nanoseconds, the unit of times here.
pub const SECOND: i64 = 1_000_000_000;

/// A place in a log, and the wanted part of the log.
#[derive(Clone, Debug)]
pub struct Position {
    /// The place behind the last line or piece, wanted or not.
    point: Option<LogPoint>,
    /// Lines with an earlier time are not wanted.
    from: i64,
    /// The number of lines to come that are not wanted.
    unwanted: u64,
    /// The times of the last lines, oldest first.
    recent: VecDeque<i64>,
    /// While the lines before `point` are repeated: the number of those with its time.
    replayed: Option<u32>,
    line: Line,
    /// Whether the line at `point` is wanted.
    is_wanted: bool,
    /// Whether text without a time is the rest of a line that began before the stream.
    begins_within: bool,
}

/// The state of the line that is being read.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// It was read before, or is not wanted.
    Known,
    /// It has no place: a message of the kubelet, or the rest of a line whose beginning is gone.
    Untimed,
    /// It is new; `length` is the number of its bytes so far.
    Open { length: u64 },
}

/// The beginning of a piece of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// A new line, which the container runtime stamped with this time.
    Line(i64),
    /// A new line without a time.
    Untimed,
    /// The continuation of the line of the piece before.
    Middle,
}

/// The new part of a piece.
#[derive(Debug, PartialEq)]
pub enum PieceNews {
    /// Nothing: it was passed on before, or is not wanted.
    Known,
    /// The bytes from this one on.
    New(u64),
    /// All of it, and lines between this earlier time and the piece may be missing.
    AfterGap(i64),
}

impl Position {
    /// The beginning of a log that is read from the second `since` on, if given. Lines from the time `from` on are wanted, except
    /// the first `unwanted`.
    pub fn start(since: Option<i64>, from: i64, unwanted: u64) -> Self {
        Self {
            from,
            unwanted,
            begins_within: since.is_some(),
            ..Self::at(None)
        }
    }

    /// A place that was reached before. All lines behind it are wanted.
    pub fn at(point: Option<LogPoint>) -> Self {
        Self {
            point,
            from: i64::MIN,
            unwanted: 0,
            recent: VecDeque::new(),
            replayed: None,
            line: Line::Known,
            is_wanted: true,
            begins_within: false,
        }
    }

    pub fn point(&self) -> Option<LogPoint> {
        self.point
    }

    /// Prepares for a new stream; returns the second from which to read the log. `None`: no line has come yet, so the first request
    /// is repeated.
    pub fn resume(&mut self) -> Option<i64> {
        let point = self.point?;
        self.begins_within = true;
        self.recent.clear();
        self.replayed = Some(0);
        Some((point.time.div_euclid(SECOND) - OVERLAP).max(0))
    }

    /// The time of the last line, if a stream that has ended did not contain it. The lines after it may be missing.
    pub fn gap_at_end(&self) -> Option<i64> {
        self.replayed.and(self.point).map(|point| point.time)
    }

    /// Takes the next piece, of `length` bytes; returns its new part. `ends`: a newline follows it.
    pub fn advance(&mut self, head: Head, length: u64, ends: bool) -> PieceNews {
        let gap = match head {
            Head::Line(time) => self.begin(time),
            Head::Untimed => {
                self.line = if self.begins_within {
                    Line::Known
                } else {
                    Line::Untimed
                };
                None
            }
            Head::Middle => None,
        };
        match (&mut self.line, &mut self.point) {
            (Line::Untimed, _) => PieceNews::New(0),
            (Line::Open { length: before }, Some(point)) => {
                let known = point
                    .offset
                    .unwrap_or(0)
                    .saturating_sub(*before)
                    .min(length);
                *before += length;
                point.offset =
                    (!ends).then(|| point.offset.map_or(*before, |offset| offset.max(*before)));
                match gap {
                    _ if !self.is_wanted || (known == length && !ends) => PieceNews::Known,
                    Some(since) => PieceNews::AfterGap(since),
                    None => PieceNews::New(known),
                }
            }
            _ => PieceNews::Known,
        }
    }

    /// Begins a line. Returns the time of the last line before it if lines between the two may be missing.
    fn begin(&mut self, time: i64) -> Option<i64> {
        let mut gap = None;
        if let (Some(point), Some(replayed)) = (self.point, self.replayed) {
            self.line = Line::Known;
            if time == point.time {
                if replayed == point.nth {
                    self.replayed = None;
                    if point.offset.is_some() {
                        self.line = Line::Open { length: 0 };
                    }
                } else {
                    self.replayed = Some(replayed + 1);
                }
            } else if time > point.latest {
                self.replayed = None;
                gap = Some(point.time);
            }
            if gap.is_none() {
                self.remember(time);
                return None;
            }
        }
        let nth = match self.point {
            Some(point) if time == point.time => point.nth + 1,
            Some(point) if time <= point.latest => {
                let equal = self.recent.iter().filter(|recent| **recent == time);
                u32::try_from(equal.count()).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        self.point = Some(LogPoint {
            time,
            nth,
            offset: Some(0),
            latest: self.point.map_or(time, |point| point.latest.max(time)),
        });
        self.is_wanted = self.unwanted == 0 && time >= self.from;
        self.unwanted = self.unwanted.saturating_sub(1);
        self.line = Line::Open { length: 0 };
        self.remember(time);
        gap
    }

    fn remember(&mut self, time: i64) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
    }
}

#[cfg(test)]
mod tests;
