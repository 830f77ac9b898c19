//! `config.kubernetes.pod_config`: a part of a Pod that a user puts over the one that the program makes. Pure.
//!
//! It is merged as SkyPilot does (SkyPilot 0.14.1, `sky/utils/config_utils.py`, `merge_k8s_configs`). What would give a user more
//! than their share of a cluster that others use too is refused: what is not known to be harmless is not allowed.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use super::{labels, manifest::CONTAINER};
use crate::api::{Problem, is_reserved_env};

const FIELD: &str = "config.kubernetes.pod_config";
/// What SkyPilot calls the first container.
const SKYPILOT_CONTAINER: &str = "ray-node";

/// What every user may set. `*` is any one step, a list's item included, `**` all that follows.
///
/// NB: Secrets, claims and service accounts are left out on purpose: those of all users stand in one namespace.
const HARMLESS: [&str; 49] = [
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
    "spec.resourceClaims.**",
    "spec.runtimeClassName",
    "spec.schedulerName",
    "spec.schedulingGates.**",
    "spec.securityContext.fsGroup",
    "spec.securityContext.fsGroupChangePolicy",
    "spec.securityContext.runAsGroup",
    "spec.securityContext.runAsNonRoot",
    "spec.securityContext.runAsUser",
    "spec.securityContext.supplementalGroups.*",
    "spec.shareProcessNamespace",
    "spec.terminationGracePeriodSeconds",
    "spec.tolerations.**",
    "spec.topologySpreadConstraints.**",
    "spec.volumes.*.configMap.**",
    "spec.volumes.*.downwardAPI.**",
    "spec.volumes.*.emptyDir.**",
    "spec.volumes.*.name",
    // `containers` stands for `initContainers`, too.
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
    "spec.containers.*.securityContext.runAsGroup",
    "spec.containers.*.securityContext.runAsUser",
    "spec.containers.*.tty",
    "spec.containers.*.volumeMounts.**",
    "spec.containers.*.workingDir",
];

/// By which field the items of a list are told apart (`patchMergeKey` in `k8s.io/api/core/v1/types.go`).
const MERGE_KEYS: [(&str, &str); 8] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
    ("hostAliases", "ip"),
];

/// What of a configuration a user may not set where others work too, and what nobody may.
pub fn refusals(config: &Map<String, Value>, is_trusted: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    visit(
        &Value::Object(config.clone()),
        &mut Vec::new(),
        &mut |path, value| {
            let refused = if is_ours(path, value) {
                Some("is the program's own")
            } else if is_trusted || is_harmless(path, value) {
                None
            } else {
                Some(
                    "is not for every user of a server: whoever runs it can allow it with `serve --allow-pod-config`",
                )
            };
            if let Some(message) = refused {
                problems.push(Problem::new(name(path), message));
            }
        },
    );
    problems
}

/// A step of a path: a key, or an item.
enum At<'a> {
    Key(&'a str),
    Item(usize),
}

fn visit<'a>(value: &'a Value, path: &mut Vec<At<'a>>, each: &mut impl FnMut(&[At<'_>], &Value)) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                path.push(At::Key(key));
                visit(value, path, each);
                path.pop();
            }
        }
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

fn name(path: &[At<'_>]) -> String {
    let mut name = FIELD.to_owned();
    for step in path {
        match step {
            At::Key(key) => name.extend([".", key]),
            At::Item(index) => name += &format!("[{index}]"),
        }
    }
    name
}

/// Whether the program itself relies on it.
fn is_ours(path: &[At<'_>], value: &Value) -> bool {
    match path {
        // Which node it is no one else may say.
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
        // Nothing is gained by what is switched off.
        (_, Value::Null | Value::Bool(false)) => true,
        ([At::Key("spec"), At::Key("priorityClassName")], Value::String(class)) => {
            !class.starts_with("system-")
        }
        // Annotations switch off what confines a container, on older clusters.
        ([At::Key("metadata"), At::Key("annotations"), At::Key(key)], _) => {
            !key.contains("apparmor") && !key.contains("seccomp")
        }
        _ => HARMLESS.iter().any(|pattern| matches(path, pattern)),
    }
}

fn matches(path: &[At<'_>], pattern: &str) -> bool {
    let mut steps = path.iter();
    for part in pattern.split('.') {
        match (part, steps.next()) {
            ("**", _) | ("*", Some(_)) => (),
            ("containers", Some(At::Key("initContainers"))) => (),
            (part, Some(At::Key(key))) if part == *key => (),
            // `{}` and `[]` where more could stand.
            (_, None) => return true,
            _ => return false,
        }
    }
    pattern.ends_with("**") || steps.next().is_none()
}

/// Puts a configuration over a pod.
///
/// # Errors
/// It is no part of a Pod.
pub fn apply(
    template: &PodTemplateSpec,
    config: &Map<String, Value>,
) -> Result<PodTemplateSpec, Problem> {
    let mut merged = serde_json::to_value(template).map_err(|error| problem(FIELD, error))?;
    let config = Value::Object(config.clone());
    merge(&mut merged, &config, "", FIELD)?;
    spell_quantities(&mut merged);
    let template: PodTemplateSpec =
        serde_json::from_value(merged.clone()).map_err(|error| problem(FIELD, error))?;
    let known = serde_json::to_value(&template).map_err(|error| problem(FIELD, error))?;
    match lost(&merged, &known, FIELD) {
        Some(field) => Err(Problem::new(field, "is no field of a Pod")),
        None => Ok(template),
    }
}

fn problem(field: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(field, error.to_string())
}

fn merge(base: &mut Value, over: &Value, key: &str, path: &str) -> Result<(), Problem> {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, over) in over {
                let path = format!("{path}.{key}");
                match base.get_mut(key) {
                    _ if over.is_null() => drop(base.remove(key)),
                    Some(base) => merge(base, over, key, &path)?,
                    None => drop(base.insert(key.clone(), over.clone())),
                }
            }
            Ok(())
        }
        (Value::Array(base), Value::Array(over)) => {
            if matches!(key, "args" | "command") {
                base.clone_from(over);
                return Ok(());
            }
            let merge_key = MERGE_KEYS.iter().find(|(list, _)| *list == key);
            for (index, over) in over.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let place = merge_key.and_then(|(_, field)| find(base, over, key, field));
                match place {
                    Some(place) => merge(&mut base[place], &named(over, key), key, &path)?,
                    None => base.push(over.clone()),
                }
            }
            Ok(())
        }
        (base, over)
            if base.is_object() || base.is_array() || over.is_object() || over.is_array() =>
        {
            let kind = if base.is_object() {
                "a mapping"
            } else if base.is_array() {
                "a list"
            } else {
                "a single value"
            };
            Err(Problem::new(path, format!("expected {kind}, got {over}")))
        }
        (base, over) => {
            base.clone_from(over);
            Ok(())
        }
    }
}

/// Where in a list the item stands that another is put over.
fn find(base: &[Value], over: &Value, list: &str, field: &str) -> Option<usize> {
    match over.get(field) {
        // A container without a name is the task's.
        None if list == "containers" && !base.is_empty() => Some(0),
        Some(name) if list == "containers" && name == SKYPILOT_CONTAINER => Some(0),
        Some(name) => base.iter().position(|item| item.get(field) == Some(name)),
        None => None,
    }
}

/// An item under the name that its list's item has here.
fn named(item: &Value, list: &str) -> Value {
    let mut item = item.clone();
    if list == "containers"
        && item
            .get("name")
            .is_none_or(|name| name == SKYPILOT_CONTAINER)
    {
        item["name"] = CONTAINER.into();
    }
    item
}

/// Writes the numbers among quantities as text, which is how their type is sent.
fn spell_quantities(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::Object(quantities) if matches!(key.as_str(), "limits" | "requests") => {
                        quantities.values_mut().for_each(spell);
                    }
                    size if key == "sizeLimit" => spell(size),
                    value => spell_quantities(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(spell_quantities),
        _ => (),
    }
}

fn spell(value: &mut Value) {
    if let Value::Number(number) = value {
        *value = number.to_string().into();
    }
}

/// The first field of a value that its type does not have.
fn lost(value: &Value, known: &Value, path: &str) -> Option<String> {
    match (value, known) {
        (Value::Object(fields), Value::Object(known)) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match known.get(key) {
                    Some(known) => lost(value, known, &path),
                    None => Some(path),
                }
            }),
        (Value::Array(items), Value::Array(known)) => {
            let pairs = items.iter().zip(known).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (item, known))| lost(item, known, &format!("{path}[{index}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
