//! `any_of` and `ordered`: chooses one of several sets of resources.
//!
//! SkyPilot tries the sets on several clouds. A cluster has one scheduler and no prices, so the first set that may mean this
//! cluster is used. The fields beside the list are its defaults, as in SkyPilot (0.14.1, `sky/resources.py`, `from_yaml_config`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    super::{
        Problem,
        shape::{Got, join, whole},
    },
    ALTERNATIVES, MAX_ALTERNATIVES, Resources, check_keys,
    schema::allows_kubernetes,
};

type Fields = Map<String, Value>;

/// Reads `resources`, with the chosen alternative merged in.
pub(super) fn read(fields: &Fields, problems: &mut Vec<Problem>) -> Resources {
    check_keys("resources", fields, false, problems);
    let before = problems.len();
    let resources = Resources::from_fields("resources", fields, problems);
    let alternatives = list(fields, problems);
    let Some((key, alternatives)) = alternatives else {
        return resources;
    };
    if resources.unused.contains_key("ordered") {
        let message = "is a list, and `any_of` or `ordered` is another: give one of both";
        problems.push(Problem::new("resources.accelerators", message));
    }
    for (index, alternative) in alternatives.iter().enumerate() {
        let path = format!("resources.{key}[{index}]");
        check_keys(&path, alternative, true, problems);
        // SkyPilot leaves out the nulls of `resources`, but not those of its alternatives.
        for (key, value) in *alternative {
            if value.is_null() && key != "image_id" {
                problems.push(Problem::new(join(&path, key), "has no value: leave it out"));
            }
        }
        let read = Resources::from_fields(&path, alternative, problems);
        if ALTERNATIVES
            .iter()
            .any(|key| read.unused.contains_key(*key))
        {
            let message = "names several types: give each an alternative of its own";
            problems.push(Problem::new(format!("{path}.accelerators"), message));
        }
    }
    check_priority(key, fields, &alternatives, problems);
    let used = (alternatives.iter())
        .find(|alternative| could_be_here(fields, alternative))
        .or(alternatives.first());
    let Some(used) = used.filter(|_| problems.len() == before) else {
        return resources;
    };
    let mut resources = Resources::from_fields("resources", &merge(fields, used), problems);
    // Several GPU types in a mapping are choices of each alternative. The first one is used.
    resources
        .unused
        .retain(|key, _| !ALTERNATIVES.contains(&key.as_str()));
    resources.unused.insert(key.to_owned(), fields[key].clone());
    resources
}

/// The name and the items of the list of alternatives; none if the list is absent or empty.
fn list<'a>(
    fields: &'a Fields,
    problems: &mut Vec<Problem>,
) -> Option<(&'static str, Vec<&'a Fields>)> {
    let mut found = None;
    for key in ALTERNATIVES {
        let path = format!("resources.{key}");
        match fields.get(key) {
            None | Some(Value::Null) => (),
            Some(Value::Array(items)) => {
                let mappings = items
                    .iter()
                    .filter_map(Value::as_object)
                    .collect::<Vec<_>>();
                if items.len() > MAX_ALTERNATIVES {
                    problems.push(Problem::new(path, too_many(items.len())));
                } else if mappings.len() < items.len() {
                    problems.push(Problem::new(path, "expected a list of mappings"));
                } else if found.is_some() {
                    problems.push(Problem::new(
                        path,
                        "does not go with any_of: give one of both",
                    ));
                } else if !items.is_empty() {
                    found = Some((key, mappings));
                }
            }
            Some(other) => {
                let message = format!("expected a list of mappings, got {}", Got(other));
                problems.push(Problem::new(path, message));
            }
        }
    }
    found
}

/// The message about more alternatives than a task can have.
pub(super) fn too_many(number: usize) -> String {
    format!("has {number} alternatives, and a task can have {MAX_ALTERNATIVES}")
}

/// The fields of an alternative, with the surrounding fields as defaults. Labels are merged.
fn merge(fields: &Fields, alternative: &Fields) -> Fields {
    let mut merged = fields.clone();
    merged.retain(|key, _| !ALTERNATIVES.contains(&key.as_str()));
    if ["accelerators", "gpus"]
        .iter()
        .any(|key| alternative.contains_key(*key))
    {
        merged.retain(|key, _| !matches!(key.as_str(), "accelerators" | "gpus"));
    }
    for (key, value) in alternative {
        match (key.as_str(), merged.get_mut(key), value) {
            ("labels", Some(Value::Object(labels)), Value::Object(more)) => {
                labels.extend(more.clone());
            }
            _ => drop(merged.insert(key.clone(), value.clone())),
        }
    }
    merged
}

/// The value of a field in an alternative, or else in the surrounding fields.
fn value<'a>(fields: &'a Fields, alternative: &'a Fields, key: &str) -> Option<&'a Value> {
    alternative.get(key).or_else(|| fields.get(key))
}

/// Whether an alternative may run on this cluster: it names Kubernetes, or no cloud.
pub(super) fn could_be_here(fields: &Fields, alternative: &Fields) -> bool {
    (["infra", "cloud"].iter())
        .filter_map(|key| value(fields, alternative, key)?.as_str())
        .all(allows_kubernetes)
}

/// Checks that all alternatives have the same priority.
fn check_priority(key: &str, fields: &Fields, all: &[&Fields], problems: &mut Vec<Problem>) {
    let priorities: BTreeSet<_> = (all.iter())
        .map(|alternative| value(fields, alternative, "priority").and_then(whole))
        .collect();
    if priorities.len() > 1 {
        let message = "the alternatives have different priorities, and a task has one";
        problems.push(Problem::new(format!("resources.{key}"), message));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::super::describe, *};

    #[test]
    fn the_first_alternative_for_this_cluster_is_merged() {
        let mut problems = Vec::new();
        let value = json!({
            "cpus": 2, "labels": {"a": "1"}, "accelerators": "T4",
            "any_of": [{"infra": "aws"}, {"infra": "k8s", "cpus": "4+", "gpus": "H100:8", "labels": {"b": "2"}}, {}],
        });
        let resources = Resources::from_json(&value, &mut problems);
        assert_eq!(problems, []);
        let written = serde_json::to_value(&resources).unwrap();
        assert_eq!(
            (
                &written["cpus"],
                &written["accelerators"],
                &written["labels"],
                &written["any_of"]
            ),
            (
                &json!("4+"),
                &json!({"H100": 8}),
                &json!({"a": "1", "b": "2"}),
                &value["any_of"]
            )
        );
        assert_eq!(Resources::from_json(&written, &mut problems), resources);
        let warnings = resources.warnings();
        assert!(
            warnings
                .iter()
                .any(|warning| warning.starts_with("resources.any_of: one is used")),
            "{warnings:?}"
        );
    }

    #[test]
    fn the_number_of_alternatives_is_limited() {
        let types = |number: usize| -> Vec<_> { (0..number).map(|n| format!("V{n}:1")).collect() };
        let set = |number: usize| -> Fields {
            let types = (0..number).map(|n| (format!("V{n}"), json!(1)));
            types.collect()
        };
        let list = |number: usize| -> Vec<_> {
            let all = types(number).into_iter();
            all.map(|name| json!({"accelerators": name})).collect()
        };
        for of in [
            &(|number| json!({"any_of": list(number)})) as &dyn Fn(usize) -> Value,
            &|number| json!({"ordered": list(number)}),
            &|number| json!({"accelerators": types(number)}),
            &|number| json!({"gpus": set(number)}),
        ] {
            let mut problems = Vec::new();
            let resources = Resources::from_json(&of(64), &mut problems);
            assert_eq!(problems, []);
            assert_eq!(resources.alternatives().len(), 64);
            Resources::from_json(&of(65), &mut problems);
            let problems = describe(&problems);
            assert!(problems.contains("has 65 alternatives"), "{problems}");
        }
    }

    #[test]
    fn alternatives_are_checked_like_the_surrounding_fields() {
        for (value, expected) in [
            (
                json!({"any_of": [{"cpus": "x"}]}),
                "resources.any_of[0].cpus: expected",
            ),
            (
                json!({"any_of": [{"any_of": []}]}),
                "resources.any_of[0].any_of: unknown field",
            ),
            (
                json!({"any_of": [{}], "ordered": [{}]}),
                "resources.ordered: does not go with",
            ),
            (
                json!({"any_of": ["aws"]}),
                "resources.any_of: expected a list of mappings",
            ),
            (
                json!({"any_of": {}}),
                "resources.any_of: expected a list of mappings",
            ),
            (
                json!({"ordered": [{"gpus": ["T4", "L4"]}]}),
                "resources.ordered[0].accelerators: names several",
            ),
            (
                json!({"gpus": ["T4", "L4"], "any_of": [{}]}),
                "resources.accelerators: is a list",
            ),
            (
                json!({"any_of": [{"priority": 1}, {}]}),
                "resources.any_of: the alternatives have different",
            ),
            (
                json!({"infra": "k8s", "zone": "a"}),
                "resources.infra: says what",
            ),
        ] {
            let mut problems = Vec::new();
            Resources::from_json(&value, &mut problems);
            let problems = describe(&problems);
            assert!(problems.starts_with(expected), "{value}: {problems}");
        }
    }
}
