//! The row of a Job, which runs one node of a task. Pure.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    ends::{Ends, NodeEnd},
    row::{Condition, Meta, Owner, PodSpec, Row, Wire, impl_row, moment},
};
use crate::{
    api::{Recovery, TaskGroup, TaskId, TaskState, TimeLimit, Timestamp},
    executor::{
        cluster::Resource,
        identity::{Uid, Version},
        objects::{KeptFiles, Keyed, Restarts, is_nonce, labels},
    },
};

/// The beginning of the reason of a task that was not created as a whole.
pub const INCOMPLETE: &str = "incomplete";

/// The fields of a Job that the program uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire<Spec, Status>")]
pub struct JobRow {
    pub uid: Uid,
    pub version: Version,
    pub name: Box<str>,
    pub is_deleted: bool,
    /// The id of its task, from its labels; none if it is not the Job of a task.
    pub task: Option<TaskId>,
    pub rank: u32,
    /// The number of nodes of the task, from an annotation.
    pub num_nodes: Option<u32>,
    /// The name of the task, from an annotation or a label.
    pub task_name: Option<Box<str>>,
    pub owner: Owner,
    pub created_at: Timestamp,
    /// The last change that its status shows.
    pub changed_at: Option<Timestamp>,
    /// Whether it may replace a failed pod. Jobs of this program never do; those of other programs may.
    pub may_retry: bool,
    /// Whether the failure of a node of its task stops the other nodes.
    pub fails_fast: bool,
    /// The rank of the node whose failure stopped this one.
    pub stopped_after: Option<u32>,
    /// Whether all objects of its task were created. Only the first Job of a task of several nodes says so.
    pub is_complete: bool,
    /// Whether Kubernetes makes no pod for it, since its task is being created.
    pub is_held: bool,
    /// The place of its task in a group.
    pub group: Option<Arc<TaskGroup>>,
    /// Whether a user stops its task.
    pub is_stopping: bool,
    /// Whether Kubernetes has counted a failed pod, although the Job has not ended yet.
    pub has_failed_pod: bool,
    /// When its task is started again.
    pub recovery: Option<Arc<Recovery>>,
    /// The number of the attempt that it is of, from 1 on.
    pub attempt: u32,
    /// The restarts of its task before that attempt.
    pub restarts: Option<Arc<Restarts>>,
    /// The number of attempts of its task whose Jobs were created. Only the first Job says so, after the second attempt has begun.
    pub attempts: Option<u32>,
    /// The files that travelled with its task. Only the first Job says so.
    pub files: Option<Arc<KeptFiles>>,
    /// Whether these files are deleted.
    pub has_deleted_files: bool,
    /// The ends of nodes of its task.
    pub ends: Option<Arc<Ends>>,
    pub state: JobState,
    /// The longest time that its pod may run.
    pub time_limit: Option<TimeLimit>,
    /// The claims that its pods mount.
    pub claims: Box<[Box<str>]>,
}

/// A Job, with what a second request of the same key has to know of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire<Spec, Status>")]
pub struct KeyedJobRow {
    pub job: JobRow,
    pub keyed: Option<Keyed>,
    /// The time of its creation, by Kubernetes' clock.
    pub made_at: Option<Timestamp>,
}

/// The state of a Job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    Active,
    /// Kubernetes makes no pod for it, for this reason.
    Suspended(Option<Box<str>>),
    Complete,
    Failed {
        reason: Option<Box<str>>,
        at: Option<Timestamp>,
    },
}

impl JobRow {
    /// Whether its task is whole, and waits until others of its group have ended.
    pub fn is_queued(&self) -> bool {
        self.is_waiting_in_group() && self.is_complete && !self.is_stopping
    }

    /// Why the task of this first Job will never be whole; none if its creation was not given up.
    pub fn given_up(&self) -> Option<&str> {
        match &self.state {
            JobState::Failed { reason, .. } => {
                (reason.as_deref()).filter(|reason| reason.starts_with(INCOMPLETE))
            }
            _ => None,
        }
    }

    /// Whether Kubernetes makes no pod for it, since its task waits for its turn or is being created.
    pub fn is_waiting_in_group(&self) -> bool {
        // A further attempt of a task waits for no turn.
        self.group.is_some() && self.attempt == 1 && self.is_held && self.state == JobState::Active
    }

    /// Whether the creation of its task has begun with it, and has not ended.
    pub fn is_begun(&self) -> bool {
        self.rank == 0
            && self.is_held
            && !self.is_complete
            && !self.is_stopping
            && self.state == JobState::Active
    }
}

impl JobState {
    pub fn has_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Complete | Self::Failed { .. })
    }
}

impl Resource for JobRow {
    const PATH: (&'static str, &'static str) = ("/apis/batch/v1", "jobs");
    const KIND: &'static str = "Jobs";
}

impl_row!(JobRow, |row: &Self| row.is_deleted);

impl Resource for KeyedJobRow {
    const PATH: (&'static str, &'static str) = JobRow::PATH;
    const KIND: &'static str = JobRow::KIND;
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    backoff_limit: Option<i32>,
    parallelism: Option<i32>,
    template: Template,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    conditions: Option<Vec<Condition>>,
    #[serde(deserialize_with = "moment")]
    start_time: Option<Timestamp>,
    #[serde(deserialize_with = "moment")]
    completion_time: Option<Timestamp>,
    failed: Option<i32>,
}

impl From<Wire<Spec, Status>> for JobRow {
    fn from(wire: Wire<Spec, Status>) -> Self {
        let Wire { meta, spec, status } = wire;
        let num_nodes = meta.num_nodes();
        let says = |key| meta.annotation(key) == Some("true");
        let ends = meta.annotation(labels::ENDS).and_then(Ends::parse);
        let is_kept = meta.annotation(labels::FAIL_FAST) == Some("false");
        Self {
            uid: Uid::new(&meta.uid),
            version: Version::new(&meta.resource_version),
            is_deleted: meta.deletion_timestamp.is_some(),
            task: meta.task(),
            rank: meta.rank(),
            num_nodes,
            task_name: meta.task_name(),
            owner: Owner::of(&meta),
            created_at: meta.created_at(),
            changed_at: status.changed_at().max(meta.incomplete_since()),
            may_retry: spec.backoff_limit != Some(0),
            fails_fast: num_nodes.is_some_and(|number| number > 1) && !is_kept,
            stopped_after: meta.stopped_after(),
            is_complete: says(labels::COMPLETE),
            is_held: spec.parallelism == Some(0),
            group: meta.group().map(Arc::new),
            is_stopping: says(labels::STOPPING),
            recovery: (meta.annotation(labels::RECOVERY))
                .and_then(|recovery| serde_json::from_str(recovery).ok())
                .map(Arc::new),
            attempt: meta.attempt(),
            restarts: (meta.annotation(labels::RESTARTS).and_then(Restarts::parse)).map(Arc::new),
            attempts: (meta.annotation(labels::ATTEMPTS)).and_then(|number| number.parse().ok()),
            files: (meta.annotation(labels::FILES).and_then(KeptFiles::parse)).map(Arc::new),
            has_deleted_files: says(labels::FILES_DELETED),
            has_failed_pod: status.failed.is_some_and(|failed| failed > 0)
                || (status.conditions().iter()).any(|it| it.is("FailureTarget", "True")),
            state: incomplete(&meta).unwrap_or_else(|| {
                status.state(ends.as_ref().and_then(|ends| ends.get(meta.rank())))
            }),
            ends: ends.map(Arc::new),
            time_limit: spec.template.spec.time_limit(),
            claims: spec.template.spec.claims(),
            name: meta.name.into(),
        }
    }
}

/// The state of the first Job of a task whose creation was given up.
fn incomplete(meta: &Meta) -> Option<JobState> {
    let count: u32 = meta.annotation(labels::INCOMPLETE)?.parse().ok()?;
    let reason = match meta.num_nodes() {
        Some(all) if all > count => format!("{INCOMPLETE}: {count} of {all} nodes were created"),
        _ => format!("{INCOMPLETE}: its creation was cut off"),
    };
    Some(JobState::Failed {
        reason: Some(reason.into()),
        at: meta.incomplete_since(),
    })
}

impl From<Wire<Spec, Status>> for KeyedJobRow {
    fn from(wire: Wire<Spec, Status>) -> Self {
        let text = |key| wire.meta.annotation(key).map(str::to_owned);
        let nonce = text(labels::NONCE).filter(|nonce| is_nonce(nonce));
        let request = text(labels::REQUEST);
        Self {
            keyed: (nonce.zip(request)).map(|(nonce, request)| Keyed { nonce, request }),
            made_at: wire.meta.creation_timestamp,
            job: wire.into(),
        }
    }
}

impl Status {
    fn conditions(&self) -> &[Condition] {
        self.conditions.as_deref().unwrap_or_default()
    }

    /// The state. `noted` is the end of the node that this program noted: it decides.
    fn state(&self, noted: Option<&NodeEnd>) -> JobState {
        let mut conditions = self.conditions().iter();
        let end = conditions
            .find(|condition| condition.is("Complete", "True") || condition.is("Failed", "True"));
        if let Some(noted) = noted {
            return match noted.status {
                TaskState::Completed => JobState::Complete,
                _ => JobState::Failed {
                    reason: noted.reason.as_deref().map(Into::into),
                    at: end.and_then(|end| end.last_transition_time),
                },
            };
        }
        if let Some(end) = end {
            return if end.kind == "Complete" {
                JobState::Complete
            } else {
                JobState::Failed {
                    reason: end.sentence(),
                    at: end.last_transition_time,
                }
            };
        }
        let mut conditions = self.conditions().iter();
        match conditions.find(|condition| condition.is("Suspended", "True")) {
            Some(suspended) => JobState::Suspended(suspended.sentence()),
            None => JobState::Active,
        }
    }

    fn changed_at(&self) -> Option<Timestamp> {
        let conditions = self.conditions().iter();
        let changes = conditions.filter_map(|condition| condition.last_transition_time);
        changes
            .chain(self.start_time)
            .chain(self.completion_time)
            .max()
    }
}
