//! The rows of one kind, and the rules by which lists, watch events and answers are merged into them. Pure.

use std::{collections::HashSet, time::Instant};

use super::versions::{Versions, is_set_back};
use crate::{
    api::TaskId,
    executor::{
        identity::{Uid, Version},
        observed::{Owner, Row},
    },
};

/// The set of objects that a list covers.
pub enum Scope {
    All,
    Task(TaskId),
    /// The objects of all owners with this label.
    User(Box<str>),
}

impl Scope {
    /// Whether a list of this scope includes the objects of `owner`.
    pub fn holds(&self, owner: &Owner) -> bool {
        match self {
            Self::All | Self::Task(_) => true,
            Self::User(label) => owner.label == *label,
        }
    }
}

/// The rows of one kind.
pub trait Table<R: Row> {
    fn versions(&mut self) -> &mut Versions;
    /// The version of the known row of an object.
    fn version(&self, uid: Uid) -> Option<Version>;
    /// Inserts or replaces the row of an object.
    fn put(&mut self, row: R);
    fn remove(&mut self, uid: Uid);
    /// Removes an object that a list of a scope no longer contains. The watch has not shown its last state yet.
    fn remove_before_event(&mut self, uid: Uid) {
        self.remove(uid);
    }
    /// Removes an object in its last state.
    fn remove_row(&mut self, row: R) {
        self.remove(row.uid());
    }
    /// Everything was listed: the watch will show no earlier event.
    fn forget_awaited_events(&mut self) {}
    /// The known objects within a scope.
    fn within(&self, scope: &Scope) -> Vec<Uid>;

    /// Merges a row from a list or an answer, unless a newer one is known.
    fn merge(&mut self, row: R) {
        let (uid, version) = (row.uid(), row.version());
        let known = self.version(uid);
        if self.versions().accepts(uid, version, known) {
            self.put_or_remove(row);
        }
    }

    /// Merges a row from a watch.
    fn merge_event(&mut self, row: R, is_deleted: bool, now: Instant) {
        let (uid, version) = (row.uid(), row.version());
        let known = self.version(uid);
        let versions = self.versions();
        versions.advance(version, now);
        if is_deleted {
            versions.confirm_deleted(uid);
            self.remove_row(row);
        } else if versions.accepts_event(uid, version, known) {
            self.put_or_remove(row);
        }
    }

    /// Merges a whole list of a scope. `highest` is the highest known version at the time of the request.
    fn merge_list(&mut self, rows: Vec<R>, version: Version, scope: &Scope, highest: Version) {
        // The list may be older than the view, if a watch event arrived in the meantime. That is no reset.
        if is_set_back(version, highest) {
            // The feed lists everything at its next turn.
            self.versions().forget();
        }
        let listed: HashSet<Uid> = rows.iter().map(R::uid).collect();
        rows.into_iter().for_each(|row| self.merge(row));
        for uid in self.unlisted(scope, &listed, version) {
            self.remove_before_event(uid);
        }
    }

    /// Removes the known objects that a list of everything does not contain, unless they are newer.
    fn remove_unlisted(&mut self, listed: &HashSet<Uid>, version: Version) {
        for uid in self.unlisted(&Scope::All, listed, version) {
            self.remove(uid);
        }
        self.forget_awaited_events();
    }

    /// The known objects of a scope that a whole list of this version does not contain, unless they are newer.
    fn unlisted(&self, scope: &Scope, listed: &HashSet<Uid>, version: Version) -> Vec<Uid> {
        let mut within = self.within(scope);
        within.retain(|uid| {
            let known = self.version(*uid).unwrap_or_default();
            !listed.contains(uid) && !known.is_newer_than(version)
        });
        within
    }

    /// Removes an object that this program deleted.
    fn mark_deleted(&mut self, uid: Uid, now: Instant) {
        let is_known = self.version(uid).is_some();
        let versions = self.versions();
        // In a complete view, an unknown object has had its deletion event already.
        if is_known || versions.watched().is_none() {
            versions.mark_deleted(uid, now);
        }
        self.remove(uid);
    }

    /// Prepares for a list of this version. If the list is older than the view, the cluster was restored, and the view is cleared.
    fn prepare(&mut self, version: Version) {
        if self.versions().is_set_back_to(version) {
            for uid in self.within(&Scope::All) {
                self.remove(uid);
            }
            self.versions().start_over(version);
        }
    }

    fn put_or_remove(&mut self, row: R) {
        if row.is_deleted() {
            self.remove_row(row);
        } else {
            self.put(row);
        }
    }
}
