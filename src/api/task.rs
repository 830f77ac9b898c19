//! The answers of the server about tasks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{TaskFiles, TaskGroup, TaskId, Timestamp};

/// The state of a task, or of one of its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// No node runs yet.
    Pending,
    /// At least one node runs.
    Running,
    /// A user stopped it, and its processes have not ended yet.
    Stopping,
    /// A node failed.
    Failed,
    /// Every node succeeded.
    Completed,
}

impl TaskState {
    /// All states, as they are written.
    pub const WORDS: &[&str] = &["pending", "running", "stopping", "failed", "completed"];

    /// Whether the state is final.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Completed)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TaskState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pending" => Ok(Self::Pending),
            "running" => Ok(Self::Running),
            "stopping" => Ok(Self::Stopping),
            "failed" => Ok(Self::Failed),
            "completed" => Ok(Self::Completed),
            _ => Err(format!(
                "{text:?} is not pending, running, stopping, failed or completed"
            )),
        }
    }
}

/// What the nodes of a task have in common while they run.
#[derive(Clone, Copy, Debug)]
pub struct SubmitFlags {
    /// Whether the failure of a node stops the other nodes.
    pub fail_fast: bool,
    /// Whether no node begins `run` before the `setup` of all has ended.
    pub barrier: bool,
    /// Whether the task is started again when it is lost to the cluster, also if its file does not say so.
    pub recover: bool,
}

impl Default for SubmitFlags {
    fn default() -> Self {
        Self {
            fail_fast: true,
            barrier: true,
            recover: false,
        }
    }
}

/// `GET /tasks/{task_id}`: the status of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskStatus {
    pub task_id: TaskId,
    /// The name that the user gave, or `task-{task_id}`.
    pub name: String,
    pub status: TaskState,
    pub created_at: Timestamp,
    /// When the task last changed.
    pub updated_at: Timestamp,
    /// The owner, as in the `username` label: `@` and other unusual characters are replaced.
    pub username: String,
    /// Why the task is pending or failed, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub metadata: TaskMetadata,
    /// The last events of its objects, oldest first, if the request asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<TaskEvent>,
}

impl TaskStatus {
    /// Whether the task and all its nodes have ended. A task has failed with its first node, while others may still run.
    pub fn has_ended(&self) -> bool {
        let mut nodes = self.metadata.nodes.iter();
        self.status.is_terminal() && nodes.all(|node| node.status.is_terminal())
    }

    /// When the first of its nodes started, and when the last one ended, if all have.
    pub fn span(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let nodes = &self.metadata.nodes;
        let started = nodes.iter().filter_map(|node| node.started_at).min();
        let finished = nodes.iter().filter_map(|node| node.finished_at).max();
        (started, finished.filter(|_| self.has_ended()))
    }

    /// Writes the span of its nodes into its metadata.
    pub fn with_span(mut self) -> Self {
        let (started, finished) = self.span();
        let metadata = &mut self.metadata;
        (metadata.started_at, metadata.finished_at) = (started, finished);
        let ends = started.zip(finished);
        metadata.duration_seconds = ends.map(|(start, end)| start.seconds_until(end));
        self
    }
}

/// The objects of a task in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TaskMetadata {
    /// `{task-name}-{task-id}`, for one node and for many.
    #[schema(required)]
    pub job_name: String,
    #[schema(required)]
    pub namespace: String,
    #[schema(required)]
    pub num_nodes: u32,
    /// The names of the Jobs, in rank order.
    #[schema(required)]
    pub node_jobs: Vec<String>,
    #[schema(required)]
    pub succeeded_nodes: u32,
    #[schema(required)]
    pub failed_nodes: u32,
    #[schema(required)]
    pub running_nodes: u32,
    #[schema(required)]
    pub pending_nodes: u32,
    /// When the process of its first node started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the process of its last node ended, once all have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The time between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// The files that travelled with it, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<TaskFiles>,
    /// Its place in the group with which it was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<TaskGroup>,
    /// Every node, in rank order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeStatus>,
}

/// One node of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// Its 0-based index, `NODE_RANK` in its environment.
    pub rank: u32,
    pub status: TaskState,
    /// The name of the Job that runs it.
    #[serde(alias = "job_name")]
    pub job: String,
    /// The name of its pod, if there is one.
    #[serde(alias = "pod_name")]
    #[schema(required)]
    pub pod: Option<String>,
    /// The machine that runs its pod.
    #[serde(default)]
    #[schema(required)]
    pub host: Option<String>,
    /// The exit code of its process, once it has ended.
    #[schema(required)]
    pub exit_code: Option<i32>,
    /// The signal that ended its process, such as `SIGKILL`.
    #[serde(default)]
    #[schema(required)]
    pub signal: Option<String>,
    /// When its process started and ended, by the clock of the machine.
    #[serde(default)]
    #[schema(required)]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    #[schema(required)]
    pub finished_at: Option<Timestamp>,
    /// How many times its container was started again.
    #[serde(default)]
    #[schema(required)]
    pub restarts: u32,
    /// Why the node is pending or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rank of the node whose failure stopped this one.
    #[serde(default)]
    #[schema(required)]
    pub stopped_after: Option<u32>,
}

/// Something that Kubernetes has said about an object of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskEvent {
    /// When it was last said.
    #[schema(required)]
    pub time: Option<Timestamp>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A word, such as `FailedScheduling`.
    pub reason: String,
    pub message: String,
    /// The kind and the name of the object: `Pod/train-ab12cd34-x7x2v`.
    pub object: String,
    /// How many times it was said.
    pub count: u32,
}

/// `POST /tasks/submit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskSubmitResponse {
    pub task_id: TaskId,
    /// Always `submitted`.
    pub status: String,
    pub message: String,
    /// Parts of the definition that may not work as its author expects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl TaskSubmitResponse {
    pub fn new(task_id: TaskId, warnings: Vec<String>) -> Self {
        Self {
            status: "submitted".to_owned(),
            message: format!("Task submitted successfully with ID: {task_id}"),
            task_id,
            warnings,
        }
    }
}

/// `POST /tasks/submit?dry_run=true`: the effect that a submission would have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDryRunResponse {
    /// The objects that would be created, in the order of creation.
    pub manifests: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `GET /tasks`: newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskListResponse {
    pub tasks: Vec<TaskStatus>,
    /// With a `limit`: where the next part of the list begins, if there is more.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `POST /tasks/{task_id}/stop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskStopResponse {
    pub task_id: TaskId,
    /// Always `stopped`.
    pub status: String,
    pub message: String,
}

impl TaskStopResponse {
    pub fn new(task_id: TaskId) -> Self {
        Self {
            status: "stopped".to_owned(),
            message: format!("Task {task_id} stopped successfully"),
            task_id,
        }
    }
}

/// `DELETE /tasks/{task_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDeleteResponse {
    pub task_id: TaskId,
    /// Always `deleted`.
    pub status: String,
    pub message: String,
}

impl TaskDeleteResponse {
    pub fn new(task_id: TaskId) -> Self {
        Self {
            status: "deleted".to_owned(),
            message: format!("Task {task_id} deleted successfully"),
            task_id,
        }
    }
}

/// `POST /tasks/stop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskStopAllResponse {
    /// The number of tasks that were stopped; a task with many nodes counts once.
    pub count: usize,
    /// Always `stopped`.
    pub status: String,
    pub message: String,
    /// Their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_ids: Vec<TaskId>,
}

impl TaskStopAllResponse {
    /// The answer after these tasks were stopped, of one user or of all.
    pub fn new(task_ids: Vec<TaskId>, all_users: bool) -> Self {
        let count = task_ids.len();
        let whose = if all_users { " for all users" } else { "" };
        Self {
            count,
            status: "stopped".to_owned(),
            message: format!("Stopped {count} tasks{whose}"),
            task_ids,
        }
    }
}
