use serde_json::json;

use super::{super::describe, *};

fn problems(value: &Value) -> String {
    describe(&TaskDefinition::from_json(value).unwrap_err())
}

#[test]
fn only_run_is_required() {
    let task = TaskDefinition::from_json(&json!({"run": "true"})).unwrap();
    assert_eq!(
        (task.name, task.num_nodes, task.run.as_str()),
        (None, 1, "true")
    );
    assert_eq!(
        problems(&json!({})),
        "run: is required: the commands of the task"
    );
    assert_eq!(
        problems(&json!({"run": null})),
        "run: is required: the commands of the task"
    );
    assert_eq!(problems(&json!({"run": 3})), "run: expected text, got 3");
    assert_eq!(
        problems(&json!("true")),
        "expected a task: a mapping with at least `run`"
    );
}

#[test]
fn a_null_is_a_field_that_is_not_there() {
    // The Python client sends every field that it knows.
    let value = json!({
        "name": null, "num_nodes": 1, "workdir": null, "envs": null, "file_mounts": null, "volumes": null,
        "setup": null, "run": "true",
        "resources": {"cpus": null, "memory": null, "accelerators": null, "instance_type": null, "use_spot": null,
                      "disk_size": null, "ports": null, "image_id": null},
    });
    let task = TaskDefinition::from_json(&value).unwrap();
    assert_eq!(task.warnings(), Vec::<String>::new());
    assert_eq!(
        task,
        TaskDefinition::from_json(&json!({"run": "true"})).unwrap()
    );
}

#[test]
fn all_problems_are_named_at_once() {
    let value = json!({
        "name": "a---b", "num_nodes": 0, "setups": "true", "envs": {"1A": "x", "B": null},
        "volumes": {"data": "v", "/a/../b": "v", "/c": "No"}, "resources": {"cpus": "4c", "gpu": 1}, "service": {},
    });
    assert_eq!(
        problems(&value).split("; ").collect::<Vec<_>>(),
        [
            "name: \"a---b\" is not a task name: expected letters and digits, joined by at most two of `.`, `_`, `-`",
            "num_nodes: expected a whole number from 1 to 10000, got 0",
            "resources.cpus: expected a number of cores such as 4, 0.5, 500m or 4+, got \"4c\"",
            "resources.gpu: unknown field, did you mean `gpus`?",
            "envs.1A: is not the name of a variable: expected letters, digits and `_`, not beginning with a digit",
            "envs.B: has no value",
            "volumes./a/../b: is not a mount path: expected an absolute path without `..` and `:`",
            "volumes./c: \"No\" is not the name of a volume",
            "volumes.data: is not a mount path: expected an absolute path without `..` and `:`",
            "run: is required: the commands of the task",
            "service: is not a batch task's",
            "setups: unknown field, did you mean `setup`?",
        ]
    );
}

#[test]
fn names_are_skypilots() {
    for name in ["a", "My_Task.v2", "a--b", "a._b", "123", &"x".repeat(200)] {
        assert!(
            TaskDefinition::from_json(&json!({"name": name, "run": "true"})).is_ok(),
            "{name}"
        );
    }
    for name in ["", "-a", "a-", "a___b", "a b", "ä", "a/b", "a\nb"] {
        assert!(
            TaskDefinition::from_json(&json!({"name": name, "run": "true"})).is_err(),
            "{name}"
        );
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let value = json!({
        "run": "true", "workdir": "src", "file_mounts": {"/a": "b"}, "envs": {"NODE_RANK": "7", "A": true, "B": 1.5},
        "resources": {"use_spot": true, "accelerators": "V100:2"},
    });
    let task = TaskDefinition::from_json(&value).unwrap();
    let warnings = task.warnings();
    let fields: Vec<_> = warnings
        .iter()
        .filter_map(|warning| warning.split([' ', ':']).next())
        .collect();
    assert_eq!(
        fields,
        [
            "file_mounts",
            "resources.use_spot",
            "workdir",
            "resources.accelerators",
            "envs.NODE_RANK"
        ]
    );
    let envs: Vec<_> = task
        .node_envs()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(envs, ["A=True", "B=1.5"]);
}

#[test]
fn debug_output_hides_the_values_of_envs() {
    let task =
        TaskDefinition::from_json(&json!({"run": "echo s3cret", "envs": {"TOKEN": "s3cret"}}))
            .unwrap();
    let printed = format!("{task:?}");
    assert!(
        printed.contains("TOKEN") && !printed.contains("s3cret"),
        "{printed}"
    );
}

#[test]
fn a_script_that_linux_would_not_start_is_refused() {
    let run = "x".repeat(MAX_SCRIPT_LENGTH + 1);
    assert_eq!(
        problems(&json!({"run": run})),
        "run: `setup` and `run` together must not be longer than 96 KiB"
    );
    assert_eq!(
        problems(&json!({"run": "a\0b"})),
        "run: must not contain a NUL character"
    );
}

#[test]
fn what_is_sent_is_read_back_the_same() {
    let value = json!({
        "name": "train", "num_nodes": 2, "workdir": "/work", "envs": {"A": "1"}, "volumes": {"/data": "data"},
        "setup": "true", "run": "true", "file_mounts": {"/x": "y"},
        "resources": {"cpus": "4+", "memory": "16GB", "accelerators": {"V100": 2}, "image_id": "docker:python:3.11", "ports": [80]},
    });
    let task = TaskDefinition::from_json(&value).unwrap();
    let sent = serde_json::to_value(&task).unwrap();
    assert_eq!(sent["resources"]["memory"], "16G");
    assert_eq!(TaskDefinition::from_json(&sent), Ok(task));
}
