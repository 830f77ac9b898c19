//! How far the log of a container was read, so that a stream that broke can go on without losing or repeating a line. Pure.
//!
//! Kubernetes can be asked for a log from a whole second on, not from a line on. So a stream is opened again a little before the
//! last line, and what comes before that line's place is known. The place of a line is its time and how many lines with that
//! time come before it ([`LogPoint`]): a log file only grows at its end, so that never changes, whatever the clocks do. When a
//! line that is newer than all before comes first, the last line is not in the log any more: the file was rotated.

use std::collections::VecDeque;

use crate::api::LogPoint;

/// How many seconds before the last line a stream is opened again: a line may have been stamped before and written after it,
/// by a second writer, or because the clock was set back meanwhile.
const OVERLAP: i64 = 5;
/// How many lines are remembered by their times, to tell apart those of equal time that are not neighbours.
const REMEMBERED: usize = 1024;

/// In nanoseconds, the unit of times here.
pub const SECOND: i64 = 1_000_000_000;

/// A place in a log, and what of it is wanted.
#[derive(Clone, Debug)]
pub struct Position {
    /// Behind the last line or piece that came, wanted or not.
    point: Option<LogPoint>,
    /// Lines that are older are not wanted.
    from: i64,
    /// So many lines to come are not wanted.
    unwanted: u64,
    /// The times of the last lines, oldest first.
    recent: VecDeque<i64>,
    /// While the lines before `point` come again: how many of them had its time.
    replayed: Option<u32>,
    line: Line,
    /// Whether the line at `point` is wanted.
    is_wanted: bool,
    /// Whether what has no time is the rest of a line that began before the stream.
    begins_within: bool,
}

/// The line that is being read.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// It was read before, or is not wanted at all.
    Known,
    /// It has no place: a word of the kubelet's, or what is left of a line whose beginning is gone.
    Untimed,
    /// So many of its bytes came.
    Open { length: u64 },
}

/// How a piece of a log begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// With a line, which the container runtime took at this time.
    Line(i64),
    /// With a line without a time.
    Untimed,
    /// It goes on with the line of the piece before.
    Middle,
}

/// What to do with a piece that was read.
#[derive(Debug, PartialEq)]
pub enum PieceNews {
    /// It was handed on before, or is not wanted.
    Known,
    /// It is new from this byte on.
    New(u64),
    /// It is new, and what came between it and this earlier moment may be missing.
    AfterGap(i64),
}

impl Position {
    /// At the beginning of a log that is asked for from the second `since` on if there is one. Lines from the time `from` on are
    /// wanted, but for the first `unwanted`.
    pub fn start(since: Option<i64>, from: i64, unwanted: u64) -> Self {
        Self {
            from,
            unwanted,
            begins_within: since.is_some(),
            ..Self::at(None)
        }
    }

    /// At a place that was reached before; everything behind it is wanted.
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

    /// Prepares for a stream that is opened anew; returns the second from which to ask for the log. `None`: no line has come
    /// yet, ask as at first.
    pub fn resume(&mut self) -> Option<i64> {
        let point = self.point?;
        self.begins_within = true;
        self.recent.clear();
        self.replayed = Some(0);
        Some((point.time.div_euclid(SECOND) - OVERLAP).max(0))
    }

    /// The time of the last line if a stream that came to its end did not show it: what followed it may be missing.
    pub fn is_lost(&self) -> Option<i64> {
        self.replayed.and(self.point).map(|point| point.time)
    }

    /// Takes note of a piece of `length` bytes, in the order in which pieces come, and says what of it is new. `ends`: a newline
    /// follows it.
    pub fn judge(&mut self, head: Head, length: u64, ends: bool) -> PieceNews {
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

    /// Begins a line; returns the time of the last one before if there may be others between them.
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
