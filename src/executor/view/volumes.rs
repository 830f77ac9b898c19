//! The claims of all volumes. Pure.

use std::{collections::HashMap, sync::Arc};

use super::{
    table::{Scope, Table},
    versions::Versions,
};
use crate::{
    api::User,
    executor::{
        identity::{Uid, Version},
        observed::ClaimRow,
    },
};

/// All volumes. They are few, so each query scans all of them.
#[derive(Default)]
pub struct Volumes {
    claims: HashMap<Uid, Arc<ClaimRow>>,
    versions: Versions,
}

impl Volumes {
    /// The claims of the volumes of `user`, or of all users.
    pub fn list(&self, user: Option<&User>) -> Vec<Arc<ClaimRow>> {
        let claims = self.claims.values();
        let own = claims.filter(|claim| user.is_none_or(|user| claim.owner.is(user)));
        own.cloned().collect()
    }
}

impl Table<ClaimRow> for Volumes {
    fn versions(&mut self) -> &mut Versions {
        &mut self.versions
    }

    fn version(&self, uid: Uid) -> Option<Version> {
        self.claims.get(&uid).map(|claim| claim.version)
    }

    fn put(&mut self, row: ClaimRow) {
        self.claims.insert(row.uid, Arc::new(row));
    }

    fn remove(&mut self, uid: Uid) {
        self.claims.remove(&uid);
    }

    fn within(&self, scope: &Scope) -> Vec<Uid> {
        let is_within = |claim: &ClaimRow| match scope {
            Scope::All => true,
            Scope::User(label) => claim.owner.label == *label,
            Scope::Task(_) => false,
        };
        let claims = self.claims.values();
        claims
            .filter(|claim| is_within(claim))
            .map(|claim| claim.uid)
            .collect()
    }
}
