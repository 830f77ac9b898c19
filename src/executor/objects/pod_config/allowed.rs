//! The fields of a Pod that a user may set in `pod_config`. Pure.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use super::{At, name, quantities_to_text};
use crate::{
    api::{Problem, is_reserved_env},
    executor::objects::labels,
};

/// The fields that every user may set. `*` is any one step, including a list item; `**` is all steps that follow.
///
/// NB: Secrets, claims and service accounts are missing on purpose: all users share one namespace.
const HARMLESS: [&str; 54] = [
    "metadata.annotations.*",
    "metadata.labels.*",
    "spec.activeDeadlineSeconds",
    "spec.affinity.**",
    "spec.dnsConfig.**",
    "spec.dnsPolicy",
    "spec.enableServiceLinks",
    "spec.hostAliases.**",
    "spec.imagePullSecrets.**",
    "spec.nodeSelector.*",
    "spec.priorityClassName",
    "spec.resourceClaims.*.name",
    "spec.resourceClaims.*.resourceClaimTemplateName",
    "spec.runtimeClassName",
    "spec.schedulerName",
    "spec.schedulingGates.**",
    "spec.securityContext.fsGroup",
    "spec.securityContext.fsGroupChangePolicy",
    "spec.securityContext.runAsGroup",
    "spec.securityContext.runAsNonRoot",
    "spec.securityContext.runAsUser",
    "spec.securityContext.seccompProfile.type",
    "spec.securityContext.supplementalGroups.*",
    "spec.shareProcessNamespace",
    "spec.terminationGracePeriodSeconds",
    "spec.tolerations.**",
    "spec.topologySpreadConstraints.**",
    "spec.volumes.*.configMap.**",
    "spec.volumes.*.downwardAPI.**",
    "spec.volumes.*.emptyDir.**",
    "spec.volumes.*.name",
    // Patterns with `containers` match `initContainers` too.
    "spec.containers.*.args.*",
    "spec.containers.*.command.*",
    "spec.containers.*.env.*.name",
    "spec.containers.*.env.*.value",
    "spec.containers.*.env.*.valueFrom.configMapKeyRef.**",
    "spec.containers.*.env.*.valueFrom.fieldRef.**",
    "spec.containers.*.env.*.valueFrom.resourceFieldRef.**",
    "spec.containers.*.image",
    "spec.containers.*.imagePullPolicy",
    "spec.containers.*.name",
    "spec.containers.*.ports.*.containerPort",
    "spec.containers.*.ports.*.name",
    "spec.containers.*.ports.*.protocol",
    "spec.containers.*.resources.**",
    "spec.containers.*.securityContext.capabilities.drop.*",
    "spec.containers.*.securityContext.readOnlyRootFilesystem",
    "spec.containers.*.securityContext.runAsGroup",
    "spec.containers.*.securityContext.runAsNonRoot",
    "spec.containers.*.securityContext.runAsUser",
    "spec.containers.*.securityContext.seccompProfile.type",
    "spec.containers.*.tty",
    "spec.containers.*.volumeMounts.**",
    "spec.containers.*.workingDir",
];

/// The most refusals that are listed. Further ones are only counted.
const MANY: usize = 50;

/// The fields of a configuration that this user may not set: those of the program, and without `is_trusted` those that are not
/// harmless.
pub fn refusals(config: &Map<String, Value>, is_trusted: bool) -> Vec<Problem> {
    let (mut problems, mut others) = (Vec::<Problem>::new(), 0);
    let known = known_part(config);
    visit_fields(config, &mut Vec::new(), &mut |path, value| {
        let mut path = path;
        let message = if is_ours(path, value) {
            "is set by the program itself"
        } else if let Some(unknown) = known
            .as_ref()
            .and_then(|known| unknown_part(path, value, known))
        {
            path = unknown;
            "is an unknown field: a Pod has no such field"
        } else if is_trusted || is_harmless(path, value) {
            return;
        } else {
            "is not allowed for users of this server: its operator can allow it with `serve --allow-pod-config`"
        };
        let field = name(path);
        if problems.last().is_some_and(|last| last.field == field) {
            return;
        }
        if problems.len() < MANY {
            problems.push(Problem::new(field, message));
        } else {
            others += 1;
        }
    });
    if others > 0 {
        problems.push(Problem::new("", format!("and {others} problems more")));
    }
    problems
}

/// The part of a configuration that fits the schema of a Pod; none if a value in it has another type.
fn known_part(config: &Map<String, Value>) -> Option<Value> {
    let mut config = Value::Object(config.clone());
    quantities_to_text(&mut config);
    let template: PodTemplateSpec = serde_json::from_value(config).ok()?;
    serde_json::to_value(template).ok()
}

/// The part of a path that ends at its first unknown field.
fn unknown_part<'p, 'a>(path: &'p [At<'a>], value: &Value, known: &Value) -> Option<&'p [At<'a>]> {
    let mut known = known;
    for (depth, step) in path.iter().enumerate() {
        let next = match step {
            At::Key(key) => known.get(key),
            At::Item(index) => known.get(index),
        };
        known = match next {
            Some(next) => next,
            // The schema drops a null.
            None if value.is_null() => return None,
            None => return Some(&path[..=depth]),
        };
    }
    None
}

fn visit<'a>(value: &'a Value, path: &mut Vec<At<'a>>, each: &mut impl FnMut(&[At<'_>], &Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => visit_fields(fields, path, each),
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                path.push(At::Item(index));
                visit(value, path, each);
                path.pop();
            }
        }
        leaf => each(path, leaf),
    }
}

fn visit_fields<'a>(
    fields: &'a Map<String, Value>,
    path: &mut Vec<At<'a>>,
    each: &mut impl FnMut(&[At<'_>], &Value),
) {
    for (key, value) in fields {
        path.push(At::Key(key));
        visit(value, path, each);
        path.pop();
    }
}

/// Whether the program itself sets the field.
fn is_ours(path: &[At<'_>], value: &Value) -> bool {
    match path {
        // A null clears the field and all fields below it.
        [At::Key("metadata" | "spec")]
        | [At::Key("metadata"), At::Key("labels" | "annotations")]
        | [At::Key("spec"), At::Key("containers")]
        | [
            At::Key("spec"),
            At::Key("containers"),
            At::Item(_),
            At::Key("env" | "envFrom"),
        ] if value.is_null() => true,
        // These variables tell a node its rank.
        [.., At::Key("env"), At::Item(_), At::Key("name")] => {
            value.as_str().is_some_and(is_reserved_env)
        }
        [
            At::Key("metadata"),
            At::Key("labels" | "annotations"),
            At::Key(key),
        ] => labels::is_ours(key),
        [At::Key("metadata"), At::Key(key), ..] => !matches!(*key, "labels" | "annotations"),
        [
            At::Key("spec"),
            At::Key("restartPolicy" | "hostname" | "subdomain"),
        ] => true,
        [At::Key("spec" | "metadata"), ..] => false,
        _ => true,
    }
}

fn is_harmless(path: &[At<'_>], value: &Value) -> bool {
    match (path, value) {
        // A field that is switched off gives no rights.
        (_, Value::Bool(false)) => true,
        ([.., At::Key("seccompProfile"), At::Key("type")], kind) if kind != "RuntimeDefault" => {
            false
        }
        ([At::Key("spec"), At::Key("priorityClassName")], Value::String(class)) => {
            !class.starts_with("system-")
        }
        // On older clusters, annotations switch off the confinement of a container.
        ([At::Key("metadata"), At::Key("annotations"), At::Key(key)], _) => {
            !key.contains("apparmor") && !key.contains("seccomp")
        }
        _ => {
            let is_cleared = value.is_null();
            HARMLESS
                .iter()
                .any(|pattern| matches(path, is_cleared, pattern))
        }
    }
}

/// Whether a pattern allows to set the field at a path, or, with `is_cleared`, to clear it and all fields below it.
fn matches(path: &[At<'_>], is_cleared: bool, pattern: &str) -> bool {
    let mut steps = path.iter();
    let mut parts = pattern.split('.').peekable();
    while let Some(part) = parts.next() {
        match (part, steps.next()) {
            ("**", _) | ("*", Some(_)) => (),
            ("containers", Some(At::Key("initContainers"))) => (),
            (part, Some(At::Key(key))) if part == *key => (),
            // `{}` or `[]`, at a path above the pattern's fields.
            (_, None) if !is_cleared => return true,
            ("*", None) => return parts.peek().is_none(),
            _ => return false,
        }
    }
    pattern.ends_with("**") || steps.next().is_none()
}
