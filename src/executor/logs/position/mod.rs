//! How far the log of a container was read, so that a stream that broke can go on without losing or repeating a line. Pure.
//!
//! Kubernetes can be asked for a log from a whole second on, not from a line on. So a stream is opened again a little before the
//! last line, and what was read already is recognised by its time and its bytes. A set with counts is needed for that, not a
//! mere comparison of times: two writers (stdout and stderr) are not in step, a clock may be set back, and lines may be equal.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::lines::Piece;

/// How far before the last line a stream is opened again: a line may have been stamped before and written after it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);
/// The most lines that are remembered. Beyond, the oldest are forgotten, and would be repeated after a break.
const MAX_REMEMBERED: usize = 1_000_000;

/// A line by its time and its bytes.
type Line = (Timestamp, u64);

/// What was read of a log.
#[derive(Debug, Default)]
pub struct Position {
    latest: Option<Timestamp>,
    /// The whole lines at and after the point from which the log would be opened again, and how often each was read.
    recent: BTreeMap<Line, usize>,
    /// The line that is being read in pieces.
    open: Option<OpenLine>,
    replay: Option<Replay>,
}

#[derive(Debug)]
struct OpenLine {
    time: Option<Timestamp>,
    hasher: DefaultHasher,
    length: usize,
    /// How many bytes at its beginning were handed on before the stream broke.
    skip: usize,
}

/// What comes again after a stream was opened again.
#[derive(Debug)]
struct Replay {
    /// The lines that will come again.
    expected: HashMap<Line, usize>,
    /// The line in which the stream broke, and how much of it was handed on.
    broken: Option<(Timestamp, usize)>,
    has_matched: bool,
    /// The newest line before the break.
    until: Option<Timestamp>,
}

/// What to do with a piece that was read.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It was read before.
    Known,
    /// It is new from this byte on.
    New(usize),
    /// It is new, and what came between it and this earlier moment may be missing.
    AfterGap(Timestamp),
}

impl Position {
    /// Prepares for a stream that is opened anew; returns the time from which to ask for the log, rounded down to the
    /// second as Kubernetes wants it. `None`: nothing was read, ask for what was asked for first.
    pub fn resume(&mut self) -> Option<Timestamp> {
        let open = self.open.take().filter(|open| open.skip != usize::MAX);
        let broken = open.and_then(|open| Some((open.time?, open.skip.max(open.length))));
        let broken = broken.filter(|(_, length)| *length > 0);
        // A stream may break again before it came to the line in which the one before it broke.
        let broken = broken.or_else(|| self.replay.take().and_then(|replay| replay.broken));
        if self.latest.is_none() && broken.is_none() {
            return None;
        }
        self.replay = Some(Replay {
            expected: self
                .recent
                .iter()
                .map(|(line, count)| (*line, *count))
                .collect(),
            broken,
            has_matched: false,
            until: self.latest,
        });
        self.latest.and_then(since)
    }

    /// Takes note of a piece, in the order in which pieces are read.
    ///
    /// A whole line is judged at once. A long line that comes in pieces is judged by its time alone: such lines are not
    /// written twice in a nanosecond.
    pub fn judge(&mut self, piece: &Piece) -> Verdict {
        let is_first = self.open.is_none();
        if is_first {
            self.open = Some(OpenLine {
                time: piece.time.as_ref().and_then(|time| time.parse().ok()),
                hasher: DefaultHasher::new(),
                length: 0,
                skip: 0,
            });
        }
        let Some(open) = &mut self.open else {
            unreachable!("a line was just opened")
        };
        piece.bytes.hash(&mut open.hasher);
        let before = open.length;
        open.length += piece.bytes.len();
        let verdict = match open.time {
            // The rest of a line whose beginning is not in the log any more, or a word of the kubelet's.
            None if self.replay.is_some() && is_first => Verdict::Known,
            None => Verdict::New(0),
            Some(time) if is_first => {
                let line = (time, open.hasher.finish());
                let verdict = match &mut self.replay {
                    Some(replay) => replay.judge(line, piece.is_partial),
                    None => Verdict::New(0),
                };
                if let Verdict::New(skip) = verdict {
                    open.skip = skip;
                }
                if verdict == Verdict::Known {
                    open.skip = usize::MAX;
                }
                verdict
            }
            Some(_) => Verdict::New(0),
        };
        // What was handed on of this line before the break lies in its first `skip` bytes.
        let verdict = match (verdict, open.skip) {
            (_, usize::MAX) => Verdict::Known,
            (Verdict::New(_), skip) if skip >= open.length && skip > 0 => Verdict::Known,
            (Verdict::New(_), skip) => Verdict::New(skip.saturating_sub(before)),
            (verdict, _) => verdict,
        };
        if !piece.is_partial {
            self.close();
        }
        verdict
    }

    /// The line that was open is whole.
    fn close(&mut self) {
        let Some(OpenLine {
            time: Some(time),
            hasher,
            skip,
            ..
        }) = self.open.take()
        else {
            return;
        };
        if skip == usize::MAX {
            return;
        }
        *self.recent.entry((time, hasher.finish())).or_default() += 1;
        if self.latest.is_none_or(|latest| latest < time) {
            self.latest = Some(time);
            if let Some(since) = since(time) {
                self.recent = self.recent.split_off(&(since, 0));
            }
        }
        if self.recent.len() > MAX_REMEMBERED {
            self.recent.pop_first();
        }
    }
}

impl Replay {
    fn judge(&mut self, line: Line, is_partial: bool) -> Verdict {
        let (time, _) = line;
        if let Some(count) = self
            .expected
            .get_mut(&line)
            .filter(|count| !is_partial && **count > 0)
        {
            *count -= 1;
            self.has_matched = true;
            return Verdict::Known;
        }
        if let Some((_, length)) = self.broken.take_if(|(broken, _)| *broken == time) {
            self.has_matched = true;
            return Verdict::New(length);
        }
        if is_partial && self.expected.keys().any(|(expected, _)| *expected == time) {
            return Verdict::Known;
        }
        match self.until.filter(|until| time > *until) {
            Some(until) if !self.has_matched && !self.expected.is_empty() => {
                self.has_matched = true;
                Verdict::AfterGap(until)
            }
            _ => Verdict::New(0),
        }
    }
}

fn since(latest: Timestamp) -> Option<Timestamp> {
    let earlier = latest.checked_sub(OVERLAP).ok()?;
    Timestamp::from_second(earlier.as_second()).ok()
}

#[cfg(test)]
mod tests;
