//! Validation of objects, with the errors in the API server's order and words.
//!
//! Pure. It follows Kubernetes, `pkg/apis/batch/validation` and `pkg/apis/core/validation`, v1.36, for the fields that a Job, its
//! pod and a claim usually have; other fields are not checked.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    field_rules,
    object::{elements, text},
    pod_rules,
    resource::Kind,
    status::FieldError,
};
use crate::k8s::{names, quantity::Quantity};

const ACCESS_MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

/// The first sources of a volume in the order of the API server's checks.
const VOLUME_SOURCES: [&str; 7] = [
    "emptyDir",
    "hostPath",
    "secret",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
];

/// The most bytes of all annotations of an object together
/// (`staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go`, `TotalAnnotationSizeLimitB`, v1.36).
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The most bytes of the values of a Secret or a `ConfigMap` (`pkg/apis/core/types.go`, `MaxSecretSize`, v1.36). Values in base64
/// are counted as they are decoded.
const MAX_CONTENTS: usize = 1024 * 1024;

/// The errors of an object. Its methods add one error.
struct Errors(Vec<FieldError>);

impl Errors {
    fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, why: &str) {
        self.0.push(FieldError::invalid(field, value, why));
    }

    fn required(&mut self, field: impl Into<String>, why: &str) {
        self.0.push(FieldError::required(field, why));
    }

    fn not_supported(&mut self, field: &str, value: &str, supported: &[&str]) {
        self.0
            .push(FieldError::not_supported(field, value, supported));
    }
}

/// Lists the errors of an object that has its defaults.
pub fn check(kind: Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors(Vec::new());
    check_metadata(kind, &object["metadata"], &mut errors);
    match kind {
        Kind::Job => check_job(object, &mut errors),
        Kind::Pod => check_pod_spec("spec", &object["spec"], &mut errors),
        Kind::Claim => {
            check_claim(&object["spec"], &mut errors);
            errors.0.extend(field_rules::check(
                "spec",
                &object["spec"],
                field_rules::CLAIM,
            ));
        }
        Kind::Service => check_service(&object["spec"], &mut errors),
        Kind::Secret | Kind::ConfigMap => check_contents(kind, object, &mut errors),
        _ => (),
    }
    errors.0
}

fn check_metadata(kind: Kind, metadata: &Value, errors: &mut Errors) {
    let name = text(&metadata["name"]);
    let check_name = match kind {
        Kind::Namespace | Kind::Service => names::check_dns_label,
        _ => names::check_subdomain,
    };
    if name.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    } else if let Some(why) = check_name(name) {
        errors.invalid("metadata.name", name, &why);
    }
    check_labels("metadata.labels", &metadata["labels"], errors);
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let length: usize = annotations
        .map(|(key, value)| key.len() + text(value).len())
        .sum();
    if length > MAX_ANNOTATIONS {
        errors.0.push(FieldError::too_long(
            "metadata.annotations",
            MAX_ANNOTATIONS,
        ));
    }
    for (key, _) in metadata["annotations"].as_object().into_iter().flatten() {
        if let Some(why) = names::check_label_key(&key.to_lowercase()) {
            errors.invalid("metadata.annotations", key.as_str(), &why);
        }
    }
}

fn check_labels(field: &str, labels: &Value, errors: &mut Errors) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(why) = names::check_label_key(key) {
            errors.invalid(field, key.as_str(), &why);
        }
        if let Some(why) = names::check_label_value(text(value)) {
            errors.invalid(field, text(value), &why);
        }
    }
}

fn check_job(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ] {
        if let Some(number) = spec[field].as_i64().filter(|number| *number < 0) {
            let why = "must be greater than or equal to 0";
            errors.invalid(format!("spec.{field}"), number, why);
        }
    }
    let template = &spec["template"];
    check_labels(
        "spec.template.labels",
        &template["metadata"]["labels"],
        errors,
    );
    if spec["manualSelector"] != true {
        for (key, expected) in [("controller-uid", "uid"), ("job-name", "name")] {
            let expected = text(&object["metadata"][expected]);
            for key in [key.to_owned(), format!("batch.kubernetes.io/{key}")] {
                let given = template["metadata"]["labels"].get(&key).map(text);
                if given.is_some_and(|given| given != expected) {
                    let field = format!("spec.template.metadata.labels[{key}]");
                    errors.invalid(field, given, &format!("must be '{expected}'"));
                }
            }
        }
    }
    check_pod_spec("spec.template.spec", &template["spec"], errors);
    let policy = text(&template["spec"]["restartPolicy"]);
    let field = "spec.template.spec.restartPolicy";
    match policy {
        "Always" => errors.required(field, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" | "Never" => (),
        policy => errors.not_supported(field, policy, &["OnFailure", "Never"]),
    }
}

fn check_pod_spec(path: &str, spec: &Value, errors: &mut Errors) {
    let mut volumes = HashSet::new();
    for (index, volume) in elements(&spec["volumes"]).iter().enumerate() {
        let field = format!("{path}.volumes[{index}].name");
        let name = text(&volume["name"]);
        if name.is_empty() {
            errors.required(field, "");
        } else if let Some(why) = names::check_dns_label(name) {
            errors.invalid(field, name, &why);
        } else if !volumes.insert(name.to_owned()) {
            errors.0.push(FieldError::duplicate(field, name));
        }
        let sources = volume.as_object().into_iter().flatten();
        let sources = sources
            .filter(|(name, source)| *name != "name" && !source.is_null())
            .map(|(name, _)| name.as_str());
        let mut sources: Vec<&str> = sources.collect();
        let last = VOLUME_SOURCES.len();
        sources.sort_by_key(|source| {
            let known = VOLUME_SOURCES.iter().position(|known| known == source);
            known.unwrap_or(last)
        });
        for source in sources.iter().skip(1) {
            let field = format!("{path}.volumes[{index}].{source}");
            let why = "may not specify more than 1 volume type";
            errors.0.push(FieldError::forbidden(field, why));
        }
        let claim = &volume["persistentVolumeClaim"];
        if !claim.is_null() && text(&claim["claimName"]).is_empty() {
            let field = format!("{path}.volumes[{index}].persistentVolumeClaim.claimName");
            errors.required(field, "");
        }
    }
    if elements(&spec["containers"]).is_empty() {
        errors.required(format!("{path}.containers"), "");
    }
    let mut taken = HashSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in elements(&spec[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            let name = text(&container["name"]);
            if name.is_empty() {
                errors.required(format!("{path}.name"), "");
            } else if let Some(why) = names::check_dns_label(name) {
                errors.invalid(format!("{path}.name"), name, &why);
            } else if !taken.insert(name.to_owned()) {
                errors
                    .0
                    .push(FieldError::duplicate(format!("{path}.name"), name));
            }
            check_container(&path, container, &volumes, errors);
        }
    }
    errors
        .0
        .extend(field_rules::check(path, spec, field_rules::POD));
    errors.0.extend(pod_rules::check_pod(path, spec));
}

fn check_container(path: &str, container: &Value, volumes: &HashSet<String>, errors: &mut Errors) {
    if text(&container["image"]).is_empty() {
        errors.required(format!("{path}.image"), "");
    }
    for (index, variable) in elements(&container["env"]).iter().enumerate() {
        let field = format!("{path}.env[{index}].name");
        let name = text(&variable["name"]);
        if name.is_empty() {
            errors.required(field, "");
        } else if let Some(why) = names::check_environment_name(name) {
            errors.invalid(field, name, &why);
        }
    }
    errors.0.extend(pod_rules::check_container(path, container));
    let mut paths = HashSet::new();
    for (index, mount) in elements(&container["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let (name, mount_path) = (text(&mount["name"]), text(&mount["mountPath"]));
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        } else if !volumes.contains(name) {
            errors
                .0
                .push(FieldError::not_found(format!("{path}.name"), name));
        }
        if mount_path.is_empty() {
            errors.required(format!("{path}.mountPath"), "");
        } else if !paths.insert(mount_path) {
            let why = "must be unique";
            errors.invalid(format!("{path}.mountPath"), mount_path, why);
        }
        let inner = text(&mount["subPath"]);
        let expression = text(&mount["subPathExpr"]);
        if !inner.is_empty() && !expression.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(format!("{path}.subPathExpr"), expression, why);
        }
        if inner.starts_with('/') {
            errors.invalid(format!("{path}.subPath"), inner, "must be a relative path");
        } else if inner.split('/').any(|part| part == "..") {
            errors.invalid(format!("{path}.subPath"), inner, "must not contain '..'");
        }
    }
    check_resources(
        &format!("{path}.resources"),
        &container["resources"],
        errors,
    );
}

fn check_resources(path: &str, resources: &Value, errors: &mut Errors) {
    let parse = |value: &Value| Quantity::parse(text(value)).unwrap_or(Quantity::zero());
    for list in ["limits", "requests"] {
        for (name, amount) in resources[list].as_object().into_iter().flatten() {
            if let Some(why) = pod_rules::check_resource_name(name) {
                errors.invalid(format!("{path}.{list}[{name}]"), name.as_str(), why);
            }
            if parse(amount).nanos() < 0 {
                let why = "must be greater than or equal to 0";
                errors.invalid(format!("{path}.{list}[{name}]"), text(amount), why);
            }
            if is_extended(name) && parse(amount).nanos() % 1_000_000_000 != 0 {
                let field = format!("{path}.{list}[{name}]");
                errors.invalid(field, text(amount), "must be an integer");
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let Some(limit) = resources["limits"].get(name) else {
            if is_extended(name) {
                let why = "Limit must be set for non overcommitable resources";
                errors.required(format!("{path}.limits"), why);
            }
            continue;
        };
        if is_extended(name) && parse(request).nanos() != parse(limit).nanos() {
            let why = format!("must be equal to {name} limit of {}", text(limit));
            errors.invalid(format!("{path}.requests"), text(request), &why);
        } else if parse(request).nanos() > parse(limit).nanos() {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                text(limit)
            );
            errors.invalid(format!("{path}.requests"), text(request), &why);
        }
    }
}

/// Whether a resource is of a vendor, such as a GPU: whole, and not overcommitted.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

fn check_service(spec: &Value, errors: &mut Errors) {
    let is_plain = ["", "ClusterIP", "NodePort", "LoadBalancer"].contains(&text(&spec["type"]));
    if is_plain && spec["clusterIP"] != "None" && elements(&spec["ports"]).is_empty() {
        errors.required("spec.ports", "");
    }
    errors
        .0
        .extend(field_rules::check("spec", spec, field_rules::SERVICE));
}

fn check_claim(spec: &Value, errors: &mut Errors) {
    if elements(&spec["accessModes"]).is_empty() {
        errors.required("spec.accessModes", "at least 1 access mode is required");
    }
    let alone = |mode: &Value| text(mode) == "ReadWriteOncePod";
    let modes = elements(&spec["accessModes"]);
    if modes.iter().any(alone) && !modes.iter().all(alone) {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors
            .0
            .push(FieldError::forbidden("spec.accessModes", why));
    }
    for mode in modes {
        if !ACCESS_MODES.contains(&text(mode)) {
            errors.not_supported("spec.accessModes", text(mode), &ACCESS_MODES);
        }
    }
    match spec["resources"]["requests"].get("storage") {
        None => errors.required("spec.resources[storage]", ""),
        Some(size) if Quantity::parse(text(size)).is_none_or(|size| size.nanos() <= 0) => {
            let why = "must be greater than zero";
            errors.invalid("spec.resources[storage]", text(size), why);
        }
        Some(_) => (),
    }
}

fn check_contents(kind: Kind, object: &Value, errors: &mut Errors) {
    let data = &object["data"];
    for (key, _) in object["binaryData"].as_object().into_iter().flatten() {
        if !data[key].is_null() {
            let why = "duplicate of key present in binaryData";
            errors.invalid(format!("data[{key}]"), key.as_str(), why);
        }
    }
    let required: &[&str] = match text(&object["type"]) {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required.iter().filter(|key| data[**key].is_null()) {
        errors.required(format!("data[{key}]"), "");
    }
    let decoded = |value: &str| {
        value.len() / 4 * 3
            - value
                .bytes()
                .rev()
                .take_while(|byte| *byte == b'=')
                .count()
                .min(2)
    };
    let size = |values: &Value, is_encoded: bool| -> usize {
        let values = values
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, value)| text(value));
        values
            .filter(|value| !value.is_empty())
            .map(|value| {
                if is_encoded {
                    decoded(value)
                } else {
                    value.len()
                }
            })
            .sum()
    };
    if size(data, kind == Kind::Secret) + size(&object["binaryData"], true) > MAX_CONTENTS {
        errors.0.push(FieldError::too_long("[]", MAX_CONTENTS));
    }
    for (key, _) in data.as_object().into_iter().flatten() {
        if !field_rules::is_data_key(key) {
            errors.invalid(format!("data[{key}]"), key.as_str(), field_rules::DATA_KEY);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_container(fields: Value, volume: Value, expected: &[&str]) {
        let mut container = json!({ "name": "c", "image": "i" });
        for (field, value) in fields.as_object().unwrap() {
            container[field] = value.clone();
        }
        let spec = json!({ "containers": [container], "volumes": [volume] });
        let errors = check(
            Kind::Pod,
            &json!({ "metadata": { "name": "x" }, "spec": spec }),
        );
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn contradictions_of_a_container_are_refused() {
        let plain = json!({ "name": "v", "emptyDir": {} });
        let gpu = |list: &str, amount: &str| json!({ list: { "nvidia.com/gpu": amount } });
        let both =
            json!({ "limits": { "nvidia.com/gpu": "2" }, "requests": { "nvidia.com/gpu": "1" } });
        let variable = json!([{ "name": "A", "value": "x", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]);
        let cases = [
            (json!({ "resources": gpu("limits", "1") }), vec![]),
            (
                json!({ "resources": gpu("limits", "500m") }),
                vec![
                    "spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: \"500m\": must be an integer",
                ],
            ),
            (
                json!({ "resources": gpu("requests", "1") }),
                vec![
                    "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
                ],
            ),
            (
                json!({ "resources": both }),
                vec![
                    "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to nvidia.com/gpu limit of 2",
                ],
            ),
            (
                json!({ "env": variable }),
                vec![
                    "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
                ],
            ),
        ];
        let probe = json!({ "exec": { "command": ["true"] }, "successThreshold": 2 });
        let line = "spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1";
        check_container(json!({ "startupProbe": probe }), plain.clone(), &[line]);
        for (fields, expected) in cases {
            check_container(fields, plain.clone(), &expected);
        }
        let volume = json!({ "name": "v", "emptyDir": {}, "secret": { "secretName": "s" }, "configMap": { "name": "c" } });
        let why = "Forbidden: may not specify more than 1 volume type";
        let lines =
            ["secret", "configMap"].map(|source| format!("spec.volumes[0].{source}: {why}"));
        check_container(json!({}), volume, &lines.each_ref().map(String::as_str));
    }
}
