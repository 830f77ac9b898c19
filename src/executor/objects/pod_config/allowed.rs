//! The fields of a Pod that a user may set in `pod_config`. Pure.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use serde_json::{Map, Value};

use super::{At, FIELD, name, quantities_to_text};
use crate::{
    api::{Problem, TaskId, is_reserved_env},
    executor::objects::{PodRules, labels},
};

/// The fields that every user may set. `*` is any one step, including a list item; `**` is all steps that follow.
///
/// NB: Secrets, ConfigMaps, claims and service accounts are missing on purpose: all users share one namespace.
const HARMLESS: [&str; 51] = [
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
    "spec.volumes.*.downwardAPI.**",
    "spec.volumes.*.emptyDir.**",
    "spec.volumes.*.name",
    // Patterns with `containers` match `initContainers` too.
    "spec.containers.*.args.*",
    "spec.containers.*.command.*",
    "spec.containers.*.env.*.name",
    "spec.containers.*.env.*.value",
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

/// The kind of affinity that is no preference.
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// The beginnings of the taints of machines that are cordoned, ill, not ready to be used, about to go, or for the control plane.
const KEPT_FREE: [&str; 8] = [
    "node.kubernetes.io/",
    "node-role.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "CriticalAddonsOnly",
    "DeletionCandidateOfClusterAutoscaler",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupt",
    "karpenter.sh/unregistered",
];
/// The end of the taints of machines whose network or storage is not there yet.
const NOT_READY: &str = "/agent-not-ready";

/// The most refusals that are listed. Further ones are only counted.
const MANY: usize = 50;

/// The fields of a configuration that a user may not set: those of the program, and those that the rules of the operator do not
/// allow.
pub fn refusals(config: &Map<String, Value>, rules: &PodRules) -> Vec<Problem> {
    let is_trusted = rules.any_pod_config;
    let mut problems = if is_trusted {
        Vec::new()
    } else {
        wide_items(config)
    };
    let mut others = 0;
    let known = known_part(config);
    visit_fields(config, &mut Vec::new(), &mut |path, value| {
        let mut path = path;
        let unknown = known.as_ref();
        let unknown = unknown.and_then(|known| unknown_part(path, value, known));
        let message = if let Some(unknown) = unknown {
            path = unknown;
            "is an unknown field: a Pod has no such field"
        } else if is_ours(path, value) {
            "is set by the program itself"
        } else if let Some(refusal) = key_refusal(path, value, rules) {
            problems.push(Problem::new(name(path), refusal));
            return;
        } else if rules.is_restricted && !is_trusted && makes_root(path, value) {
            "is not allowed: tasks of this server do not run as root (`serve --pod-security restricted`)"
        } else if is_trusted || is_harmless(path, value, rules) {
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
    // A Pod has these, and the template of a Job has not.
    if let [At::Key("apiVersion" | "kind" | "status"), ..] = path {
        return None;
    }
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

/// Whether a field lets a process run as root.
fn makes_root(path: &[At<'_>], value: &Value) -> bool {
    match path {
        [.., At::Key("securityContext"), At::Key("runAsUser")] => *value == 0,
        [.., At::Key("securityContext"), At::Key("runAsNonRoot")] => *value == false,
        _ => false,
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

/// The reason why a user may not set a label or an annotation.
fn key_refusal(path: &[At<'_>], value: &Value, rules: &PodRules) -> Option<String> {
    let value = value.as_str().unwrap_or_default();
    match path {
        [At::Key("metadata"), At::Key("labels"), At::Key(key)] => rules.label_refusal(key, value),
        [At::Key("metadata"), At::Key("annotations"), At::Key(key)] => {
            rules.key_refusal(key, value)
        }
        _ => None,
    }
}

/// The items that reach beyond the pods of the task as a whole, though each of their fields is harmless.
fn wide_items(config: &Map<String, Value>) -> Vec<Problem> {
    let items = |path: &str| {
        let items = config.get("spec").and_then(|spec| spec.pointer(path));
        let items = items.and_then(Value::as_array).cloned();
        items.unwrap_or_default().into_iter().enumerate()
    };
    let mut problems = Vec::new();
    for (index, toleration) in items("/tolerations") {
        let key = toleration["key"].as_str().unwrap_or_default();
        let message = match key {
            "" => "tolerates every taint: name a `key`",
            // They decide how long the pod stays on a machine that is lost.
            "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable"
                if toleration["effect"] == "NoExecute" =>
            {
                continue;
            }
            key if key.ends_with(NOT_READY)
                || KEPT_FREE.iter().any(|beginning| key.starts_with(beginning)) =>
            {
                "tolerates machines that Kubernetes or the operator keeps free: the operator can allow it with `serve --allow-pod-config`"
            }
            _ => continue,
        };
        let field = format!("{FIELD}.spec.tolerations[{index}]");
        problems.push(Problem::new(field, message));
    }
    for (index, term) in items(&format!("/affinity/podAntiAffinity/{REQUIRED}")) {
        let keys = term["matchLabelKeys"].as_array().into_iter().flatten();
        if !keys.into_iter().any(|key| key == labels::TASK_ID) {
            let message = format!(
                "keeps pods of others from machines: limit it to the pods of the task with `matchLabelKeys: [{}]`, or prefer it",
                labels::TASK_ID
            );
            problems.push(Problem::new(
                format!("{FIELD}.spec.affinity.podAntiAffinity.{REQUIRED}[{index}]"),
                message,
            ));
        }
    }
    problems
}

/// Limits required anti-affinity to the pods of the task where it names them. Kubernetes knows `matchLabelKeys` since 1.29 only.
pub fn limit_to_task(pod: &mut PodSpec, id: TaskId) {
    let affinity = pod.affinity.as_mut();
    let terms = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_mut());
    let terms = terms.and_then(|terms| {
        terms
            .required_during_scheduling_ignored_during_execution
            .as_mut()
    });
    for term in terms.into_iter().flatten() {
        let keys = term.match_label_keys.get_or_insert_default();
        let count = keys.len();
        keys.retain(|key| key != labels::TASK_ID);
        if keys.len() < count {
            let selector = term.label_selector.get_or_insert_default();
            let labels = selector.match_labels.get_or_insert_default();
            labels.insert(labels::TASK_ID.to_owned(), id.to_string());
        }
        if keys.is_empty() {
            term.match_label_keys = None;
        }
    }
}

fn is_harmless(path: &[At<'_>], value: &Value, rules: &PodRules) -> bool {
    match (path, value) {
        // Terms about pods of other namespaces.
        ([At::Key("spec"), At::Key("affinity"), At::Key(_), rest @ ..], _)
            if rest
                .iter()
                .any(|step| matches!(step, At::Key("namespaces" | "namespaceSelector"))) =>
        {
            false
        }
        ([At::Key("spec"), At::Key("runtimeClassName")], Value::String(class)) => {
            rules.allows_runtime_class(class)
        }
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
