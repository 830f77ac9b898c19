//! What decides which of two tellings about an object is the newer one. Pure.
//!
//! A view hears of the same objects in three ways that overtake one another: by a watch, by lists that somebody asked for
//! meanwhile, and by the answers to its own writes. Versions put them in order. What is left is that an object that is *not*
//! known may be new, or gone already: it is gone if the watch has come further than the telling, for the watch would have told
//! of it; or if this program deleted it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::super::rows::{Uid, Version};

/// How long an object that was deleted is remembered if no watch says that it is gone.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// How much is known of the objects of one kind.
#[derive(Debug, Default)]
pub struct Ledger {
    /// How far the watch has come; none before everything was listed.
    watched: Option<Version>,
    /// When it was last certain that the watch tells everything.
    alive: Option<Instant>,
    /// What this program deleted, until the watch says so too.
    gone: HashMap<Uid, Instant>,
}

impl Ledger {
    /// How far the watch has come.
    pub fn watched(&self) -> Option<Version> {
        self.watched
    }

    /// The watch has come so far.
    pub fn advance(&mut self, version: Version, now: Instant) {
        self.watched = self.watched.max(Some(version));
        self.alive = Some(now);
    }

    /// Everything has to be listed anew.
    pub fn forget(&mut self) {
        self.watched = None;
    }

    /// How old the news of the watch is; none before everything was listed once.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.alive?))
    }

    /// Whether what a list or an answer says of an object is news; `known` is the version that is known, if one is.
    pub fn admits(&self, uid: Uid, version: Version, known: Option<Version>) -> bool {
        if self.gone.contains_key(&uid) {
            return false;
        }
        match known {
            Some(known) => version.replaces(known),
            None => !self
                .watched
                .is_some_and(|watched| version.is_seen_at(watched)),
        }
    }

    /// Whether what a watch says of an object is news.
    pub fn admits_event(&self, uid: Uid, version: Version, known: Option<Version>) -> bool {
        !self.gone.contains_key(&uid) && known.is_none_or(|known| version.replaces(known))
    }

    /// Remembers that this program deleted an object.
    pub fn bury(&mut self, uid: Uid, now: Instant) {
        self.gone
            .retain(|_, buried| now.saturating_duration_since(*buried) < MEMORY);
        self.gone.insert(uid, now);
    }

    /// The watch says that an object is gone.
    pub fn is_told_gone(&mut self, uid: Uid) {
        self.gone.remove(&uid);
    }
}
