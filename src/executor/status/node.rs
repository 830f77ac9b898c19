//! What one Job and its pod say about one node, and why it does not run or has failed.

use k8s_openapi::api::{
    batch::v1::{Job, JobCondition},
    core::v1::{ContainerState, Event, Pod, PodCondition},
};

use super::{
    super::{
        labels,
        manifest::{CONTAINER, SETUP_FAILED},
    },
    rank,
};
use crate::api::{NodeStatus, TaskState};

/// What one Job and its newest pod say about a node.
pub fn node(job: &Job, pod: Option<&Pod>, events: &[Event]) -> NodeStatus {
    let running = pod.and_then(phase).is_some_and(|phase| phase != "Pending");
    let mut stopped_after = None;
    let (status, reason) = match condition(job) {
        Some(end) if end.type_ == "Complete" => (TaskState::Completed, None),
        Some(end) => {
            stopped_after = self::stopped_after(job, pod);
            let reason = stopped_after
                .map(|first| format!("stopped: node-{first} failed first"))
                .or_else(|| failure(end, pod));
            (TaskState::Failed, reason)
        }
        // A pod that has ended counts as running until its Job has noticed, so that no node ever goes back a step.
        None if running => (TaskState::Running, None),
        None => (TaskState::Pending, pending(job, pod, events)),
    };
    NodeStatus {
        rank: rank(job),
        job_name: job.metadata.name.clone().unwrap_or_default(),
        status,
        pod_name: pod.and_then(|pod| pod.metadata.name.clone()),
        exit_code: pod
            .and_then(container_state)
            .and_then(|state| Some(state.terminated.as_ref()?.exit_code)),
        reason,
        stopped_after,
    }
}

/// The rank of the node after whose failure this one was stopped. What has started says so itself, else its Job does.
pub fn stopped_after(job: &Job, pod: Option<&Pod>) -> Option<u32> {
    let metas = [Some(&job.metadata), pod.map(|pod| &pod.metadata)];
    let noted = |meta| labels::annotation(meta, labels::STOPPED_AFTER);
    metas.into_iter().flatten().find_map(noted)?.parse().ok()
}

/// The condition with which a Job has ended, if it has.
pub fn condition(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| {
        matches!(&*condition.type_, "Complete" | "Failed") && condition.status == "True"
    })
}

/// The state of the task's container.
pub fn container_state(pod: &Pod) -> Option<&ContainerState> {
    let containers = pod.status.as_ref()?.container_statuses.as_deref()?;
    // Kubernetes sorts them by name.
    let own = containers
        .iter()
        .find(|container| container.name == CONTAINER);
    own.or(containers.first())?.state.as_ref()
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Why a node failed, from the nearest witness: the container, then the pod, then the Job.
fn failure(end: &JobCondition, pod: Option<&Pod>) -> Option<String> {
    let of_pod = pod
        .and_then(|pod| pod.status.as_ref())
        .and_then(|status| sentence(&status.reason, &status.message));
    let of_container = pod
        .and_then(container_state)
        .and_then(|state| state.terminated.as_ref())
        .map(|terminated| {
            let code = terminated.exit_code;
            if terminated.message.as_deref() == Some(SETUP_FAILED) {
                return format!("setup exited with {code}");
            }
            match terminated.reason.as_deref() {
                None | Some("Error" | "Completed") => format!("exit code {code}"),
                _ => match sentence(&terminated.reason, &terminated.message) {
                    Some(why) => format!("exit code {code} ({why})"),
                    None => format!("exit code {code}"),
                },
            }
        });
    of_pod
        .or(of_container)
        .or_else(|| sentence(&end.reason, &end.message))
}

/// Why a node does not run yet: the first step of its way to a running process that has not been taken.
fn pending(job: &Job, pod: Option<&Pod>, events: &[Event]) -> Option<String> {
    let job_conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let suspended = job_conditions
        .iter()
        .find(|condition| condition.type_ == "Suspended" && condition.status == "True");
    if let Some(suspended) = suspended {
        return sentence(&suspended.reason, &suspended.message);
    }
    let Some(pod) = pod else {
        return not_created(job, events);
    };
    let is_unscheduled = |condition: &&PodCondition| {
        condition.type_ == "PodScheduled" && condition.status == "False"
    };
    let pod_conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    if let Some(unscheduled) = pod_conditions.iter().find(is_unscheduled) {
        return sentence(&unscheduled.reason, &unscheduled.message);
    }
    let waiting = container_state(pod)?.waiting.as_ref()?;
    sentence(&waiting.reason, &waiting.message)
}

/// Why a Job has no pod: only its newest event knows.
fn not_created(job: &Job, events: &[Event]) -> Option<String> {
    let is_about = |event: &&Event| {
        event.involved_object.uid == job.metadata.uid
            && event.reason.as_deref() == Some("FailedCreate")
    };
    let newest = events
        .iter()
        .filter(is_about)
        .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))?;
    let message = newest.message.as_deref()?;
    // `Error creating: pods "train-ab12cd34-x7x2v" is forbidden: exceeded quota: ...`: the pod does not exist, its name helps
    // nobody.
    let why = message
        .split_once(" is forbidden: ")
        .map_or(message, |(_, why)| why);
    Some(why.to_owned())
}

fn sentence(reason: &Option<String>, message: &Option<String>) -> Option<String> {
    let given = |text: &Option<String>| {
        text.as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    // Runtimes say it in many words, but all with these (runc, crun).
    let lacks_bash = |message: &str| {
        message.contains("\"/bin/bash\"") && message.contains("no such file or directory")
    };
    if message.as_deref().is_some_and(lacks_bash) {
        let why = "the image has no /bin/bash, with which the commands of a task are run";
        return Some(why.to_owned());
    }
    match (given(reason), given(message)) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => reason.or(message),
    }
}
