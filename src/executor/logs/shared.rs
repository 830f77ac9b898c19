//! Work that all interested callers share, for as long as one of them holds it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::task::{AbortHandle, JoinHandle};

/// The running work, by key.
#[derive(Debug)]
pub struct Shared<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Shared<K, V> {
    /// The running work for `key`, if it fits.
    pub fn get(&self, key: &K, fits: impl FnOnce(&V) -> bool) -> Option<Arc<V>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).and_then(Weak::upgrade).filter(|one| fits(one))
    }

    /// The running work for `key`, started by `begin` if there is none. It ends when the last holder drops it.
    pub fn join(
        &self,
        key: K,
        fits: impl FnOnce(&V) -> bool,
        begin: impl FnOnce() -> Option<V>,
    ) -> Option<Arc<V>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(&key).and_then(Weak::upgrade);
        if let Some(one) = found.filter(|one| fits(one)) {
            return Some(one);
        }
        all.retain(|_, one| one.strong_count() > 0);
        let one = Arc::new(begin()?);
        all.insert(key, Arc::downgrade(&one));
        Some(one)
    }
}

/// A spawned task that ends with its owner.
#[derive(Debug)]
pub struct AbortOnDrop(AbortHandle);

impl From<JoinHandle<()>> for AbortOnDrop {
    fn from(handle: JoinHandle<()>) -> Self {
        Self(handle.abort_handle())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
