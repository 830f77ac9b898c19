//! Defaults of fields that a client left out.
//!
//! Pure. They follow Kubernetes, `pkg/apis/core/v1/defaults.go` and `pkg/apis/batch/v1/defaults.go`, v1.36. This file also gives
//! quantities their canonical spelling, which a real server does when it decodes an object.

use serde_json::{Map, Value, json};

use super::{
    object::{elements_mut, text},
    resource::Kind,
};
use crate::k8s::quantity::Quantity;

/// The only storage class, and that of a claim that names none.
pub const STORAGE_CLASS: &str = "standard";

const BAD_QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Sets the defaults of a kind. An object that has them does not change.
pub fn apply(kind: Kind, object: &mut Value) {
    match kind {
        Kind::Job => job(object),
        Kind::Pod => pod(object),
        Kind::Claim => claim(object),
        Kind::Service => service(object),
        Kind::Secret => {
            merge_string_data(object);
            default(object, "type", json!("Opaque"));
        }
        Kind::Namespace => {
            default(object, "spec", json!({ "finalizers": ["kubernetes"] }));
            default(object, "status", json!({ "phase": "Active" }));
        }
        _ => (),
    }
}

/// Rewrites every quantity of an object. The error is the server's message for text that is not a quantity.
pub fn canonicalize_quantities(kind: Kind, object: &mut Value) -> Result<(), String> {
    match kind {
        Kind::Job => object
            .pointer_mut("/spec/template/spec")
            .map_or(Ok(()), pod_quantities),
        Kind::Pod => object.get_mut("spec").map_or(Ok(()), pod_quantities),
        Kind::Claim => resource_quantities(object.pointer_mut("/spec/resources")),
        _ => Ok(()),
    }
}

fn pod_quantities(spec: &mut Value) -> Result<(), String> {
    for list in ["containers", "initContainers"] {
        for container in elements_mut(spec, list) {
            resource_quantities(container.get_mut("resources"))?;
        }
    }
    for volume in elements_mut(spec, "volumes") {
        if let Some(limit) = volume.pointer_mut("/emptyDir/sizeLimit") {
            canonicalize(limit)?;
        }
    }
    Ok(())
}

fn resource_quantities(resources: Option<&mut Value>) -> Result<(), String> {
    let Some(resources) = resources else {
        return Ok(());
    };
    for list in ["limits", "requests"] {
        for (_, quantity) in resources
            .get_mut(list)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            canonicalize(quantity)?;
        }
    }
    Ok(())
}

fn canonicalize(value: &mut Value) -> Result<(), String> {
    let written = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(BAD_QUANTITY.to_owned()),
    };
    let quantity = Quantity::parse(&written).ok_or(BAD_QUANTITY)?;
    *value = json!(quantity.to_string());
    Ok(())
}

fn default(object: &mut Value, field: &str, value: Value) {
    if object.is_null() {
        *object = json!({});
    }
    if let Some(map) = object
        .as_object_mut()
        .filter(|map| map.get(field).is_none_or(Value::is_null))
    {
        map.insert(field.to_owned(), value);
    }
}

fn job(object: &mut Value) {
    let uid = text(&object["metadata"]["uid"]).to_owned();
    let name = text(&object["metadata"]["name"]).to_owned();
    let labels = object["metadata"].get("labels").cloned();
    let spec = &mut object["spec"];
    let counted = spec.get("completions").is_some() || spec.get("parallelism").is_some();
    if !counted {
        default(spec, "completions", json!(1));
    }
    default(spec, "parallelism", json!(1));
    default(spec, "backoffLimit", json!(6));
    default(spec, "completionMode", json!("NonIndexed"));
    default(spec, "suspend", json!(false));
    let replaces_late = !spec["podFailurePolicy"].is_null();
    let replacement = if replaces_late {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    default(spec, "podReplacementPolicy", json!(replacement));
    if let Some(policy) = spec.get_mut("podFailurePolicy") {
        for condition in
            elements_mut(policy, "rules").flat_map(|rule| elements_mut(rule, "onPodConditions"))
        {
            default(condition, "status", json!("True"));
        }
    }
    default(spec, "manualSelector", json!(false));
    if spec["manualSelector"] == json!(false) {
        default(
            spec,
            "selector",
            json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }),
        );
        let template = &mut spec["template"];
        default(template, "metadata", json!({}));
        default(&mut template["metadata"], "labels", json!({}));
        let template_labels = &mut template["metadata"]["labels"];
        for prefix in ["", "batch.kubernetes.io/"] {
            default(
                template_labels,
                &format!("{prefix}controller-uid"),
                json!(uid),
            );
            default(template_labels, &format!("{prefix}job-name"), json!(name));
        }
    }
    let template_labels = spec["template"]["metadata"].get("labels").cloned();
    pod_spec(&mut spec["template"]["spec"]);
    if let (None, Some(template_labels)) = (labels, template_labels) {
        object["metadata"]["labels"] = template_labels;
    }
    default(object, "status", json!({}));
}

fn pod(object: &mut Value) {
    let spec = &mut object["spec"];
    pod_spec(spec);
    default(spec, "serviceAccountName", json!("default"));
    let account = spec["serviceAccountName"].clone();
    default(spec, "serviceAccount", account);
    let toleration = |key: &str| {
        json!({
            "key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 300,
        })
    };
    default(
        spec,
        "tolerations",
        json!([toleration("not-ready"), toleration("unreachable")]),
    );
    default(spec, "priority", json!(0));
    default(spec, "enableServiceLinks", json!(true));
    default(spec, "preemptionPolicy", json!("PreemptLowerPriority"));
    let class = quality_of_service(spec);
    default(object, "status", json!({}));
    default(&mut object["status"], "phase", json!("Pending"));
    default(&mut object["status"], "qosClass", json!(class));
}

fn pod_spec(spec: &mut Value) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", json!("default-scheduler"));
    for list in ["containers", "initContainers"] {
        for container in elements_mut(spec, list) {
            default(container, "resources", json!({}));
            default(
                container,
                "terminationMessagePath",
                json!("/dev/termination-log"),
            );
            default(container, "terminationMessagePolicy", json!("File"));
            let policy = pull_policy(text(&container["image"]));
            default(container, "imagePullPolicy", json!(policy));
            requests_from_limits(&mut container["resources"]);
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                if let Some(probe) = container.get_mut(probe) {
                    for (field, number) in [
                        ("timeoutSeconds", 1),
                        ("periodSeconds", 10),
                        ("successThreshold", 1),
                        ("failureThreshold", 3),
                    ] {
                        default(probe, field, json!(number));
                    }
                }
            }
            for port in elements_mut(container, "ports") {
                default(port, "protocol", json!("TCP"));
            }
        }
    }
    for volume in elements_mut(spec, "volumes") {
        for source in ["secret", "configMap", "downwardAPI", "projected"] {
            if let Some(source) = volume.get_mut(source) {
                default(source, "defaultMode", json!(0o644));
            }
        }
    }
}

fn pull_policy(image: &str) -> &'static str {
    let (_, tag) = image
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .unwrap_or((image, "latest"));
    if tag == "latest" && !image.contains('@') {
        "Always"
    } else {
        "IfNotPresent"
    }
}

fn requests_from_limits(resources: &mut Value) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    default(resources, "requests", json!({}));
    for (name, limit) in limits {
        default(&mut resources["requests"], &name, limit);
    }
}

fn quality_of_service(spec: &Value) -> &'static str {
    let empty = Map::new();
    let containers = spec["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let amounts = |container: &Value, list: &str| {
        let amounts = container["resources"][list].as_object().unwrap_or(&empty);
        ["cpu", "memory"].map(|name| amounts.get(name).cloned())
    };
    let all = |list| {
        containers
            .iter()
            .map(move |container| amounts(container, list))
    };
    if all("limits")
        .chain(all("requests"))
        .flatten()
        .all(|amount| amount.is_none())
    {
        return "BestEffort";
    }
    let guaranteed = all("limits")
        .zip(all("requests"))
        .all(|(limits, requests)| limits == requests && limits.iter().all(Option::is_some));
    if guaranteed {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn claim(object: &mut Value) {
    default(&mut object["spec"], "volumeMode", json!("Filesystem"));
    // In a real cluster an admission plugin sets the default class.
    default(
        &mut object["spec"],
        "storageClassName",
        json!(STORAGE_CLASS),
    );
    default(object, "status", json!({}));
    default(&mut object["status"], "phase", json!("Pending"));
    if object["metadata"]["deletionTimestamp"].is_null() {
        default(
            &mut object["metadata"],
            "finalizers",
            json!(["kubernetes.io/pvc-protection"]),
        );
    }
}

fn service(object: &mut Value) {
    let random_ip = || {
        format!(
            "10.96.{}.{}",
            rand::random_range(0..=255_u8),
            rand::random_range(1..=254_u8)
        )
    };
    let spec = &mut object["spec"];
    default(spec, "type", json!("ClusterIP"));
    default(spec, "sessionAffinity", json!("None"));
    default(spec, "internalTrafficPolicy", json!("Cluster"));
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", json!("SingleStack"));
    if text(&spec["type"]) != "ExternalName" {
        default(spec, "clusterIP", json!(random_ip()));
        let ip = spec["clusterIP"].clone();
        default(spec, "clusterIPs", json!([ip]));
    }
    for port in elements_mut(spec, "ports") {
        default(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        default(port, "targetPort", number);
    }
    default(object, "status", json!({ "loadBalancer": {} }));
}

fn merge_string_data(object: &mut Value) {
    let Some(plain) = object
        .as_object_mut()
        .and_then(|map| map.remove("stringData"))
    else {
        return;
    };
    default(object, "data", json!({}));
    for (key, value) in plain.as_object().into_iter().flatten() {
        let bytes = k8s_openapi::ByteString(text(value).as_bytes().to_vec());
        object["data"][key] = json!(bytes);
    }
}
