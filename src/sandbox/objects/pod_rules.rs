//! The rules about several fields of a pod together: one source of a value, tolerations, affinities, handlers, names of resources.
//!
//! Pure. It follows Kubernetes, `pkg/apis/core/validation/validation.go`, v1.36.

use serde_json::Value;

use super::{
    object::{elements, text},
    status::FieldError,
};
use crate::k8s::names;

/// Fields of a pod that an environment variable can have.
const FIELD_PATHS: [&str; 8] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.podIP",
    "status.podIPs",
];

/// Fields of a pod that a file of a volume can have.
const DOWNWARD_PATHS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Lists the errors of the spec of a pod, except for its containers.
pub fn check_pod(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec["dnsPolicy"] == "None" && spec["dnsConfig"].is_null() {
        let why = "must provide `dnsConfig` when `dnsPolicy` is None";
        errors.push(FieldError::required(format!("{path}.dnsConfig"), why));
    }
    for (index, toleration) in elements(&spec["tolerations"]).iter().enumerate() {
        let path = format!("{path}.tolerations[{index}]");
        check_toleration(&path, toleration, &mut errors);
    }
    for (index, volume) in elements(&spec["volumes"]).iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        check_volume(&path, volume, &mut errors);
    }
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = &spec["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"];
    for (index, term) in elements(terms).iter().enumerate() {
        for (number, expression) in elements(&term["matchExpressions"]).iter().enumerate() {
            let path = format!(
                "{path}.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[{index}].matchExpressions[{number}]"
            );
            check_expression(&path, expression, &mut errors);
        }
    }
    errors
}

fn check_volume(path: &str, volume: &Value, errors: &mut Vec<FieldError>) {
    let host_path = text(&volume["hostPath"]["path"]);
    if host_path.split('/').any(|part| part == "..") {
        let field = format!("{path}.hostPath.path");
        errors.push(FieldError::invalid(
            field,
            host_path,
            "must not contain '..'",
        ));
    }
    if text(&volume["emptyDir"]["sizeLimit"]).starts_with('-') {
        let why = "SizeLimit field must be a valid resource quantity";
        let field = format!("{path}.emptyDir.sizeLimit");
        errors.push(FieldError::forbidden(field, why));
    }
    let sources = elements(&volume["projected"]["sources"]).iter().enumerate();
    for (index, source) in sources {
        let given = source.as_object().into_iter().flatten();
        if given.filter(|(_, source)| !source.is_null()).count() > 1 {
            let why = "may not specify more than 1 volume type";
            let field = format!("{path}.projected.sources[{index}]");
            errors.push(FieldError::forbidden(field, why));
        }
    }
    for item in elements(&volume["downwardAPI"]["items"]) {
        let field_path = text(&item["fieldRef"]["fieldPath"]);
        let is_metadata = field_path.is_empty() || field_path.starts_with("metadata.");
        if !is_metadata {
            let field = format!("{path}.downwardAPI.fieldRef.fieldPath");
            errors.push(FieldError::not_supported(
                field,
                field_path,
                &DOWNWARD_PATHS,
            ));
        }
    }
}

fn check_toleration(path: &str, toleration: &Value, errors: &mut Vec<FieldError>) {
    let word = |field: &str| text(&toleration[field]);
    let operator = format!("{path}.operator");
    match (word("operator"), word("key"), word("value")) {
        ("" | "Equal", "", _) => {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator, word("operator"), why));
        }
        ("Exists", _, value) if !value.is_empty() => {
            let why = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(&operator, value, why));
        }
        ("" | "Equal", _, value) => {
            let why = names::check_label_value(value);
            errors.extend(why.map(|why| FieldError::invalid(&operator, value, &why)));
        }
        _ => (),
    }
    if !toleration["tolerationSeconds"].is_null() && word("effect") != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        let field = format!("{path}.effect");
        errors.push(FieldError::invalid(field, word("effect"), why));
    }
}

fn check_expression(path: &str, expression: &Value, errors: &mut Vec<FieldError>) {
    let values = format!("{path}.values");
    let count = elements(&expression["values"]).len();
    match text(&expression["operator"]) {
        "In" | "NotIn" if count == 0 => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(values, why));
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(values, why));
        }
        "Gt" | "Lt" if count != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(values, why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => (),
        operator => {
            let field = format!("{path}.operator");
            errors.push(FieldError::invalid(
                field,
                operator,
                "not a valid selector operator",
            ));
        }
    }
    let key = text(&expression["key"]);
    let why = names::check_label_key(key);
    errors.extend(why.map(|why| FieldError::invalid(format!("{path}.key"), key, &why)));
}

/// Lists the errors of a container.
pub fn check_container(path: &str, container: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, variable) in elements(&container["env"]).iter().enumerate() {
        let path = format!("{path}.env[{index}].valueFrom");
        let source = &variable["valueFrom"];
        check_one_source(&path, source, text(&variable["value"]), &mut errors);
        check_field_path(
            &format!("{path}.fieldRef"),
            &source["fieldRef"],
            &mut errors,
        );
    }
    for source in elements(&container["envFrom"]) {
        let count = ["configMapRef", "secretRef"]
            .iter()
            .filter(|name| !source[name].is_null())
            .count();
        let why = match count {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(format!("{path}.envFrom"), "", why));
    }
    for name in ["startupProbe", "livenessProbe", "readinessProbe"] {
        check_handler(&format!("{path}.{name}"), &container[name], &mut errors);
    }
    for name in ["preStop", "postStart"] {
        let path = format!("{path}.lifecycle.{name}");
        check_handler(&path, &container["lifecycle"][name], &mut errors);
    }
    let policy = text(&container["terminationMessagePolicy"]);
    if !["", "File", "FallbackToLogsOnError"].contains(&policy) {
        let why = "must be 'File' or 'FallbackToLogsOnError'";
        let field = format!("{path}.terminationMessagePolicy");
        errors.push(FieldError::invalid(field, policy, why));
    }
    let mut named = Vec::new();
    for (index, port) in elements(&container["ports"]).iter().enumerate() {
        let name = text(&port["name"]);
        if !name.is_empty() && named.contains(&name) {
            errors.push(FieldError::duplicate(
                format!("{path}.ports[{index}].name"),
                name,
            ));
        }
        named.push(name);
    }
    errors
}

fn check_one_source(path: &str, source: &Value, value: &str, errors: &mut Vec<FieldError>) {
    if source.is_null() {
        return;
    }
    let sources = [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
    ];
    let why = match sources
        .iter()
        .filter(|name| !source[name].is_null())
        .count()
    {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        }
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(FieldError::invalid(path, "", why));
}

fn check_field_path(path: &str, reference: &Value, errors: &mut Vec<FieldError>) {
    let field = text(&reference["fieldPath"]);
    let subscript = |of: &str| {
        field
            .strip_prefix(of)?
            .strip_prefix("['")?
            .strip_suffix("']")
    };
    if let Some(key) = subscript("metadata.labels").or(subscript("metadata.annotations")) {
        let why = names::check_label_key(key);
        errors.extend(why.map(|why| FieldError::invalid(path, key, &why)));
    } else if ["metadata.labels", "metadata.annotations"].contains(&field) {
        let path = format!("{path}.fieldPath");
        errors.push(FieldError::not_supported(path, field, &FIELD_PATHS));
    } else if !field.is_empty() && !FIELD_PATHS.contains(&field) && field != "status.hostIPs" {
        let why = format!("error converting fieldPath: field label not supported: {field}");
        errors.push(FieldError::invalid(
            format!("{path}.fieldPath"),
            field,
            &why,
        ));
    }
}

/// A probe or a hook does one thing.
fn check_handler(path: &str, handler: &Value, errors: &mut Vec<FieldError>) {
    if handler.is_null() {
        return;
    }
    let given = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"]
        .into_iter()
        .filter(|name| !handler[name].is_null());
    let given: Vec<&str> = given.collect();
    if given.is_empty() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for name in given.iter().skip(1) {
        let why = "may not specify more than 1 handler type";
        errors.push(FieldError::forbidden(format!("{path}.{name}"), why));
    }
}

/// Why a container cannot have this resource.
pub fn check_resource_name(name: &str) -> Option<&'static str> {
    let Some((domain, _)) = name.split_once('/') else {
        let is_known = ["cpu", "memory", "ephemeral-storage"].contains(&name)
            || name.starts_with("hugepages-");
        return (!is_known).then_some("must be a standard resource for containers");
    };
    let is_extended = domain.contains("kubernetes.io")
        || !domain.starts_with("requests.") && names::check_label_key(name).is_none();
    (!is_extended).then_some("doesn't follow extended resource name standard")
}
