//! The rules for single fields, as a table. Pure.
//!
//! It follows Kubernetes, `pkg/apis/core/validation/validation.go` and `staging/src/k8s.io/apimachinery/pkg/api/validation`, v1.36.
//! The other modules have the rules about several fields.

use std::net::IpAddr;

use serde_json::Value;

use crate::{
    k8s::names,
    sandbox::objects::{
        object::{elements, text},
        status::FieldError,
    },
};

/// A rule for the value of a field.
#[derive(Clone, Copy)]
pub enum Rule {
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// Neither missing nor empty.
    Required,
    /// A text without this fault.
    Text(fn(&str) -> Option<String>),
    /// A whole number in a range.
    Between(i64, i64),
    /// A whole number that is not too small.
    AtLeast(i64),
    /// An object with one of some fields, and not more.
    OneField {
        fields: &'static [&'static str],
        none: &'static str,
        many: &'static str,
    },
    /// An object whose keys and values are labels.
    Labels,
}

use Rule::{AtLeast, Between, Labels, OneField, OneOf, Required, Text};

const ID: Rule = Between(0, i32::MAX as i64);
const PORT: Rule = Between(1, 65535);
const MODE: Rule = Between(0, 0o777);
const HANDLERS: Rule = OneField {
    fields: &["exec", "httpGet", "tcpSocket", "grpc", "sleep"],
    none: "must specify a handler type",
    many: "may not specify more than 1 handler type",
};
const PROTOCOLS: Rule = OneOf(&["SCTP", "TCP", "UDP"]);
const HOST_PATH_TYPES: Rule = OneOf(&[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
]);

const DNS: Rule = OneOf(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
const PREEMPTIONS: Rule = OneOf(&["PreemptLowerPriority", "Never"]);
const GROUP_CHANGES: Rule = OneOf(&["Always", "OnRootMismatch"]);
const EFFECTS: Rule = OneOf(&["", "NoSchedule", "PreferNoSchedule", "NoExecute"]);
const SPREADS: Rule = OneOf(&["DoNotSchedule", "ScheduleAnyway"]);
const PULLS: Rule = OneOf(&["Always", "IfNotPresent", "Never"]);
const SERVICES: Rule = OneOf(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
const LABEL: Rule = Text(names::check_label_key);
const SUBDOMAIN: Rule = Text(names::check_subdomain);
const KEY: Rule = Text(check_data_key);
const INNER: Rule = Text(check_inner_path);
const PORT_NAME: Rule = Text(names::check_port_name);

/// The rules for the spec of a pod. `[]` means each element of a list, and `C` each container and init container.
pub const POD: &[(&str, Rule)] = &[
    ("restartPolicy", OneOf(&["Always", "Never", "OnFailure"])),
    ("dnsPolicy", DNS),
    ("preemptionPolicy", PREEMPTIONS),
    ("hostname", Text(names::check_dns_label)),
    ("subdomain", Text(names::check_dns_label)),
    ("serviceAccountName", SUBDOMAIN),
    ("nodeName", SUBDOMAIN),
    ("nodeSelector", Labels),
    ("hostAliases[].ip", Text(check_address)),
    ("readinessGates[].conditionType", LABEL),
    ("securityContext.runAsUser", ID),
    ("securityContext.runAsGroup", ID),
    ("securityContext.fsGroup", ID),
    ("securityContext.supplementalGroups[]", ID),
    ("securityContext.fsGroupChangePolicy", GROUP_CHANGES),
    ("securityContext.sysctls[].name", Text(check_sysctl)),
    ("tolerations[].key", LABEL),
    ("tolerations[].operator", OneOf(&["", "Equal", "Exists"])),
    ("tolerations[].effect", EFFECTS),
    ("topologySpreadConstraints[].maxSkew", AtLeast(1)),
    ("topologySpreadConstraints[].topologyKey", Required),
    ("topologySpreadConstraints[].whenUnsatisfiable", SPREADS),
    ("activeDeadlineSeconds", Between(1, i32::MAX as i64)),
    ("volumes[].secret.secretName", Required),
    ("volumes[].secret.defaultMode", MODE),
    ("volumes[].secret.items[].key", Required),
    ("volumes[].secret.items[].path", Required),
    ("volumes[].secret.items[].path", INNER),
    ("volumes[].configMap.name", Required),
    ("volumes[].configMap.defaultMode", MODE),
    ("volumes[].configMap.items[].key", Required),
    ("volumes[].configMap.items[].path", Required),
    ("volumes[].configMap.items[].path", INNER),
    ("volumes[].persistentVolumeClaim.claimName", Required),
    ("volumes[].hostPath.path", Required),
    ("volumes[].hostPath.path", Text(check_no_backsteps)),
    ("volumes[].hostPath.type", HOST_PATH_TYPES),
    ("volumes[].downwardAPI.items[].path", Required),
    ("C.imagePullPolicy", PULLS),
    ("C.terminationMessagePolicy", Text(check_message_policy)),
    ("C.env[].name", Required),
    ("C.env[].name", Text(names::check_environment_name)),
    ("C.env[].valueFrom.secretKeyRef.key", Required),
    ("C.env[].valueFrom.secretKeyRef.key", KEY),
    ("C.env[].valueFrom.configMapKeyRef.key", Required),
    ("C.env[].valueFrom.configMapKeyRef.key", KEY),
    ("C.env[].valueFrom.fieldRef.fieldPath", Required),
    ("C.env[].valueFrom.resourceFieldRef.resource", Required),
    ("C.envFrom[].secretRef.name", Required),
    ("C.envFrom[].secretRef.name", SUBDOMAIN),
    ("C.envFrom[].configMapRef.name", Required),
    ("C.envFrom[].configMapRef.name", SUBDOMAIN),
    ("C.ports[].containerPort", Required),
    ("C.ports[].containerPort", PORT),
    ("C.ports[].hostPort", Between(0, 65535)),
    ("C.ports[].protocol", Required),
    ("C.ports[].protocol", PROTOCOLS),
    ("C.ports[].name", PORT_NAME),
    ("C.startupProbe", HANDLERS),
    ("C.livenessProbe", HANDLERS),
    ("C.readinessProbe", HANDLERS),
    ("C.lifecycle.preStop", HANDLERS),
    ("C.lifecycle.postStart", HANDLERS),
    ("C.probe.exec.command", Required),
    ("C.probe.httpGet.scheme", OneOf(&["HTTP", "HTTPS"])),
    ("C.probe.httpGet.port", PORT_NAME),
    ("C.probe.httpGet.port", PORT),
    ("C.probe.tcpSocket.port", PORT_NAME),
    ("C.probe.tcpSocket.port", PORT),
    ("C.probe.initialDelaySeconds", AtLeast(0)),
    ("C.probe.timeoutSeconds", AtLeast(0)),
    ("C.probe.periodSeconds", AtLeast(0)),
    ("C.probe.failureThreshold", AtLeast(0)),
    ("C.securityContext.runAsUser", ID),
    ("C.securityContext.runAsGroup", ID),
    (
        "C.securityContext.procMount",
        OneOf(&["Default", "Unmasked"]),
    ),
];

/// The rules for the spec of a Service.
pub const SERVICE: &[(&str, Rule)] = &[
    ("type", SERVICES),
    ("sessionAffinity", OneOf(&["ClientIP", "None"])),
    ("selector", Labels),
    ("ports[].port", PORT),
    ("ports[].targetPort", PORT),
    ("ports[].targetPort", PORT_NAME),
    ("ports[].protocol", PROTOCOLS),
    ("ports[].name", Text(names::check_dns_label)),
];

/// The rules for the spec of a claim.
pub const CLAIM: &[(&str, Rule)] = &[
    ("storageClassName", SUBDOMAIN),
    ("volumeMode", OneOf(&["Block", "Filesystem"])),
    ("selector.matchLabels", Labels),
];

/// Adds the errors of an object by a table. A field that has an error gets no further one.
pub fn apply(rules: &[(&str, Rule)], path: &str, object: &Value, errors: &mut Vec<FieldError>) {
    for (pattern, rule) in rules {
        visit(path, object, pattern, &mut |field, value| {
            if errors.iter().all(|error| error.field != field) {
                errors.extend(rule.error(field, value));
            }
        });
    }
}

/// Calls `look` with each field that a pattern names, if the object that has it is there.
fn visit(path: &str, object: &Value, pattern: &str, look: &mut dyn FnMut(&str, &Value)) {
    let (first, rest) = match pattern.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (pattern, None),
    };
    let fields: &[&str] = match first {
        "C" => &["containers[]", "initContainers[]"],
        "probe" => &["startupProbe", "livenessProbe", "readinessProbe"],
        _ => &[first],
    };
    let mut go_on = |path: String, value: &Value| match rest {
        Some(_) if value.is_null() => (),
        Some(rest) => visit(&path, value, rest, look),
        None => look(&path, value),
    };
    for field in fields {
        match field.strip_suffix("[]") {
            Some(list) => {
                for (index, element) in elements(&object[list]).iter().enumerate() {
                    go_on(format!("{path}.{list}[{index}]"), element);
                }
            }
            None => go_on(format!("{path}.{field}"), &object[field]),
        }
    }
}

impl Rule {
    /// The error of a value; none for one that is missing, unless it is required.
    fn error(self, field: &str, value: &Value) -> Option<FieldError> {
        match self {
            Required => {
                let is_empty = match value {
                    Value::Null => true,
                    Value::String(text) => text.is_empty(),
                    Value::Number(number) => number.as_i64() == Some(0),
                    Value::Array(elements) => elements.is_empty(),
                    _ => false,
                };
                is_empty.then(|| FieldError::required(field, ""))
            }
            OneOf(words) => {
                let word = value.as_str().filter(|word| !words.contains(word))?;
                Some(FieldError::not_supported(field, word, words))
            }
            Text(check) => {
                let text = value.as_str().filter(|text| !text.is_empty())?;
                Some(FieldError::invalid(field, text, &check(text)?))
            }
            Between(least, most) => {
                let number = value
                    .as_i64()
                    .filter(|number| !(least..=most).contains(number))?;
                let why = format!("must be between {least} and {most}, inclusive");
                Some(FieldError::invalid(field, number, &why))
            }
            AtLeast(least) => {
                let number = value.as_i64().filter(|number| *number < least)?;
                let why = format!("must be greater than or equal to {least}");
                Some(FieldError::invalid(field, number, &why))
            }
            OneField { fields, none, many } => {
                let object = value.as_object()?;
                let mut set = fields
                    .iter()
                    .filter(|field| object.get(**field).is_some_and(|value| !value.is_null()));
                if set.next().is_none() {
                    return Some(FieldError::required(field, none));
                }
                let second = set.next()?;
                Some(FieldError::forbidden(format!("{field}.{second}"), many))
            }
            Labels => {
                let mut entries = value.as_object()?.iter();
                entries.find_map(|(key, value)| {
                    let (wrong, why) = match names::check_label_key(key) {
                        Some(why) => (key.as_str(), why),
                        None => (text(value), names::check_label_value(text(value))?),
                    };
                    Some(FieldError::invalid(field, wrong, &why))
                })
            }
        }
    }
}

fn check_address(address: &str) -> Option<String> {
    let is_valid = address.parse::<IpAddr>().is_ok();
    (!is_valid).then(|| "must be a valid IP address".to_owned())
}

fn check_sysctl(name: &str) -> Option<String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let is_part = |part: &str| part.chars().all(is_inner) && !part.is_empty();
    let is_valid = name.len() <= 253 && name.split(['.', '/']).all(is_part);
    (!is_valid)
        .then(|| "must have at most 253 characters and match the form of a sysctl".to_owned())
}

fn check_message_policy(policy: &str) -> Option<String> {
    let is_valid = ["File", "FallbackToLogsOnError"].contains(&policy);
    (!is_valid).then(|| "must be 'File' or 'FallbackToLogsOnError'".to_owned())
}

fn check_no_backsteps(path: &str) -> Option<String> {
    let has_backstep = path.split('/').any(|part| part == "..");
    has_backstep.then(|| "must not contain '..'".to_owned())
}

/// Explains why a path is none within a volume.
pub fn check_inner_path(path: &str) -> Option<String> {
    match path.starts_with('/') {
        true => Some("must be a relative path".to_owned()),
        false => check_no_backsteps(path),
    }
}

/// Explains why a text cannot be a key of a Secret or a ConfigMap.
pub fn check_data_key(key: &str) -> Option<String> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if key.is_empty() || !key.bytes().all(is_inner) {
        return Some(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
             'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    match key {
        "." => Some("must not be '.'".to_owned()),
        key if key.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}
