use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::{
    List, ListableResource,
    api::{
        batch::v1::{Job, JobCondition},
        core::v1::{ContainerState, ContainerStateTerminated, ContainerStateWaiting, Pod},
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::*;
use crate::{
    api::{NodeStatus, TaskState, TaskStatus},
    executor::objects::{SETUP_FAILED, labels},
    golden,
};

/// The tasks of a real Kubernetes 1.36, 70 s after their creation.
fn recorded() -> Vec<TaskStatus> {
    let jobs = ["jobs", "jobs-quota"].map(|file| golden::items(&format!("recorded/{file}.json")));
    let mut jobs: Vec<JobRow> = jobs.into_iter().flatten().collect();
    jobs.sort_by_key(|job| (Reverse(job.created_at), job.task));
    let pods: Vec<PodRow> = golden::items("recorded/pods.json");
    let failures: Vec<EventRow> = golden::items("recorded/events-quota.json");
    let tasks = jobs.into_iter().filter_map(|job| {
        let id = job.task?;
        let pods = pods.iter().filter(|pod| pod.task == Some(id));
        let observed = Observed {
            pods: pods.cloned().map(Arc::new).collect(),
            jobs: vec![Arc::new(job)],
            failures: failures.iter().map(|it| (it.object, it.clone())).collect(),
            ..Observed::default()
        };
        observed.status(id, None, "default")
    });
    tasks.collect()
}

fn first<K: ListableResource + DeserializeOwned>(file: &str, is_wanted: impl Fn(&K) -> bool) -> K {
    let list: List<K> = serde_json::from_str(&golden::read(file)).unwrap();
    list.items.into_iter().find(is_wanted).unwrap()
}

/// The row of an object.
fn row<R: DeserializeOwned>(object: impl Serialize) -> Arc<R> {
    Arc::new(serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap())
}

#[test]
fn recorded_tasks_have_the_expected_status() {
    let lines = recorded().into_iter().map(|task| {
        let reason = task.reason.as_deref().unwrap_or("-");
        format!("{}\t{}\t{reason}\n", task.name, task.status)
    });
    golden::assert("observed/recorded.tsv", &lines.collect::<String>());
}

#[test]
fn a_task_shows_every_key() {
    let tasks = recorded();
    let task = tasks.iter().find(|task| task.name == "oom").unwrap();
    golden::assert("observed/oom.yaml", &golden::to_yaml(task));
}

/// A Job of a task with three nodes, as the cluster shows it.
fn job(rank: u32, condition: Option<&str>) -> Job {
    let mut job: Job = first("recorded/jobs.json", |job: &Job| {
        job.metadata.labels.as_ref().unwrap()[labels::TASK_NAME] == "running"
    });
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
    let mut pod: Pod = first("recorded/pods.json", |pod: &Pod| {
        pod.metadata.labels.as_ref().unwrap()[labels::TASK_ID] == "running0"
    });
    pod.metadata.owner_references.as_mut().unwrap()[0].uid = format!("uid-{rank}");
    pod.status.as_mut().unwrap().phase = Some(phase.to_owned());
    pod
}

#[test]
fn the_first_failed_node_gives_the_reason_of_the_task() {
    let stopped = |mut pod: Pod| {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(labels::STOPPED_AFTER.to_owned(), "1".to_owned());
        pod
    };
    let status = |message: Option<&str>| {
        let mut second = pod(1, "Failed");
        let status = second.status.as_mut().unwrap();
        status.container_statuses.as_mut().unwrap()[0].state = Some(ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 3,
                message: message.map(str::to_owned),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        });
        let jobs = [
            job(0, Some("Failed")),
            job(1, Some("Failed")),
            job(2, Some("Complete")),
        ];
        status_of(&observed(jobs, [stopped(pod(0, "Failed")), second])).unwrap()
    };
    let task = status(None);
    let node = &task.metadata.nodes[0];
    assert_eq!(node.stopped_after, Some(1));
    assert_eq!(node.reason.as_deref(), Some("stopped: node-1 failed first"));
    assert_eq!(task.reason.as_deref(), Some("node-1: exit code 3"));
    let task = status(Some(SETUP_FAILED));
    assert_eq!(
        task.reason.as_deref(),
        Some("setup on node-1 exited with 3")
    );
}

#[test]
fn a_task_that_is_being_created_is_pending_whatever_its_pods_do() {
    let mut first = job(0, None);
    first.spec.as_mut().unwrap().parallelism = Some(0);
    first
        .metadata
        .annotations
        .get_or_insert_default()
        .remove(labels::COMPLETE);
    let begun = observed([first, job(1, None)], [pod(1, "Running")]);
    let task = status_of(&begun).unwrap();
    assert_eq!(task.status, TaskState::Pending);
    assert_eq!(
        task.reason.as_deref(),
        Some("being created: 2 of 3 Jobs exist")
    );
}

#[test]
fn all_nodes_of_a_task_whose_creation_was_given_up_have_failed() {
    let status = |count: &str| {
        let mut first = job(0, None);
        first.spec.as_mut().unwrap().parallelism = Some(0);
        let annotations = first.metadata.annotations.get_or_insert_default();
        annotations.remove(labels::COMPLETE);
        let since = "2037-01-02T03:04:05.000000";
        for (key, value) in [
            (labels::INCOMPLETE, count),
            (labels::INCOMPLETE_SINCE, since),
        ] {
            annotations.insert(key.to_owned(), value.to_owned());
        }
        let observed = observed([first], [pod(1, "Running")]);
        let nodes = observed.nodes_without_job();
        let ranks: Vec<_> = nodes.iter().map(|node| (node.rank, node.status)).collect();
        assert_eq!(ranks, [(1, TaskState::Failed), (2, TaskState::Failed)]);
        let has_lines = |node: &NodeStatus| !could_not_start(node.reason.as_deref().unwrap());
        assert!(!nodes.iter().any(has_lines));
        let task = status_of(&observed).unwrap();
        assert_eq!(task.metadata.failed_nodes, 3);
        assert_eq!(task.updated_at.to_string(), since);
        task.reason.unwrap()
    };
    assert_eq!(status("2"), "incomplete: 2 of 3 nodes were created");
    assert_eq!(status("3"), "incomplete: its creation was cut off");
}

fn observed<const J: usize, const P: usize>(jobs: [Job; J], pods: [Pod; P]) -> Observed {
    Observed {
        jobs: jobs.map(row).into(),
        pods: pods.map(row).into(),
        ..Observed::default()
    }
}

fn status_of(observed: &Observed) -> Option<TaskStatus> {
    observed.status("running0".parse().unwrap(), None, "default")
}

#[track_caller]
fn check<const J: usize, const P: usize>(
    jobs: [Job; J],
    pods: [Pod; P],
    state: TaskState,
    counts: [u32; 4],
) {
    let task = status_of(&observed(jobs, pods)).unwrap();
    let metadata = &task.metadata;
    let counted = [
        metadata.succeeded_nodes,
        metadata.failed_nodes,
        metadata.running_nodes,
        metadata.pending_nodes,
    ];
    assert_eq!((task.status, counted), (state, counts));
    assert_eq!(
        (metadata.job_name.as_str(), metadata.num_nodes),
        ("train-running0", 3)
    );
}

#[test]
fn the_nodes_decide_the_state_of_the_task() {
    use TaskState::{Completed, Failed, Pending, Running};
    let (done, failed) = (Some("Complete"), Some("Failed"));
    check(
        [job(0, None), job(1, None), job(2, None)],
        [],
        Pending,
        [0, 0, 0, 3],
    );
    check(
        [job(0, None), job(1, None), job(2, None)],
        [pod(1, "Running")],
        Running,
        [0, 0, 1, 2],
    );
    check(
        [job(0, done), job(1, None), job(2, None)],
        [],
        Pending,
        [1, 0, 0, 2],
    );
    check(
        [job(0, done), job(1, failed), job(2, None)],
        [pod(2, "Running")],
        Failed,
        [1, 1, 1, 0],
    );
    check(
        [job(0, done), job(1, done), job(2, done)],
        [],
        Completed,
        [3, 0, 0, 0],
    );
    // The Job has not ended yet, but the node does not go back to pending.
    check(
        [job(0, None), job(1, None), job(2, None)],
        [pod(0, "Succeeded")],
        Running,
        [0, 0, 1, 2],
    );
    // The other Jobs do not exist yet, so the task is not complete.
    check([job(0, done)], [], Pending, [1, 0, 0, 2]);
}

#[test]
fn the_node_that_ended_first_gives_the_reason_where_none_stops_another() {
    let failed = |rank, second: u32| {
        let mut pod = pod(rank, "Failed");
        let status = pod.status.as_mut().unwrap();
        status.container_statuses.as_mut().unwrap()[0].state = Some(ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 3,
                finished_at: Some(
                    serde_json::from_value(format!("2026-01-02T03:04:{second:02}Z").into())
                        .unwrap(),
                ),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        });
        pod
    };
    for (ends, first) in [([9, 5, 7], 1), ([5, 5, 7], 0), ([9, 8, 7], 2)] {
        let jobs = [0, 1, 2].map(|rank| job(rank, Some("Failed")));
        let pods = [0, 1, 2].map(|rank: u32| failed(rank, ends[rank as usize]));
        let task = status_of(&observed(jobs, pods)).unwrap();
        let expected = format!("node-{first}: exit code 3");
        assert_eq!(task.reason, Some(expected), "{ends:?}");
    }
}

#[test]
fn a_node_fails_when_its_pod_says_why() {
    let failed = || {
        let mut job = job(0, Some("Failed"));
        job.metadata
            .annotations
            .as_mut()
            .unwrap()
            .insert(labels::NUM_NODES.to_owned(), "1".to_owned());
        let conditions = job.status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions[0].reason = Some("BackoffLimitExceeded".to_owned());
        job
    };
    // Its end is on its way.
    let task = status_of(&observed([failed()], [pod(0, "Running")])).unwrap();
    assert_eq!((task.status, task.reason), (TaskState::Running, None));
    let mut ended = pod(0, "Failed");
    ended.status.as_mut().unwrap().reason = Some("Evicted".to_owned());
    let task = status_of(&observed([failed()], [ended])).unwrap();
    assert_eq!(task.status, TaskState::Failed);
    assert!(task.reason.unwrap().starts_with("Evicted"));
    // There is no pod that could say more.
    let task = status_of(&observed([failed()], [])).unwrap();
    assert_eq!(task.reason.as_deref(), Some("its pod was deleted"));
}

#[test]
fn the_deadline_of_a_job_is_the_cause_of_the_end_of_its_pod() {
    let mut late = job(0, Some("Failed"));
    let conditions = late.status.as_mut().unwrap().conditions.as_mut().unwrap();
    conditions[0].reason = Some("DeadlineExceeded".to_owned());
    conditions[0].message = Some("Job was active longer than specified deadline".to_owned());
    let mut ended = pod(0, "Failed");
    let status = ended.status.as_mut().unwrap();
    let containers = status.container_statuses.as_mut().unwrap();
    containers[0].state = Some(ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 143,
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    });
    let task = status_of(&observed([late], [ended])).unwrap();
    let node = &task.metadata.nodes[0];
    let reason = "DeadlineExceeded: Job was active longer than specified deadline";
    assert_eq!(
        (node.reason.as_deref(), node.exit_code),
        (Some(reason), Some(143))
    );
}

#[test]
fn a_suspended_job_is_pending_whatever_its_last_pod_was() {
    for phase in ["Running", "Failed"] {
        let suspended = job(0, Some("Suspended"));
        let row: Arc<JobRow> = row(suspended.clone());
        let mut observed = observed([suspended], []);
        observed.lost_pods.insert(row.uid, self::row(pod(0, phase)));
        let task = status_of(&observed).unwrap();
        let node = &task.metadata.nodes[0];
        assert_eq!(
            (node.status, node.exit_code),
            (TaskState::Pending, None),
            "{phase}"
        );
    }
}

#[test]
fn a_reason_is_the_same_for_all_pods_that_have_it() {
    let mut waiting = pod(0, "Pending");
    let status = waiting.status.as_mut().unwrap();
    let containers = status.container_statuses.as_mut().unwrap();
    containers[0].state = Some(ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some("CreateContainerConfigError".to_owned()),
            message: Some(
                "container's runAsUser breaks non-root policy (pod: \"a-x7k2p_default(1d0f)\", container: task)".to_owned(),
            ),
        }),
        ..ContainerState::default()
    });
    let waiting: Arc<PodRow> = row(waiting);
    assert_eq!(
        waiting.pending.as_deref(),
        Some("CreateContainerConfigError: container's runAsUser breaks non-root policy")
    );
    assert!(waiting.is_hopeless);
}

#[test]
fn a_pod_that_another_object_controls_is_ignored() {
    let mut stranger = pod(0, "Running");
    stranger.metadata.owner_references.as_mut().unwrap()[0].controller = None;
    check(
        [job(0, None), job(1, None), job(2, None)],
        [stranger],
        TaskState::Pending,
        [0, 0, 0, 3],
    );
}

#[test]
fn only_a_node_that_has_not_started_needs_events() {
    assert!(observed([job(0, None)], []).lacks_reasons());
    assert!(observed([job(0, None)], [pod(0, "Pending")]).lacks_reasons());
    assert!(!observed([job(0, None)], [pod(0, "Running")]).lacks_reasons());
    assert!(!observed([job(0, Some("Complete"))], []).lacks_reasons());
}

#[test]
fn a_pod_that_nobody_takes_says_whom_it_waits_for() {
    let pending = |edit: &dyn Fn(&mut Pod)| {
        let mut pod = pod(0, "Pending");
        let status = pod.status.as_mut().unwrap();
        (status.conditions, status.start_time) = (None, None);
        status.container_statuses = None;
        pod.spec.as_mut().unwrap().node_name = None;
        edit(&mut pod);
        let row: Arc<PodRow> = row(pod);
        row.pending.as_deref().map(str::to_owned)
    };
    // A scheduler that each cluster has is soon heard of.
    assert_eq!(pending(&|_| ()), None);
    let of_stranger = pending(&|pod| {
        pod.spec.as_mut().unwrap().scheduler_name = Some("volcano".to_owned());
    });
    assert_eq!(
        of_stranger.as_deref(),
        Some("the scheduler volcano has not taken it")
    );
    let of_machine = pending(&|pod| pod.spec.as_mut().unwrap().node_name = Some("ghost".into()));
    assert_eq!(
        of_machine.as_deref(),
        Some("the machine ghost has not taken it")
    );
}

#[test]
fn a_task_changes_when_its_pods_are_deleted_not_when_their_grace_ends() {
    let mut deleted = serde_json::to_value(pod(0, "Running")).unwrap();
    deleted["metadata"]["deletionTimestamp"] = "2099-01-01T00:00:30Z".into();
    deleted["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    let observed = Observed {
        jobs: vec![row(job(0, None))],
        pods: vec![row(deleted)],
        ..Observed::default()
    };
    let updated = status_of(&observed).unwrap().updated_at;
    assert_eq!(updated, "2099-01-01T00:00:00".parse().unwrap());
}
