//! The garbage collector: deletes the dependents of deleted owners, and the contents of deleted namespaces.
//!
//! It needs only owner references, so it works for all kinds. It follows Kubernetes, `pkg/controller/garbagecollector` and
//! `pkg/controller/namespace`, v1.36. Two finalizers of an owner change the order: with `foregroundDeletion` the dependents go
//! first, and with `orphan` they stay and lose their reference.

use std::sync::Arc;

use serde_json::json;

use crate::sandbox::objects::{
    deletion::{self, Propagation},
    object::{Object, elements, retain, text},
    registry::Registry,
    resource::{Kind, RESOURCES},
    selection::Selection,
    store::Change,
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Deletes the objects that a change leaves without an owner.
pub fn observe(registry: &Registry, change: &Change) {
    let object = &change.object;
    match object.kind {
        Kind::Namespace => empty(registry, object.name()),
        _ if change.deleted => empty(registry, object.namespace()),
        _ => (),
    }
    if change.deleted {
        // NB: in the head of the `for` the guard of the store would live until the end of the loop.
        let dependents = registry.store().owned_by(&object.uid);
        for dependent in dependents {
            collect(registry, &dependent, &object.uid);
        }
        for owner in &object.owners {
            let owner = registry.store().get_uid(owner);
            owner.into_iter().for_each(|owner| finish(registry, &owner));
        }
        return;
    }
    finish(registry, object);
    if change.before.is_none() && !object.owners.is_empty() {
        let known = object
            .owners
            .iter()
            .any(|owner| registry.store().get_uid(owner).is_some());
        if !known {
            collect(registry, object, "");
        }
    }
}

/// Deletes the contents of a namespace that is being deleted, and then the namespace.
fn empty(registry: &Registry, name: &str) {
    let namespace = registry.store().get(Kind::Namespace, "", name);
    let is_leaving =
        |namespace: &Arc<Object>| namespace.field("status.phase") == Some("Terminating");
    let Some(namespace) = namespace.filter(is_leaving) else {
        return;
    };
    let selection = Selection::in_namespace(name);
    let kinds = RESOURCES.iter().filter(|resource| resource.namespaced);
    let contents: Vec<_> = kinds
        .flat_map(|resource| registry.store().list(resource.id, &selection))
        .collect();
    if contents.is_empty() {
        registry.edit(&namespace, |value| value["spec"]["finalizers"] = json!([]));
    }
    for object in contents {
        if object.value()["metadata"]["deletionTimestamp"].is_null() {
            collect(registry, &object, "");
        }
    }
}

/// Carries out the finalizers of an owner that is being deleted.
fn finish(registry: &Registry, owner: &Arc<Object>) {
    let present = registry.store().get_uid(&owner.uid);
    let Some(owner) = present else { return };
    let metadata = owner.value()["metadata"].take();
    if metadata["deletionTimestamp"].is_null() {
        return;
    }
    let has = |finalizer: &str| {
        elements(&metadata["finalizers"])
            .iter()
            .any(|name| text(name) == finalizer)
    };
    let dependents = registry.store().owned_by(&owner.uid);
    if has(ORPHAN) {
        for dependent in &dependents {
            cut(registry, dependent, &owner.uid);
        }
        deletion::remove_finalizer(registry, &owner, ORPHAN);
    } else if has(FOREGROUND) {
        if dependents.is_empty() {
            deletion::remove_finalizer(registry, &owner, FOREGROUND);
        }
        for dependent in dependents {
            if dependent.value()["metadata"]["deletionTimestamp"].is_null() {
                collect(registry, &dependent, "");
            }
        }
    }
}

/// Deletes a dependent, unless it has another owner.
fn collect(registry: &Registry, dependent: &Object, gone: &str) {
    let wanted = dependent
        .owners
        .iter()
        .any(|owner| owner != gone && registry.store().get_uid(owner).is_some());
    if wanted && !gone.is_empty() {
        return cut(registry, dependent, gone);
    }
    deletion::remove(registry, dependent, Propagation::Background);
}

fn cut(registry: &Registry, dependent: &Object, owner: &str) {
    registry.edit(dependent, |value| {
        retain(&mut value["metadata"], "ownerReferences", |reference| {
            text(&reference["uid"]) != owner
        });
    });
}
