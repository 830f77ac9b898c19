//! Compares SkyPilot's form of a task with ours.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Lists the fields of a task that differ.
pub fn task(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, theirs) in theirs.as_object().unwrap() {
        let ours = ours.get(key).unwrap_or(&Value::Null);
        let is_same = match key.as_str() {
            // SkyPilot invents a name if the file has none.
            "name" => ours.is_null() || ours == theirs,
            // Line breaks of YAML 1.1 that are characters of YAML 1.2.
            "run" => {
                ours == theirs
                    || ours == "true"
                    || ours.to_string().contains(['\u{85}', '\u{2028}'])
            }
            "resources" => {
                wrong.extend(resources(ours, theirs));
                true
            }
            // We do not fill in the defaults of SkyPilot's own objects.
            "file_mounts" => is_alike(ours, theirs),
            // Names of SkyPilot's own store, in which it counts those of `managed_secrets`.
            "secrets" => names(theirs).is_superset(&names(ours)) || ours == theirs,
            "config" => is_alike(ours, theirs) || is_empty(ours),
            "volumes" => is_same_volumes(ours, theirs),
            _ => ours == theirs || is_empty(theirs) && is_empty(ours),
        };
        if !is_same {
            wrong.push(format!("{key}: SkyPilot: {theirs}; here: {ours}"));
        }
    }
    wrong
}

fn resources(ours: &Value, theirs: &Value) -> Vec<String> {
    let alternatives = ["any_of", "ordered"]
        .iter()
        .find_map(|key| theirs.get(*key)?.as_array());
    if let Some(alternatives) = alternatives {
        // We use one of them.
        let wrong: Vec<_> = alternatives
            .iter()
            .map(|theirs| resources(ours, theirs))
            .collect();
        return wrong.into_iter().min_by_key(Vec::len).unwrap_or_default();
    }
    let mut wrong = Vec::new();
    for (key, theirs) in theirs.as_object().unwrap() {
        let ours = ours.get(key).unwrap_or(&Value::Null);
        let is_same = match key.as_str() {
            "cpus" | "memory" => amount(ours) == amount(theirs) || is_of_kubernetes(ours),
            // A pod has whole GPUs, and its accelerator has no blanks around its name.
            "accelerators" => {
                let is_any_type = ours
                    .as_str()
                    .is_some_and(|count| count.parse::<u32>().is_ok());
                is_any_type || accelerator(ours) == accelerator(theirs)
            }
            "image_id" => {
                image(ours) == image(theirs) || ours == theirs || is_empty(&image(theirs).into())
            }
            "infra" => true,
            "labels" => ours == theirs || is_empty(ours) && is_empty(theirs),
            // We do not add SkyPilot's defaults, and do not drop what it drops.
            "autostop" => is_alike(ours, theirs),
            "local_disk" => !ours.is_null(),
            // We do not fill in the defaults of TPUs.
            "accelerator_args" => ours.is_null() || ours == theirs,
            key if key.starts_with('_') => true,
            _ => ours == theirs,
        };
        if !is_same {
            wrong.push(format!("resources.{key}: SkyPilot: {theirs}; here: {ours}"));
        }
    }
    wrong
}

fn amount(value: &Value) -> Option<(f64, bool)> {
    let text = value.as_str()?.replace([' ', '\n', '_'], "");
    let text = text.strip_suffix('x').unwrap_or(&text);
    let (number, plus) = text
        .strip_suffix('+')
        .map_or((text, false), |number| (number, true));
    Some((number.parse().ok()?, plus))
}

/// Whether an amount is in Kubernetes' own notation, which we take as it is.
fn is_of_kubernetes(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('i'))
}

fn accelerator(value: &Value) -> Option<(String, f64)> {
    let (name, count) = value.as_object()?.iter().next()?;
    Some((name.trim().to_owned(), count.as_f64()?.ceil()))
}

fn image(value: &Value) -> String {
    let image = match value {
        Value::Object(images) => images.values().next().and_then(Value::as_str),
        image => image.as_str(),
    };
    let image = image.unwrap_or_default();
    image.trim_start_matches("docker:").to_owned()
}

/// The names in a list of secrets.
fn names(value: &Value) -> BTreeSet<&str> {
    let names = value.as_array().into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

fn is_same_volumes(ours: &Value, theirs: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        for mount in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
            // A bare number counts Gi.
            if let Some(size) = mount.get("size").map(|size| {
                size.to_string()
                    .replace("Gi", "")
                    .replace("GB", "")
                    .replace('B', "i")
                    .replace('"', "")
            }) {
                mount["size"] = size.into();
            }
            // The only type that a volume can have here.
            mount
                .as_object_mut()
                .into_iter()
                .for_each(|mount| drop(mount.remove("type")));
        }
        value
    };
    // `~` is the home directory of root.
    let at_home = |volumes: Value| volumes.to_string().replace("\"~/", "\"/root/");
    at_home(strip(ours)) == at_home(strip(theirs))
}

/// Whether two values agree in the fields that both have. Words are compared without case.
fn is_alike(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => ours.iter().all(|(key, ours)| {
            let theirs = theirs.get(key).filter(|_| !ours.is_null());
            theirs.is_none_or(|theirs| is_alike(ours, theirs))
        }),
        (Value::String(ours), Value::String(theirs)) => ours.eq_ignore_ascii_case(theirs),
        _ => ours == theirs || is_empty(ours) && is_empty(theirs),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}
