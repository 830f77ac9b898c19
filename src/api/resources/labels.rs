//! `labels`: what Kubernetes takes as the labels of a pod.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::{Problem, shape::Got, volume::is_dns_subdomain};

/// Reads a mapping of texts, leaving out the entries that are wrong.
pub(super) fn read(
    field: &str,
    value: &Value,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some(entries) = value.as_object() else {
        let message = format!("expected a mapping of texts, got {}", Got(value));
        problems.push(Problem::new(field, message));
        return labels;
    };
    for (key, value) in entries {
        let message = match value {
            Value::String(text) if is_key(key) && is_value(text) => {
                labels.insert(key.clone(), text.clone());
                continue;
            }
            Value::String(_) if !is_key(key) => format!("{key:?} is not the key of a label"),
            Value::String(_) => format!("{} is not the value of a label", Got(value)),
            other => format!("expected text, got {}: put it in quotes", Got(other)),
        };
        problems.push(Problem::new(format!("{field}.{key}"), message));
    }
    labels
}

/// A name, with a DNS name and a slash before it or not (apimachinery `pkg/util/validation/validation.go`, v1.36).
fn is_key(key: &str) -> bool {
    let (prefix, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_value(name)
}

fn is_value(value: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    value.len() <= 63
        && bytes.iter().all(is_inner)
        && is_edge(bytes.first())
        && is_edge(bytes.last())
}
