//! The rules by which objects are created, changed and removed. Only this file writes to the store.
//!
//! Clients and controllers both write through the registry, as they write through the API server in a real cluster. It follows
//! Kubernetes, `staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go` and `pkg/registry/batch/job/strategy.go`,
//! v1.36. The rules of a deletion are in `deletion`, and the pure rules in `defaults`, `validation` and `immutability`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    clock, defaults,
    identity::{new_uid, random_letters},
    immutability,
    object::{Object, elements, text},
    resource::{Kind, Resource},
    status::Status,
    store::Store,
    validation,
};

/// The number of collisions of a name made from `generateName` after which a request fails.
const NAME_ATTEMPTS: usize = 8;

/// The fields of the metadata that a new object cannot bring.
const GIVEN: &str = "resourceVersion uid creationTimestamp deletionTimestamp deletionGracePeriodSeconds selfLink generation \
                     managedFields";
/// The fields of the metadata that a client's write does not change.
const KEPT: &str = "uid name namespace creationTimestamp deletionTimestamp deletionGracePeriodSeconds generation generateName";

/// The store, and a channel that tells of its changes.
pub struct Registry {
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
}

/// The part of an object that a write may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// A client's write: everything but the status.
    Spec,
    /// A client's write to the `status` subresource.
    Status,
    /// A controller's write, which is not validated.
    Anything,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            store: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Registry {
    /// Locks the store for reading.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receiver that is notified of every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        let found = self.store().get(kind, namespace, name);
        found.ok_or_else(|| Status::not_found(kind.resource(), name))
    }

    /// Creates an object. A dry run returns the object that it would store.
    pub fn create(
        &self,
        kind: Kind,
        namespace: &str,
        value: Value,
        dry_run: bool,
    ) -> Result<Value, Status> {
        let resource = kind.resource();
        let home = self.store().get(Kind::Namespace, "", namespace);
        if resource.namespaced && home.is_none() {
            return Err(Status::not_found(Kind::Namespace.resource(), namespace));
        }
        if home.is_some_and(|home| home.field("status.phase") == Some("Terminating")) {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            return Err(Status::forbidden(
                resource,
                text(&value["metadata"]["name"]),
                &why,
            ));
        }
        let mut value = decode(resource, value)?;
        let given = text(&value["metadata"]["namespace"]);
        if resource.namespaced && !given.is_empty() && given != namespace {
            return Err(Status::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request ({given} != \
                 {namespace})"
            )));
        }
        self.stamp(&mut value, resource, namespace)?;
        defaults::apply(kind, &mut value);
        let name = text(&value["metadata"]["name"]).to_owned();
        let mut errors = validation::check(kind, &value);
        errors.extend(validation::check_new(kind, &value));
        if !errors.is_empty() {
            return Err(Status::invalid(resource, &name, &errors));
        }
        let mut store = self.store();
        let account = text(&value["spec"]["serviceAccountName"]);
        if kind == Kind::Pod
            && store
                .get(Kind::ServiceAccount, namespace, account)
                .is_none()
        {
            let why = format!(
                "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
            );
            return Err(Status::forbidden(resource, &name, &why));
        }
        if store.get(kind, namespace, &name).is_some() {
            return Err(Status::already_exists(resource, &name));
        }
        if dry_run {
            return Ok(with_type(resource, value));
        }
        let object = store.put(kind, value);
        drop(store);
        self.ring(object.version);
        if kind == Kind::Namespace {
            let account = json!({ "metadata": { "name": "default" } });
            self.create(Kind::ServiceAccount, &name, account, false)?;
        }
        Ok(with_type(resource, object.value()))
    }

    /// Stores an object unchanged, except for its version.
    pub fn restore(&self, kind: Kind, mut value: Value) {
        strip_type(&mut value);
        let object = self.store().put(kind, value);
        self.ring(object.version);
    }

    /// Changes an object; `change` gets the present state.
    ///
    /// It is a conflict if `change` sets a `resourceVersion` or `uid` that is not the present one. A change without effect is not
    /// stored. An object that is being deleted is removed with its last finalizer.
    pub fn update(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        part: Part,
        dry_run: bool,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Object>, Status> {
        let resource = kind.resource();
        let mut store = self.store();
        let before = store
            .get(kind, namespace, name)
            .ok_or_else(|| Status::not_found(resource, name))?;
        let old = before.value();
        let mut new = old.clone();
        change(&mut new);
        if !new.is_object() {
            return Err(not_an_object(resource, &new));
        }
        if part != Part::Anything {
            new = decode(resource, with_type(resource, new))?;
            strip_type(&mut new);
            check_precedence(resource, name, &old, &new)?;
            keep(part, &old, &mut new);
            defaults::apply(kind, &mut new);
            let mut errors = validation::check(kind, &new);
            errors.extend(immutability::check(kind, &old, &new));
            if !errors.is_empty() {
                return Err(Status::invalid(resource, name, &errors));
            }
            if part == Part::Spec && has_generation(kind) && old["spec"] != new["spec"] {
                let generation = old["metadata"]["generation"].as_i64().unwrap_or(1);
                new["metadata"]["generation"] = json!(generation + 1);
            }
        }
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if new == old || dry_run {
            return Ok(if dry_run {
                Arc::new(Object::new(kind, before.version, new))
            } else {
                before
            });
        }
        let object = if is_gone(kind, &new) {
            if old["metadata"]["deletionTimestamp"].is_null() {
                // A watcher never sees the deletion timestamp of an object that is removed at once.
                remove_fields(
                    &mut new["metadata"],
                    &["deletionTimestamp", "deletionGracePeriodSeconds"],
                );
            }
            let winding_down = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
            if kind == Kind::Pod && winding_down.is_some_and(|grace| grace > 0) {
                // A watcher sees a grace period of zero before the pod is removed.
                store.put(kind, new.clone());
            }
            store.remove(kind, new)
        } else {
            store.put(kind, new)
        };
        drop(store);
        self.ring(object.version);
        Ok(object)
    }

    /// Changes an object for a controller. If there is no object of that name any more, it logs that and returns false.
    pub fn edit(&self, object: &Object, change: impl FnOnce(&mut Value)) -> bool {
        let (kind, namespace, name) = (object.kind, object.namespace(), object.name());
        let change = |value: &mut Value| {
            if text(&value["metadata"]["uid"]) == object.uid {
                change(value);
            }
        };
        let edited = self.update(kind, namespace, name, Part::Anything, false, change);
        if let Err(status) = &edited {
            log::debug!("{} {name}: {status}", kind.resource().kind);
        }
        edited.is_ok()
    }

    fn ring(&self, version: u64) {
        // Two writers may notify in the other order, so the number must not go back.
        self.changed
            .send_modify(|newest| *newest = version.max(*newest));
    }

    fn stamp(&self, value: &mut Value, resource: &Resource, namespace: &str) -> Result<(), Status> {
        strip_type(value);
        let Some(metadata) = value["metadata"].as_object_mut() else {
            return Err(Status::bad_request("metadata is not an object"));
        };
        for field in GIVEN.split(' ') {
            metadata.remove(field);
        }
        if resource.namespaced {
            metadata.insert("namespace".to_owned(), json!(namespace));
        } else {
            metadata.remove("namespace");
        }
        metadata.insert("uid".to_owned(), json!(new_uid()));
        metadata.insert(
            "creationTimestamp".to_owned(),
            json!(clock::seconds(clock::now())),
        );
        if has_generation(resource.id) {
            metadata.insert("generation".to_owned(), json!(1));
        }
        let prefix = metadata
            .get("generateName")
            .map(|prefix| text(prefix).to_owned())
            .unwrap_or_default();
        if metadata
            .get("name")
            .is_none_or(|name| text(name).is_empty())
            && !prefix.is_empty()
        {
            let store = self.store();
            let name = (0..NAME_ATTEMPTS)
                .map(|_| format!("{prefix}{}", random_letters(5)))
                .find(|name| store.get(resource.id, namespace, name).is_none());
            let name = name.ok_or_else(|| Status::already_exists(resource, &prefix))?;
            metadata.insert("name".to_owned(), json!(name));
        }
        Ok(())
    }
}

/// Whether objects of the kind have a `generation`.
pub fn has_generation(kind: Kind) -> bool {
    matches!(kind, Kind::Job | Kind::Pod)
}

/// Adds `kind` and `apiVersion`.
pub fn with_type(resource: &Resource, mut value: Value) -> Value {
    value["kind"] = json!(resource.kind);
    value["apiVersion"] = json!(resource.api_version());
    value
}

/// Whether an object is being deleted and nothing holds up its removal.
pub fn is_gone(kind: Kind, value: &Value) -> bool {
    let metadata = &value["metadata"];
    let waits_for_kubelet =
        kind == Kind::Pod && metadata["deletionGracePeriodSeconds"].as_i64() != Some(0);
    let has_content = kind == Kind::Namespace && !elements(&value["spec"]["finalizers"]).is_empty();
    !metadata["deletionTimestamp"].is_null()
        && elements(&metadata["finalizers"]).is_empty()
        && !has_content
        && !waits_for_kubelet
}

/// Checks the types of all fields and drops unknown fields, after it has rewritten quantities.
fn decode(resource: &Resource, mut value: Value) -> Result<Value, Status> {
    let given = (
        text(&value["apiVersion"]).to_owned(),
        text(&value["kind"]).to_owned(),
    );
    let expected = (resource.api_version(), resource.kind.to_owned());
    if !value.is_object() {
        return Err(not_an_object(resource, &value));
    }
    if !given.0.is_empty() && given.0 != expected.0 || !given.1.is_empty() && given.1 != expected.1
    {
        return Err(Status::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({}) or kind {} is not {}",
            given.0, expected.0, given.1, expected.1
        )));
    }
    value["kind"] = json!(expected.1);
    value["apiVersion"] = json!(expected.0);
    let refuse = |why: &str| {
        Status::bad_request(format!(
            "{0} in version \"{1}\" cannot be handled as a {0}: {why}",
            resource.kind, resource.version
        ))
    };
    defaults::canonicalize_quantities(resource.id, &mut value).map_err(|why| refuse(&why))?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    (resource.normalize)(value).map_err(|error| refuse(&format!("json: {error}")))
}

fn not_an_object(resource: &Resource, value: &Value) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: json: cannot \
         unmarshal it into Go value of type struct: it is not an object ({value:.100})",
        resource.kind
    ))
}

fn strip_type(value: &mut Value) {
    remove_fields(value, &["kind", "apiVersion"]);
}

fn remove_fields(value: &mut Value, fields: &[&str]) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    for field in fields {
        map.remove(*field);
    }
}

fn check_precedence(
    resource: &Resource,
    name: &str,
    old: &Value,
    new: &Value,
) -> Result<(), Status> {
    let version = text(&new["metadata"]["resourceVersion"]);
    if !version.is_empty() && version != text(&old["metadata"]["resourceVersion"]) {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Status::conflict(resource, name, why));
    }
    let (uid, present) = (text(&new["metadata"]["uid"]), text(&old["metadata"]["uid"]));
    if !uid.is_empty() && uid != present {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {present}"
        );
        return Err(Status::conflict(resource, name, &why));
    }
    Ok(())
}

/// Restores the fields that a client's write must not change.
fn keep(part: Part, old: &Value, new: &mut Value) {
    if part == Part::Status {
        let status = new["status"].take();
        *new = old.clone();
        new["status"] = status;
        return;
    }
    match old.get("status") {
        Some(status) => new["status"] = status.clone(),
        None => drop(new.as_object_mut().and_then(|map| map.remove("status"))),
    }
    for field in KEPT.split(' ') {
        match old["metadata"].get(field) {
            Some(value) => new["metadata"][field] = value.clone(),
            None => drop(
                new["metadata"]
                    .as_object_mut()
                    .and_then(|map| map.remove(field)),
            ),
        }
    }
}
