//! The last lines of a container's log, for all its followers.
//!
//! One reader fills a ring, and any number of viewers take lines from it, each at its own pace. A ring is small: a viewer that is
//! too slow reads the missed lines from Kubernetes, and joins again. So no viewer delays another, and memory stays limited.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

use super::block::Block;
use crate::api::LogPoint;

/// The approximate capacity of a ring, in bytes.
const CAPACITY: usize = 256 * 1024;

/// An entry of a ring, from its reader.
#[derive(Clone, Debug)]
pub enum Entry {
    Lines(Arc<Block>),
    /// Lines after this time are or may be missing.
    Gap {
        since: Option<i64>,
        reason: String,
    },
    Interrupted(String),
    Resumed,
}

/// A place in a ring: an entry, a piece of it, and a byte of the piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingPlace {
    pub number: u64,
    pub piece: usize,
    pub byte: usize,
}

impl RingPlace {
    /// The beginning of an entry.
    pub fn start(number: u64) -> Self {
        Self {
            number,
            piece: 0,
            byte: 0,
        }
    }
}

/// The result of looking for a place of the log in a ring.
#[derive(Debug, PartialEq)]
pub enum Found {
    At(RingPlace),
    /// The ring has not reached it yet.
    Later,
    /// The ring does not hold it any more.
    Never,
}

/// The result of taking an entry.
#[derive(Debug)]
pub enum Taken {
    Entry(Entry),
    Nothing,
    /// The ring does not hold it any more.
    Missed,
    /// The container has ended, and its log was read completely.
    Ended,
}

/// The ring buffer of one container's log.
#[derive(Debug)]
pub struct Ring {
    state: Mutex<State>,
    /// The number of entries and of ends so far.
    count: watch::Sender<u64>,
    hurry: Notify,
}

#[derive(Debug)]
struct State {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    size: usize,
    /// The place in the log before the first entry.
    before: Option<LogPoint>,
    /// The place in the log behind the last entry.
    last: Option<LogPoint>,
    has_ended: bool,
}

impl Ring {
    /// A ring for the lines behind a place in a log.
    pub fn new(point: Option<LogPoint>) -> Self {
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                first: 0,
                size: 0,
                before: point,
                last: point,
                has_ended: false,
            }),
            count: watch::Sender::new(0),
            hurry: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receiver that changes with each new entry, and at the end.
    pub fn changes(&self) -> watch::Receiver<u64> {
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

    pub fn end(&self) {
        self.state().has_ended = true;
        self.count.send_modify(|count| *count += 1);
    }

    pub fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    /// Ends the pause of the reader, if it waits before its next attempt.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Waits for [`Ring::hurry`].
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Takes the entry of this number.
    pub fn take(&self, number: u64) -> Taken {
        let state = self.state();
        let Some(index) = number.checked_sub(state.first) else {
            return Taken::Missed;
        };
        let entry = usize::try_from(index)
            .ok()
            .and_then(|index| state.entries.get(index));
        match entry {
            Some(entry) => Taken::Entry(entry.clone()),
            None if state.has_ended => Taken::Ended,
            None => Taken::Nothing,
        }
    }

    /// Finds the place in the ring that follows a place in the log.
    pub fn find(&self, point: Option<&LogPoint>) -> Found {
        let state = self.state();
        if point == state.last.as_ref() {
            return Found::At(RingPlace::start(state.first + state.entries.len() as u64));
        }
        if point == state.before.as_ref() {
            return Found::At(RingPlace::start(state.first));
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
                    // The ring has only the beginning of the line.
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
