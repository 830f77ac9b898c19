//! Deletion: grace periods, preconditions, finalizers and the propagation to dependents.
//!
//! Separate from `registry` because it is a protocol of its own: a deletion often only marks an object, and the kubelet, the
//! collector or the job controller finishes it. It follows Kubernetes,
//! `staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go` and `pkg/registry/core/pod/strategy.go`, v1.36.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    clock,
    object::{Object, elements, retain, text},
    registry::{Part, Registry, has_generation, is_gone},
    resource::Kind,
    status::Status,
};

/// The grace period of a pod that does not name one.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// The options of a deletion: `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub grace_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

/// The effect of a deletion on the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// The result of a deletion.
pub struct Deleted {
    pub object: Arc<Object>,
    /// False if the object is only marked.
    pub gone: bool,
}

impl Propagation {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            "Orphan" => Some(Self::Orphan),
            _ => None,
        }
    }

    fn finalizer(self) -> Option<&'static str> {
        match self {
            Self::Background => None,
            Self::Foreground => Some("foregroundDeletion"),
            Self::Orphan => Some("orphan"),
        }
    }
}

/// Deletes an object, or marks it if its finalizers or the kubelet have to act first.
pub fn delete(
    registry: &Registry,
    kind: Kind,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Deleted, Status> {
    let resource = kind.resource();
    let before = registry.get(kind, namespace, name)?;
    let refuse = |what: &str, wanted: &str, present: &str| {
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({present}). The \
                           object might have been deleted and then recreated"
        );
        Status::conflict(resource, name, &why)
    };
    if let Some(uid) = options.uid.as_ref().filter(|uid| **uid != before.uid) {
        return Err(refuse("UID", uid, &before.uid));
    }
    let present = before.version.to_string();
    if let Some(version) = options
        .resource_version
        .as_ref()
        .filter(|version| **version != present)
    {
        return Err(refuse("ResourceVersion", version, &present));
    }
    if kind == Kind::Node {
        return Err(Status::forbidden(resource, name, "the sandbox needs it"));
    }
    if kind == Kind::Namespace && ["default", "kube-system"].contains(&name) {
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden(resource, name, why));
    }
    if options.dry_run {
        return Ok(Deleted {
            object: before,
            gone: true,
        });
    }
    let mut finalizer = options.propagation.and_then(Propagation::finalizer);
    if options.propagation.is_none() && kind == Kind::Job {
        // A deleted `batch/v1` Job leaves its pods unless the request says otherwise, for old clients that delete the pods themselves.
        finalizer = Propagation::Orphan.finalizer();
    }
    if finalizer.is_some() && !has_dependents(registry, &before) {
        finalizer = None;
    }
    let mut gone = false;
    let object = registry.update(kind, namespace, name, Part::Anything, false, |value| {
        mark(kind, value, options.grace_seconds, finalizer);
        gone = is_gone(kind, value);
    })?;
    Ok(Deleted { object, gone })
}

/// Deletes an object that was read before.
pub fn delete_object(
    registry: &Registry,
    object: &Object,
    options: &Options,
) -> Result<Deleted, Status> {
    let (namespace, name) = (object.namespace(), object.name());
    delete(registry, object.kind, namespace, name, options)
}

/// Deletes an object for a controller. A failure is only logged.
pub fn remove(registry: &Registry, object: &Object, propagation: Propagation) {
    let options = Options {
        propagation: Some(propagation),
        ..Options::default()
    };
    if let Err(status) = delete_object(registry, object, &options) {
        log::debug!(
            "{} {}: {status}",
            object.kind.resource().kind,
            object.name()
        );
    }
}

/// Deletes a pod, and says in its status what disturbs it.
pub fn disrupt(
    registry: &Registry,
    pod: &Object,
    reason: &str,
    message: &str,
    options: &Options,
) -> Result<Deleted, Status> {
    let now = clock::seconds(clock::now());
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message, "lastProbeTime": null,
        "lastTransitionTime": now,
    });
    if !options.dry_run {
        registry.edit(pod, |value| {
            let others = elements(&value["status"]["conditions"]).iter();
            let others = others.filter(|other| other["type"] != condition["type"]);
            value["status"]["conditions"] =
                [&condition].into_iter().chain(others).cloned().collect();
        });
    }
    delete_object(registry, pod, options)
}

/// Removes a finalizer from an object, which may be the last one that holds up its deletion.
pub fn remove_finalizer(registry: &Registry, object: &Object, finalizer: &str) {
    registry.edit(object, |value| {
        retain(&mut value["metadata"], "finalizers", |name| {
            text(name) != finalizer
        });
    });
}

fn mark(kind: Kind, value: &mut Value, grace: Option<i64>, finalizer: Option<&str>) {
    let grace = match kind {
        Kind::Pod => pod_grace(value, grace),
        _ => 0,
    };
    let was_marked = !value["metadata"]["deletionTimestamp"].is_null();
    let shorter = value["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|present| grace < present);
    let generation = value["metadata"]["generation"].as_i64();
    if kind == Kind::Namespace {
        value["status"]["phase"] = json!("Terminating");
    }
    let metadata = &mut value["metadata"];
    if !was_marked || shorter {
        let end = clock::after(clock::now(), grace);
        metadata["deletionTimestamp"] = json!(clock::seconds(end));
        metadata["deletionGracePeriodSeconds"] = json!(grace);
    }
    if !was_marked && has_generation(kind) && grace > 0 {
        metadata["generation"] = json!(generation.unwrap_or(1) + 1);
    }
    if let Some(finalizer) = finalizer {
        let mut finalizers = elements(&metadata["finalizers"]).to_vec();
        if !finalizers.iter().any(|name| text(name) == finalizer) {
            finalizers.push(json!(finalizer));
        }
        metadata["finalizers"] = json!(finalizers);
    }
}

/// The grace period of a pod: zero unless a kubelet runs it.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let done = matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed");
    if text(&pod["spec"]["nodeName"]).is_empty() || done {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    asked.or(own).unwrap_or(DEFAULT_GRACE_SECONDS).max(0)
}

fn has_dependents(registry: &Registry, object: &Object) -> bool {
    !registry.store().owned_by(&object.uid).is_empty()
}
