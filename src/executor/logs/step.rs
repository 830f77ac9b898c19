//! Decides the next step of a follower from the observed rows. Pure.

use std::{collections::HashSet, time::Duration};

use crate::{
    api::{NodeStatus, TaskState},
    executor::{
        identity::Uid,
        objects::CONTAINER,
        observed::{Container, JobRow, Observed, PodRow, could_not_start, node_status, pod_status},
    },
};

/// `terminationGracePeriodSeconds` unless a pod says otherwise.
const GRACE: Duration = Duration::from_secs(30);

/// The reason of a node that has ended, until it is known whether its task is started again.
const FOLLOWS: &str = "another attempt of its task may follow";

/// Reasons for a missing log.
pub const POD_GONE: &str = "its pod is gone";
const POD_EVICTED: &str = "its pod was evicted";

/// The next step for a node.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Nothing to read yet, for this reason if one is known.
    Wait(Option<String>),
    /// Read the log of this pod.
    Read(ContainerRun),
    /// The node has ended and its log was read.
    Ended(NodeStatus),
    /// The node's Job is gone: the task was stopped.
    Stopped,
}

/// A run of a container, whose log can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRun {
    pub pod: String,
    /// The name of the container; none if it is the usual one.
    pub container: Option<Box<str>>,
    pub uid: Uid,
    /// The number of runs of the pod's container before this one.
    pub restarts: i32,
    /// Whether the pod's container was restarted since.
    pub is_previous: bool,
    /// Whether it has ended, so that its log is complete.
    pub is_over: bool,
    /// Whether the pod's container may be restarted. Those of this program never are; those of other programs may be.
    pub may_restart: bool,
    /// The time of the pod's creation, in nanoseconds since 1970.
    pub created: i64,
    /// The time of its start, in nanoseconds since 1970, by the clock of its machine; none if it is unknown.
    pub started: Option<i64>,
    /// The time from its start to its end, in nanoseconds; none if it runs, or if it is unknown.
    pub ran_for: Option<i64>,
}

impl ContainerRun {
    pub fn container(&self) -> &str {
        self.container.as_deref().unwrap_or(CONTAINER)
    }

    /// Whether it began before a line of another container of the node. The times of its start and of the line come from the clocks of
    /// cluster nodes, often of the same one. That of the pod's creation comes from another clock.
    pub fn began_before(&self, line: Option<i64>) -> bool {
        line.is_some_and(|line| self.started.unwrap_or(self.created) <= line)
    }

    /// A short name of digits and lower-case letters.
    pub fn key(&self) -> String {
        let digits = self.uid.to_string();
        let uid = &digits[..8];
        match self.restarts {
            0 => uid.to_owned(),
            restarts => format!("{uid}r{restarts}"),
        }
    }
}

/// The container runs of the node of this rank, oldest first.
pub fn sources(observed: &Observed, rank: u32) -> Vec<ContainerRun> {
    let earlier = observed.earlier.iter().filter(|job| job.rank == rank);
    let earlier = earlier.flat_map(|job| observed.pods_of(job).flat_map(sources_of));
    let last = match job(observed, rank) {
        Some(job) => observed.pods_of(job).flat_map(sources_of).collect(),
        None => jobless_pod(observed, rank).map_or_else(Vec::new, sources_of),
    };
    earlier.chain(last).collect()
}

/// The earlier attempts of the node whose pods are gone, and with them their logs.
pub fn lost_attempts(observed: &Observed) -> Vec<u32> {
    let earlier = observed.earlier.iter();
    let gone = earlier.filter(|job| {
        let node = node_status(job, None, observed);
        // A node that was stopped before it had a pod has written nothing.
        observed.pods_of(job).next().is_none() && node.stopped_after.is_none()
    });
    gone.map(|job| job.attempt).collect()
}

/// Whether a container of the last attempt of the node was read, so that only the end of its Job is awaited.
pub fn has_read_last(observed: &Observed, rank: u32, read: &HashSet<String>) -> bool {
    let job = job(observed, rank).filter(|_| !observed.may_follow);
    let own = job.map(|job| observed.pods_of(job).flat_map(sources_of));
    (own.into_iter().flatten()).any(|source| read.contains(&source.key()))
}

/// The pod of a node whose Job is gone: it is being stopped, or the Job was deleted without it.
fn jobless_pod(observed: &Observed, rank: u32) -> Option<&PodRow> {
    let pods = observed.jobless_pods(None).into_iter();
    pods.rev().find(|pod| pod.rank == rank)
}

/// Whether the task of the node was stopped. Its pod may still run.
pub fn is_stopped(observed: &Observed, rank: u32) -> bool {
    let is_orphan = || jobless_pod(observed, rank).is_some_and(PodRow::is_orphan);
    job(observed, rank).is_none() && !is_orphan() && !observed.may_follow
}

/// How long the pod of a stopped node may still run, while it is there; none if it is gone.
pub fn stopping_time(observed: &Observed, rank: u32) -> Option<Duration> {
    let pod = jobless_pod(observed, rank)?;
    Some(grace(pod))
}

fn job(observed: &Observed, rank: u32) -> Option<&JobRow> {
    let mut jobs = observed.jobs.iter();
    jobs.find(|job| job.rank == rank).map(|job| &**job)
}

/// The container runs of a pod: the current one and the one before. Kubernetes keeps the logs of those two only.
fn sources_of(pod: &PodRow) -> Vec<ContainerRun> {
    let is_over = matches!(pod.container, Container::Terminated { .. });
    let current = ContainerRun {
        pod: pod.name.to_string(),
        container: pod.container_name.clone(),
        uid: pod.uid,
        restarts: pod.restarts,
        is_previous: false,
        is_over,
        may_restart: pod.may_restart,
        created: pod.created.unwrap_or_default(),
        started: pod.started_at,
        ran_for: pod
            .finished_at
            .zip(pod.started_at)
            .map(|(end, start)| end - start),
    };
    let previous = (pod.restarts > 0).then(|| ContainerRun {
        restarts: pod.restarts - 1,
        is_previous: true,
        is_over: true,
        started: None,
        ran_for: None,
        ..current.clone()
    });
    let current = (pod.container != Container::Absent).then_some(current);
    previous.into_iter().chain(current).collect()
}

/// Whether the container of `source` has ended or is about to, so that the outcome of the node is known.
pub fn is_ending(observed: &Observed, source: &ContainerRun, rank: u32) -> bool {
    source.is_over || remaining_grace(observed, source).is_some() || is_stopped(observed, rank)
}

/// The next step for the node of this rank. `read` holds the keys of the sources that were read already.
pub fn next(observed: &Observed, rank: u32, read: &HashSet<String>) -> Step {
    let unread = sources(observed, rank)
        .into_iter()
        .find(|source| !read.contains(&source.key()));
    if let Some(source) = unread {
        return Step::Read(source);
    }
    let node = match (job(observed, rank), jobless_pod(observed, rank)) {
        (Some(job), _) => node_status(job, observed.pods_of(job).next_back(), observed),
        (None, Some(pod)) if pod.is_orphan() => pod_status(pod),
        (None, _) if observed.may_follow => return Step::Wait(Some(FOLLOWS.to_owned())),
        (None, _) => return Step::Stopped,
    };
    match node.status {
        TaskState::Completed | TaskState::Failed if observed.may_follow => {
            Step::Wait(Some(FOLLOWS.to_owned()))
        }
        TaskState::Completed | TaskState::Failed => Step::Ended(node),
        TaskState::Pending => Step::Wait(node.reason),
        // Its log was read. It waits for its end, not for what a running node waits for, as `setup`.
        TaskState::Running | TaskState::Stopping => Step::Wait(None),
    }
}

/// Whether all pods of the node are known, given that its Job has ended. The end of a Job may be known before its pod is.
pub fn knows_all_pods(observed: &Observed, rank: u32) -> bool {
    let ended = |job| observed.pods_of(job).any(PodRow::has_ended);
    job(observed, rank).is_none_or(|job| !job.may_retry && ended(job))
}

/// Why lines may be missing in the log of a node that has ended without a log that could be read. `saw_all` says that no change of its
/// rows was missed.
pub fn missing_log(
    observed: &Observed,
    status: &NodeStatus,
    saw_all: bool,
) -> Option<&'static str> {
    let reason = status.reason.as_deref().unwrap_or_default();
    // A node that was stopped before it had a pod has written nothing.
    let has_not_run = status.stopped_after.is_some() || could_not_start(reason);
    let lost = || {
        let job = job(observed, status.rank)?;
        observed.lost_pods.get(&job.uid)
    };
    match &status.pod {
        _ if has_not_run => None,
        None if saw_all && lost().is_some_and(|pod| !pod.has_run()) => None,
        None => Some(POD_GONE),
        // A kubelet that lacks memory or disk space refuses a pod so.
        Some(_) if reason.contains("The node had condition: ") => None,
        // An evicted pod may have no state of its container, and its log is removed.
        Some(_) => reason.starts_with("Evicted").then_some(POD_EVICTED),
    }
}

/// Whether the container of `source` has ended, as far as the rows show.
pub fn is_over(observed: &Observed, source: &ContainerRun) -> bool {
    pod_of(observed, source).is_none_or(|pod| {
        let key = source.key();
        let now = sources_of(pod)
            .into_iter()
            .find(|source| source.key() == key);
        now.is_none_or(|source| source.is_over)
    })
}

/// Whether the pod of `source` is gone, as far as the rows show.
pub fn is_gone(observed: &Observed, source: &ContainerRun) -> bool {
    pod_of(observed, source).is_none()
}

/// Whether the pod of `source` is being deleted, or is gone, as far as the rows show.
pub fn is_being_deleted(observed: &Observed, source: &ContainerRun) -> bool {
    pod_of(observed, source).is_none_or(|pod| pod.is_deleted)
}

/// How long the container of `source` may still write, if its pod has ended and it has not.
///
/// A pod that passes its deadline fails before its container stops, and kubelets before 1.22 never report the end of the container
/// (seen: 1.20).
pub fn remaining_grace(observed: &Observed, source: &ContainerRun) -> Option<Duration> {
    let pod = pod_of(observed, source)?;
    pod.has_ended().then(|| grace(pod))
}

fn grace(pod: &PodRow) -> Duration {
    pod.grace
        .map_or(GRACE, |seconds| Duration::from_secs(seconds.into()))
}

/// The pod of `source`; none if the rows do not contain it.
fn pod_of<'a>(observed: &'a Observed, source: &ContainerRun) -> Option<&'a PodRow> {
    let mut pods = observed.pods.iter();
    pods.find(|pod| pod.uid == source.uid).map(|pod| &**pod)
}

/// The number of restarts of the container of `source` since, as far as the rows show.
pub fn restarts_since(observed: &Observed, source: &ContainerRun) -> i32 {
    let newest = pod_of(observed, source).and_then(|pod| sources_of(pod).pop());
    newest.map_or(0, |newest| newest.restarts - source.restarts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{executor::observed::Start, golden};

    /// The rows of one task from a real Kubernetes 1.36.
    fn recorded(task: &str) -> Observed {
        let mut jobs: Vec<JobRow> = golden::items("recorded/jobs.json");
        jobs.retain(|job| job.task_name.as_deref() == Some(task));
        let pods: Vec<PodRow> = golden::items("recorded/pods.json");
        Observed {
            jobs: jobs.into_iter().map(Arc::new).collect(),
            pods: pods.into_iter().map(Arc::new).collect(),
            ..Observed::default()
        }
    }

    fn first(task: &str) -> Step {
        next(&recorded(task), 0, &HashSet::new())
    }

    #[test]
    fn the_log_of_a_container_is_read_first() {
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
    fn a_node_that_has_not_started_is_waited_for() {
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
    fn a_node_whose_log_was_read_waits_for_its_end_only() {
        let mut observed = recorded("running");
        let job = observed.jobs[0].uid;
        let pod = (observed.pods.iter_mut()).find(|pod| pod.job == Some(job));
        let pod = Arc::make_mut(pod.unwrap());
        (pod.start, pod.is_started) = (Start::Held, false);
        let pod = observed.pods_of(&observed.jobs[0]).next();
        let status = node_status(&observed.jobs[0], pod, &observed);
        assert_eq!(status.reason.as_deref(), Some("setting up"));
        let Step::Read(source) = next(&observed, 0, &HashSet::new()) else {
            panic!("it is not read")
        };
        let read = HashSet::from([source.key()]);
        assert_eq!(next(&observed, 0, &read), Step::Wait(None));
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
    fn a_container_that_never_started_has_no_missing_lines() {
        let observed = recorded("noimage");
        let job = observed.jobs[0].clone();
        let mut lost = observed.clone();
        lost.pods.clear();
        lost.lost_pods.insert(job.uid, observed.pods[0].clone());
        let evicted = Some("its pod was evicted");
        let gone = Some(POD_GONE);
        let missing = |observed: &Observed, reason: &str, pod_name: Option<&str>, saw_all| {
            let status = NodeStatus {
                rank: 0,
                status: TaskState::Failed,
                job: job.name.to_string(),
                pod: pod_name.map(str::to_owned),
                host: None,
                exit_code: None,
                signal: None,
                started_at: None,
                finished_at: None,
                restarts: 0,
                reason: Some(reason.to_owned()),
                stopped_after: None,
            };
            missing_log(observed, &status, saw_all)
        };
        for (reason, pod, expected) in [
            ("ErrImageNeverPull: not present", None, None),
            ("InvalidImageName: bad:$TAG", None, None),
            ("CreateContainerConfigError: couldn't find key", None, None),
            ("init container `a`: ErrImageNeverPull: x", None, None),
            ("container `proxy`: ErrImageNeverPull: x", None, gone),
            ("its pod was deleted", None, gone),
            ("exit code 3", None, gone),
            ("Evicted: The node was low on memory", Some("p"), evicted),
            (
                "Evicted: Pod The node had condition: [DiskPressure]. ",
                Some("p"),
                None,
            ),
            ("OutOfcpu: Pod was rejected", Some("p"), None),
        ] {
            assert_eq!(
                missing(&recorded("none"), reason, pod, true),
                expected,
                "{reason}"
            );
        }
        // Its last state shows that it did not run, unless a later state was missed.
        let deleted = |saw_all| missing(&lost, "its pod was deleted", None, saw_all);
        assert_eq!((deleted(true), deleted(false)), (None, gone));
    }

    #[test]
    fn the_order_of_containers_comes_from_one_clock() {
        let Step::Read(mut source) = first("running") else {
            panic!("it is not read")
        };
        // The API server's clock is behind that of the cluster node.
        (source.created, source.started) = (10, Some(70));
        assert!(!source.began_before(Some(65)));
        assert!(source.began_before(Some(75)));
        assert!(!source.began_before(None));
        source.started = None;
        assert!(source.began_before(Some(65)));
    }

    #[test]
    fn the_pod_of_a_stopped_task_is_read_to_its_end() {
        let mut observed = recorded("running");
        observed.jobs.clear();
        let Step::Read(source) = next(&observed, 0, &HashSet::new()) else {
            panic!("it is not read")
        };
        assert!(is_stopped(&observed, 0));
        assert_eq!(stopping_time(&observed, 0), Some(Duration::from_secs(5)));
        let read = HashSet::from([source.key()]);
        assert_eq!(next(&observed, 0, &read), Step::Stopped);
        observed.pods.clear();
        assert_eq!(stopping_time(&observed, 0), None);
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
