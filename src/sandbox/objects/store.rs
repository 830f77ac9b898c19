//! The present objects and their recent changes: the sandbox's etcd.
//!
//! One counter numbers all changes. The store keeps the newest changes, each with the state before it, for watches, for later pages
//! of a list, and for the controllers. It has indexes by label and by owner, so that a list for each of ten thousand objects does
//! not take quadratic time. The rules of changes are in `registry`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;

use super::{
    object::{Key, Object},
    resource::{Kind, RESOURCES},
    selection::Selection,
};
use crate::k8s::selector::Test;

/// The version of the empty store. It is so high that a small version that a client made up is too old.
const FIRST_VERSION: u64 = 1000;

/// The most changes that are kept, and the most bytes of objects in them.
const MAX_CHANGES: usize = 50_000;
const MAX_CHANGED_BYTES: usize = 96 << 20;

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    pub before: Option<Arc<Object>>,
    /// The state after the change. For a deletion it is the last state, with the version of the deletion.
    pub object: Arc<Object>,
    pub deleted: bool,
}

/// All objects and the recent changes.
#[derive(Debug)]
pub struct Store {
    version: u64,
    /// The newest version whose change is no longer kept.
    oldest: u64,
    objects: Vec<BTreeMap<Key, Arc<Object>>>,
    labels: Vec<HashMap<(String, String), BTreeSet<Key>>>,
    owned: HashMap<String, BTreeSet<(Kind, Key)>>,
    uids: HashMap<String, (Kind, Key)>,
    changes: VecDeque<Change>,
    changed_bytes: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            version: FIRST_VERSION,
            oldest: FIRST_VERSION,
            objects: RESOURCES.iter().map(|_| BTreeMap::new()).collect(),
            labels: RESOURCES.iter().map(|_| HashMap::new()).collect(),
            owned: HashMap::new(),
            uids: HashMap::new(),
            changes: VecDeque::new(),
            changed_bytes: 0,
        }
    }
}

impl Store {
    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.objects[kind as usize]
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    pub fn get_uid(&self, uid: &str) -> Option<Arc<Object>> {
        let (kind, key) = self.uids.get(uid)?;
        self.objects[*kind as usize].get(key).cloned()
    }

    /// The selected objects in the order of their keys.
    pub fn list(&self, kind: Kind, selection: &Selection) -> Vec<Arc<Object>> {
        self.list_from(kind, selection, &<_>::default(), usize::MAX)
    }

    /// At most `limit` of the selected objects in the order of their keys, from the key `from` on.
    pub fn list_from(
        &self,
        kind: Kind,
        selection: &Selection,
        from: &(String, String),
        limit: usize,
    ) -> Vec<Arc<Object>> {
        let objects = &self.objects[kind as usize];
        let pair = selection
            .labels
            .iter()
            .find_map(|requirement| match &requirement.test {
                Test::In(values) if values.len() == 1 => {
                    Some((requirement.key.clone(), values[0].clone()))
                }
                _ => None,
            });
        if let Some(pair) = pair {
            let keys = self.labels[kind as usize].get(&pair).into_iter();
            return keys
                .flat_map(|keys| keys.range::<(String, String), _>(from.clone()..))
                .filter_map(|key| objects.get(key))
                .filter(|object| selection.matches(object))
                .take(limit)
                .cloned()
                .collect();
        }
        let namespace = selection.namespace.clone();
        let first = (namespace.clone().unwrap_or_default(), String::new());
        objects
            .range::<(String, String), _>(from.clone().max(first)..)
            .map(|(_, object)| object)
            .take_while(|object| {
                namespace
                    .as_deref()
                    .is_none_or(|name| name == object.namespace())
            })
            .filter(|object| selection.matches(object))
            .take(limit)
            .cloned()
            .collect()
    }

    /// The result of [`Store::list_from`] at the time of `version`, or none if the store no longer keeps the changes since.
    pub fn list_at(
        &self,
        kind: Kind,
        selection: &Selection,
        version: u64,
        from: &(String, String),
        limit: usize,
    ) -> Option<Vec<Arc<Object>>> {
        if version < self.oldest {
            return None;
        }
        let later = || {
            let newest = self.changes.iter().rev();
            let later = newest.take_while(|change| change.object.version > version);
            later.filter(|change| change.object.kind == kind)
        };
        // Each later change may have created an object.
        let most = limit.saturating_add(later().count());
        let mut found: BTreeMap<Key, Arc<Object>> = self
            .list_from(kind, selection, from, most)
            .into_iter()
            .map(|object| (object.key.clone(), object))
            .collect();
        for change in later() {
            found.remove(&change.object.key);
            if let Some(before) = change
                .before
                .as_ref()
                .filter(|before| selection.matches(before) && *before.key >= *from)
            {
                found.insert(before.key.clone(), before.clone());
            }
        }
        Some(found.into_values().take(limit).collect())
    }

    /// The objects that name `uid` as an owner.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<Object>> {
        let keys = self.owned.get(uid).into_iter().flatten();
        keys.filter_map(|(kind, key)| self.objects[*kind as usize].get(key))
            .cloned()
            .collect()
    }

    /// The changes after `version`; the error is the oldest version that can be asked for.
    pub fn changes_since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, u64> {
        if version < self.oldest {
            return Err(self.oldest);
        }
        let start = self
            .changes
            .partition_point(|change| change.object.version <= version);
        Ok(self.changes.range(start..))
    }

    /// Stores `value` as the next version of its object, new or known.
    pub fn put(&mut self, kind: Kind, value: Value) -> Arc<Object> {
        self.version += 1;
        let object = Arc::new(Object::new(kind, self.version, value));
        let before = self.objects[kind as usize].insert(object.key.clone(), object.clone());
        if let Some(before) = &before {
            self.forget_indexes(before);
        }
        for (label, value) in &object.labels {
            let pair = (label.clone(), value.clone());
            self.labels[kind as usize]
                .entry(pair)
                .or_default()
                .insert(object.key.clone());
        }
        for owner in &object.owners {
            self.owned
                .entry(owner.clone())
                .or_default()
                .insert((kind, object.key.clone()));
        }
        self.uids
            .insert(object.uid.clone(), (kind, object.key.clone()));
        self.remember(Change {
            before,
            object: object.clone(),
            deleted: false,
        });
        object
    }

    /// Removes the object; `value` is its last state.
    pub fn remove(&mut self, kind: Kind, value: Value) -> Arc<Object> {
        self.version += 1;
        let object = Arc::new(Object::new(kind, self.version, value));
        let before = self.objects[kind as usize].remove(&object.key);
        if let Some(before) = &before {
            self.forget_indexes(before);
        }
        self.remember(Change {
            before,
            object: object.clone(),
            deleted: true,
        });
        object
    }

    fn forget_indexes(&mut self, object: &Object) {
        let labels = &mut self.labels[object.kind as usize];
        for (label, value) in &object.labels {
            let pair = (label.clone(), value.clone());
            if let Some(keys) = labels.get_mut(&pair) {
                keys.remove(&object.key);
                if keys.is_empty() {
                    labels.remove(&pair);
                }
            }
        }
        for owner in &object.owners {
            if let Some(keys) = self.owned.get_mut(owner) {
                keys.remove(&(object.kind, object.key.clone()));
                if keys.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
        self.uids.remove(&object.uid);
    }

    fn remember(&mut self, change: Change) {
        self.changed_bytes += change.object.body.len();
        self.changes.push_back(change);
        while self.changes.len() > MAX_CHANGES || self.changed_bytes > MAX_CHANGED_BYTES {
            let Some(dropped) = self.changes.pop_front() else {
                return;
            };
            self.oldest = dropped.object.version;
            self.changed_bytes -= dropped.object.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(store: &mut Store, name: &str, color: &str) -> u64 {
        let value = json!({ "metadata": { "name": name, "namespace": "default", "uid": name, "labels": { "color": color } } });
        store.put(Kind::ConfigMap, value).version
    }

    fn names(objects: &[Arc<Object>]) -> Vec<&str> {
        objects.iter().map(|object| object.name()).collect()
    }

    #[test]
    fn a_list_can_be_had_as_it_was() {
        let mut store = Store::default();
        put(&mut store, "a", "red");
        let then = put(&mut store, "b", "red");
        put(&mut store, "a", "blue");
        put(&mut store, "c", "red");
        store.remove(
            Kind::ConfigMap,
            json!({ "metadata": { "name": "b", "namespace": "default", "uid": "b" } }),
        );
        let red = Selection::parse(Kind::ConfigMap.resource(), None, "color=red", "").unwrap();
        assert_eq!(names(&store.list(Kind::ConfigMap, &red)), ["c"]);
        let key = |name: &str| ("default".to_owned(), name.to_owned());
        let list_at = |version, from: &str, limit| {
            let objects = store.list_at(Kind::ConfigMap, &red, version, &key(from), limit)?;
            Some(
                objects
                    .iter()
                    .map(|object| object.name().to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(list_at(then, "", 9).unwrap(), ["a", "b"]);
        assert_eq!(list_at(then, "", 1).unwrap(), ["a"]);
        assert_eq!(list_at(then, "a\0", 1).unwrap(), ["b"]);
        assert_eq!(list_at(1, "", 9), None);
    }

    #[test]
    fn changes_are_numbered_and_found() {
        let mut store = Store::default();
        let first = put(&mut store, "a", "red");
        put(&mut store, "b", "red");
        assert_eq!(store.changes_since(first).unwrap().count(), 1);
        assert_eq!(store.changes_since(1).err(), Some(FIRST_VERSION));
    }
}
