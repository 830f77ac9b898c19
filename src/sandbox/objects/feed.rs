//! The stream of changes that the controllers and the kubelet read, in order and in batches.
//!
//! A reader that falls behind the changes that the store keeps gets the deletion of every object that is gone, and every present
//! object once more. Therefore a reader must decide by the present state and not by the change.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

use super::{
    object::Object, registry::Registry, resource::RESOURCES, selection::Selection, store::Change,
};

/// The position of one reader in the stream of changes.
pub struct Feed {
    registry: Arc<Registry>,
    changed: watch::Receiver<u64>,
    seen: u64,
    /// The objects that the reader knows, by uid.
    known: HashMap<String, Arc<Object>>,
}

impl Feed {
    /// Starts with the present objects.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            changed: registry.subscribe(),
            registry,
            seen: 0,
            known: HashMap::new(),
        }
    }

    /// Waits for changes; the result is none when the registry is gone.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        loop {
            self.changed.borrow_and_update();
            let changes = self.read();
            if !changes.is_empty() {
                return Some(changes);
            }
            self.changed.changed().await.ok()?;
        }
    }

    fn read(&mut self) -> Vec<Change> {
        let store = self.registry.store();
        let change = |object: Arc<Object>, deleted| Change {
            before: None,
            object,
            deleted,
        };
        let changes: Vec<Change> = match store.changes_since(self.seen) {
            Ok(changes) => changes.cloned().collect(),
            Err(_) => {
                let known = self.known.values();
                let gone = known.filter(|object| store.get_uid(&object.uid).is_none());
                let present = RESOURCES
                    .iter()
                    .flat_map(|resource| store.list(resource.id, &Selection::default()));
                let gone = gone.map(|object| change(object.clone(), true));
                gone.chain(present.map(|object| change(object, false)))
                    .collect()
            }
        };
        self.seen = store.version();
        for change in &changes {
            let uid = &change.object.uid;
            match change.deleted {
                true => drop(self.known.remove(uid)),
                false => drop(self.known.insert(uid.clone(), change.object.clone())),
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::objects::{
        deletion::{self, Propagation},
        resource::Kind,
    };

    #[test]
    fn a_reader_that_falls_behind_gets_the_deletions() {
        let registry = Arc::new(Registry::default());
        let put = |kind, data: &str| {
            let metadata = json!({ "name": "a", "namespace": "b", "uid": format!("{kind:?}") });
            registry.restore(kind, json!({ "metadata": metadata, "data": { "a": data } }));
        };
        put(Kind::Job, "");
        let mut feed = Feed::new(registry.clone());
        assert_eq!(feed.read().len(), 1);
        let job = registry.get(Kind::Job, "b", "a").unwrap();
        deletion::remove(&registry, &job, Propagation::Background);
        let large = "x".repeat(1 << 20);
        (0..100).for_each(|_| put(Kind::ConfigMap, &large));
        assert!(registry.store().changes_since(feed.seen).is_err());
        let changes = feed.read();
        let changes: Vec<_> = changes
            .iter()
            .map(|change| (change.object.kind, change.deleted))
            .collect();
        assert_eq!(changes, [(Kind::Job, true), (Kind::ConfigMap, false)]);
    }
}
