//! Decides whether a row is newer than the known one. Pure.
//!
//! A view learns of an object in three ways that overtake one another: by a watch, by lists, and by the answers to its own writes.
//! Resource versions put these in order. An object that is *not* known is either new or deleted. It is deleted if the watch has
//! passed the row's version, for then the watch would have shown the object, or if this program deleted it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::executor::identity::{Uid, Version};

/// A view whose watches work is younger: a watch lasts 6 s.
pub const USUAL_AGE: Duration = Duration::from_secs(10);
/// How long a deleted object is remembered if no watch confirms its deletion.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// How often expired deletions are removed.
const SWEEP: Duration = Duration::from_secs(60);

/// The state of knowledge about the objects of one kind.
#[derive(Debug, Default)]
pub struct Versions {
    /// The version that the watch has reached; none before everything was listed.
    watched: Option<Version>,
    /// The highest version that a list or a watch has reached.
    highest: Version,
    /// The last moment at which the view was certain to be complete.
    alive: Option<Instant>,
    /// The last moment at which it was complete again, after it had not been for a while.
    came_back: Option<Instant>,
    has_loaded: bool,
    /// The objects that this program deleted, with the time, until the watch confirms it.
    deleted: HashMap<Uid, Instant>,
    swept: Option<Instant>,
}

impl Versions {
    /// The version that the watch has reached.
    pub fn watched(&self) -> Option<Version> {
        self.watched
    }

    /// The watch has shown all changes up to this version.
    pub fn advance(&mut self, version: Version, now: Instant) {
        self.watched = self.watched.max(Some(version));
        self.highest = self.highest.max(version);
        if self.age(now).is_none_or(|age| age > USUAL_AGE) {
            self.came_back = Some(now);
        }
        self.alive = Some(now);
    }

    /// The last moment at which the view was complete again, after it had been older than [`USUAL_AGE`].
    pub fn came_back(&self) -> Option<Instant> {
        self.came_back
    }

    /// Everything was listed, in its state at `began`.
    pub fn has_listed(&mut self, version: Version, began: Instant) {
        self.advance(version, began);
        self.has_loaded = true;
    }

    /// Everything has to be listed again. The view keeps its age.
    pub fn list_again(&mut self) {
        self.watched = None;
    }

    /// Everything has to be listed again, and the age of the view is unknown.
    pub fn forget(&mut self) {
        (self.watched, self.alive) = (None, None);
    }

    /// The highest version that a list or a watch has reached.
    pub fn highest(&self) -> Version {
        self.highest
    }

    /// Whether a new answer of this version is older than the view.
    pub fn is_set_back_to(&self, version: Version) -> bool {
        is_set_back(version, self.highest)
    }

    /// Starts again, with a list of this version.
    pub fn start_over(&mut self, version: Version) {
        *self = Self {
            highest: version,
            has_loaded: self.has_loaded,
            ..Self::default()
        };
    }

    /// The age of the view; none if it is unknown.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.alive?))
    }

    /// Whether everything was listed at least once.
    pub fn has_loaded(&self) -> bool {
        self.has_loaded
    }

    /// Whether a row of a list or an answer is newer than the view. `known` is the version of the known row.
    pub fn accepts(&self, uid: Uid, version: Version, known: Option<Version>) -> bool {
        match known {
            _ if self.deleted.contains_key(&uid) => false,
            Some(known) => version.is_news(known),
            None => !self
                .watched
                .is_some_and(|watched| version.is_seen_at(watched)),
        }
    }

    /// Whether a row of a watch is newer than the view.
    pub fn accepts_event(&self, uid: Uid, version: Version, known: Option<Version>) -> bool {
        !self.deleted.contains_key(&uid) && known.is_none_or(|known| version.is_news(known))
    }

    /// Notes that this program deleted an object.
    pub fn mark_deleted(&mut self, uid: Uid, now: Instant) {
        let is_older = |than, moment| now.saturating_duration_since(moment) >= than;
        if self.swept.is_none_or(|swept| is_older(SWEEP, swept)) {
            self.deleted
                .retain(|_, deleted| !is_older(MEMORY, *deleted));
            self.swept = Some(now);
        }
        self.deleted.insert(uid, now);
    }

    /// The watch has shown that an object was deleted.
    pub fn confirm_deleted(&mut self, uid: Uid) {
        self.deleted.remove(&uid);
    }
}

/// Whether a list of this version is older than `highest`, the highest known version at the time of its request. Then the cluster
/// was restored from a backup, and the known versions mean nothing.
pub fn is_set_back(version: Version, highest: Version) -> bool {
    version != Version::default() && version < highest
}
