//! What can be done with the rows of one kind: put them in, take them out, and merge in what was told of them. Pure.

use std::{collections::HashSet, time::Instant};

use super::versions::{Versions, is_set_back};
use crate::{
    api::TaskId,
    executor::{
        identity::{Uid, Version},
        observed::{Owner, Row},
    },
};

/// Which objects a list was about.
pub enum Scope {
    All,
    Task(TaskId),
    /// Those of the owners that share this label.
    User(Box<str>),
}

impl Scope {
    /// Whether a list of it names what is `owner`'s.
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
    /// The version of an object that is known.
    fn version(&self, uid: Uid) -> Option<Version>;
    /// Takes over what is said of an object.
    fn put(&mut self, row: R);
    fn remove(&mut self, uid: Uid);
    /// The known objects within a scope.
    fn within(&self, scope: &Scope) -> Vec<Uid>;

    /// Takes over what a list or an answer said of an object, unless more is known already.
    fn tell(&mut self, row: R) {
        let (uid, version) = (row.uid(), row.version());
        let known = self.version(uid);
        if self.versions().accepts(uid, version, known) {
            self.put_or_remove(row);
        }
    }

    /// Takes over what a watch said of an object.
    fn tell_event(&mut self, row: R, is_deleted: bool, now: Instant) {
        let (uid, version) = (row.uid(), row.version());
        let known = self.version(uid);
        let versions = self.versions();
        versions.advance(version, now);
        if is_deleted {
            versions.is_told_gone(uid);
            self.remove(uid);
        } else if versions.accepts_event(uid, version, known) {
            self.put_or_remove(row);
        }
    }

    /// Takes over a whole list of a scope, for which was asked when the `highest` version was known to be this.
    fn take(&mut self, rows: Vec<R>, version: Version, scope: &Scope, highest: Version) {
        // A list that a watch has overtaken meanwhile is older than what is known now, and that is as it should be.
        if is_set_back(version, highest) {
            // The feed lists everything when it comes to it.
            self.versions().forget();
        }
        let listed: HashSet<Uid> = rows.iter().map(R::uid).collect();
        rows.into_iter().for_each(|row| self.tell(row));
        self.forget_others(scope, &listed, version);
    }

    /// Forgets what a whole list of a scope would have named, had it been there at the list's version.
    fn forget_others(&mut self, scope: &Scope, listed: &HashSet<Uid>, version: Version) {
        for uid in self.within(scope) {
            let known = self.version(uid).unwrap_or_default();
            if !listed.contains(&uid) && !known.is_newer_than(version) {
                self.remove(uid);
            }
        }
    }

    /// Forgets an object that this program deleted.
    fn mark_deleted(&mut self, uid: Uid, now: Instant) {
        let is_known = self.version(uid).is_some();
        let versions = self.versions();
        // What is not known although everything is was told gone already.
        if is_known || versions.watched().is_none() {
            versions.mark_deleted(uid, now);
        }
        self.remove(uid);
    }

    /// Makes sure that a list of this version can be compared with what is known: else that is forgotten.
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
            self.remove(row.uid());
        } else {
            self.put(row);
        }
    }
}
