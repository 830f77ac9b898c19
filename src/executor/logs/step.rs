//! What a follower does next, decided from what was observed. Pure.

use std::{collections::HashSet, time::Duration};

use crate::{
    api::{NodeStatus, TaskState},
    executor::{
        identity::Uid,
        observed::{Container, JobRow, Observed, PodRow, node_status},
    },
};

/// The next thing to do for a node.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Nothing to read yet, for this reason if one is known.
    Wait(Option<String>),
    /// Read the log of this pod.
    Read(ContainerRun),
    /// The node has ended and everything was read.
    Ended(NodeStatus),
    /// The node's Job is gone: somebody stopped the task.
    Stopped,
}

/// A container whose log can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRun {
    pub pod: String,
    pub uid: Uid,
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

impl ContainerRun {
    /// A short name for it, of digits and lower-case letters.
    pub fn key(&self) -> String {
        let digits = self.uid.to_string();
        let uid = &digits[..8];
        match self.restarts {
            0 => uid.to_owned(),
            restarts => format!("{uid}r{restarts}"),
        }
    }
}

/// The containers of the node of this rank that run or ran, oldest first.
pub fn sources(observed: &Observed, rank: u32) -> Vec<ContainerRun> {
    let Some(job) = job(observed, rank) else {
        return Vec::new();
    };
    observed.pods_of(job).flat_map(sources_of).collect()
}

fn job(observed: &Observed, rank: u32) -> Option<&JobRow> {
    let mut jobs = observed.jobs.iter();
    jobs.find(|job| job.rank == rank).map(|job| &**job)
}

/// The containers of a pod: what runs, and what ran before it. Kubernetes keeps the log of one of those.
fn sources_of(pod: &PodRow) -> Vec<ContainerRun> {
    let is_over = matches!(pod.container, Container::Terminated { .. });
    let current = ContainerRun {
        pod: pod.name.to_string(),
        uid: pod.uid,
        restarts: pod.restarts,
        is_previous: false,
        is_over,
        may_restart: pod.may_restart,
        created: pod.created.unwrap_or_default(),
    };
    let previous = (pod.restarts > 0).then(|| ContainerRun {
        restarts: pod.restarts - 1,
        is_previous: true,
        is_over: true,
        ..current.clone()
    });
    let current = (pod.container != Container::Absent).then_some(current);
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
    let node = node_status(job, observed.pods_of(job).next_back(), observed);
    match node.status {
        TaskState::Completed | TaskState::Failed => Step::Ended(node),
        TaskState::Pending | TaskState::Running => Step::Wait(node.reason),
    }
}

/// Whether all that ran on the node is known, given that its Job has ended: the Job's end may be known before its pod's beginning.
pub fn knows_all_pods(observed: &Observed, rank: u32) -> bool {
    let ended = |job| observed.pods_of(job).any(PodRow::has_ended);
    job(observed, rank).is_none_or(|job| !job.may_retry && ended(job))
}

/// Whether the container that `source` names can write no more, as far as was observed.
pub fn is_over(observed: &Observed, source: &ContainerRun) -> bool {
    pod_of(observed, source).is_none_or(|pod| {
        let key = source.key();
        let now = sources_of(pod)
            .into_iter()
            .find(|source| source.key() == key);
        now.is_none_or(|source| source.is_over)
    })
}

/// Whether the container that `source` names was seen to end. One that is gone may have had more to say.
pub fn has_terminated(observed: &Observed, source: &ContainerRun) -> bool {
    pod_of(observed, source).is_some() && is_over(observed, source)
}

/// How long the container that `source` names may still write, if its pod is at its end and it is not.
///
/// A pod that has outlived its deadline has failed before its container was stopped, and kubelets before 1.22 never say that
/// it was (seen: 1.20).
pub fn remaining_grace(observed: &Observed, source: &ContainerRun) -> Option<Duration> {
    /// `terminationGracePeriodSeconds` unless a pod says otherwise.
    const GRACE: u64 = 30;
    let pod = pod_of(observed, source)?;
    let grace = pod.grace.map_or(GRACE, u64::from);
    pod.has_ended().then(|| Duration::from_secs(grace))
}

/// The pod that `source` is of, if it is there.
fn pod_of<'a>(observed: &'a Observed, source: &ContainerRun) -> Option<&'a PodRow> {
    let mut pods = observed.pods.iter();
    pods.find(|pod| pod.uid == source.uid).map(|pod| &**pod)
}

/// How often the container that `source` names was started again since, as far as was observed.
pub fn restarts_since(observed: &Observed, source: &ContainerRun) -> i32 {
    let newest = pod_of(observed, source).and_then(|pod| sources_of(pod).pop());
    newest.map_or(0, |newest| newest.restarts - source.restarts)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use super::*;
    use crate::golden;

    /// What a real Kubernetes 1.36 showed of one task.
    fn recorded(task: &str) -> Observed {
        let mut jobs: Vec<JobRow> = golden::items("recorded/jobs.json");
        jobs.retain(|job| job.task_name.as_deref() == Some(task));
        let pods: Vec<PodRow> = golden::items("recorded/pods.json");
        Observed {
            jobs: jobs.into_iter().map(Arc::new).collect(),
            pods: pods.into_iter().map(Arc::new).collect(),
            failures: HashMap::new(),
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
            assert_eq!(knows_all_pods(&observed, 0), is_over, "{task}");
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
        assert!(!knows_all_pods(&recorded("deadline"), 0));
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
