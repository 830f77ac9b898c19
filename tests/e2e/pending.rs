//! Tasks that do not start, and what their users are told.

use crate::harness::{World, wait_for};

/// Submits a task and waits for a reason for which it is pending.
#[track_caller]
fn reason(world: &World, task: &str, expected: &[&str]) {
    let ada = world.login("ada");
    let id = ada.submit(task);
    let reason = wait_for(&format!("a reason with one of {expected:?}"), || {
        let task = ada.status(&id);
        assert_eq!(task["status"], "pending", "{task}");
        let reason = task["reason"].as_str()?.to_owned();
        expected
            .iter()
            .any(|expected| reason.contains(expected))
            .then_some(reason)
    });
    let listed = ada.run(["jobs", "list"]).success();
    assert!(listed.stdout.contains("pending"), "{}", listed.stdout);
    assert!(!reason.contains('\n'));
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn an_image_that_does_not_exist() {
    let world = World::new();
    let task = "resources: {image_id: 'registry.invalid/none:1'}\nrun: 'true'";
    reason(&world, task, &["ErrImagePull: ", "ImagePullBackOff: "]);
}

#[test]
fn an_image_whose_name_is_nonsense() {
    let world = World::new();
    reason(
        &world,
        "resources: {image_id: 'Bad:Image:Name'}\nrun: 'true'",
        &["InvalidImageName: "],
    );
}

#[test]
fn more_than_the_cluster_has() {
    let world = World::new();
    reason(
        &world,
        "resources: {cpus: 1000}\nrun: 'true'",
        &["Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."],
    );
    let gpu = "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.";
    reason(
        &world,
        "resources: {accelerators: 'V100:2'}\nrun: 'true'",
        &[gpu],
    );
}

#[test]
fn one_node_of_several_cannot_start() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("num_nodes: 2\nresources: {memory: 900Ti}\nrun: 'true'");
    let task = wait_for("both nodes say why", || {
        let task = ada.status(&id);
        let nodes = task["metadata"]["nodes"].as_array()?.clone();
        nodes
            .iter()
            .all(|node| node["reason"].is_string())
            .then_some(task)
    });
    assert_eq!(task["metadata"]["pending_nodes"], 2);
    let reason = task["reason"].as_str().unwrap();
    assert!(
        reason
            .starts_with("node-0: Unschedulable: 0/1 nodes are available: 1 Insufficient memory."),
        "{reason}"
    );
}
