//! Fields that are immutable after creation.
//!
//! Pure. It follows the update validation of Kubernetes, `pkg/apis/batch/validation` and `pkg/apis/core/validation`, v1.36.

use serde_json::Value;

use super::{
    object::{elements_mut, text},
    resource::Kind,
    status::FieldError,
};
use crate::k8s::quantity::Quantity;

/// Lists the errors of a change.
pub fn check(kind: Kind, old: &Value, new: &Value) -> Vec<FieldError> {
    let immutable = |field: &str, value: &Value| {
        FieldError::invalid(field, value.clone(), "field is immutable")
    };
    let mut errors = Vec::new();
    match kind {
        Kind::Job => {
            for field in ["completions", "selector", "completionMode"] {
                if old["spec"][field] != new["spec"][field] {
                    errors.push(immutable(&format!("spec.{field}"), &new["spec"][field]));
                }
            }
            let suspended = old["spec"]["suspend"] == true && old["status"]["startTime"].is_null();
            if !suspended && old["spec"]["template"] != new["spec"]["template"] {
                errors.push(immutable("spec.template", &new["spec"]["template"]));
            }
        }
        Kind::Pod if !keeps_deadline(&old["spec"], &new["spec"]) => {
            let field = "activeDeadlineSeconds";
            let why = if new["spec"][field].is_null() {
                "must not update from a positive integer to nil value"
            } else {
                "must be less than or equal to previous value"
            };
            let value = new["spec"][field].clone();
            errors.push(FieldError::invalid(format!("spec.{field}"), value, why));
        }
        Kind::Pod if pod_without_mutable(old) != pod_without_mutable(new) => {
            errors.push(FieldError::forbidden(
                "spec",
                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
                 `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
                 `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
            ));
        }
        Kind::Secret | Kind::ConfigMap => {
            let why = "field is immutable when `immutable` is set";
            for field in ["immutable", "data", "binaryData"] {
                if old["immutable"] == true && old[field] != new[field] {
                    errors.push(FieldError::forbidden(field, why));
                }
            }
            if old["type"] != new["type"] {
                errors.push(immutable("type", &new["type"]));
            }
        }
        Kind::Claim => {
            let size = |claim: &Value| {
                Quantity::parse(text(&claim["spec"]["resources"]["requests"]["storage"]))
            };
            let shrinks = size(new)
                .zip(size(old))
                .is_some_and(|(new, old)| new.nanos() < old.nanos());
            let mut allowed = new["spec"].clone();
            if old["status"]["phase"] == "Bound" {
                allowed["resources"] = old["spec"]["resources"].clone();
            }
            if allowed != old["spec"] {
                let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                           bound claims";
                errors.push(FieldError::forbidden("spec", why));
            }
            if shrinks {
                let field = "spec.resources.requests.storage";
                let why = "field can not be less than status.capacity";
                errors.push(FieldError::forbidden(field, why));
            }
        }
        Kind::Service if old["spec"]["clusterIP"] != new["spec"]["clusterIP"] => {
            let address = &new["spec"]["clusterIP"];
            errors.push(immutable("spec.clusterIPs[0]", address));
        }
        _ => (),
    }
    errors
}

/// Whether the new deadline of a pod is not later than the old one.
fn keeps_deadline(old: &Value, new: &Value) -> bool {
    let deadline = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    match (deadline(old), deadline(new)) {
        (Some(old), Some(new)) => new <= old,
        (old, _) => old.is_none(),
    }
}

fn pod_without_mutable(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    for field in ["activeDeadlineSeconds", "tolerations"] {
        spec.as_object_mut().map(|map| map.remove(field));
    }
    for list in ["containers", "initContainers"] {
        for container in elements_mut(&mut spec, list) {
            container["image"] = Value::Null;
        }
    }
    spec
}
