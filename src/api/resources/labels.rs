//! `labels`: labels of the pods of a task.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::{Problem, shape::Got};
use crate::k8s::names::{is_label_key, is_label_value};

/// The most labels of a task.
const MAX_LABELS: usize = 64;

/// Reads a mapping of texts without its invalid entries.
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
    if entries.len() > MAX_LABELS {
        let message = format!(
            "has {} labels, and a task can have {MAX_LABELS}",
            entries.len()
        );
        problems.push(Problem::new(field, message));
        return labels;
    }
    for (key, value) in entries {
        let message = match value {
            Value::String(text) if is_label_key(key) && is_label_value(text) => {
                labels.insert(key.clone(), text.clone());
                continue;
            }
            Value::String(_) if !is_label_key(key) => format!("{key:?} is not the key of a label"),
            Value::String(_) => format!("{} is not the value of a label", Got(value)),
            other => format!("expected text, got {}: put it in quotes", Got(other)),
        };
        problems.push(Problem::new(format!("{field}.{key}"), message));
    }
    labels
}
