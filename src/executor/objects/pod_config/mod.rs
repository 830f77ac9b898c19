//! `config.kubernetes.pod_config`: fields of a Pod that override those of the program. Pure.
//!
//! The merge follows SkyPilot (SkyPilot 0.14.1, `sky/utils/config_utils.py`, `merge_k8s_configs`). A list of harmless fields
//! ([`allowed`]) keeps users from rights on a shared cluster; all other fields are refused.

mod allowed;

use std::collections::HashMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

pub use self::allowed::{limit_to_task, refusals};
use super::CONTAINER;
use crate::{
    api::{Got, Problem},
    k8s::merge_key,
};

const FIELD: &str = "config.kubernetes.pod_config";
/// The name of the task's container in SkyPilot.
const SKYPILOT_CONTAINER: &str = "ray-node";
/// The most characters of a key in a message.
const MAX_KEY: usize = 100;

/// A step of a path: a key, or an item.
enum At<'a> {
    Key(&'a str),
    Item(usize),
}

/// A path in the notation of messages.
fn name(path: &[At<'_>]) -> String {
    let mut name = FIELD.to_owned();
    for step in path {
        match step {
            At::Key(key) => {
                name.push('.');
                name.extend(key.chars().take(MAX_KEY));
            }
            At::Item(index) => name += &format!("[{index}]"),
        }
    }
    name
}

/// Merges a configuration into a pod.
///
/// # Errors
/// When the result does not fit the schema of a Pod.
pub fn apply(
    template: &PodTemplateSpec,
    config: &Map<String, Value>,
) -> Result<PodTemplateSpec, Problem> {
    let mut merged = serde_json::to_value(template).map_err(unreadable)?;
    if let Some(fields) = merged.as_object_mut() {
        merge_fields(fields, config, &mut Vec::new())?;
    }
    quantities_to_text(&mut merged);
    let template: PodTemplateSpec = serde_path_to_error::deserialize(&merged).map_err(|error| {
        let path = error.path().to_string();
        let field = match path.as_str() {
            "." => FIELD.to_owned(),
            path => format!("{FIELD}.{path}"),
        };
        Problem::new(field, error.into_inner().to_string())
    })?;
    let known = serde_json::to_value(&template).map_err(unreadable)?;
    match unknown_field(&merged, &known, &mut Vec::new()) {
        Some(field) => Err(Problem::new(field, "is no field of a Pod")),
        None => Ok(template),
    }
}

fn unreadable(error: serde_json::Error) -> Problem {
    Problem::new(FIELD, error.to_string())
}

fn merge<'a>(base: &mut Value, over: &'a Value, path: &mut Vec<At<'a>>) -> Result<(), Problem> {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_fields(base, over, path),
        (Value::Array(base), Value::Array(over)) => merge_items(base, over, path),
        (base, over)
            if base.is_object() || base.is_array() || over.is_object() || over.is_array() =>
        {
            let kind = if base.is_object() {
                "a mapping"
            } else if base.is_array() {
                "a list"
            } else {
                "a single value"
            };
            let message = format!("expected {kind}, got {}", Got(over));
            Err(Problem::new(name(path), message))
        }
        (base, over) => {
            base.clone_from(over);
            Ok(())
        }
    }
}

fn merge_fields<'a>(
    base: &mut Map<String, Value>,
    over: &'a Map<String, Value>,
    path: &mut Vec<At<'a>>,
) -> Result<(), Problem> {
    for (key, over) in over {
        match base.get_mut(key) {
            _ if over.is_null() => drop(base.remove(key)),
            Some(base) => {
                path.push(At::Key(key));
                merge(base, over, path)?;
                path.pop();
            }
            None => drop(base.insert(key.clone(), over.clone())),
        }
    }
    Ok(())
}

fn merge_items<'a>(
    base: &mut Vec<Value>,
    over: &'a [Value],
    path: &mut Vec<At<'a>>,
) -> Result<(), Problem> {
    let list = match path.last() {
        Some(At::Key(list)) => *list,
        _ => "",
    };
    if matches!(list, "args" | "command") {
        *base = over.to_vec();
        return Ok(());
    }
    let Some(field) = merge_key(list) else {
        base.extend_from_slice(over);
        return Ok(());
    };
    let identity = |item: &Value| item.get(field).map(Value::to_string);
    // If several items have the same key, the first one is merged.
    let places = base.iter().enumerate().rev();
    let mut places: HashMap<String, usize> = places
        .filter_map(|(place, item)| Some((identity(item)?, place)))
        .collect();
    for (index, over) in over.iter().enumerate() {
        // A container without a name, or with SkyPilot's, is the task's.
        let is_ours = list == "containers"
            && !base.is_empty()
            && over
                .get(field)
                .is_none_or(|name| name == SKYPILOT_CONTAINER);
        let identity = identity(over);
        let place = match &identity {
            _ if is_ours => Some(0),
            Some(identity) => places.get(identity).copied(),
            None => None,
        };
        if let Some(place) = place {
            path.push(At::Item(index));
            merge(&mut base[place], over, path)?;
            path.pop();
            if is_ours {
                base[place]["name"] = CONTAINER.into();
            }
        } else {
            places.extend(identity.map(|identity| (identity, base.len())));
            base.push(over.clone());
        }
    }
    Ok(())
}

/// Turns the numbers in quantities into strings, the type of a quantity in JSON.
fn quantities_to_text(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::Object(quantities) if matches!(key.as_str(), "limits" | "requests") => {
                        quantities.values_mut().for_each(number_to_text);
                    }
                    size if key == "sizeLimit" => number_to_text(size),
                    value => quantities_to_text(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities_to_text),
        _ => (),
    }
}

fn number_to_text(value: &mut Value) {
    if let Value::Number(number) = value {
        *value = number.to_string().into();
    }
}

/// The first field of a value that its type does not have.
fn unknown_field<'a>(value: &'a Value, known: &Value, path: &mut Vec<At<'a>>) -> Option<String> {
    match (value, known) {
        (Value::Object(fields), Value::Object(known)) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .find_map(|(key, value)| {
                path.push(At::Key(key));
                let found = match known.get(key) {
                    Some(known) => unknown_field(value, known, path),
                    None => Some(name(path)),
                };
                path.pop();
                found
            }),
        (Value::Array(items), Value::Array(known)) => {
            let pairs = items.iter().zip(known).enumerate();
            pairs.into_iter().find_map(|(index, (item, known))| {
                path.push(At::Item(index));
                let found = unknown_field(item, known, path);
                path.pop();
                found
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
