use k8s_openapi::{
    List, ListableResource,
    api::{
        batch::v1::JobCondition,
        core::v1::{ContainerState, ContainerStateTerminated},
    },
};
use serde::de::DeserializeOwned;

use super::*;
use crate::golden;

/// What a real Kubernetes 1.36 showed, 70 s after the tasks were created.
fn recorded<K: ListableResource + DeserializeOwned>(file: &str) -> Vec<K> {
    let list: List<K> = serde_json::from_str(&golden::read(&format!("recorded/{file}"))).unwrap();
    list.items
}

fn observed() -> Observed {
    let mut jobs: Vec<Job> = recorded("jobs.json");
    jobs.extend(recorded("jobs-quota.json"));
    Observed {
        jobs,
        pods: recorded("pods.json"),
        events: recorded("events-quota.json"),
    }
}

#[test]
fn what_a_real_kubernetes_shows_is_told_in_words() {
    let tasks = tasks(&observed(), "default");
    let lines: Vec<_> = tasks
        .iter()
        .map(|task| {
            format!(
                "{}\t{}\t{}\n",
                task.name,
                task.status,
                task.reason.as_deref().unwrap_or("-")
            )
        })
        .collect();
    golden::assert("observed/recorded.tsv", &lines.concat());
}

#[test]
fn a_task_shows_every_key() {
    let tasks = tasks(&observed(), "default");
    let task = tasks.iter().find(|task| task.name == "oom").unwrap();
    golden::assert("observed/oom.yaml", &golden::to_yaml(task));
}

/// A Job as the cluster shows it, of a task with three nodes.
fn job(rank: u32, condition: Option<&str>) -> Job {
    let mut job = observed()
        .jobs
        .into_iter()
        .find(|job| labels::label(&job.metadata, labels::TASK_NAME).unwrap() == "running")
        .unwrap();
    let labels = job.metadata.labels.as_mut().unwrap();
    labels.insert(labels::NODE_IDX.to_owned(), rank.to_string());
    job.metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert(labels::NUM_NODES.to_owned(), "3".to_owned());
    job.metadata.name = Some(format!("train-running0-node-{rank}"));
    job.metadata.uid = Some(format!("uid-{rank}"));
    job.status.as_mut().unwrap().conditions = condition.map(|condition| {
        vec![JobCondition {
            type_: condition.to_owned(),
            status: "True".to_owned(),
            ..JobCondition::default()
        }]
    });
    job
}

/// The pod of [`job`], in this phase.
fn pod(rank: u32, phase: &str) -> Pod {
    let mut pod = observed()
        .pods
        .into_iter()
        .find(|pod| labels::label(&pod.metadata, labels::TASK_ID).unwrap() == "running0")
        .unwrap();
    pod.metadata.owner_references.as_mut().unwrap()[0].uid = format!("uid-{rank}");
    pod.status.as_mut().unwrap().phase = Some(phase.to_owned());
    pod
}

#[test]
fn the_failure_of_a_task_is_that_of_the_node_that_failed_first() {
    let stopped = |mut pod: Pod| {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(labels::STOPPED_AFTER.to_owned(), "1".to_owned());
        pod
    };
    let failed = |rank| job(rank, Some("Failed"));
    let mut observed = Observed {
        jobs: vec![failed(0), failed(1), job(2, Some("Complete"))],
        pods: vec![stopped(pod(0, "Failed")), pod(1, "Failed")],
        events: Vec::new(),
    };
    let reason = |observed: &Observed| tasks(observed, "default")[0].reason.clone().unwrap();
    let nodes = tasks(&observed, "default")[0].metadata.nodes.clone();
    assert_eq!(nodes[0].stopped_after, Some(1));
    assert_eq!(
        nodes[0].reason.as_deref(),
        Some("stopped: node-1 failed first")
    );
    let mut exit = |message: Option<&str>| {
        let status = observed.pods[1].status.as_mut().unwrap();
        status.container_statuses.as_mut().unwrap()[0].state = Some(ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 3,
                message: message.map(str::to_owned),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        });
        reason(&observed)
    };
    assert_eq!(exit(None), "node-1: exit code 3");
    let setup_failed = Some(super::super::manifest::SETUP_FAILED);
    assert_eq!(exit(setup_failed), "setup on node-1 exited with 3");
}

#[track_caller]
fn check(jobs: Vec<Job>, pods: Vec<Pod>, state: TaskState, counts: [u32; 4]) {
    let observed = Observed {
        jobs,
        pods,
        events: Vec::new(),
    };
    let tasks = tasks(&observed, "default");
    let metadata = &tasks[0].metadata;
    let counted = [
        metadata.succeeded_nodes,
        metadata.failed_nodes,
        metadata.running_nodes,
        metadata.pending_nodes,
    ];
    assert_eq!((tasks.len(), tasks[0].status, counted), (1, state, counts));
    assert_eq!(
        (metadata.job_name.as_str(), metadata.num_nodes),
        ("train-running0", 3)
    );
}

#[test]
fn a_task_is_what_its_nodes_are() {
    use TaskState::{Completed, Failed, Pending, Running};
    let (done, failed) = (Some("Complete"), Some("Failed"));
    check(
        vec![job(2, None), job(0, None), job(1, None)],
        vec![],
        Pending,
        [0, 0, 0, 3],
    );
    check(
        vec![job(0, None), job(1, None), job(2, None)],
        vec![pod(1, "Running")],
        Running,
        [0, 0, 1, 2],
    );
    check(
        vec![job(0, done), job(1, None), job(2, None)],
        vec![],
        Pending,
        [1, 0, 0, 2],
    );
    check(
        vec![job(0, done), job(1, failed), job(2, None)],
        vec![pod(2, "Running")],
        Failed,
        [1, 1, 1, 0],
    );
    check(
        vec![job(0, done), job(1, done), job(2, done)],
        vec![],
        Completed,
        [3, 0, 0, 0],
    );
    // Its Job has not noticed yet: the node has not gone back to pending.
    check(
        vec![job(0, None), job(1, None), job(2, None)],
        vec![pod(0, "Succeeded")],
        Running,
        [0, 0, 1, 2],
    );
    // Its Jobs are still being made: what is there does not make it complete.
    check(vec![job(0, done)], vec![], Pending, [1, 0, 0, 2]);
}

#[test]
fn a_pod_with_our_labels_but_another_owner_says_nothing() {
    let mut stranger = pod(0, "Running");
    stranger.metadata.owner_references.as_mut().unwrap()[0].controller = None;
    check(
        vec![job(0, None), job(1, None), job(2, None)],
        vec![stranger],
        TaskState::Pending,
        [0, 0, 0, 3],
    );
}

#[test]
fn a_job_that_is_being_deleted_is_gone() {
    let mut deleted = job(0, None);
    deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
    let observed = Observed {
        jobs: vec![deleted],
        ..Observed::default()
    };
    assert_eq!(tasks(&observed, "default"), []);
}

#[test]
fn only_an_unfinished_job_without_a_pod_needs_events() {
    let needs = |jobs, pods| {
        Observed {
            jobs,
            pods,
            events: Vec::new(),
        }
        .misses_pods()
    };
    assert!(needs(vec![job(0, None)], vec![]));
    assert!(!needs(vec![job(0, None)], vec![pod(0, "Pending")]));
    assert!(!needs(vec![job(0, Some("Complete"))], vec![]));
}
