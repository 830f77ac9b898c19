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
    let submission = Submission {
        id: "ab12cd34".parse().unwrap(),
        user: &"ada@example.com".parse().unwrap(),
        task: &task,
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
    };
    let mut manifests: Vec<_> = (0..task.num_nodes)
        .map(|rank| golden::to_yaml(&job(&submission, rank)))
        .collect();
    let first = ObjectMeta {
        uid: Some("00000000-0000-0000-0000-000000000000".to_owned()),
        ..job(&submission, 0).metadata
    };
    if task.num_nodes > 1 {
        manifests.push(golden::to_yaml(&service(&submission, &first)));
    }
    if !task.secrets.is_empty() {
        manifests.push(golden::to_yaml(&secret(&submission, &first)));
    }
    let claims = ephemeral_claims(&submission, &first);
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
