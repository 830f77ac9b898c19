//! What a follower does next, decided from what was observed. Pure.

use std::{collections::HashSet, time::Duration};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};

use super::super::{
    manifest::CONTAINER,
    status::{self, Observed},
};
use crate::api::{NodeStatus, TaskState};

/// The next thing to do for a node.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Nothing to read yet, for this reason if one is known.
    Wait(Option<String>),
    /// Read the log of this pod.
    Read(Source),
    /// The node has ended and everything was read.
    Ended(NodeStatus),
    /// The node's Job is gone: somebody stopped the task.
    Stopped,
}

/// A container whose log can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub pod: String,
    pub uid: String,
    /// How often the pod's container was started before this one.
    pub restarts: i32,
    /// Whether the pod's container was started again since.
    pub is_previous: bool,
    /// Whether it has ended, so that nothing will be added.
    pub is_over: bool,
    /// Whether the pod's container may be started again: never one of ours, but those of other programs.
    pub may_restart: bool,
    /// When the pod was created, in nanoseconds since 1970.
    pub created: i64,
}

impl Source {
    /// A short name for it, of digits and lower-case letters.
    pub fn key(&self) -> String {
        let uid = self
            .uid
            .bytes()
            .filter(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        let uid: String = uid.take(8).map(char::from).collect();
        match self.restarts {
            0 => uid,
            restarts => format!("{uid}r{restarts}"),
        }
    }
}

/// The containers of the node of this rank that run or ran, oldest first.
pub fn sources(observed: &Observed, rank: u32) -> Vec<Source> {
    let Some(job) = job(observed, rank) else {
        return Vec::new();
    };
    let pods = status::pods_of(job, &observed.pods);
    pods.into_iter().flat_map(sources_of).collect()
}

fn job(observed: &Observed, rank: u32) -> Option<&Job> {
    let jobs = observed
        .jobs
        .iter()
        .filter(|job| job.metadata.deletion_timestamp.is_none());
    jobs.into_iter().find(|job| status::rank(job) == rank)
}

/// The containers of a pod: what runs, and what ran before it. Kubernetes keeps the log of one of those.
fn sources_of(pod: &Pod) -> Vec<Source> {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref());
    let restarts = statuses
        .and_then(|statuses| statuses.iter().find(|status| status.name == CONTAINER))
        .map_or(0, |status| status.restart_count);
    let (Some(name), Some(uid)) = (&pod.metadata.name, &pod.metadata.uid) else {
        return Vec::new();
    };
    let created = pod.metadata.creation_timestamp.as_ref();
    let current = Source {
        pod: name.clone(),
        uid: uid.clone(),
        restarts,
        is_previous: false,
        is_over: false,
        may_restart: pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.restart_policy.as_deref() != Some("Never")),
        created: created
            .and_then(|created| i64::try_from(created.0.as_nanosecond()).ok())
            .unwrap_or_default(),
    };
    let previous = (restarts > 0).then(|| Source {
        restarts: restarts - 1,
        is_previous: true,
        is_over: true,
        ..current.clone()
    });
    let state = status::container_state(pod);
    let is_over = state.is_some_and(|state| state.terminated.is_some());
    let is_there = is_over || state.is_some_and(|state| state.running.is_some());
    let current = is_there.then_some(Source { is_over, ..current });
    previous.into_iter().chain(current).collect()
}

/// The next step for the node of this rank, given the keys of the sources that were read already.
pub fn next(observed: &Observed, rank: u32, read: &HashSet<String>) -> Step {
    let Some(job) = job(observed, rank) else {
        return Step::Stopped;
    };
    let unread = sources(observed, rank)
        .into_iter()
        .find(|source| !read.contains(&source.key()));
    if let Some(source) = unread {
        return Step::Read(source);
    }
    let pods = status::pods_of(job, &observed.pods);
    let node = status::node(job, pods.last().copied(), &observed.events);
    match node.status {
        TaskState::Completed | TaskState::Failed => Step::Ended(node),
        TaskState::Pending | TaskState::Running => Step::Wait(node.reason),
    }
}

/// Whether the container that `source` names can write no more, as far as was observed.
pub fn is_over(observed: &Observed, source: &Source) -> bool {
    let pod = observed
        .pods
        .iter()
        .find(|pod| pod.metadata.uid.as_ref() == Some(&source.uid));
    pod.is_none_or(|pod| {
        let key = source.key();
        let now = sources_of(pod)
            .into_iter()
            .find(|source| source.key() == key);
        now.is_none_or(|source| source.is_over)
    })
}

/// How long the container that `source` names may still write, if its pod is at its end and it is not.
///
/// A pod that has outlived its deadline has failed before its container was stopped, and kubelets before 1.22 never say that
/// it was (seen: 1.20).
pub fn farewell(observed: &Observed, source: &Source) -> Option<Duration> {
    /// `terminationGracePeriodSeconds` unless a pod says otherwise.
    const GRACE: u64 = 30;
    let pods = observed.pods.iter();
    let mut pods = pods.filter(|pod| pod.metadata.uid.as_ref() == Some(&source.uid));
    let pod = pods.next()?;
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    let grace = pod.spec.as_ref()?.termination_grace_period_seconds;
    let grace = grace.map_or(GRACE, |grace| u64::try_from(grace).unwrap_or(0));
    matches!(phase, "Failed" | "Succeeded").then(|| Duration::from_secs(grace))
}

/// How often the container that `source` names was started again since, as far as was observed.
pub fn restarts_since(observed: &Observed, source: &Source) -> i32 {
    let pods = observed.pods.iter();
    let mut pods = pods.filter(|pod| pod.metadata.uid.as_ref() == Some(&source.uid));
    let newest = pods.next().and_then(|pod| sources_of(pod).pop());
    newest.map_or(0, |newest| newest.restarts - source.restarts)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::List;

    use super::*;
    use crate::{executor::labels, golden};

    /// What a real Kubernetes 1.36 showed of one task.
    fn recorded(task: &str) -> Observed {
        let jobs: List<Job> = serde_json::from_str(&golden::read("recorded/jobs.json")).unwrap();
        let pods: List<Pod> = serde_json::from_str(&golden::read("recorded/pods.json")).unwrap();
        Observed {
            jobs: jobs
                .items
                .into_iter()
                .filter(|job| labels::label(&job.metadata, labels::TASK_NAME).unwrap() == task)
                .collect(),
            pods: pods.items,
            events: Vec::new(),
        }
    }

    fn first(task: &str) -> Step {
        next(&recorded(task), 0, &HashSet::new())
    }

    #[test]
    fn a_container_that_runs_or_ran_is_read_first() {
        for (task, is_over) in [
            ("running", false),
            ("succeeded", true),
            ("exit3", true),
            ("oom", true),
        ] {
            let Step::Read(source) = first(task) else {
                panic!("{task} is not read")
            };
            assert_eq!(source.is_over, is_over, "{task}");
            let observed = recorded(task);
            assert_eq!(super::is_over(&observed, &source), is_over, "{task}");
            let rest = next(&observed, 0, &HashSet::from([source.key()]));
            assert_eq!(matches!(rest, Step::Ended(_)), is_over, "{task}: {rest:?}");
        }
    }

    #[test]
    fn what_has_not_started_is_waited_for() {
        for (task, expected) in [
            ("bigcpu", "Unschedulable: 0/1 nodes"),
            ("noimage", "ImagePullBackOff: "),
            ("badimage", "InvalidImageName: "),
        ] {
            let Step::Wait(Some(reason)) = first(task) else {
                panic!("{task} is not waited for")
            };
            assert!(reason.starts_with(expected), "{task}: {reason}");
        }
    }

    #[test]
    fn a_job_that_ended_without_a_container_has_ended() {
        let Step::Ended(node) = first("deadline") else {
            panic!("deadline has not ended")
        };
        assert_eq!(node.status, TaskState::Failed);
        assert_eq!(
            node.reason.as_deref(),
            Some("DeadlineExceeded: Job was active longer than specified deadline")
        );
    }

    #[test]
    fn a_job_that_is_gone_was_stopped() {
        assert_eq!(
            next(&Observed::default(), 0, &HashSet::new()),
            Step::Stopped
        );
        assert_eq!(
            next(&recorded("running"), 1, &HashSet::new()),
            Step::Stopped
        );
    }
}
