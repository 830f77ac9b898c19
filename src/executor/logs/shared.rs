//! Work that is done once for all who want its result, for as long as somebody does.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::task::{AbortHandle, JoinHandle};

/// What is under way, by what it is about.
#[derive(Debug)]
pub struct Shared<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Shared<K, V> {
    /// What is under way about `key`, if it still fits.
    pub fn get(&self, key: &K, fits: impl FnOnce(&V) -> bool) -> Option<Arc<V>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).and_then(Weak::upgrade).filter(|one| fits(one))
    }

    /// The same, begun by `begin` if there is none. It ends when nobody holds it any more.
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

/// A spawned piece of work that ends with its owner.
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
