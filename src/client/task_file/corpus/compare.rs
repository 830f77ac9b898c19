//! Compares SkyPilot's form of a task with ours.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Lists the fields of a task that differ.
pub fn task(all: &Value, theirs: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, theirs) in theirs.as_object().unwrap() {
        let ours = all.get(key).unwrap_or(&Value::Null);
        let is_same = match key.as_str() {
            // SkyPilot invents a name if the file has none.
            "name" => ours.is_null() || ours == theirs,
            "run" => ours == "true" || with_breaks(ours) == *theirs,
            "resources" => {
                wrong.extend(resources(ours, theirs));
                true
            }
            "file_mounts" => is_same_mounts(ours, theirs),
            // SkyPilot counts those of `managed_secrets` among them.
            "secrets" => {
                let managed = names(&all["managed_secrets"]).map(|name| format!("secrets:{name}"));
                let ours: BTreeSet<_> = names(ours).map(str::to_owned).chain(managed).collect();
                ours == names(theirs).map(str::to_owned).collect() || *theirs == all["secrets"]
            }
            // SkyPilot moves the hook of `autostop` there.
            "config" => {
                let moved = all["resources"]["autostop"].get("hook");
                ours == theirs || ours.is_null() && moved.is_some()
            }
            "volumes" => is_same_volumes(ours, theirs),
            _ => ours == theirs || is_empty(theirs) && is_empty(ours),
        };
        if !is_same {
            wrong.push(format!("{key}: SkyPilot: {theirs}; here: {ours}"));
        }
    }
    wrong
}

/// A script as SkyPilot's parser of YAML 1.1 reads it: U+0085 and U+2028 end a line, and the blanks behind are indentation.
fn with_breaks(script: &Value) -> Value {
    let Some(script) = script.as_str() else {
        return script.clone();
    };
    let mut lines = script.split('\u{2028}');
    let mut read = lines.next().unwrap_or_default().replace('\u{85}', " ");
    for line in lines {
        read += "\u{2028}";
        read += line.trim_start_matches(' ');
    }
    read.into()
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
            "cpus" | "memory" => amount(ours) == amount(theirs),
            // A pod has whole GPUs, and its accelerator has no blanks around its name.
            // A number alone asks for GPUs of any type. SkyPilot takes it for a type.
            "accelerators" if ours.is_string() => theirs.get(ours.as_str().unwrap()).is_some(),
            "accelerators" => accelerator(ours) == accelerator(theirs),
            "image_id" => {
                image(ours) == image(theirs) || ours == theirs || is_empty(&image(theirs).into())
            }
            "infra" => true,
            "labels" => ours == theirs || is_empty(ours) && is_empty(theirs),
            "autostop" => without(ours, &["hook", "hook_timeout"]) == *theirs,
            // SkyPilot completes `nvme` or `100`.
            "local_disk" => theirs.as_str().unwrap().contains(ours.as_str().unwrap()),
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

/// An amount in gigabytes or cores, and whether it is a minimum.
fn amount(value: &Value) -> Option<(f64, bool)> {
    let text = value.as_str()?.replace([' ', '\n', '_'], "");
    let text = text.strip_suffix('x').unwrap_or(&text);
    let (number, plus) = text
        .strip_suffix('+')
        .map_or((text, false), |number| (number, true));
    // SkyPilot counts `Mi` and `Gi` in its own gigabytes.
    let units = [("Ki", -2), ("Mi", -1), ("Gi", 0), ("Ti", 1)];
    let unit = units.iter().find(|(unit, _)| number.ends_with(unit));
    let number = unit.map_or(number, |(unit, _)| &number[..number.len() - unit.len()]);
    let factor = unit.map_or(1.0, |(_, power)| 1024_f64.powi(*power));
    Some((number.parse::<f64>().ok()? * factor, plus))
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

/// The texts in a list.
fn names(value: &Value) -> impl Iterator<Item = &str> {
    let names = value.as_array().into_iter().flatten();
    names.filter_map(Value::as_str)
}

fn without(value: &Value, keys: &[&str]) -> Value {
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        fields.retain(|key, _| !keys.contains(&key.as_str()));
    }
    value
}

/// Whether the mounts are the same, but for the defaults that SkyPilot adds to its storage objects. It drops the name of a bucket whose
/// source says it.
fn is_same_mounts(ours: &Value, theirs: &Value) -> bool {
    let empty = Map::new();
    let [ours, theirs] = [ours, theirs].map(|mounts| mounts.as_object().unwrap_or(&empty));
    ours.len() == theirs.len()
        && ours.iter().all(|(path, ours)| {
            let dropped: &[&str] = if ours.get("source").is_some() {
                &["name"]
            } else {
                &[]
            };
            theirs
                .get(path)
                .is_some_and(|theirs| is_within(&without(ours, dropped), theirs))
        })
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
            let is_claim = |kind: &Value| {
                kind.as_str()
                    .is_some_and(|kind| kind.eq_ignore_ascii_case("k8s-pvc"))
            };
            if mount.get("type").is_some_and(is_claim) {
                *mount = without(mount, &["type"]);
            }
        }
        value
    };
    // `~` is the home directory of root.
    let at_home = |volumes: Value| volumes.to_string().replace("\"~/", "\"/root/");
    at_home(strip(ours)) == at_home(strip(theirs))
}

/// Whether a value is part of another one, which may have more fields. Words are compared without case.
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(key, part)| {
            part.is_null() || whole.get(key).is_some_and(|whole| is_within(part, whole))
        }),
        (Value::String(part), Value::String(whole)) => part.eq_ignore_ascii_case(whole),
        _ => part == whole || is_empty(part) && is_empty(whole),
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
