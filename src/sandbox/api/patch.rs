//! Patches: JSON merge patches (RFC 7386) and the usual part of Kubernetes' strategic merge patches.
//!
//! Pure. A strategic merge differs in lists that have a merge key: elements with the same key are merged, and `$patch: delete`
//! removes an element.

use serde_json::{Map, Value};

use crate::k8s::merge_key;

/// Applies `patch` to `target`.
pub fn merge(target: &mut Value, patch: &Value, strategic: bool) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return;
    };
    for (field, change) in changes {
        if strategic && field.starts_with('$') {
            continue;
        }
        if change.is_null() {
            map.remove(field);
            continue;
        }
        let present = map.entry(field.clone()).or_insert(Value::Null);
        let key = merge_key(field).filter(|_| strategic);
        match (key, present.as_array_mut(), change.as_array()) {
            (Some(key), Some(list), Some(elements)) => merge_list(list, elements, key),
            (None, Some(list), Some(elements)) if strategic && field == "finalizers" => {
                let new: Vec<Value> = elements
                    .iter()
                    .filter(|name| !list.contains(name))
                    .cloned()
                    .collect();
                list.extend(new);
            }
            _ => merge(present, change, strategic),
        }
    }
}

fn merge_list(list: &mut Vec<Value>, elements: &[Value], key: &str) {
    for element in elements {
        let found = list.iter().position(|present| present[key] == element[key]);
        match (found, element["$patch"].as_str()) {
            (Some(index), Some("delete")) => drop(list.remove(index)),
            (None, Some("delete")) => (),
            (Some(index), _) => merge(&mut list[index], element, true),
            (None, _) => list.push(element.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(strategic: bool, mut target: Value, patch: Value, expected: Value) {
        merge(&mut target, &patch, strategic);
        assert_eq!(target, expected);
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_removes_nulls() {
        check(
            false,
            json!({ "a": { "b": 1, "c": 2 } }),
            json!({ "a": { "b": null } }),
            json!({ "a": { "c": 2 } }),
        );
        check(
            false,
            json!({ "env": [1, 2] }),
            json!({ "env": [3] }),
            json!({ "env": [3] }),
        );
    }

    #[test]
    fn a_strategic_patch_merges_by_key() {
        let target =
            json!({ "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }] });
        let patch = json!({ "env": [{ "name": "A", "$patch": "delete" }, { "name": "B", "value": "3" }, { "name": "C" }] });
        check(
            true,
            target,
            patch,
            json!({ "env": [{ "name": "B", "value": "3" }, { "name": "C" }] }),
        );
    }
}
