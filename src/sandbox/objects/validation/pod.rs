//! Validation of the spec of a pod.

use std::collections::HashSet;

use serde_json::Value;

use super::{Errors, affinity::check_affinity, container::check_container, rules};
use crate::{
    k8s::{names, quantity::Quantity},
    sandbox::objects::object::{elements, text},
};

/// The sources of a volume that the sandbox knows, in the order of the API server's checks.
const VOLUME_SOURCES: [&str; 7] = [
    "emptyDir",
    "hostPath",
    "secret",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
];

/// The fields of a pod that its environment can have, apart from single labels and annotations.
pub const FIELDS: [&str; 8] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.podIP",
    "status.podIPs",
];

/// The fields of a pod that a volume can have, apart from single labels and annotations.
const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// The other fields that are known by name, but not allowed everywhere.
const OTHER_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
];

pub fn check_pod_spec(path: &str, spec: &Value, errors: &mut Errors) {
    rules::apply(rules::POD, path, spec, &mut errors.0);
    check_tolerations(path, spec, errors);
    check_affinity(&format!("{path}.affinity"), &spec["affinity"], errors);
    if spec["dnsPolicy"] == "None" && spec["dnsConfig"].is_null() {
        let why = "must provide `dnsConfig` when `dnsPolicy` is None";
        errors.required(format!("{path}.dnsConfig"), why);
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let field = format!("{path}.securityContext.shareProcessNamespace");
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(field, true, why);
    }
    let mut volumes = HashSet::new();
    for (index, volume) in elements(&spec["volumes"]).iter().enumerate() {
        let field = format!("{path}.volumes[{index}].name");
        let name = text(&volume["name"]);
        if name.is_empty() {
            errors.required(field, "");
        } else if let Some(why) = names::check_dns_label(name) {
            errors.invalid(field, name, &why);
        } else if !volumes.insert(name.to_owned()) {
            errors.duplicate(field, name);
        }
        let fields = volume.as_object().into_iter().flatten();
        let sources = fields.filter(|(field, source)| *field != "name" && !source.is_null());
        let mut sources: Vec<_> = sources.map(|(source, _)| source.as_str()).collect();
        sources.sort_by_key(|source| {
            let known = VOLUME_SOURCES.iter().position(|known| known == source);
            known.unwrap_or(VOLUME_SOURCES.len())
        });
        for source in sources.iter().skip(1) {
            let field = format!("{path}.volumes[{index}].{source}");
            let why = "may not specify more than 1 volume type";
            errors.forbidden(field, why);
        }
        check_volume(&format!("{path}.volumes[{index}]"), volume, errors);
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
                errors.duplicate(format!("{path}.name"), name);
            }
            check_container(&path, container, &volumes, errors);
        }
    }
}

fn check_volume(path: &str, volume: &Value, errors: &mut Errors) {
    let limit = Quantity::parse(text(&volume["emptyDir"]["sizeLimit"]));
    if limit.is_some_and(|limit| limit.nanos() < 0) {
        let why = "SizeLimit field must be a valid resource quantity";
        let field = format!("{path}.emptyDir.sizeLimit");
        errors.forbidden(field, why);
    }
    for item in elements(&volume["downwardAPI"]["items"]) {
        let path = format!("{path}.downwardAPI");
        if !item["fieldRef"].is_null() {
            check_field_ref(&path, &item["fieldRef"], &VOLUME_FIELDS, errors);
        } else if item["resourceFieldRef"].is_null() {
            errors.required(path, "one of fieldRef and resourceFieldRef is required");
        }
    }
    let mut paths = HashSet::new();
    for (index, source) in elements(&volume["projected"]["sources"]).iter().enumerate() {
        if source.as_object().is_some_and(|sources| sources.len() > 1) {
            let field = format!("{path}.projected.sources[{index}]");
            let why = "may not specify more than 1 volume type per source";
            errors.forbidden(field, why);
        }
        for source in source
            .as_object()
            .into_iter()
            .flat_map(|source| source.values())
        {
            for item in elements(&source["items"]) {
                if !paths.insert(text(&item["path"])) {
                    let why = "conflicting duplicate paths";
                    let field = format!("{path}.projected");
                    errors.invalid(field, text(&source["name"]), why);
                }
            }
        }
    }
}

/// Checks a reference to a field of the pod.
pub fn check_field_ref(path: &str, reference: &Value, allowed: &[&str], errors: &mut Errors) {
    let field = text(&reference["fieldPath"]);
    let path = format!("{path}.fieldRef");
    let single = field
        .strip_suffix("']")
        .and_then(|field| field.split_once("['"));
    if let Some((list, key)) = single {
        if !["metadata.labels", "metadata.annotations"].contains(&list) {
            let why = "does not support subscript";
            errors.invalid(format!("{path}.fieldPath"), field, why);
        } else if let Some(why) = names::check_label_key(key) {
            errors.invalid(path, key, &why);
        }
    } else if !field.is_empty() && !allowed.contains(&field) {
        let path = format!("{path}.fieldPath");
        match FIELDS
            .iter()
            .chain(&OTHER_FIELDS)
            .any(|known| *known == field)
        {
            true => errors.not_supported(&path, field, allowed),
            false => {
                let why = format!("error converting fieldPath: field label not supported: {field}");
                errors.invalid(path, field, &why);
            }
        }
    }
}

fn check_tolerations(path: &str, spec: &Value, errors: &mut Errors) {
    for (index, toleration) in elements(&spec["tolerations"]).iter().enumerate() {
        let field = |name: &str| format!("{path}.tolerations[{index}].{name}");
        let [key, operator, value] =
            ["key", "operator", "value"].map(|name| text(&toleration[name]));
        if operator == "Exists" && !value.is_empty() {
            let why = "value must be empty when `operator` is 'Exists'";
            errors.invalid(field("operator"), toleration.clone(), why);
        } else if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(field("operator"), operator, why);
        } else if let Some(why) = names::check_label_value(value) {
            errors.invalid(field("operator"), value, &why);
        }
        let effect = text(&toleration["effect"]);
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(field("effect"), effect, why);
        }
    }
}
