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

use crate::executor::identity::{Uid, Version};

/// How long an object that was deleted is remembered if no watch says that it is gone.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// How often those are looked for that need not be remembered any more.
const SWEEP: Duration = Duration::from_secs(60);

/// How much is known of the objects of one kind.
#[derive(Debug, Default)]
pub struct Versions {
    /// How far the watch has come; none before everything was listed.
    watched: Option<Version>,
    /// The highest version that a list or a watch has come to.
    highest: Version,
    /// When what is known was last certain to be all there is.
    alive: Option<Instant>,
    has_loaded: bool,
    /// What this program deleted, until the watch says so too.
    gone: HashMap<Uid, Instant>,
    swept: Option<Instant>,
}

impl Versions {
    /// How far the watch has come.
    pub fn watched(&self) -> Option<Version> {
        self.watched
    }

    /// The watch has told everything up to this version.
    pub fn advance(&mut self, version: Version, now: Instant) {
        self.watched = self.watched.max(Some(version));
        self.highest = self.highest.max(version);
        self.alive = Some(now);
    }

    /// Everything was listed; as it was at `began`.
    pub fn has_listed(&mut self, version: Version, began: Instant) {
        self.advance(version, began);
        self.has_loaded = true;
    }

    /// Everything has to be listed anew. What is known is true for as long as it was.
    pub fn list_again(&mut self) {
        self.watched = None;
    }

    /// The same, and nobody can say since when what is known is not true any more.
    pub fn forget(&mut self) {
        (self.watched, self.alive) = (None, None);
    }

    /// The highest version that a list or a watch has come to.
    pub fn highest(&self) -> Version {
        self.highest
    }

    /// Whether what was asked for now, and has this version, is of a time before what is known.
    pub fn is_set_back_to(&self, version: Version) -> bool {
        is_set_back(version, self.highest)
    }

    /// Begins anew, with a list of this version.
    pub fn start_over(&mut self, version: Version) {
        *self = Self {
            highest: version,
            has_loaded: self.has_loaded,
            ..Self::default()
        };
    }

    /// How old the news is; none while nobody can say.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.alive?))
    }

    /// Whether everything was listed at least once.
    pub fn has_loaded(&self) -> bool {
        self.has_loaded
    }

    /// Whether what a list or an answer says of an object is news; `known` is the version that is known, if one is.
    pub fn accepts(&self, uid: Uid, version: Version, known: Option<Version>) -> bool {
        match known {
            _ if self.gone.contains_key(&uid) => false,
            Some(known) => version.is_news(known),
            None => !self
                .watched
                .is_some_and(|watched| version.is_seen_at(watched)),
        }
    }

    /// Whether what a watch says of an object is news.
    pub fn accepts_event(&self, uid: Uid, version: Version, known: Option<Version>) -> bool {
        !self.gone.contains_key(&uid) && known.is_none_or(|known| version.is_news(known))
    }

    /// Remembers that this program deleted an object.
    pub fn mark_deleted(&mut self, uid: Uid, now: Instant) {
        let is_older = |than, moment| now.saturating_duration_since(moment) >= than;
        if self.swept.is_none_or(|swept| is_older(SWEEP, swept)) {
            self.gone.retain(|_, deleted| !is_older(MEMORY, *deleted));
            self.swept = Some(now);
        }
        self.gone.insert(uid, now);
    }

    /// The watch says that an object is gone.
    pub fn is_told_gone(&mut self, uid: Uid) {
        self.gone.remove(&uid);
    }
}

/// Whether a list of this version is of a time before the `highest` that was known when it was asked for: the cluster was set
/// back, and nothing that is known can be compared.
pub fn is_set_back(version: Version, highest: Version) -> bool {
    version != Version::default() && version < highest
}
