use super::*;
use crate::{
    api::{VolumeDefinition, VolumeMount},
    golden,
};

/// Compares what becomes of `fixtures/tasks/<case>.yaml` with `fixtures/manifests/<case>.yaml`.
#[track_caller]
fn check(case: &str) {
    let task =
        TaskDefinition::from_json(&golden::read_yaml(&format!("tasks/{case}.yaml"))).unwrap();
    with_submission(&task, |submission| check_submission(case, submission));
}

fn with_submission(task: &TaskDefinition, act: impl FnOnce(&Submission<'_>)) {
    act(&Submission {
        id: "ab12cd34".parse().unwrap(),
        user: &"ada@example.com".parse().unwrap(),
        task,
        created_at: "2026-01-02T03:04:05.678901".parse().unwrap(),
        fail_fast: task.name.as_deref() != Some("pair"),
        claims: &task
            .volumes
            .iter()
            .map(|(path, mount)| match mount {
                VolumeMount::Named { name, .. } => (path.clone(), format!("{name}-ef56ab78")),
                VolumeMount::Ephemeral { .. } => {
                    (path.clone(), "task-ab12cd34-volume-0".to_owned())
                }
            })
            .collect(),
        placement: &Placement {
            resource: "nvidia.com/gpu",
            label: Some((
                "nvidia.com/gpu.product".to_owned(),
                vec!["NVIDIA-L4".to_owned()],
            )),
        },
    });
}

#[track_caller]
fn check_submission(case: &str, submission: &Submission<'_>) {
    let task = submission.task;
    let mut manifests: Vec<_> = (0..task.num_nodes)
        .map(|rank| golden::to_yaml(&job(submission, rank)))
        .collect();
    let first = ObjectMeta {
        uid: Some("00000000-0000-0000-0000-000000000000".to_owned()),
        ..job(submission, 0).metadata
    };
    if task.num_nodes > 1 {
        manifests.push(golden::to_yaml(&service(submission, &first)));
    }
    if !task.secrets.is_empty() {
        manifests.push(golden::to_yaml(&secret(submission, &first)));
    }
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
    );
    golden::assert("manifests/volume.yaml", &golden::to_yaml(&claim));
}

#[test]
fn what_would_be_repeated_too_often_is_kept_once() {
    let run = format!("echo $$ # {}", "x".repeat(64 * 1024));
    let task = |num_nodes: u32, run: &str| {
        let task =
            serde_json::json!({"num_nodes": num_nodes, "run": run, "secrets": {"TOKEN": "s3cret"}});
        TaskDefinition::from_json(&task).unwrap()
    };
    for (num_nodes, run, expected) in [
        (1, &*run, false),
        (4, "true", false),
        (5, &*run, true),
        // The names of many nodes are long, too.
        (200, "true", true),
    ] {
        with_submission(&task(num_nodes, run), |submission| {
            assert_eq!(is_shared(submission), expected, "{num_nodes} nodes");
        });
    }
    for field in ["envs", "secrets"] {
        let task = serde_json::json!({"num_nodes": 200, "run": "true", field: {"BASH_ENV": "x"}});
        let task = TaskDefinition::from_json(&task).unwrap();
        with_submission(&task, |submission| {
            assert!(!is_shared(submission), "{field}")
        });
    }
    with_submission(&task(5400, "true"), |submission| {
        assert_eq!(submission.warning(), None)
    });
    with_submission(&task(6000, "true"), |submission| {
        assert!(
            submission
                .warning()
                .unwrap()
                .contains("SKYPILOT_NODE_IPS is not set")
        );
        let env = golden::to_yaml(&job(submission, 0));
        assert!(!env.contains("SKYPILOT_NODE_IPS"), "{env}");
    });
    with_submission(&task(5, &run), |submission| {
        let job = golden::to_yaml(&job(submission, 4));
        assert!(job.len() < 4096 && !job.contains("node-3."), "{job}");
        let data = shared(submission, &ObjectMeta::default())
            .string_data
            .unwrap();
        assert_eq!(data["K8S_CLI_SCRIPT"], run);
        assert_eq!(
            data["SKYPILOT_NODE_IPS"].lines().nth(3),
            Some("node-3.task-ab12cd34")
        );
        assert!(
            job.find("task-ab12cd34-shared") < job.rfind("name: task-ab12cd34\n"),
            "{job}"
        );
    });
}
