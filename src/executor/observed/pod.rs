//! The row of a pod, which runs the processes of one node of a task. Pure.

use serde::Deserialize;

use super::{
    EventRow, Subject,
    job::INCOMPLETE,
    row::{Condition, Owner, PodSpec, Row, Wire, impl_row, moment, sentence},
};
use crate::{
    api::{TaskId, TimeLimit, Timestamp},
    executor::{
        cluster::Resource,
        identity::{Uid, Version},
        objects::{CONTAINER, FILES_FAILED, SETUP_FAILED, labels},
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
    /// The number of nodes of the task, from an annotation.
    pub num_nodes: Option<u32>,
    /// The name of the task, from an annotation or a label.
    pub task_name: Option<Box<str>>,
    pub owner: Owner,
    /// The time of the task's creation, as far as the pod says it.
    pub task_created_at: Timestamp,
    pub is_deleted: bool,
    /// The uid of the Job that controls it. Labels do not prove that a pod belongs to a task: anyone in the namespace can set them.
    pub job: Option<Uid>,
    /// The name of the Job that made it.
    pub job_name: Box<str>,
    /// Whether an object that is not a Job controls it, so that it belongs to no task.
    pub is_foreign: bool,
    /// The time of its creation, in nanoseconds since 1970.
    pub created: Option<i64>,
    /// The last change that its status shows.
    pub changed_at: Option<Timestamp>,
    pub phase: Option<Box<str>>,
    /// The machine that runs it.
    pub machine: Option<Box<str>>,
    /// Whether the control plane no longer hears from its machine.
    pub is_out_of_contact: bool,
    /// The reason why it does not run yet.
    pub pending: Option<Box<str>>,
    /// Whether the reason why it does not run can never go away.
    pub is_hopeless: bool,
    /// The cause of its deletion, if the cluster deletes it: an eviction, a preemption, the loss of its machine.
    pub disruption: Option<Box<str>>,
    /// The reason why it failed.
    pub failure: Option<Box<str>>,
    /// The longest time that it may run, if it has run as long as that.
    pub reached_limit: Option<TimeLimit>,
    /// How the cluster lost it, if it did. A limit of its own is none.
    pub loss: Option<Loss>,
    /// Whether neither Kubernetes nor a user ended it.
    pub ended_by_itself: bool,
    /// The name of the task's container; none if it is the usual one.
    pub container_name: Option<Box<str>>,
    pub container: Container,
    /// Whether the startup probe of the container has succeeded, or it has none and runs.
    pub is_started: bool,
    pub start: Start,
    /// The times of the container's start and end, in nanoseconds since 1970, by the clock of its machine.
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// Whether other containers run although the task's container has ended.
    pub has_leftovers: bool,
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

/// How the cluster lost a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Its machine failed, or is being taken away.
    NodeLost,
    /// Its machine lacked something, or somebody emptied the machine.
    Evicted,
    Preempted,
    /// Only its Job says that it was lost.
    Removed,
}

impl Loss {
    /// For a person.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NodeLost => "node lost",
            Self::Evicted => "evicted",
            Self::Preempted => "preempted",
            Self::Removed => "pod removed by the cluster",
        }
    }
}

/// Whether the node may begin `run`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// It does not wait for the other nodes.
    Own,
    /// It waits until the `setup` of all nodes has ended.
    Held,
    Released,
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

    /// Whether its container has ended, or never starts any more.
    pub fn is_over(&self) -> bool {
        self.has_ended() || self.exit_code().is_some()
    }

    /// Whether the end of this pod, because of which its Job has failed, is not known yet: the watches of Jobs and pods are not in
    /// step. A pod that is being deleted may take longer to end.
    pub fn is_behind_its_job(&self) -> bool {
        !self.has_ended() && !self.is_deleted
    }

    /// Whether its Job was deleted without it, so that it stays.
    pub fn is_orphan(&self) -> bool {
        self.job.is_none() && !self.is_foreign && !self.is_deleted
    }

    /// Whether an event is about this pod or a claim that it mounts.
    pub fn has_reason(&self, event: &EventRow) -> bool {
        match event.subject {
            Subject::Pod => event.object == self.uid,
            Subject::Claim => self.claims.contains(&event.name),
            Subject::Job | Subject::Other => false,
        }
    }

    /// The machine that runs it.
    pub fn host(&self) -> Option<String> {
        self.machine.as_deref().map(str::to_owned)
    }

    /// When the task's container started.
    pub fn started(&self) -> Option<Timestamp> {
        self.started_at.and_then(at)
    }

    /// When the task's container ended.
    pub fn finished(&self) -> Option<Timestamp> {
        self.finished_at.and_then(at)
    }

    pub fn num_restarts(&self) -> u32 {
        u32::try_from(self.restarts).unwrap_or(0)
    }

    /// The exit code of the task's container, once it has ended.
    pub fn exit_code(&self) -> Option<i32> {
        match self.container {
            Container::Terminated { exit_code } => Some(exit_code),
            Container::Absent | Container::Running => None,
        }
    }
}

/// The time that many nanoseconds after the beginning of 1970.
fn at(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_unix_microseconds(i128::from(nanoseconds) / 1000)
}

/// The scheduler of a pod that names none. Each cluster has it, and nothing is said while it is only slow.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

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
    init_container_statuses: Option<Vec<ContainerStatus>>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    restart_count: i32,
    started: Option<bool>,
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
        let containers = status.containers(&spec);
        let controller = meta.controller();
        let job = controller.filter(|owner| owner.kind == "Job");
        let own = containers.own;
        Self {
            uid: Uid::new(&meta.uid),
            version: Version::new(&meta.resource_version),
            task: meta.task(),
            rank: meta.rank(),
            num_nodes: meta.num_nodes(),
            task_name: meta.task_name(),
            owner: Owner::of(&meta),
            task_created_at: meta.created_at(),
            is_deleted: meta.deletion_timestamp.is_some(),
            job: job.map(|job| Uid::new(&job.uid)),
            job_name: meta.label(labels::JOB_NAME).unwrap_or_default().into(),
            is_foreign: controller.is_some() && job.is_none(),
            created: meta.creation_timestamp.map(Timestamp::unix_nanoseconds),
            changed_at: status.changed_at(&containers).max(meta.deleted_at()),
            is_out_of_contact: status.is_out_of_contact(),
            pending: status
                .pending(&containers)
                .or_else(|| status.unclaimed(&spec)),
            is_hopeless: containers.waiting().is_some_and(WaitingState::is_hopeless),
            disruption: status.disruption(),
            failure: status.failure(&containers),
            loss: status.loss(),
            reached_limit: status
                .has_passed_deadline()
                .then(|| spec.time_limit())
                .flatten(),
            ended_by_itself: status.reason.is_none() && meta.deletion_timestamp.is_none(),
            container_name: own
                .map(|own| own.name.as_str())
                .filter(|name| *name != CONTAINER)
                .map(Into::into),
            container: own.map_or(Container::Absent, |own| own.state.container()),
            is_started: own.is_some_and(|own| own.started == Some(true)),
            start: match meta.annotation(labels::START) {
                None => Start::Own,
                Some(labels::START_HELD) => Start::Held,
                Some(_) => Start::Released,
            },
            started_at: own.and_then(|own| own.state.started_at()),
            finished_at: own.and_then(|own| own.state.finished_at()),
            has_leftovers: containers.has_leftovers(),
            restarts: own.map_or(0, |container| container.restart_count),
            may_restart: spec.restart_policy.as_deref() != Some("Never"),
            has_started: status.start_time.is_some(),
            grace: grace.map(|grace| u32::try_from(grace).unwrap_or(0)),
            stopped_after: meta.stopped_after(),
            machine: spec.node_name.clone(),
            claims: spec.claims(),
            phase: status.phase,
            name: meta.name.into(),
        }
    }
}

/// The statuses of a pod's containers.
struct Containers<'a> {
    init: &'a [ContainerStatus],
    all: &'a [ContainerStatus],
    /// The one of the task.
    own: Option<&'a ContainerStatus>,
}

impl Containers<'_> {
    /// The reason why the pod does not start: that of the task's container, unless another container has a better one.
    fn waiting(&self) -> Option<&WaitingState> {
        let all = self.own.into_iter().chain(self.init).chain(self.all);
        let waiting = all.filter_map(|container| container.state.waiting.as_ref());
        let mut says_why = waiting.filter(|waiting| {
            let reason = waiting.reason.as_deref();
            !matches!(reason, None | Some("ContainerCreating" | "PodInitializing"))
        });
        let own = || self.own.and_then(|own| own.state.waiting.as_ref());
        says_why.next().or_else(own)
    }

    /// ``init container `prepare` ``, if `container` is not that of the task.
    fn describe(&self, container: &ContainerStatus) -> Option<String> {
        let is = |other: &&ContainerStatus| std::ptr::eq(*other, container);
        let name = &container.name;
        match () {
            () if self.own.as_ref().is_some_and(is) => None,
            () if self.init.iter().any(|other| is(&other)) => {
                Some(format!("init container `{name}`"))
            }
            () => Some(format!("container `{name}`")),
        }
    }

    /// The failure of the task's container, else of the first container that failed.
    fn failure(&self) -> Option<Box<str>> {
        let failed = |container: &&ContainerStatus| {
            let terminated = container.state.terminated.as_ref();
            terminated.is_some_and(|terminated| terminated.exit_code != 0)
        };
        let mut all = self.own.into_iter().chain(self.init).chain(self.all);
        let container = all.find(failed)?;
        let failure = container.state.terminated.as_ref()?.failure();
        Some(match self.describe(container) {
            Some(name) => format!("{name}: {failure}").into(),
            None => failure,
        })
    }

    fn has_leftovers(&self) -> bool {
        let has_ended = |container: &ContainerStatus| container.state.terminated.is_some();
        self.own.is_some_and(has_ended) && !self.all.iter().all(has_ended)
    }
}

impl Status {
    fn containers(&self, spec: &PodSpec) -> Containers<'_> {
        let all = self.container_statuses.as_deref().unwrap_or_default();
        // Kubernetes sorts the statuses by name, so the first one may be that of another container.
        let named = |name: &str| all.iter().find(|container| container.name == name);
        // A webhook may have renamed the container.
        let first = || spec.containers.first().and_then(|it| named(&it.name));
        Containers {
            init: self.init_container_statuses.as_deref().unwrap_or_default(),
            own: named(CONTAINER).or_else(first),
            all,
        }
    }

    fn conditions(&self) -> &[Condition] {
        self.conditions.as_deref().unwrap_or_default()
    }

    fn condition(&self, kind: &str, status: &str) -> Option<&Condition> {
        let mut conditions = self.conditions().iter();
        conditions.find(|condition| condition.is(kind, status))
    }

    /// The reason why it does not run yet: a condition of the pod, else the state of a container.
    fn pending(&self, containers: &Containers<'_>) -> Option<Box<str>> {
        if let Some(unscheduled) = self.condition("PodScheduled", "False") {
            return unscheduled.sentence();
        }
        let waiting = containers.waiting()?;
        let why = sentence(waiting.reason.as_deref(), waiting.message_of_all())?;
        let mut all = containers.init.iter().chain(containers.all);
        let is_it = |container: &&ContainerStatus| {
            let own = container.state.waiting.as_ref();
            own.is_some_and(|own| std::ptr::eq(own, waiting))
        };
        let name = all.find(is_it).and_then(|it| containers.describe(it));
        Some(match name {
            Some(name) => format!("{name}: {why}").into(),
            None => why,
        })
    }

    /// Whom it waits for, if neither the scheduler that it names nor the kubelet of the machine that it names has said anything of it.
    fn unclaimed(&self, spec: &PodSpec) -> Option<Box<str>> {
        let is_known = self.start_time.is_some() || !self.conditions().is_empty();
        if is_known || self.phase.as_deref() != Some("Pending") {
            return None;
        }
        let scheduler = spec.scheduler_name.as_deref();
        match (&spec.node_name, scheduler) {
            (Some(machine), _) => Some(format!("the machine {machine} has not taken it").into()),
            (None, Some(DEFAULT_SCHEDULER) | None) => None,
            (None, Some(name)) => Some(format!("the scheduler {name} has not taken it").into()),
        }
    }

    /// The reason why it failed: that of the pod, else that of a container.
    fn failure(&self, containers: &Containers<'_>) -> Option<Box<str>> {
        let of_pod = sentence(self.reason.as_deref(), self.message.as_deref());
        of_pod.or_else(|| containers.failure())
    }

    /// Whether its kubelet has ended it because of `activeDeadlineSeconds` (`pkg/kubelet/active_deadline.go`, 1.20 to 1.36).
    fn has_passed_deadline(&self) -> bool {
        self.reason.as_deref() == Some("DeadlineExceeded")
    }

    /// The condition that a cluster of version 1.26 or newer adds before it deletes a pod.
    fn disruption(&self) -> Option<Box<str>> {
        self.condition("DisruptionTarget", "True")?.sentence()
    }

    /// How the cluster lost it. A condition says so since 1.26; before, only some of the reasons do.
    fn loss(&self) -> Option<Loss> {
        let condition = self.condition("DisruptionTarget", "True");
        if let Some(condition) = condition {
            return Some(match condition.reason.as_deref() {
                Some("PreemptionByScheduler") => Loss::Preempted,
                Some("EvictionByEvictionAPI" | "TerminationByKubelet") => Loss::Evicted,
                // The taint manager, and the collector of pods without a machine.
                _ => Loss::NodeLost,
            });
        }
        let message = self.message.as_deref().unwrap_or_default();
        match self.reason.as_deref()? {
            "NodeLost" | "NodeShutdown" | "Shutdown" | "Terminated" => Some(Loss::NodeLost),
            "Preempting" => Some(Loss::Preempted),
            // The other evictions are for a limit of the pod (`pkg/kubelet/eviction`, 1.20 to 1.36).
            "Evicted" if message.starts_with("The node was low on resource") => Some(Loss::Evicted),
            // A kubelet that lacks something refuses new pods.
            "Evicted" if message.contains("The node had condition") => Some(Loss::Evicted),
            _ => None,
        }
    }

    /// Only the control plane sets the pod to not ready while its containers are ready and no reason is given. It does so when the
    /// machine's kubelet is silent.
    fn is_out_of_contact(&self) -> bool {
        let silent = |ready: &Condition| ready.reason.as_deref().is_none_or(str::is_empty);
        self.phase.as_deref() == Some("Running")
            && self.condition("Ready", "False").is_some_and(silent)
            && self.condition("ContainersReady", "True").is_some()
    }

    fn changed_at(&self, containers: &Containers<'_>) -> Option<Timestamp> {
        let conditions = self.conditions().iter();
        let of_pod = conditions.filter_map(|condition| condition.last_transition_time);
        let of_container = containers.own.into_iter().flat_map(|own| {
            let started = own.state.running.as_ref().and_then(|it| it.started_at);
            let finished = own.state.terminated.as_ref().and_then(|it| it.finished_at);
            started.into_iter().chain(finished)
        });
        of_pod.chain(of_container).max()
    }
}

/// Whether a node ended for this reason because its container could never start, so that it has written nothing.
pub fn could_not_start(reason: &str) -> bool {
    // Another container may lack its image while the task's container runs. The init containers come before it.
    let init = reason.strip_prefix("init container `");
    let own = init.and_then(|rest| rest.split_once("`: "));
    let kind = own.map_or(reason, |(_, own)| own).split(':').next();
    matches!(
        kind,
        Some("InvalidImageName" | "ErrImageNeverPull" | "CreateContainerConfigError" | INCOMPLETE)
    )
}

impl WaitingState {
    /// The message without the name and the uid of the pod, which some kubelets add (`pkg/kubelet/kuberuntime/security_context.go`, 1.20
    /// to 1.36): nodes that wait for the same thing have the same reason.
    fn message_of_all(&self) -> Option<&str> {
        let message = self.message.as_deref()?;
        let end = message.find(" (pod: \"").filter(|_| message.ends_with(')'));
        Some(&message[..end.unwrap_or(message.len())])
    }

    /// Whether the kubelet will never start the container, however long it waits.
    fn is_hopeless(&self) -> bool {
        const FOR_EVER: [&str; 7] = [
            "couldn't find key",
            "non-existent config key",
            "has runAsNonRoot and",
            "breaks non-root policy",
            // Of a `subPathExpr` (`pkg/kubelet/kubelet_pods.go`, `makeMounts`, 1.20 to 1.36).
            "missing value for ",
            "error SubPath `",
            "unable to provision SubPath `",
        ];
        let message = self.message.as_deref().unwrap_or_default();
        match self.reason.as_deref() {
            Some("InvalidImageName" | "ErrImageNeverPull") => true,
            Some("CreateContainerConfigError") => {
                FOR_EVER.iter().any(|phrase| message.contains(phrase))
            }
            _ => false,
        }
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
        let message = self.message.as_deref();
        if let Some(why) = message.and_then(|message| message.strip_prefix(FILES_FAILED)) {
            return why.into();
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
