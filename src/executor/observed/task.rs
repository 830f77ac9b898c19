//! The observed rows of one task, and the status that they add up to. Pure.
//!
//! The Job says whether a node succeeded or failed; its pod says whether it runs, and why it does not.

use std::{collections::HashMap, sync::Arc};

use super::{EventRow, JobRow, PodRow, node::node_status};
use crate::{
    api::{NodeStatus, TaskId, TaskMetadata, TaskState, TaskStatus, User},
    executor::{identity::Uid, objects::names},
};

/// The rows of one task, or of one of its nodes, at about the same moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// By rank.
    pub jobs: Vec<Arc<JobRow>>,
    /// By rank, then by age.
    pub pods: Vec<Arc<PodRow>>,
    /// The last event that says why a Job has no pod, by the uid of the Job.
    pub failures: HashMap<Uid, EventRow>,
}

impl Observed {
    /// The pods of a Job, oldest first.
    pub fn pods_of(&self, job: &JobRow) -> impl DoubleEndedIterator<Item = &PodRow> {
        let own = self.pods.iter().filter(|pod| pod.job == Some(job.uid));
        own.map(|pod| &**pod)
    }

    /// The newest pod of each Job.
    pub fn newest_pods(&self) -> HashMap<Uid, &PodRow> {
        let pods = self.pods.iter();
        // A newer pod replaces an older one.
        pods.filter_map(|pod| Some((pod.job?, &**pod))).collect()
    }

    /// Whether an unfinished Job has no pod. Only events say why.
    pub fn misses_pods(&self) -> bool {
        let pods = self.newest_pods();
        let mut unfinished = self.jobs.iter().filter(|job| !job.state.has_ended());
        unfinished.any(|job| !pods.contains_key(&job.uid))
    }

    /// The part about the node of a rank, without Jobs of other users.
    pub fn node(&self, rank: u32, user: &User) -> Self {
        let first = self.jobs.partition_point(|job| job.rank < rank);
        let jobs = self.jobs[first..].iter();
        let jobs = jobs.take_while(|job| job.rank == rank);
        let jobs: Vec<_> = jobs.filter(|job| job.owner.is(user)).cloned().collect();
        let first = self.pods.partition_point(|pod| pod.rank < rank);
        let pods = self.pods[first..].iter();
        let pods = pods.take_while(|pod| pod.rank == rank).cloned().collect();
        let failures = jobs.iter().filter_map(|job| self.failures.get(&job.uid));
        Self {
            failures: failures.map(|it| (it.object, it.clone())).collect(),
            pods,
            jobs,
        }
    }

    /// The status of the task, from the Jobs of `user` or of all users; `None` if there is no such Job.
    pub fn status(&self, id: TaskId, user: Option<&User>, namespace: &str) -> Option<TaskStatus> {
        let all = self.jobs.iter();
        let jobs: Vec<&JobRow> = all
            .map(|job| &**job)
            .filter(|job| user.is_none_or(|user| job.owner.is(user)))
            .collect();
        let first = *jobs.first()?;
        let pods = self.newest_pods();
        let newest = |job: &JobRow| pods.get(&job.uid).copied();
        let nodes: Vec<_> = jobs
            .iter()
            .map(|job| node_status(job, newest(job), self))
            .collect();
        let num_nodes = first
            .num_nodes
            .unwrap_or_else(|| u32::try_from(nodes.len()).unwrap_or(u32::MAX));
        let count = |state| {
            u32::try_from(nodes.iter().filter(|node| node.status == state).count())
                .unwrap_or(u32::MAX)
        };
        let changes = jobs.iter().flat_map(|job| {
            let of_pod = newest(job).and_then(|pod| pod.changed_at);
            job.changed_at.into_iter().chain(of_pod)
        });
        let status = overall(&nodes, num_nodes);
        Some(TaskStatus {
            task_id: id,
            name: match &first.task_name {
                Some(name) => name.to_string(),
                None => names::default_task_name(id),
            },
            status,
            created_at: first.created_at,
            updated_at: changes.fold(first.created_at, Ord::max),
            username: first.owner.label.to_string(),
            reason: reason(&nodes, num_nodes, status),
            metadata: TaskMetadata {
                job_name: job_name(first, num_nodes),
                namespace: namespace.to_owned(),
                num_nodes,
                node_jobs: nodes.iter().map(|node| node.job_name.clone()).collect(),
                succeeded_nodes: count(TaskState::Completed),
                failed_nodes: count(TaskState::Failed),
                running_nodes: count(TaskState::Running),
                // A node without a Job is pending too.
                pending_nodes: num_nodes.saturating_sub(
                    count(TaskState::Completed)
                        + count(TaskState::Failed)
                        + count(TaskState::Running),
                ),
                nodes,
            },
        })
    }
}

/// The state of the task, by precedence: failed, completed, running, pending.
fn overall(nodes: &[NodeStatus], num_nodes: u32) -> TaskState {
    let any = |state| nodes.iter().any(|node| node.status == state);
    let all_completed = nodes
        .iter()
        .filter(|node| node.status == TaskState::Completed)
        .count()
        >= num_nodes as usize;
    match () {
        () if any(TaskState::Failed) => TaskState::Failed,
        () if all_completed => TaskState::Completed,
        () if any(TaskState::Running) => TaskState::Running,
        () => TaskState::Pending,
    }
}

/// The reason why a task has failed or does not run: missing Jobs, else that of the first node that has one.
fn reason(nodes: &[NodeStatus], num_nodes: u32, status: TaskState) -> Option<String> {
    if status == TaskState::Failed {
        let node = first_failure(nodes)?;
        let reason = node.reason.as_ref()?;
        return Some(match setup_failure(node) {
            Some(why) if num_nodes > 1 => why,
            _ if num_nodes > 1 => format!("node-{}: {reason}", node.rank),
            _ => reason.clone(),
        });
    }
    let missing = (num_nodes as usize).saturating_sub(nodes.len());
    if missing > 0 {
        return Some(format!(
            "{missing} of {num_nodes} Jobs do not exist: they are being created, or something went wrong"
        ));
    }
    let mut pending = nodes
        .iter()
        .filter(|node| node.status == TaskState::Pending);
    let node = pending.find(|node| node.reason.is_some())?;
    let reason = node.reason.as_ref()?;
    Some(if num_nodes > 1 {
        format!("node-{}: {reason}", node.rank)
    } else {
        reason.clone()
    })
}

/// The node that made the task fail: the one that failed first, if an annotation names it.
pub fn first_failure(nodes: &[NodeStatus]) -> Option<&NodeStatus> {
    let failed = || nodes.iter().filter(|node| node.status == TaskState::Failed);
    let first = failed().find_map(|node| node.stopped_after);
    let own = |node: &&NodeStatus| node.stopped_after.is_none() && node.reason.is_some();
    failed()
        .find(|node| Some(node.rank) == first)
        .or_else(|| failed().find(own))
        .or_else(|| failed().next())
}

/// `setup on node-1 exited with 3`, if a node failed in its setup.
pub fn setup_failure(node: &NodeStatus) -> Option<String> {
    let how = node.reason.as_deref()?.strip_prefix("setup ")?;
    Some(format!("setup on node-{} {how}", node.rank))
}

/// The common part of the names of the task's Jobs.
fn job_name(job: &JobRow, num_nodes: u32) -> String {
    let suffix = format!("-node-{}", job.rank);
    match job.name.strip_suffix(&suffix) {
        Some(name) if num_nodes > 1 => name.to_owned(),
        _ => job.name.to_string(),
    }
}
