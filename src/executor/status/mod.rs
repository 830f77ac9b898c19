//! What was observed in the cluster, folded into what a user is told. Pure: no state is kept, so none goes stale.
//!
//! The Job says whether a node succeeded or failed, its pod whether it runs and why it does not.

mod node;

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{Event, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

pub use self::node::{condition, container_state, node, stopped_after};
use super::labels;
use crate::api::{NodeStatus, TaskId, TaskMetadata, TaskState, TaskStatus, Timestamp};

/// Objects as Kubernetes showed them at about the same moment, of one task or of many.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub jobs: Vec<Job>,
    pub pods: Vec<Pod>,
    /// Why pods could not be created: it is said nowhere else.
    pub events: Vec<Event>,
}

impl Observed {
    /// Whether an unfinished Job has no pod yet, so that only events can say why.
    pub fn misses_pods(&self) -> bool {
        let owners: HashSet<_> = self.pods.iter().filter_map(owner).collect();
        let misses = |job: &Job| {
            condition(job).is_none()
                && !owners.contains(job.metadata.uid.as_deref().unwrap_or_default())
        };
        self.jobs.iter().any(misses)
    }
}

/// The tasks that `observed` shows, newest first.
pub fn tasks(observed: &Observed, namespace: &str) -> Vec<TaskStatus> {
    let mut jobs: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
    for job in observed
        .jobs
        .iter()
        .filter(|job| job.metadata.deletion_timestamp.is_none())
    {
        if let Some(id) = labels::label(&job.metadata, labels::TASK_ID) {
            jobs.entry(id).or_default().push(job);
        }
    }
    let pods = pods_by_owner(&observed.pods);
    let mut tasks: Vec<_> = jobs
        .into_iter()
        .filter_map(|(id, jobs)| {
            Some(task(
                id.parse().ok()?,
                jobs,
                &pods,
                &observed.events,
                namespace,
            ))
        })
        .collect();
    tasks.sort_by(|a, b| {
        b.created_at
            .cmp(&a.created_at)
            .then_with(|| a.task_id.cmp(&b.task_id))
    });
    tasks
}

type Pods<'a> = HashMap<&'a str, Vec<&'a Pod>>;

/// Only the owner's uid says whose a pod is: anyone in the namespace can give a pod our labels.
fn pods_by_owner(pods: &[Pod]) -> Pods<'_> {
    let mut by_owner: Pods<'_> = HashMap::new();
    for pod in pods {
        if let Some(uid) = owner(pod) {
            by_owner.entry(uid).or_default().push(pod);
        }
    }
    by_owner
}

fn owner(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
}

/// The pods of a Job, oldest first.
pub fn pods_of<'a>(job: &Job, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let mut pods: Vec<_> = pods.iter().filter(|pod| owner(pod) == Some(uid)).collect();
    pods.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    pods
}

/// The rank of the node that a Job runs.
pub fn rank(job: &Job) -> u32 {
    labels::label(&job.metadata, labels::NODE_IDX)
        .and_then(|rank| rank.parse().ok())
        .unwrap_or(0)
}

fn task(
    id: TaskId,
    mut jobs: Vec<&Job>,
    pods: &Pods<'_>,
    events: &[Event],
    namespace: &str,
) -> TaskStatus {
    jobs.sort_by_key(|job| rank(job));
    let meta = &jobs[0].metadata;
    let nodes: Vec<_> = jobs
        .iter()
        .map(|job| node(job, newest(job, pods), events))
        .collect();
    let num_nodes =
        labels::annotation(meta, labels::NUM_NODES).and_then(|number| number.parse().ok());
    let num_nodes = num_nodes.unwrap_or_else(|| u32::try_from(nodes.len()).unwrap_or(u32::MAX));
    let count = |state| {
        u32::try_from(nodes.iter().filter(|node| node.status == state).count()).unwrap_or(u32::MAX)
    };
    let name = labels::annotation(meta, labels::EXACT_TASK_NAME)
        .or_else(|| labels::label(meta, labels::TASK_NAME));
    let created_at = created_at(meta);
    let changes = jobs.iter().flat_map(|job| changes(job, newest(job, pods)));
    let status = overall(&nodes, num_nodes);
    TaskStatus {
        name: name
            .cloned()
            .unwrap_or_else(|| labels::default_task_name(&id)),
        status,
        created_at,
        updated_at: changes
            .map(timestamp)
            .chain([created_at])
            .max()
            .unwrap_or(created_at),
        username: labels::label(meta, labels::USERNAME)
            .cloned()
            .unwrap_or_default(),
        reason: reason(&nodes, num_nodes, status),
        metadata: TaskMetadata {
            job_name: job_name(jobs[0], num_nodes),
            namespace: namespace.to_owned(),
            num_nodes,
            node_jobs: nodes.iter().map(|node| node.job_name.clone()).collect(),
            succeeded_nodes: count(TaskState::Completed),
            failed_nodes: count(TaskState::Failed),
            running_nodes: count(TaskState::Running),
            // A node whose Job is still to be made is pending too.
            pending_nodes: num_nodes.saturating_sub(
                count(TaskState::Completed) + count(TaskState::Failed) + count(TaskState::Running),
            ),
            nodes,
        },
        task_id: id,
    }
}

/// The state of the whole, decided from top to bottom.
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

/// Why a task has failed or does not run in full: the reason of its first node that has one, unless nodes are missing.
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

/// The failed node whose failure is that of the task: the one that failed first, as far as that was noted.
pub fn first_failure(nodes: &[NodeStatus]) -> Option<&NodeStatus> {
    let failed = || nodes.iter().filter(|node| node.status == TaskState::Failed);
    let first = failed().find_map(|node| node.stopped_after);
    let own = |node: &&NodeStatus| node.stopped_after.is_none() && node.reason.is_some();
    failed()
        .find(|node| Some(node.rank) == first)
        .or_else(|| failed().find(own))
        .or_else(|| failed().next())
}

/// `setup on node-1 exited with 3`, if that is why a node failed.
pub fn setup_failure(node: &NodeStatus) -> Option<String> {
    let how = node.reason.as_deref()?.strip_prefix("setup ")?;
    Some(format!("setup on node-{} {how}", node.rank))
}

/// The name of the task's Jobs without what tells them apart.
fn job_name(job: &Job, num_nodes: u32) -> String {
    let name = job.metadata.name.clone().unwrap_or_default();
    let suffix = format!("-node-{}", rank(job));
    match name.strip_suffix(&suffix) {
        Some(name) if num_nodes > 1 => name.to_owned(),
        _ => name,
    }
}

fn newest<'a>(job: &Job, pods: &Pods<'a>) -> Option<&'a Pod> {
    let pods = pods.get(job.metadata.uid.as_deref()?)?;
    pods.iter()
        .max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
        .copied()
}

/// When an object came to be: what we or the Python ancestor noted, which is finer than what Kubernetes notes.
pub fn created_at(meta: &ObjectMeta) -> Timestamp {
    let noted = labels::annotation(meta, labels::CREATED_AT).and_then(|time| time.parse().ok());
    noted
        .or_else(|| meta.creation_timestamp.as_ref().map(timestamp))
        .unwrap_or(Timestamp::EPOCH)
}

/// The moments at which a node changed.
fn changes<'a>(job: &'a Job, pod: Option<&'a Pod>) -> impl Iterator<Item = &'a Time> {
    let of_job = job.status.iter().flat_map(|status| {
        let conditions = status
            .conditions
            .iter()
            .flatten()
            .filter_map(|condition| condition.last_transition_time.as_ref());
        conditions
            .chain(&status.start_time)
            .chain(&status.completion_time)
    });
    let of_pod = pod
        .into_iter()
        .filter_map(|pod| pod.status.as_ref())
        .flat_map(|status| {
            status
                .conditions
                .iter()
                .flatten()
                .filter_map(|condition| condition.last_transition_time.as_ref())
        });
    let of_container = pod.and_then(container_state).into_iter().flat_map(|state| {
        let running = state
            .running
            .iter()
            .filter_map(|running| running.started_at.as_ref());
        running.chain(
            state
                .terminated
                .iter()
                .filter_map(|terminated| terminated.finished_at.as_ref()),
        )
    });
    of_job.chain(of_pod).chain(of_container)
}

/// Kubernetes' time as ours: the only place where the two meet.
fn timestamp(time: &Time) -> Timestamp {
    Timestamp::from_unix_microseconds(time.0.as_microsecond().into()).unwrap_or(Timestamp::EPOCH)
}

#[cfg(test)]
mod tests;
