//! The rules of single fields of a pod, a Service and a claim, as a table: the path of a field, and the values that it may have.
//!
//! Pure. It follows Kubernetes, `pkg/apis/core/validation/validation.go`, v1.36. Rules about several fields are in `validation`
//! and `pod_rules`.

use serde_json::Value;

use super::{object::text, status::FieldError};
use crate::k8s::names;

/// What a field has to be, if it is there.
pub enum Rule {
    /// A number between these.
    Between(i64, i64),
    /// A number that is not negative.
    Natural,
    /// One of these words.
    OneOf(&'static [&'static str]),
    Label,
    Subdomain,
    LabelKey,
    DataKey,
    RelativePath,
    /// Labels.
    Labels,
    /// Present in the object that has it, and not empty.
    Required,
}

use Rule::{
    Between, DataKey, Label, LabelKey, Labels, Natural, OneOf, RelativePath, Required, Subdomain,
};

const MAX: i64 = 2_147_483_647;
const PORT: Rule = Between(1, 65535);
const MODE: Rule = Between(0, 0o777);

/// The fields of the spec of a pod. `[]` is each element of a list, and `a|b` is each of these fields.
pub const POD: &[(&str, Rule)] = &[
    ("restartPolicy", OneOf(&["Always", "OnFailure", "Never"])),
    (
        "dnsPolicy",
        OneOf(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
    ),
    ("activeDeadlineSeconds", Between(1, MAX)),
    ("hostname|subdomain", Label),
    ("nodeName|serviceAccountName|priorityClassName", Subdomain),
    ("nodeSelector", Labels),
    ("tolerations[].key", LabelKey),
    (
        "tolerations[].effect",
        OneOf(&["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ),
    ("tolerations[].operator", OneOf(&["Equal", "Exists"])),
    ("topologySpreadConstraints[].maxSkew", Between(1, MAX)),
    ("volumes[].secret.secretName", Required),
    ("volumes[].configMap.name", Required),
    ("volumes[].hostPath.path", Required),
    (
        "volumes[].hostPath.type",
        OneOf(&[
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ]),
    ),
    (
        "volumes[].secret|configMap|downwardAPI|projected.defaultMode",
        MODE,
    ),
    ("volumes[].secret|configMap.items[].mode", MODE),
    ("volumes[].secret|configMap.items[].path", Required),
    ("volumes[].secret|configMap.items[].path", RelativePath),
    (
        "containers|initContainers[].imagePullPolicy",
        OneOf(&["Always", "IfNotPresent", "Never"]),
    ),
    (
        "containers|initContainers[].startupProbe|livenessProbe.successThreshold",
        Between(0, 1),
    ),
    (
        "containers|initContainers[].startupProbe|livenessProbe|readinessProbe.initialDelaySeconds|timeoutSeconds|periodSeconds|\
         successThreshold|failureThreshold",
        Natural,
    ),
    (
        "containers|initContainers[].startupProbe|livenessProbe|readinessProbe.tcpSocket|httpGet.port",
        PORT,
    ),
    (
        "containers|initContainers[].startupProbe|livenessProbe|readinessProbe.exec.command",
        Required,
    ),
    (
        "containers|initContainers[].securityContext.runAsUser|runAsGroup",
        Between(0, MAX),
    ),
    (
        "securityContext.runAsUser|runAsGroup|fsGroup",
        Between(0, MAX),
    ),
    (
        "containers|initContainers[].ports[].containerPort",
        Required,
    ),
    ("containers|initContainers[].ports[].containerPort", PORT),
    (
        "containers|initContainers[].ports[].protocol",
        OneOf(&["SCTP", "TCP", "UDP"]),
    ),
    (
        "containers|initContainers[].env[].valueFrom.secretKeyRef|configMapKeyRef.key",
        Required,
    ),
    (
        "containers|initContainers[].env[].valueFrom.secretKeyRef|configMapKeyRef.key",
        DataKey,
    ),
    (
        "containers|initContainers[].env[].valueFrom.fieldRef.fieldPath",
        Required,
    ),
    (
        "containers|initContainers[].env[].valueFrom.resourceFieldRef.resource",
        Required,
    ),
    (
        "containers|initContainers[].env[].valueFrom.resourceFieldRef.resource",
        OneOf(&[
            "limits.cpu",
            "limits.ephemeral-storage",
            "limits.memory",
            "requests.cpu",
            "requests.ephemeral-storage",
            "requests.memory",
        ]),
    ),
    (
        "containers|initContainers[].envFrom[].secretRef|configMapRef.name",
        Subdomain,
    ),
];

/// The fields of the spec of a Service.
pub const SERVICE: &[(&str, Rule)] = &[
    ("selector", Labels),
    (
        "type",
        OneOf(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
    ),
    ("ports[].port", PORT),
    ("ports[].targetPort", PORT),
];

/// The fields of the spec of a claim.
pub const CLAIM: &[(&str, Rule)] = &[
    ("storageClassName", Subdomain),
    ("volumeMode", OneOf(&["Block", "Filesystem"])),
];

/// Lists the errors of the fields of `object`, which is at `path`.
pub fn check(path: &str, object: &Value, rules: &[(&str, Rule)]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (pattern, rule) in rules {
        visit(path, object, pattern, rule, &mut errors);
    }
    errors
}

fn visit(path: &str, value: &Value, pattern: &str, rule: &Rule, errors: &mut Vec<FieldError>) {
    let (first, rest) = pattern.split_once('.').unwrap_or((pattern, ""));
    let (names, is_list) = match first.strip_suffix("[]") {
        Some(names) => (names, true),
        None => (first, false),
    };
    for name in names.split('|') {
        let (path, value) = (format!("{path}.{name}"), &value[name]);
        if is_list {
            for (index, element) in value.as_array().into_iter().flatten().enumerate() {
                visit(&format!("{path}[{index}]"), element, rest, rule, errors);
            }
        } else if rest.is_empty() {
            errors.extend(judge(&path, value, rule));
        } else if value.is_object() {
            visit(&path, value, rest, rule, errors);
        }
    }
}

fn judge(path: &str, value: &Value, rule: &Rule) -> Option<FieldError> {
    let is_empty = match value {
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        value => value.is_null(),
    };
    if let Required = rule {
        return (is_empty || *value == 0).then(|| FieldError::required(path, ""));
    }
    if is_empty {
        return None;
    }
    let word = text(value);
    let why = match rule {
        Between(least, most) => {
            let number = value
                .as_i64()
                .filter(|number| !(least..=most).contains(&number))?;
            if *most == 1 {
                "must be 1".to_owned()
            } else if *most == 0o777 {
                "must be a number between 0 and 0777 (octal), both inclusive".to_owned()
            } else if (*least, *most) == (1, 65535)
                && number == 0
                && path.ends_with("containerPort")
            {
                // It is required, and that is said already.
                return None;
            } else {
                format!("must be between {least} and {most}, inclusive")
            }
        }
        Natural if value.as_i64()? < 0 => "must be greater than or equal to 0".to_owned(),
        OneOf(words) if !words.contains(&word) => {
            return Some(FieldError::not_supported(path, word, words));
        }
        Label => names::check_dns_label(word)?,
        Subdomain => names::check_subdomain(word)?,
        LabelKey => names::check_label_key(word)?,
        DataKey if !is_data_key(word) => DATA_KEY.to_owned(),
        RelativePath if word.starts_with('/') => "must be a relative path".to_owned(),
        RelativePath if word.split('/').any(|part| part == "..") => {
            "must not contain '..'".to_owned()
        }
        Labels => {
            let labels = value.as_object().into_iter().flatten();
            let (wrong, why) = labels
                .filter_map(|(key, value)| {
                    let key_error = names::check_label_key(key).map(|why| (key.as_str(), why));
                    let value_error =
                        || names::check_label_value(text(value)).map(|why| (text(value), why));
                    key_error.or_else(value_error)
                })
                .next()?;
            return Some(FieldError::invalid(path, wrong, &why));
        }
        _ => return None,
    };
    Some(FieldError::invalid(path, value.clone(), &why))
}

/// Why a key of a Secret or a `ConfigMap` is not valid.
pub const DATA_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
    'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

pub fn is_data_key(key: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !key.is_empty() && key.bytes().all(is_fine)
}
