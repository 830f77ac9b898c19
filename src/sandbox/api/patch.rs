//! Patches: JSON patches (RFC 6902), JSON merge patches (RFC 7386) and the usual part of Kubernetes' strategic merge patches.
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

/// The most bytes that the copies of one patch may add (`JSONPatchMaxCopyBytes` in `apiserver/pkg/server/config.go`, v1.36): a few dozen
/// operations that copy a document into itself would fill the memory.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies a JSON patch (RFC 6902). Returns None if an operation cannot be applied; then `target` is half changed.
pub fn apply(target: &mut Value, operations: &[Value]) -> Option<()> {
    let mut copied = 0;
    for operation in operations {
        let path = operation["path"].as_str()?;
        match operation["op"].as_str()? {
            "test" => (*target.pointer(path)? == operation["value"]).then_some(())?,
            "add" => insert(target, path, operation["value"].clone())?,
            "remove" => drop(remove(target, path)?),
            "replace" => *target.pointer_mut(path)? = operation.get("value")?.clone(),
            "copy" => {
                let value = target.pointer(operation["from"].as_str()?)?;
                copied += value.to_string().len();
                (copied <= MAX_COPIED).then_some(())?;
                let value = value.clone();
                insert(target, path, value)?;
            }
            "move" => {
                let value = remove(target, operation["from"].as_str()?)?;
                insert(target, path, value)?;
            }
            _ => return None,
        }
    }
    Some(())
}

/// The parent of the value at a JSON pointer, and the last segment.
fn parent<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Some((target.pointer_mut(parent)?, last))
}

fn insert(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    match parent(target, path)? {
        (Value::Object(map), name) => drop(map.insert(name, value)),
        (Value::Array(list), name) => {
            let index = if name == "-" {
                list.len()
            } else {
                name.parse().ok()?
            };
            (index <= list.len()).then(|| list.insert(index, value))?;
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    match parent(target, path)? {
        (Value::Object(map), name) => map.remove(&name),
        (Value::Array(list), name) => {
            let index = name.parse().ok().filter(|index| *index < list.len())?;
            Some(list.remove(index))
        }
        _ => None,
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

    #[test]
    fn a_json_patch_applies_all_of_its_operations_or_fails() {
        let apply_to = |operations: Value| {
            let mut target = json!({ "a": [1, 2], "b/c": "x" });
            apply(&mut target, operations.as_array().unwrap()).map(|()| target)
        };
        let changed = apply_to(json!([
            { "op": "test", "path": "/b~1c", "value": "x" },
            { "op": "add", "path": "/a/1", "value": 9 },
            { "op": "add", "path": "/a/-", "value": 7 },
            { "op": "remove", "path": "/a/0" },
            { "op": "move", "from": "/b~1c", "path": "/d" },
            { "op": "copy", "from": "/d", "path": "/e" },
            { "op": "replace", "path": "/d", "value": null },
        ]));
        assert_eq!(
            changed,
            Some(json!({ "a": [9, 2, 7], "d": null, "e": "x" }))
        );
        for operation in [
            json!({ "op": "test", "path": "/a", "value": [] }),
            json!({ "op": "remove", "path": "/x" }),
            json!({ "op": "add", "path": "/x/y", "value": 1 }),
            json!({ "op": "add", "path": "/a/9", "value": 1 }),
            json!({ "op": "remove", "path": "/a/2" }),
            json!({ "op": "replace", "path": "/x", "value": 1 }),
            json!({ "op": "sort", "path": "/a" }),
        ] {
            assert_eq!(apply_to(json!([operation])), None, "{operation}");
        }
        let double = |step| json!({ "op": "copy", "from": "", "path": format!("/{step}") });
        assert_eq!(apply_to((0..40).map(double).collect()), None);
    }
}
