use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{environment::escape_dollars, script, *};
use crate::{
    api::{SubmitFlags, TaskDefinition, VolumeDefinition, VolumeMount},
    golden,
};

/// Compares the objects of `fixtures/tasks/<case>.yaml` with `fixtures/manifests/<case>.yaml`.
#[track_caller]
fn check(case: &str) {
    let task =
        TaskDefinition::from_json(&golden::read_yaml(&format!("tasks/{case}.yaml"))).unwrap();
    check_submission(case, &submission(task));
}

fn submission(mut task: TaskDefinition) -> Submission {
    let registry_login = task.take_registry_login();
    let flags = SubmitFlags {
        recover: false,
        fail_fast: task.name.as_deref() != Some("pair"),
        barrier: true,
    };
    let claims = task
        .volumes
        .iter()
        .map(|(path, mount)| match mount {
            VolumeMount::Named { name, .. } => (path.clone(), format!("{name}-ef56ab78")),
            VolumeMount::Ephemeral { .. } => (path.clone(), "task-ab12cd34-volume-0".to_owned()),
        })
        .collect();
    let placement = Placement {
        resource: task
            .resources
            .accelerators
            .as_ref()
            .map(|gpus| ("nvidia.com/gpu", gpus.count)),
        labels: match &task.resources.accelerators {
            Some(_) => vec![(
                "nvidia.com/gpu.product".to_owned(),
                vec!["NVIDIA-L4".to_owned()],
            )],
            None => Vec::new(),
        },
    };
    Submission::new(
        Origin {
            id: "ab12cd34".parse().unwrap(),
            keyed: None,
            group: None,
        },
        "ada@example.com".parse().unwrap(),
        task,
        "2026-01-02T03:04:05.678901".parse().unwrap(),
        flags,
        Found {
            claims,
            placement,
            registry_login,
            files: None,
        },
    )
}

#[track_caller]
fn check_submission(case: &str, submission: &Submission) {
    let task = &submission.task;
    let mut manifests: Vec<_> = (0..task.num_nodes)
        .map(|rank| {
            let mut job = job(submission, rank).unwrap();
            let pod = job.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
            let args = pod.containers[0].args.as_mut().unwrap();
            // The text of init.sh would hide the rest.
            assert_eq!(args[0], escape_dollars(&script::init()));
            args[0] = "<init.sh>".to_owned();
            args[4] = "<shell.sh>".to_owned();
            if let Some(nodes) = args.get_mut(7) {
                *nodes = "<nodes.sh>".to_owned();
            }
            golden::to_yaml(&job)
        })
        .collect();
    let first = ObjectMeta {
        uid: Some("00000000-0000-0000-0000-000000000000".to_owned()),
        ..job(submission, 0).unwrap().metadata
    };
    if task.num_nodes > 1 {
        manifests.push(golden::to_yaml(&service(submission, &first)));
    }
    manifests.extend(secrets(submission, &first).iter().map(golden::to_yaml));
    let claims = ephemeral_claims(submission, &first);
    manifests.extend(claims.iter().map(golden::to_yaml));
    golden::assert(&format!("manifests/{case}.yaml"), &manifests.join("---\n"));
}

#[test]
fn hello() {
    check("hello");
}

#[test]
fn multi_node() {
    check("multi-node");
}

#[test]
fn gpu() {
    check("gpu");
}

#[test]
fn volumes_of_a_task() {
    check("volumes");
}

#[test]
fn registry() {
    check("registry");
}

#[test]
fn full() {
    check("full");
}

#[test]
fn a_volume() {
    let volume = VolumeDefinition {
        name: "data".to_owned(),
        size: "10Gi".to_owned(),
        storage_class: Some("fast".to_owned()),
        access_modes: vec![crate::api::AccessMode::ReadWriteMany],
    };
    let created_at = "2026-01-02T03:04:05.678901".parse().unwrap();
    let claim = claim(
        &"ef56ab78".parse().unwrap(),
        &"ada@example.com".parse().unwrap(),
        &volume,
        created_at,
        None,
    );
    golden::assert("manifests/volume.yaml", &golden::to_yaml(&claim));
}

#[test]
fn a_secret_holds_a_long_script_of_many_jobs() {
    let run = format!("echo $$ # {}", "x".repeat(64 * 1024));
    let task = |num_nodes: u32, run: &str| {
        let task =
            serde_json::json!({"num_nodes": num_nodes, "run": run, "secrets": {"TOKEN": "s3cret"}});
        TaskDefinition::from_json(&task).unwrap()
    };
    let is_in_secret = |task: TaskDefinition| submission(task).script.files().is_some();
    for (num_nodes, run, expected) in [
        (1, &*run, false),
        // It is too long for an argument.
        (1, &*run.repeat(2), true),
        (4, "true", false),
        (5, &*run, true),
        // The names of many nodes are long as well.
        (200, "true", true),
    ] {
        assert_eq!(
            is_in_secret(task(num_nodes, run)),
            expected,
            "{num_nodes} nodes"
        );
    }
    let five = submission(task(5, &run));
    let job = golden::to_yaml(&job(&five, 4).unwrap());
    assert!(job.len() < 4096 && !job.contains("node-3."), "{job}");
    let secrets = secrets(&five, &ObjectMeta::default());
    let data = secrets[1].string_data.as_ref().unwrap();
    assert_eq!(data["run"], run);
    assert_eq!(
        data["SKYPILOT_NODE_IPS"].lines().nth(3),
        Some("node-3.task-ab12cd34")
    );
    assert!(job.contains("secretName: task-ab12cd34-shared"), "{job}");
}

#[test]
fn a_script_for_a_shell_of_the_user_must_fit_an_argument() {
    // The quotes of an apostrophe take three bytes more.
    let task = |length: usize| {
        let task = serde_json::json!({"run": "true", "setup": "'".repeat(length), "config": {"kubernetes": {"pod_config": {
            "spec": {"containers": [{"command": ["/bin/sh", "-c"]}]},
        }}}});
        submission(TaskDefinition::from_json(&task).unwrap())
    };
    assert!(job(&task(32_000), 0).is_ok());
    let problem = job(&task(33_000), 0).unwrap_err();
    assert_eq!(problem.field, "run");
    assert!(problem.message.contains("are 132"), "{}", problem.message);
}

#[test]
fn node_names_too_long_for_a_variable_give_a_warning() {
    let task = |num_nodes: u32| {
        let task = serde_json::json!({"num_nodes": num_nodes, "run": "true"});
        submission(TaskDefinition::from_json(&task).unwrap())
    };
    assert!(task(5400).warnings.is_empty());
    let many = task(6000);
    let warning = &many.warnings[0];
    assert!(
        warning.contains("SKYPILOT_NODE_IPS is not set"),
        "{warning}"
    );
    let env = golden::to_yaml(&job(&many, 0).unwrap());
    assert!(!env.contains("SKYPILOT_NODE_IPS"), "{env}");
}

#[test]
fn the_grace_period_is_an_hour_at_most() {
    for (asked, given) in [(31_536_000, 3600), (60, 60)] {
        let task = serde_json::json!({"run": "true", "config": {"kubernetes": {"pod_config": {
            "spec": {"terminationGracePeriodSeconds": asked},
        }}}});
        let submission = submission(TaskDefinition::from_json(&task).unwrap());
        let spec = job(&submission, 0)
            .unwrap()
            .spec
            .unwrap()
            .template
            .spec
            .unwrap();
        assert_eq!(spec.termination_grace_period_seconds, Some(given));
    }
}
