//! Compares SkyPilot's form of a task with ours.

use serde_json::{Map, Value};

/// Lists the fields of a task that differ.
pub fn task(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, theirs) in theirs.as_object().unwrap() {
        let ours = ours.get(key).unwrap_or(&Value::Null);
        let is_same = match key.as_str() {
            // SkyPilot invents a name if the file has none.
            "name" => ours.is_null() || ours == theirs,
            "run" => ours == theirs || ours == "true",
            "resources" => {
                wrong.extend(resources(ours, theirs));
                true
            }
            // We do not fill in the defaults of SkyPilot's own objects.
            "file_mounts" => is_within(ours, theirs),
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
            "cpus" | "memory" => amount(ours) == amount(theirs),
            // A pod has whole GPUs, and its accelerator has no blanks around its name.
            "accelerators" => accelerator(ours) == accelerator(theirs),
            "image_id" => {
                image(ours) == image(theirs) || ours == theirs || is_empty(&image(theirs).into())
            }
            "infra" => true,
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
    let text = value.as_str()?;
    let text = text.strip_suffix('x').unwrap_or(text);
    let (number, plus) = text
        .strip_suffix('+')
        .map_or((text, false), |number| (number, true));
    Some((number.parse().ok()?, plus))
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
    image.strip_prefix("docker:").unwrap_or(image).to_owned()
}

fn is_same_volumes(ours: &Value, theirs: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        for mount in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
            // A bare number counts Gi.
            if let Some(size) = mount
                .get("size")
                .map(|size| size.to_string().replace("Gi", "").replace('"', ""))
            {
                mount["size"] = size.into();
            }
        }
        value
    };
    strip(ours) == strip(theirs)
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
