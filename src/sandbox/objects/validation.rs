//! Validation of objects, with the errors in the API server's order and words.
//!
//! Pure. It follows Kubernetes, `pkg/apis/batch/validation` and `pkg/apis/core/validation`, v1.36, for the fields that a Job, its
//! pod and a claim usually have; other fields are not checked.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    object::{elements, text},
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

/// The most bytes of all annotations of an object together
/// (`staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go`, `TotalAnnotationSizeLimitB`, v1.36).
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Lists the errors of an object that has its defaults.
pub fn check(kind: Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_metadata(kind, &object["metadata"], &mut errors);
    match kind {
        Kind::Job => check_job(object, &mut errors),
        Kind::Pod => check_pod_spec("spec", &object["spec"], &mut errors),
        Kind::Claim => check_claim(&object["spec"], &mut errors),
        Kind::Secret | Kind::ConfigMap => check_data_keys(&object["data"], &mut errors),
        _ => (),
    }
    errors
}

fn check_metadata(kind: Kind, metadata: &Value, errors: &mut Vec<FieldError>) {
    let name = text(&metadata["name"]);
    let check_name = match kind {
        Kind::Namespace => names::check_dns_label,
        Kind::Service => names::check_service_name,
        _ => names::check_subdomain,
    };
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(why) = check_name(name) {
        errors.push(FieldError::invalid("metadata.name", name, &why));
    }
    check_labels("metadata.labels", &metadata["labels"], errors);
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let length: usize = annotations
        .map(|(key, value)| key.len() + text(value).len())
        .sum();
    if length > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            MAX_ANNOTATIONS,
        ));
    }
    for (key, _) in metadata["annotations"].as_object().into_iter().flatten() {
        if let Some(why) = names::check_label_key(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                key.as_str(),
                &why,
            ));
        }
    }
}

fn check_labels(field: &str, labels: &Value, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(why) = names::check_label_key(key) {
            errors.push(FieldError::invalid(field, key.as_str(), &why));
        }
        if let Some(why) = names::check_label_value(text(value)) {
            errors.push(FieldError::invalid(field, text(value), &why));
        }
    }
}

fn check_job(object: &Value, errors: &mut Vec<FieldError>) {
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
            errors.push(FieldError::invalid(format!("spec.{field}"), number, why));
        }
    }
    let template = &spec["template"];
    check_labels(
        "spec.template.labels",
        &template["metadata"]["labels"],
        errors,
    );
    check_pod_spec("spec.template.spec", &template["spec"], errors);
    let policy = text(&template["spec"]["restartPolicy"]);
    let field = "spec.template.spec.restartPolicy";
    match policy {
        "Always" => errors.push(FieldError::required(
            field,
            "valid values: \"OnFailure\", \"Never\"",
        )),
        "OnFailure" | "Never" => (),
        policy => errors.push(FieldError::not_supported(
            field,
            policy,
            &["OnFailure", "Never"],
        )),
    }
}

fn check_pod_spec(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let mut volumes = HashSet::new();
    for (index, volume) in elements(&spec["volumes"]).iter().enumerate() {
        let field = format!("{path}.volumes[{index}].name");
        let name = text(&volume["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if let Some(why) = names::check_dns_label(name) {
            errors.push(FieldError::invalid(field, name, &why));
        } else if !volumes.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(field, name));
        }
        let claim = &volume["persistentVolumeClaim"];
        if !claim.is_null() && text(&claim["claimName"]).is_empty() {
            let field = format!("{path}.volumes[{index}].persistentVolumeClaim.claimName");
            errors.push(FieldError::required(field, ""));
        }
    }
    if elements(&spec["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut taken = HashSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in elements(&spec[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            let name = text(&container["name"]);
            if name.is_empty() {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            } else if let Some(why) = names::check_dns_label(name) {
                errors.push(FieldError::invalid(format!("{path}.name"), name, &why));
            } else if !taken.insert(name.to_owned()) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            check_container(&path, container, &volumes, errors);
        }
    }
    if let Some(number) = spec["activeDeadlineSeconds"]
        .as_i64()
        .filter(|number| *number < 1)
    {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(
            format!("{path}.activeDeadlineSeconds"),
            number,
            why,
        ));
    }
}

fn check_container(
    path: &str,
    container: &Value,
    volumes: &HashSet<String>,
    errors: &mut Vec<FieldError>,
) {
    if text(&container["image"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    }
    for (index, variable) in elements(&container["env"]).iter().enumerate() {
        let field = format!("{path}.env[{index}].name");
        let name = text(&variable["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if let Some(why) = names::check_environment_name(name) {
            errors.push(FieldError::invalid(field, name, &why));
        }
    }
    let mut paths = HashSet::new();
    for (index, mount) in elements(&container["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let (name, mount_path) = (text(&mount["name"]), text(&mount["mountPath"]));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError::not_found(format!("{path}.name"), name));
        }
        if mount_path.is_empty() {
            errors.push(FieldError::required(format!("{path}.mountPath"), ""));
        } else if !paths.insert(mount_path) {
            let why = "must be unique";
            errors.push(FieldError::invalid(
                format!("{path}.mountPath"),
                mount_path,
                why,
            ));
        }
        let inner = text(&mount["subPath"]);
        if inner.starts_with('/') {
            errors.push(FieldError::invalid(
                format!("{path}.subPath"),
                inner,
                "must be a relative path",
            ));
        } else if inner.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(
                format!("{path}.subPath"),
                inner,
                "must not contain '..'",
            ));
        }
    }
    check_resources(
        &format!("{path}.resources"),
        &container["resources"],
        errors,
    );
}

fn check_resources(path: &str, resources: &Value, errors: &mut Vec<FieldError>) {
    let parse = |value: &Value| Quantity::parse(text(value)).unwrap_or(Quantity::zero());
    for list in ["limits", "requests"] {
        for (name, amount) in resources[list].as_object().into_iter().flatten() {
            if parse(amount).nanos() < 0 {
                let why = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(
                    format!("{path}.{list}[{name}]"),
                    text(amount),
                    why,
                ));
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let Some(limit) = resources["limits"].get(name) else {
            continue;
        };
        if parse(request).nanos() > parse(limit).nanos() {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                text(limit)
            );
            errors.push(FieldError::invalid(
                format!("{path}.requests"),
                text(request),
                &why,
            ));
        }
    }
}

fn check_claim(spec: &Value, errors: &mut Vec<FieldError>) {
    if elements(&spec["accessModes"]).is_empty() {
        errors.push(FieldError::required(
            "spec.accessModes",
            "at least 1 access mode is required",
        ));
    }
    let alone = |mode: &Value| text(mode) == "ReadWriteOncePod";
    let modes = elements(&spec["accessModes"]);
    if modes.iter().any(alone) && !modes.iter().all(alone) {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden("spec.accessModes", why));
    }
    for mode in modes {
        if !ACCESS_MODES.contains(&text(mode)) {
            errors.push(FieldError::not_supported(
                "spec.accessModes",
                text(mode),
                &ACCESS_MODES,
            ));
        }
    }
    match spec["resources"]["requests"].get("storage") {
        None => errors.push(FieldError::required("spec.resources[storage]", "")),
        Some(size) if Quantity::parse(text(size)).is_none_or(|size| size.nanos() <= 0) => {
            let why = "must be greater than zero";
            errors.push(FieldError::invalid(
                "spec.resources[storage]",
                text(size),
                why,
            ));
        }
        Some(_) => (),
    }
}

fn check_data_keys(data: &Value, errors: &mut Vec<FieldError>) {
    for (key, _) in data.as_object().into_iter().flatten() {
        let fine = key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !fine || key.is_empty() {
            let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                       'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            errors.push(FieldError::invalid(
                format!("data[{key}]"),
                key.as_str(),
                why,
            ));
        }
    }
}
