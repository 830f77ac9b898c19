//! The stream of changes that the controllers and the kubelet read, in order and in batches.
//!
//! A reader that falls behind the changes that the store keeps gets every present object once more. Therefore a reader must
//! decide by the present state and not by the change.

use std::sync::Arc;

use tokio::sync::watch;

use super::{registry::Registry, resource::RESOURCES, selection::Selection, store::Change};

/// The position of one reader in the stream of changes.
pub struct Feed {
    registry: Arc<Registry>,
    changed: watch::Receiver<u64>,
    seen: u64,
}

impl Feed {
    /// Starts with the present objects.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            changed: registry.subscribe(),
            registry,
            seen: 0,
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
        let changes = match store.changes_since(self.seen) {
            Ok(changes) => changes.cloned().collect(),
            Err(_) => {
                let kinds = RESOURCES.iter().map(|resource| resource.id);
                kinds
                    .flat_map(|kind| store.list(kind, &Selection::default()))
                    .map(|object| Change {
                        before: None,
                        object,
                        deleted: false,
                    })
                    .collect()
            }
        };
        self.seen = store.version();
        changes
    }
}
