//! The last lines of a container's log, for all who follow it.
//!
//! One reader fills it, and any number of viewers take from it, each at its own pace. It holds little: a viewer that is too
//! slow for it reads what it missed from Kubernetes, and comes back. So nobody waits for anybody, and nothing is held for long.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::block::Block;
use crate::api::LogPoint;

/// How much it holds, about, in bytes.
const CAPACITY: usize = 256 * 1024;

/// Something that a reader has to say.
#[derive(Clone, Debug)]
pub enum Entry {
    Lines(Arc<Block>),
    /// Lines after this time are missing, or may be.
    Gap {
        since: Option<i64>,
        reason: String,
    },
    Interrupted(String),
    Resumed,
}

/// Why nothing will be added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RingEnd {
    /// The container ended, and all of its log was read.
    Over,
    /// The reader cannot keep up with the container.
    Behind,
}

/// A place in a ring: an entry, a piece in it, and a byte in that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingPlace {
    pub number: u64,
    pub piece: usize,
    pub byte: usize,
}

/// Where a place in the log is in a ring.
#[derive(Debug, PartialEq)]
pub enum Found {
    At(RingPlace),
    /// The ring has not come to it yet.
    Later,
    /// The ring does not hold it any more.
    Never,
}

/// What comes next for a viewer.
#[derive(Debug)]
pub enum Taken {
    Entry(Entry),
    Nothing,
    /// It is not there any more.
    Missed,
    Ended(RingEnd),
}

#[derive(Debug)]
pub struct Ring {
    state: Mutex<State>,
    /// How many entries there were.
    count: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    entries: VecDeque<Entry>,
    /// The number of the first.
    first: u64,
    size: usize,
    /// The place in the log before the first entry.
    before: Option<LogPoint>,
    /// The place behind the last.
    last: Option<LogPoint>,
    end: Option<RingEnd>,
}

impl Ring {
    /// A ring for what comes behind a place in a log.
    pub fn new(point: Option<LogPoint>) -> Self {
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                first: 0,
                size: 0,
                before: point,
                last: point,
                end: None,
            }),
            count: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever there is something new.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    pub fn push(&self, entry: Entry) {
        let mut state = self.state();
        if let Entry::Lines(block) = &entry {
            state.last = block.point().or(state.last);
        }
        state.size += entry.size();
        state.entries.push_back(entry);
        while state.size > CAPACITY && state.entries.len() > 1 {
            let Some(oldest) = state.entries.pop_front() else {
                break;
            };
            state.first += 1;
            state.size -= oldest.size();
            if let Entry::Lines(block) = &oldest {
                state.before = block.point().or(state.before);
            }
        }
        drop(state);
        self.count.send_modify(|count| *count += 1);
    }

    pub fn end(&self, end: RingEnd) {
        self.state().end = Some(end);
        self.count.send_modify(|count| *count += 1);
    }

    pub fn has_ended(&self) -> bool {
        self.state().end.is_some()
    }

    /// The entry of this number.
    pub fn take(&self, number: u64) -> Taken {
        let state = self.state();
        let Some(index) = number.checked_sub(state.first) else {
            return Taken::Missed;
        };
        let entry = usize::try_from(index)
            .ok()
            .and_then(|index| state.entries.get(index));
        match (entry, state.end) {
            (Some(entry), _) => Taken::Entry(entry.clone()),
            (None, Some(end)) => Taken::Ended(end),
            (None, None) => Taken::Nothing,
        }
    }

    /// Where to go on behind a place in the log.
    pub fn find(&self, point: Option<&LogPoint>) -> Found {
        let state = self.state();
        let start = |number| RingPlace {
            number,
            piece: 0,
            byte: 0,
        };
        if point == state.last.as_ref() {
            return Found::At(start(state.first + state.entries.len() as u64));
        }
        if point == state.before.as_ref() {
            return Found::At(start(state.first));
        }
        let Some(point) = point else {
            return Found::Never;
        };
        for (index, entry) in state.entries.iter().enumerate().rev() {
            let Entry::Lines(block) = entry else { continue };
            let number = state.first + index as u64;
            for (piece, candidate) in block.pieces.iter().enumerate().rev() {
                let is_it = candidate
                    .point
                    .is_some_and(|other| (other.time, other.nth) == (point.time, point.nth));
                if !is_it {
                    continue;
                }
                let next = RingPlace {
                    number,
                    piece: piece + 1,
                    byte: 0,
                };
                let end = candidate.offset + candidate.text.len() as u64;
                match point.offset {
                    None if candidate.ends => return Found::At(next),
                    // The ring has only a part of the line.
                    None => return Found::Later,
                    Some(offset) if offset == end && !candidate.ends => return Found::At(next),
                    Some(offset) if offset > end => return Found::Later,
                    Some(offset) if offset >= candidate.offset => {
                        return Found::At(RingPlace {
                            number,
                            piece,
                            byte: usize::try_from(offset - candidate.offset).unwrap_or(usize::MAX),
                        });
                    }
                    Some(_) => (),
                }
            }
        }
        match state.last {
            Some(last) if point.latest < last.latest => Found::Never,
            _ => Found::Later,
        }
    }
}

impl Entry {
    fn size(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Lines(block) => block.size(),
                Self::Gap { reason, .. } | Self::Interrupted(reason) => reason.len(),
                Self::Resumed => 0,
            }
    }
}

#[cfg(test)]
mod tests;
