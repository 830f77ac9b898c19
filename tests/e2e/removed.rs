//! Tests of tasks whose objects are removed without the server.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use crate::harness::{TempDir, World, is_real_cluster, wait_for, wait_until};

/// Nodes that wait until they are stopped.
const WAITING: &str = "num_nodes: 3\nrun: |\n  trap 'exit 0' TERM\n  sleep 1000 & wait";

#[test]
fn a_job_that_is_deleted_fails_its_task() {
    for rank in [0, 1] {
        let world = World::new();
        let ada = world.login("ada");
        let id = ada.submit(&format!("name: train\n{WAITING}"));
        wait_until("all nodes to run", || {
            ada.status(&id)["metadata"]["running_nodes"] == 3
        });
        let job = format!("train-{id}-node-{rank}");
        world.delete_job(&job, PropagationPolicy::Background);
        let task = ada.wait_for_status(&id, "failed");
        assert_eq!(
            task["reason"],
            format!("the Job of node-{rank} was deleted")
        );
        assert_eq!(task["metadata"]["node_jobs"][rank], job);
        // Fail-fast stops the others.
        let task = wait_for("the end of all nodes", || {
            let task = ada.status(&id);
            (task["metadata"]["failed_nodes"] == 3).then_some(task)
        });
        // The log tells the same.
        let log = ada.run(["jobs", "logs", "--no-follow", &id]).code(100);
        let end = format!("task {id} failed: the Job of node-{rank} was deleted");
        assert!(log.stderr.contains(&end), "{}", log.stderr);
        let other = &task["metadata"]["nodes"][2];
        assert_eq!(other["stopped_after"], rank, "{task}");
        ada.run(["jobs", "stop", &id]).success();
        ada.run(["jobs", "status", &id]).code(1);
    }
}

#[test]
fn the_log_of_a_task_whose_creation_was_given_up_ends() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("name: train\nnum_nodes: 3\nrun: 'true'");
    let shown = ada.run(["jobs", "submit", "--dry-run", "-o", "json", &file]);
    let shown: Value = serde_json::from_str(&shown.success().stdout).unwrap();
    let manifests = shown["manifests"].as_array().unwrap();
    let first = manifests.iter().find(|it| it["kind"] == "Job").unwrap();
    let mut first: Job = serde_json::from_value(first.clone()).unwrap();
    first.spec.as_mut().unwrap().parallelism = Some(0);
    let annotations = first.metadata.annotations.as_mut().unwrap();
    annotations.remove("k8s-cli/complete");
    annotations.insert("k8s-cli/incomplete".to_owned(), "2".to_owned());
    world.create(&first);
    let id = first.metadata.labels.unwrap()["task-id"].clone();
    let task = ada.wait_for_status(&id, "failed");
    let reason = "incomplete: 2 of 3 nodes were created";
    assert_eq!(task["reason"], reason);
    assert_eq!(task["metadata"]["failed_nodes"], 3);
    let log = ada.run(["jobs", "logs", &id]).code(100);
    assert_eq!(log.stderr, format!("task {id} failed: {reason}\n"));
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn a_task_stays_finished_when_its_jobs_are_removed() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("name: train\nnum_nodes: 3\nrun: if [ $NODE_RANK = 2 ]; then sleep 2; fi");
    ada.wait_for_status(&id, "completed");
    let job = |rank: usize| format!("train-{id}-node-{rank}");
    let notes = || {
        let jobs: Vec<Job> = world.objects();
        let annotations = jobs
            .iter()
            .filter_map(|job| job.metadata.annotations.as_ref());
        annotations
            .filter_map(|all| all.get("k8s-cli/ends").cloned())
            .next()
    };
    wait_for("a note about the ends of the nodes", notes);
    for rank in [0, 1] {
        world.delete_job(&job(rank), PropagationPolicy::Background);
        wait_until("the Job to be gone", || {
            !world.names::<Job>().contains(&job(rank))
        });
        let task = ada.status(&id);
        assert_eq!(task["status"], "completed", "{task}");
    }
    // A server that did not see it knows it from the note.
    let dir = TempDir::new();
    let server = world.second_server(&dir);
    let listed = ada
        .run(["jobs", "list", "--api-url", &server.url])
        .success();
    assert!(listed.stdout.contains("completed"), "{}", listed.stdout);
}

#[test]
fn a_policy_that_removes_finished_jobs_at_once_does_not_hide_a_failure() {
    if is_real_cluster() {
        eprintln!("left out: Kubernetes 1.20 ignores ttlSecondsAfterFinished");
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(
        "name: train\nnum_nodes: 3\nrun: |\n  if [ $NODE_RANK = 1 ]; then sleep 2; exit 3; fi\n  if [ $NODE_RANK = 2 ]; then exit 0; fi\n  trap 'sleep 4; exit 0' TERM\n  sleep 1000 & wait",
    );
    for rank in 0..3 {
        let patch = json!({ "spec": { "ttlSecondsAfterFinished": 0 } });
        world.patch::<Job>(&format!("train-{id}-node-{rank}"), &patch);
    }
    let task = ada.wait_for_status(&id, "failed");
    assert_eq!(task["reason"], "node-1: exit code 3");
    assert_eq!(task["metadata"]["succeeded_nodes"], 1, "{task}");
    wait_until("the task to be gone with its last Job", || {
        ada.run(["jobs", "status", &id])
            .stderr
            .contains("not found")
    });
}

#[test]
fn a_pod_without_its_job_is_shown_and_can_be_stopped() {
    let world = World::new();
    let ada = world.login("ada");
    let id =
        ada.submit("name: train\nrun: |\n  trap 'exit 0' TERM\n  echo ready\n  sleep 1000 & wait");
    ada.wait_for_status(&id, "running");
    world.delete_job(&format!("train-{id}"), PropagationPolicy::Orphan);
    wait_until("the Job to be gone", || world.names::<Job>().is_empty());
    let task = ada.status(&id);
    assert_eq!(
        (&task["status"], &task["name"]),
        (&"running".into(), &"train".into()),
        "{task}"
    );
    let listed = ada.run(["jobs", "list"]).success().stdout;
    assert!(listed.contains("running"), "{listed}");
    let log = ada.run(["jobs", "logs", "--no-follow", &id]).code(101);
    assert_eq!(log.stdout, "ready\n");
    ada.run(["jobs", "stop", &id]).success();
    ada.run(["jobs", "status", &id]).code(1);
    assert_eq!(world.names::<Pod>(), Vec::<String>::new());
}

#[test]
fn a_pod_that_is_deleted_fails_its_task() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: sleep 1000");
    let task = ada.wait_for_status(&id, "running");
    let pod = task["metadata"]["nodes"][0]["pod"].clone();
    world.delete_pod(pod.as_str().unwrap());
    let reason = wait_for("the end of the task", || {
        let task = ada.status(&id);
        let now = &task["metadata"]["nodes"][0]["pod"];
        if now.is_string() && *now != pod {
            // Before 1.26 Kubernetes does not count a deleted pod, and makes another one.
            assert!(is_real_cluster(), "{task}");
            return Some(None);
        }
        assert_ne!(task["status"], "pending", "{task}");
        let has_failed = task["status"] == "failed";
        has_failed.then(|| task["reason"].as_str().map(str::to_owned))
    });
    if let Some(reason) = reason {
        assert!(reason.contains("its pod was deleted"), "{reason}");
        // A server that starts now still knows why.
        let dir = TempDir::new();
        let second = world.second_server(&dir);
        wait_until("the cause is noted", || {
            let status = ada.start_at(&second.url, ["jobs", "status", &id, "-o", "json"]);
            status.finish().success().stdout.contains(&reason)
        });
    }
}
