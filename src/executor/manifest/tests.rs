use super::*;
use crate::golden;

/// Compares what becomes of `fixtures/tasks/<case>.yaml` with `fixtures/manifests/<case>.yaml`.
#[track_caller]
fn check(case: &str) {
    let task =
        TaskDefinition::from_json(&golden::read_yaml(&format!("tasks/{case}.yaml"))).unwrap();
    let submission = Submission {
        id: &"ab12cd34".parse().unwrap(),
        user: &"ada@example.com".parse().unwrap(),
        task: &task,
        created_at: "2026-01-02T03:04:05.678901".parse().unwrap(),
        claims: &task
            .volumes
            .iter()
            .map(|(path, name)| (path.clone(), format!("{name}-ef56ab78")))
            .collect(),
    };
    let mut manifests: Vec<_> = (0..task.num_nodes)
        .map(|rank| golden::to_yaml(&job(&submission, rank)))
        .collect();
    if task.num_nodes > 1 {
        let first = ObjectMeta {
            uid: Some("00000000-0000-0000-0000-000000000000".to_owned()),
            ..job(&submission, 0).metadata
        };
        manifests.push(golden::to_yaml(&service(&submission, &first)));
    }
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
fn kubernetes_gives_back_the_dollars_that_were_escaped() {
    /// What Kubernetes makes of an argument when no variable is defined.
    fn expand(text: &str) -> String {
        text.replace("$$", "$")
    }
    for text in [
        "echo $$",
        "$(date)",
        "$$(date)",
        "${A}",
        "$A$",
        "$$$(x)$$$",
        "a$",
        "no dollars",
    ] {
        assert_eq!(expand(&escape_dollars(text)), text);
    }
    assert_eq!(escape_dollars("$(date) ${A} $B"), "$$(date) ${A} $B");
}

#[test]
fn text_is_one_word_for_the_shell() {
    assert_eq!(quote("it's"), r"'it'\''s'");
}
