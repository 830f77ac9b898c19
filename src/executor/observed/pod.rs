//! The row of a pod, which runs the processes of one node of a task. Pure.

use serde::Deserialize;

use super::row::{Condition, PodSpec, Row, Wire, impl_row, moment, sentence};
use crate::{
    api::{TaskId, Timestamp},
    executor::{
        cluster::Resource,
        identity::{Uid, Version},
        objects::{CONTAINER, SETUP_FAILED},
    },
};

/// The fields of a pod that the program uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire<PodSpec, Status>")]
pub struct PodRow {
    pub uid: Uid,
    pub version: Version,
    pub name: Box<str>,
    /// The id of its task, from its labels.
    pub task: Option<TaskId>,
    pub rank: u32,
    /// The uid of the Job that controls it. Labels do not prove that a pod belongs to a task: anyone in the namespace can set them.
    pub job: Option<Uid>,
    /// The time of its creation, in nanoseconds since 1970.
    pub created: Option<i64>,
    /// The last change that its status shows.
    pub changed_at: Option<Timestamp>,
    pub phase: Option<Box<str>>,
    /// The reason why it does not run yet.
    pub pending: Option<Box<str>>,
    /// The reason why it failed.
    pub failure: Option<Box<str>>,
    pub container: Container,
    /// The times of the container's start and end, in nanoseconds since 1970, by the clock of its machine.
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// The number of restarts of its container.
    pub restarts: i32,
    pub may_restart: bool,
    /// Whether a kubelet has accepted it. From then on that kubelet enforces its deadline.
    pub has_started: bool,
    /// Its termination grace period in seconds; none if its spec has none.
    pub grace: Option<u32>,
    /// The rank of the node whose failure stopped this one.
    pub stopped_after: Option<u32>,
    /// The claims that it mounts.
    pub claims: Box<[Box<str>]>,
}

/// The state of the task's container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Container {
    /// It does not exist, or waits for its start.
    Absent,
    Running,
    Terminated {
        exit_code: i32,
    },
}

impl PodRow {
    /// Whether it runs or has run.
    pub fn has_run(&self) -> bool {
        self.phase
            .as_deref()
            .is_some_and(|phase| phase != "Pending")
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_deref(), Some("Succeeded" | "Failed"))
    }
}

impl Resource for PodRow {
    const PATH: (&'static str, &'static str) = ("/api/v1", "pods");
    const KIND: &'static str = "pods";
}

// A pod that is being deleted still runs, and has a log.
impl_row!(PodRow, |_| false);

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: Option<Box<str>>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(deserialize_with = "moment")]
    start_time: Option<Timestamp>,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    restart_count: i32,
    #[serde(default)]
    state: State,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct State {
    waiting: Option<WaitingState>,
    running: Option<RunningState>,
    terminated: Option<Terminated>,
}

#[derive(Deserialize)]
struct WaitingState {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunningState {
    #[serde(default, deserialize_with = "moment")]
    started_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    exit_code: i32,
    reason: Option<String>,
    message: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    started_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    finished_at: Option<Timestamp>,
}

impl From<Wire<PodSpec, Status>> for PodRow {
    fn from(wire: Wire<PodSpec, Status>) -> Self {
        let Wire { meta, spec, status } = wire;
        let grace = spec.termination_grace_period_seconds;
        Self {
            uid: Uid::new(&meta.uid),
            version: Version::new(&meta.resource_version),
            task: meta.task(),
            rank: meta.rank(),
            job: meta.controller(),
            created: meta.creation_timestamp.map(Timestamp::unix_nanoseconds),
            changed_at: status.changed_at(),
            pending: status.pending(),
            failure: status.failure(),
            container: status.state().map_or(Container::Absent, State::container),
            started_at: status.state().and_then(State::started_at),
            finished_at: status.state().and_then(State::finished_at),
            restarts: status.own().map_or(0, |container| container.restart_count),
            may_restart: spec.restart_policy.as_deref() != Some("Never"),
            has_started: status.start_time.is_some(),
            grace: grace.map(|grace| u32::try_from(grace).unwrap_or(0)),
            stopped_after: meta.stopped_after(),
            claims: spec.claims(),
            phase: status.phase,
            name: meta.name.into(),
        }
    }
}

impl Status {
    /// The status of the task's container.
    fn own(&self) -> Option<&ContainerStatus> {
        let containers = self.container_statuses.as_deref()?;
        // Kubernetes sorts the statuses by name, so the first one may be that of another container.
        containers
            .iter()
            .find(|container| container.name == CONTAINER)
    }

    /// The state of the task's container, or of the only one there is.
    fn state(&self) -> Option<&State> {
        let first = self.container_statuses.as_deref()?.first();
        Some(&self.own().or(first)?.state)
    }

    fn conditions(&self) -> &[Condition] {
        self.conditions.as_deref().unwrap_or_default()
    }

    /// The reason why it does not run yet: a condition of the pod, else the state of its container.
    fn pending(&self) -> Option<Box<str>> {
        let mut conditions = self.conditions().iter();
        if let Some(unscheduled) =
            conditions.find(|condition| condition.is("PodScheduled", "False"))
        {
            return unscheduled.sentence();
        }
        let waiting = self.state()?.waiting.as_ref()?;
        sentence(waiting.reason.as_deref(), waiting.message.as_deref())
    }

    /// The reason why it failed: that of the pod, else that of its container.
    fn failure(&self) -> Option<Box<str>> {
        let of_pod = sentence(self.reason.as_deref(), self.message.as_deref());
        let terminated = || self.state().and_then(|state| state.terminated.as_ref());
        of_pod.or_else(|| terminated().map(Terminated::failure))
    }

    fn changed_at(&self) -> Option<Timestamp> {
        let conditions = self.conditions().iter();
        let of_pod = conditions.filter_map(|condition| condition.last_transition_time);
        let of_container = self.state().into_iter().flat_map(|state| {
            let started = state.running.as_ref().and_then(|it| it.started_at);
            let finished = state.terminated.as_ref().and_then(|it| it.finished_at);
            started.into_iter().chain(finished)
        });
        of_pod.chain(of_container).max()
    }
}

impl State {
    fn started_at(&self) -> Option<i64> {
        let running = self.running.as_ref().and_then(|it| it.started_at);
        let terminated = self.terminated.as_ref().and_then(|it| it.started_at);
        terminated.or(running).map(Timestamp::unix_nanoseconds)
    }

    fn finished_at(&self) -> Option<i64> {
        let finished = self.terminated.as_ref()?.finished_at;
        finished.map(Timestamp::unix_nanoseconds)
    }

    fn container(&self) -> Container {
        match (&self.terminated, &self.running) {
            (Some(terminated), _) => Container::Terminated {
                exit_code: terminated.exit_code,
            },
            (None, Some(_)) => Container::Running,
            (None, None) => Container::Absent,
        }
    }
}

impl Terminated {
    fn failure(&self) -> Box<str> {
        let code = self.exit_code;
        if self.message.as_deref() == Some(SETUP_FAILED) {
            return format!("setup exited with {code}").into();
        }
        let why = match self.reason.as_deref() {
            None | Some("Error" | "Completed") => None,
            reason => sentence(reason, self.message.as_deref()),
        };
        match why {
            Some(why) => format!("exit code {code} ({why})").into(),
            None => format!("exit code {code}").into(),
        }
    }
}
