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
fn a_null_field_is_an_absent_field() {
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
fn all_problems_are_reported_together() {
    let value = json!({
        "name": "a---b", "num_nodes": 0, "setups": "true", "envs": {"1A": "x", "B": null},
        "volumes": {"data": "v", "/a/../b": "v", "/c": "No"}, "resources": {"cpus": "4c", "gpu": 1}, "service": {},
    });
    assert_eq!(
        problems(&value).split("; ").collect::<Vec<_>>(),
        [
            "name: \"a---b\" is not a task name: expected letters and digits, joined by at most two of `.`, `_`, `-`",
            "num_nodes: expected a whole number from 1 to 10000, got 0",
            "resources.gpu: unknown field, did you mean `gpus`?",
            "resources.cpus: expected a number of cores such as 4, 0.5, 500m or 4+, got \"4c\"",
            "envs.1A: is not the name of a variable: expected letters, digits and `_`, not beginning with a digit",
            "envs.B: has no value: give it one, or `--env B=VALUE`",
            "volumes./a/../b: is not a mount path: expected an absolute path but `/`, without `.`, `..` and `:`",
            "volumes./c: \"No\" is not the name of a volume",
            "volumes.data: is not a mount path: expected an absolute path but `/`, without `.`, `..` and `:`",
            "service: is not a batch task's: SkyServe is not here",
            "setups: unknown field, did you mean `setup`?",
            "run: is required: the commands of the task",
        ]
    );
}

#[test]
fn names_follow_the_rule_of_skypilot() {
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
fn fields_without_effect_give_warnings() {
    let value = json!({
        "run": "true", "workdir": "src", "file_mounts": {"/a": "b"}, "envs": {"NODE_RANK": "7", "A": true, "B": 1.5},
        "resources": {"use_spot": true, "accelerators": "V100:2", "infra": "aws", "memory": "4x", "ports": []},
        "config": {"kubernetes": {"provision_timeout": 5, "pod_config": {}}, "hooks": []}, "api_server_access": false,
        "secrets": ["secrets:HF_TOKEN"],
    });
    let task = TaskDefinition::from_json(&value).unwrap();
    let warnings = [task.warnings_without_files(), task.warnings()].concat();
    let no_workdir = json!({"run": "true", "workdir": ""});
    let no_workdir = TaskDefinition::from_json(&no_workdir).unwrap();
    assert!(no_workdir.warnings_without_files().is_empty());
    let fields: Vec<_> = warnings
        .iter()
        .filter_map(|warning| warning.split([' ', ':']).next())
        .collect();
    assert_eq!(
        fields,
        [
            "workdir",
            "file_mounts",
            "config.hooks",
            "config.kubernetes.provision_timeout",
            "resources.infra",
            "resources.use_spot",
            "resources.memory",
            "secrets.HF_TOKEN",
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
fn debug_output_hides_the_values_of_variables() {
    let value =
        json!({"run": "echo s3cret", "envs": {"TOKEN": "s3cret"}, "secrets": {"KEY": "s3cret"}});
    let printed = format!("{:?}", TaskDefinition::from_json(&value).unwrap());
    assert!(
        printed.contains("TOKEN") && printed.contains("KEY") && !printed.contains("s3cret"),
        "{printed}"
    );
    let problem = problems(&json!({"run": "true", "secrets": {"KEY": ["s3cret"], "1": "s3cret"}}));
    assert!(
        problem.contains("secrets.KEY") && !problem.contains("s3cret"),
        "{problem}"
    );
}

#[test]
fn volumes_are_read_as_in_skypilot() {
    let value = json!({"run": "true", "volumes": {
        "/a": "data", "~/b": {"name": "data", "sub_path": "x/y"}, "/c": {"size": 10},
        "/d": {"size": "1Ti", "type": "k8s-pvc", "labels": {"a": "b"},
               "config": {"access_mode": "ReadWriteMany", "storage_class_name": "fast"}},
    }});
    let task = TaskDefinition::from_json(&value).unwrap();
    let named = |sub_path: Option<&str>| VolumeMount::Named {
        name: "data".to_owned(),
        sub_path: sub_path.map(str::to_owned),
    };
    assert_eq!(task.volumes["/a"], named(None));
    assert_eq!(task.volumes["/root/b"], named(Some("x/y")));
    assert!(
        matches!(&task.volumes["/c"], VolumeMount::Ephemeral { size, access_mode: None, .. } if size == "10Gi")
    );
    assert!(
        matches!(&task.volumes["/d"], VolumeMount::Ephemeral { storage_class: Some(class), .. } if class == "fast")
    );
    for (mount, expected) in [
        (
            json!({"name": "data", "sub_path": "../x"}),
            "`sub_path` must be relative",
        ),
        (
            json!({"name": "data", "path": "x"}),
            "`path` is not known here",
        ),
        (json!({"size": "ten"}), "\"ten\" is not a size"),
        (
            json!({"size": 1, "type": "k8s-hostpath"}),
            "the volume type",
        ),
        (
            json!({"size": 1, "config": {"access_mode": "Sometimes"}}),
            "\"Sometimes\" is not",
        ),
        (json!({}), "expected the name of a volume"),
        (json!(null), "expected the name of a volume"),
    ] {
        let problem = problems(&json!({"run": "true", "volumes": {"/m": mount}}));
        assert!(
            problem.starts_with(&format!("volumes./m: {expected}")),
            "{problem}"
        );
    }
}

#[test]
fn fields_without_effect_are_checked() {
    for (fields, expected) in [
        (
            json!({"file_mounts": {"/a": null}}),
            "file_mounts./a: expected text, or a mapping, got nothing",
        ),
        (
            json!({"file_mounts": {"/a": {"mode": "BAD"}}}),
            "file_mounts./a.mode: expected one of MOUNT, COPY, MOUNT_CACHED, got \"BAD\"",
        ),
        (
            json!({"inputs": {"a": 1, "b": 2}}),
            "inputs: expected a mapping of one key, got {\"a\":1,\"b\":2}",
        ),
        (
            json!({"api_server_access": "no"}),
            "api_server_access: expected true or false, got \"no\"",
        ),
        (
            json!({"config": {"kubernetes": {"provision_timeout": "5"}}}),
            "config.kubernetes.provision_timeout: expected a whole number, got \"5\"",
        ),
        (
            json!({"config": {"hooks": [{"runs": "x"}]}}),
            "config.hooks[0].runs: unknown field, did you mean `run`?",
        ),
        (
            json!({"workdir": {"ref": "main"}}),
            "workdir.url: is required: the repository",
        ),
        (
            json!({"secrets": ["HF"]}),
            "secrets[0]: expected secrets:NAME; a secret with a value stands in a mapping, as in {NAME: VALUE}",
        ),
        (
            json!({"pool": {"workers": 1}}),
            "pool: is not a batch task's: there are no pools here",
        ),
        (json!({"foo": null}), "foo: unknown field"),
    ] {
        let mut fields = fields;
        fields["run"] = "true".into();
        assert_eq!(problems(&fields), expected);
    }
}

#[test]
fn the_number_of_reported_problems_is_limited() {
    let mut fields: Map<String, Value> = (0..10_000)
        .map(|i| (format!("field{i}"), Value::Null))
        .collect();
    fields.insert("run".to_owned(), "true".into());
    let problems = TaskDefinition::from_json(&fields.into()).unwrap_err();
    assert_eq!(
        (problems.len(), problems[50].message.as_str()),
        (51, "and 9950 problems more")
    );
}

#[test]
fn a_script_that_is_too_long_for_a_secret_is_refused() {
    let run = "x".repeat(MAX_SCRIPT_LENGTH + 1);
    assert_eq!(
        problems(&json!({"run": run})),
        "run: `setup` and `run` together must not be longer than 900 KiB"
    );
    assert_eq!(
        problems(&json!({"run": "a\0b"})),
        "run: must not contain a NUL character"
    );
}

#[test]
fn a_definition_survives_the_wire() {
    for value in [
        json!({"run": "true"}),
        json!({
            "name": "train", "num_nodes": 2, "workdir": "/work", "envs": {"A": "1"}, "secrets": {"B": "2", "C": null},
            "volumes": {"/data": "data", "/x": {"name": "data", "sub_path": "x"}, "~/y": {"size": 5, "labels": {"a": "b"}}},
            "setup": "true", "run": "true", "max_duration": "90m", "file_mounts": {"/x": "y"}, "api_server_access": true,
            "config": {"kubernetes": {"pod_config": {"spec": {"priorityClassName": "high"}}, "x": 1}},
            "resources": {"cpus": "4+", "memory": "16GB", "accelerators": {"V100": 2, "A100": 1}, "ports": [80],
                          "image_id": "docker:python:3.11", "labels": {"a": "b"}, "disk_size": "1TB", "autostop": "1h",
                          "infra": "K8S/ctx", "job_recovery": "failover", "_requires_fuse": true},
        }),
        json!({"run": "true", "secrets": ["secrets:A", "secrets:global.B"], "workdir": {"url": "https://example.com/a.git"},
               "resources": {"memory": "3x", "image_id": {"eu": "ami-1"}, "cpus": 0.5,
                             "ordered": [{"infra": "aws"}, {"cloud": "kubernetes", "memory": "8Gi+"}]}}),
    ] {
        let task = TaskDefinition::from_json(&value).unwrap();
        let sent = serde_json::to_value(&task).unwrap();
        assert_eq!(TaskDefinition::from_json(&sent), Ok(task), "{sent}");
    }
}

#[test]
fn amounts_go_over_the_wire_in_the_form_of_kubernetes() {
    let wire = |resources: Value| {
        let task = json!({"run": "true", "resources": resources});
        let task = TaskDefinition::from_json(&task).unwrap();
        let wire = task.to_wire().unwrap();
        // The server reads what the client read.
        assert_eq!(TaskDefinition::from_json(&wire).unwrap(), task);
        wire["resources"].clone()
    };
    let of = wire(json!({"memory": 4, "accelerators": "V100", "cpus": 2}));
    assert_eq!(of["memory"], "4G");
    assert_eq!(of["accelerators"], "V100:1");
    assert_eq!(of["cpus"], "2");
    let of = wire(json!({"memory": "16GB+", "accelerators": {"H100": 8}}));
    assert_eq!(of["memory"], "16G+");
    assert_eq!(of["accelerators"], "H100:8");
    let of = wire(json!({"memory": "512Mi", "accelerators": "2"}));
    assert_eq!(of["memory"], "512Mi");
    assert_eq!(of["accelerators"], "2");
}

#[test]
fn commands_may_have_the_line_ends_of_windows() {
    let task = json!({"setup": "a\r\nb\r\n", "run": "echo 'c\rd'\r\ne"});
    let task = TaskDefinition::from_json(&task).unwrap();
    assert_eq!(task.setup.as_deref(), Some("a\nb\n"));
    assert_eq!(task.run, "echo 'c\rd'\ne");
}

#[test]
fn what_costs_the_server_much_is_limited() {
    let mounts = |count: usize| {
        let mounts = (0..count).map(|index| (format!("/m{index}"), "data".into()));
        json!({"run": "true", "volumes": mounts.collect::<Map<_, _>>()})
    };
    assert!(TaskDefinition::from_json(&mounts(64)).is_ok());
    assert_eq!(
        problems(&mounts(65)),
        "volumes: 65 volumes, and a task can have 64"
    );
    let containers = |count: usize| {
        let containers: Vec<_> = (0..count)
            .map(|index| json!({"name": format!("c{index}")}))
            .collect();
        json!({"run": "true", "config": {"kubernetes": {"pod_config": {"spec": {"containers": containers}}}}})
    };
    assert!(TaskDefinition::from_json(&containers(16)).is_ok());
    assert!(
        problems(&containers(17)).starts_with("config.kubernetes.pod_config.spec.containers: ")
    );
    let long = "x".repeat(1025);
    for task in [
        json!({"run": "true", "name": long}),
        json!({"run": "true", "envs": {long.as_str(): "x"}}),
        json!({"run": "true", "volumes": {format!("/{long}"): "data"}}),
    ] {
        let problems = problems(&task);
        assert!(
            problems.ends_with("must not be longer than 1 KiB"),
            "{problems}"
        );
        assert!(problems.len() < 4096, "{} bytes", problems.len());
    }
}

#[test]
fn lists_and_names_that_cost_requests_or_memory_are_limited() {
    let mounts = |count| -> Map<String, Value> {
        (0..count)
            .map(|number| (format!("/m{number}"), "data".into()))
            .collect()
    };
    let task = |volumes: Map<_, _>| json!({"run": "true", "volumes": volumes});
    assert!(TaskDefinition::from_json(&task(mounts(64))).is_ok());
    let too_many = "volumes: 1000 volumes, and a task can have 64";
    assert_eq!(problems(&task(mounts(1000))), too_many);

    for list in ["containers", "initContainers"] {
        let pod = |count| {
            let containers = vec![json!({}); count];
            let config = json!({"kubernetes": {"pod_config": {"spec": {list: containers}}}});
            json!({"run": "true", "config": config})
        };
        assert!(TaskDefinition::from_json(&pod(16)).is_ok());
        let expected = format!(
            "config.kubernetes.pod_config.spec.{list}: expected at most 16 items, got 20000"
        );
        assert_eq!(problems(&pod(20_000)), expected);
    }

    let pod = |count| {
        let mounts = vec![json!({"name": "a", "mountPath": "/a"}); count];
        let spec = json!({"containers": [{"volumeMounts": mounts}]});
        json!({"run": "true", "config": {"kubernetes": {"pod_config": {"spec": spec}}}})
    };
    assert!(TaskDefinition::from_json(&pod(1000)).is_ok());
    let too_many = "config.kubernetes.pod_config: has 60004 values, and at most 5000 are taken";
    assert_eq!(problems(&pod(20_000)), too_many);

    let labels = |count| -> Map<String, Value> {
        let labels = (0..count).map(|number| (format!("a{number}"), "b".into()));
        labels.collect()
    };
    let task = |labels: Map<_, _>| json!({"run": "true", "resources": {"labels": labels}});
    assert!(TaskDefinition::from_json(&task(labels(64))).is_ok());
    let too_many = "resources.labels: has 65 labels, and a task can have 64";
    assert_eq!(problems(&task(labels(65))), too_many);

    let long = "x".repeat(1025);
    let too_long = "must not be longer than 1 KiB";
    for fields in [
        json!({"name": long}),
        json!({"envs": {&long: "1"}}),
        json!({"secrets": {&long: "1"}}),
        json!({"volumes": {format!("/{long}"): "data"}}),
        json!({"volumes": {"/data": long}}),
        json!({"volumes": {"/data": {"name": "data", "sub_path": long}}}),
    ] {
        let mut fields = fields;
        fields["run"] = "true".into();
        let problems = problems(&fields);
        assert!(problems.ends_with(too_long), "{problems}");
        assert!(problems.len() < 400, "{problems}");
    }
}

#[test]
fn a_field_of_resources_at_the_top_is_misplaced() {
    for field in ["image_id", "gpus", "cpus", "ports"] {
        let problems = TaskDefinition::from_json(&json!({field: "1", "run": "true"})).unwrap_err();
        assert_eq!(
            describe(&problems),
            format!("{field}: belongs under `resources`")
        );
    }
}

#[test]
fn nulls_below_the_top_are_refused_where_skypilot_refuses_them() {
    for (field, value, expected) in [
        (
            "resources",
            json!({"autostop": {"idle_minutes": null}}),
            Some("resources.autostop.idle_minutes"),
        ),
        (
            "resources",
            json!({"any_of": [{"job_recovery": null}]}),
            Some("resources.any_of[0].job_recovery"),
        ),
        (
            "resources",
            json!({"job_recovery": {"strategy": null}}),
            None,
        ),
        (
            "resources",
            json!({"job_recovery": null, "autostop": null}),
            None,
        ),
        (
            "config",
            json!({"kubernetes": null}),
            Some("config.kubernetes"),
        ),
        (
            "managed_secrets",
            json!([{"A": null}]),
            Some("managed_secrets[0].A"),
        ),
    ] {
        let task = TaskDefinition::from_json(&json!({field: value, "run": "true"}));
        let problem = task.err().map(|problems| problems[0].field.clone());
        assert_eq!(problem.as_deref(), expected);
    }
}

#[test]
fn a_login_to_a_registry_is_complete_and_in_one_place() {
    let names = ["USERNAME", "PASSWORD", "SERVER"].map(|name| format!("SKYPILOT_DOCKER_{name}"));
    let task = |in_envs: &[String], in_secrets: &[String]| {
        let values = |names: &[String]| {
            names
                .iter()
                .map(|name| (name.clone(), "x".into()))
                .collect::<Map<_, _>>()
        };
        let task = json!({"envs": values(in_envs), "secrets": values(in_secrets), "run": "true"});
        TaskDefinition::from_json(&task).map_err(|problems| describe(&problems))
    };
    assert!(task(&names, &[]).is_ok() && task(&[], &names).is_ok());
    let refused = task(&names[..1], &names[1..]).unwrap_err();
    assert!(
        refused.ends_with("give all of them in `envs`, or all in `secrets`"),
        "{refused}"
    );
    let refused = task(&[], &names[1..]).unwrap_err();
    assert!(refused.ends_with("give all three"), "{refused}");
}
