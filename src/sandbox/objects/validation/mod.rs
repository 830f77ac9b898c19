//! Validation of objects, with the errors in the API server's order and words.
//!
//! Pure. It follows Kubernetes, `pkg/apis/batch/validation` and `pkg/apis/core/validation`, v1.36, for the fields that a Job, its
//! pod, a claim and a Service usually have; other fields are not checked. The rules for single fields are in [`rules`].

mod affinity;
mod container;
mod pod;
mod rules;

use std::{collections::HashSet, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use self::pod::check_pod_spec;
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

/// The most bytes of the data of a Secret or a ConfigMap (`pkg/apis/core/types.go`, `MaxSecretSize`, v1.36).
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

    fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.0.push(FieldError::forbidden(field, why));
    }

    fn duplicate(&mut self, field: impl Into<String>, value: &str) {
        self.0.push(FieldError::duplicate(field, value));
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
        Kind::Claim => check_claim(&object["spec"], &mut errors),
        Kind::Service => check_service(&object["spec"], &mut errors),
        Kind::Secret | Kind::ConfigMap => check_data(kind, object, &mut errors),
        _ => (),
    }
    errors.0
}

/// Lists the errors of an object that are none in a change.
pub fn check_new(kind: Kind, object: &Value) -> Vec<FieldError> {
    let path = match kind {
        Kind::Job => "spec.template.spec",
        Kind::Pod => "spec",
        _ => return Vec::new(),
    };
    let spec = &object["spec"];
    let spec = if kind == Kind::Job {
        &spec["template"]["spec"]
    } else {
        spec
    };
    if elements(&spec["ephemeralContainers"]).is_empty() {
        return Vec::new();
    }
    let field = format!("{path}.ephemeralContainers");
    vec![FieldError::forbidden(field, "cannot be set on create")]
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
    let generated = text(&metadata["generateName"]);
    if !generated.is_empty()
        && let Some(why) = check_name(&format!("{}a", generated.trim_end_matches('-')))
    {
        errors.invalid("metadata.generateName", generated, &why);
    }
    check_labels("metadata.labels", &metadata["labels"], errors);
    check_owners(metadata, errors);
    check_annotations("metadata.annotations", &metadata["annotations"], errors);
}

fn check_annotations(field: &str, annotations: &Value, errors: &mut Errors) {
    let annotations = annotations.as_object().into_iter().flatten();
    let mut length = 0;
    for (key, value) in annotations {
        length += key.len() + text(value).len();
        if let Some(why) = names::check_label_key(&key.to_lowercase()) {
            errors.invalid(field, key.as_str(), &why);
        }
    }
    if length > MAX_ANNOTATIONS {
        errors.0.push(FieldError::too_long(field, MAX_ANNOTATIONS));
    }
}

fn check_owners(metadata: &Value, errors: &mut Errors) {
    let owners = elements(&metadata["ownerReferences"]);
    for owner in owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(&owner[field]).is_empty() {
                let why = format!("{field} must not be empty");
                errors.invalid(format!("metadata.ownerReferences.{field}"), "", &why);
            }
        }
    }
    let controllers = owners.iter().filter(|owner| owner["controller"] == true);
    if controllers.count() > 1 {
        let why = "Only one reference can have Controller set to true";
        errors.invalid("metadata.ownerReferences", owners.to_vec(), why);
    }
    for (index, finalizer) in elements(&metadata["finalizers"]).iter().enumerate() {
        let finalizer = text(finalizer);
        if let Some(why) = names::check_label_key(finalizer) {
            errors.invalid("metadata.finalizers", finalizer, &why);
        } else if !finalizer.contains('/')
            && !["orphan", "foregroundDeletion", "kubernetes"].contains(&finalizer)
        {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid(format!("metadata.finalizers[{index}]"), finalizer, why);
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
    let metadata = &template["metadata"];
    check_labels("spec.template.labels", &metadata["labels"], errors);
    let annotations = &metadata["annotations"];
    check_annotations("spec.template.annotations", annotations, errors);
    check_selector(object, errors);
    check_pod_spec("spec.template.spec", &template["spec"], errors);
    if spec["completionMode"] == "Indexed" && spec["completions"].is_null() {
        errors.required("spec.completions", "when completion mode is Indexed");
    }
    let policy = text(&template["spec"]["restartPolicy"]);
    let field = "spec.template.spec.restartPolicy";
    if !spec["podFailurePolicy"].is_null() && policy == "OnFailure" {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.invalid(field, policy, why);
    }
    match policy {
        "Always" => errors.required(field, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" | "Never" => (),
        policy => errors.not_supported(field, policy, &["OnFailure", "Never"]),
    }
}

/// Checks the selector, which the API server makes unless it is a manual one.
fn check_selector(object: &Value, errors: &mut Errors) {
    let (metadata, spec) = (&object["metadata"], &object["spec"]);
    let labels = &spec["template"]["metadata"]["labels"];
    let wanted = spec["selector"]["matchLabels"].as_object();
    if spec["manualSelector"] == true {
        if spec["selector"].is_null() {
            errors.required("spec.selector", "");
        }
    } else {
        for (label, value) in [
            ("controller-uid", &metadata["uid"]),
            ("job-name", &metadata["name"]),
        ] {
            if !value.is_null() && labels[label] != *value {
                let field = format!("spec.template.metadata.labels[{label}]");
                errors.invalid(field, labels.clone(), &format!("must be '{}'", text(value)));
            }
        }
        let is_made = wanted.is_some_and(|wanted| {
            let mut keys = wanted.keys();
            keys.all(|key| key.ends_with("controller-uid"))
        });
        if !is_made {
            let why = "`selector` not auto-generated";
            errors.invalid("spec.selector", spec["selector"].clone(), why);
        }
    }
    let matches = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
    if !wanted.is_some_and(|wanted| wanted.iter().all(matches)) {
        let why = "`selector` does not match template `labels`";
        errors.invalid("spec.template.metadata.labels", labels.clone(), why);
    }
}

fn check_claim(spec: &Value, errors: &mut Errors) {
    rules::apply(rules::CLAIM, "spec", spec, &mut errors.0);
    for (index, expression) in elements(&spec["selector"]["matchExpressions"])
        .iter()
        .enumerate()
    {
        let operator = text(&expression["operator"]);
        if !["In", "NotIn", "Exists", "DoesNotExist"].contains(&operator) {
            let field = format!("spec.selector.matchExpressions[{index}].operator");
            errors.invalid(field, operator, "not a valid selector operator");
        }
    }
    if elements(&spec["accessModes"]).is_empty() {
        errors.required("spec.accessModes", "at least 1 access mode is required");
    }
    let alone = |mode: &Value| text(mode) == "ReadWriteOncePod";
    let modes = elements(&spec["accessModes"]);
    if modes.iter().any(alone) && !modes.iter().all(alone) {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden("spec.accessModes", why);
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

/// Checks the data of a Secret or a ConfigMap.
fn check_data(kind: Kind, object: &Value, errors: &mut Errors) {
    let entries = |field: &str| {
        let data = object[field].as_object().into_iter().flatten();
        data.map(|(key, value)| (key.as_str(), text(value)))
    };
    let decoded = |value: &str| STANDARD.decode(value).unwrap_or_default();
    let size = |(_, value): (&str, &str)| match kind {
        Kind::Secret => decoded(value).len(),
        _ => value.len(),
    };
    let of_binary = entries("binaryData").map(|(_, value)| decoded(value).len());
    if entries("data").map(size).chain(of_binary).sum::<usize>() > MAX_CONTENTS {
        errors.0.push(FieldError::too_long("[]", MAX_CONTENTS));
    }
    for (key, _) in entries("data") {
        if let Some(why) = rules::check_data_key(key) {
            errors.invalid(format!("data[{key}]"), key, &why);
        }
        if entries("binaryData").any(|(other, _)| other == key) {
            let why = "duplicate of key present in binaryData";
            errors.invalid(format!("data[{key}]"), key, why);
        }
    }
    let required: &[&str] = match text(&object["type"]) {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        let (field, value) = (format!("data[{key}]"), &object["data"][*key]);
        let is_json = || serde_json::from_slice::<Value>(&decoded(text(value))).is_ok();
        if value.is_null() {
            errors.required(field, "");
        } else if key.starts_with(".docker") && !is_json() {
            errors.invalid(field, "<secret contents redacted>", "invalid character");
        }
    }
}

fn check_service(spec: &Value, errors: &mut Errors) {
    rules::apply(rules::SERVICE, "spec", spec, &mut errors.0);
    let ports = elements(&spec["ports"]);
    let address = text(&spec["clusterIP"]);
    let is_external = spec["type"] == "ExternalName";
    if is_external && text(&spec["externalName"]).is_empty() {
        errors.required("spec.externalName", "");
    }
    if ports.is_empty() && !is_external && address != "None" {
        errors.required("spec.ports", "");
    }
    if !["", "None"].contains(&address) && address.parse::<IpAddr>().is_err() {
        errors.invalid("spec.clusterIPs[0]", address, "must be a valid IP address");
    }
    let mut taken = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let (field, name) = (format!("spec.ports[{index}].name"), text(&port["name"]));
        if name.is_empty() && ports.len() > 1 {
            errors.required(field, "");
        } else if !name.is_empty() && !taken.insert(name) {
            errors.duplicate(field, name);
        }
    }
}
