//! The status of one node, from its Job and its pod. Pure.

use super::{Container, JobRow, JobState, NodeEnd, Observed, PodRow, Start, Subject};
use crate::api::{NodeStatus, TaskState, TimeLimit, signal_name};

/// The reason of a running node whose `setup` has not ended.
pub const SETTING_UP: &str = "setting up";

/// The status of a node, from its Job and its newest pod.
pub fn node_status(job: &JobRow, pod: Option<&PodRow>, observed: &Observed) -> NodeStatus {
    let pod_name = pod.map(|pod| pod.name.to_string());
    // The last pod still says how the node ended, although Kubernetes has removed it.
    let pod = pod.or_else(|| observed.lost_pods.get(&job.uid).map(|pod| &**pod));
    // Kubernetes ends the pod of a suspended Job, and makes another one later.
    let is_suspended = matches!(job.state, JobState::Suspended(_));
    let pod = pod.filter(|pod| !is_suspended || !pod.is_over());
    let noted = job.ends.as_ref().and_then(|ends| ends.get(job.rank));
    let end = match &job.state {
        _ if noted.is_some() => noted.cloned(),
        JobState::Complete => Some(completed(pod)),
        JobState::Failed { reason, .. } if is_ahead(reason.as_deref(), pod) => None,
        JobState::Failed { reason, .. } => Some(failed(job, pod, reason.as_deref())),
        JobState::Active | JobState::Suspended(_) => None,
    };
    let (status, reason) = match end.clone() {
        Some(end) => (end.status, end.reason),
        // A pod that has ended counts as running until its Job has ended too. Otherwise a node could go back from running to
        // pending.
        None if !is_suspended && (job.has_failed_pod || pod.is_some_and(PodRow::has_run)) => {
            let why = pod.and_then(|pod| out_of_contact(pod).or_else(|| setting_up(pod)));
            (TaskState::Running, why)
        }
        None => (TaskState::Pending, pending(job, pod, observed)),
    };
    let end = end.as_ref();
    let exit_code = end
        .and_then(|end| end.exit_code)
        .or_else(|| pod.and_then(PodRow::exit_code));
    NodeStatus {
        rank: job.rank,
        status,
        job: job.name.to_string(),
        pod: pod_name,
        host: pod.and_then(PodRow::host),
        exit_code,
        signal: exit_code.and_then(signal),
        started_at: pod.and_then(PodRow::started),
        finished_at: pod.and_then(PodRow::finished),
        restarts: pod.map_or(0, PodRow::num_restarts),
        reason,
        stopped_after: end.and_then(|end| end.stopped_after),
    }
}

/// The status of a node whose Job is gone, from its pod.
pub fn pod_status(pod: &PodRow) -> NodeStatus {
    let (status, reason) = match pod.phase.as_deref() {
        // Kubernetes deletes the pods of a deleted Job.
        _ if pod.is_deleted || pod.job.is_some() => (TaskState::Stopping, out_of_contact(pod)),
        Some("Succeeded") => (TaskState::Completed, None),
        Some("Failed") => {
            let limit = pod.reached_limit.filter(|_| pod.stopped_after.is_none());
            let reached = limit.map(TimeLimit::reached);
            (TaskState::Failed, reached.or_else(|| failed_pod(pod)))
        }
        _ if pod.has_run() => (TaskState::Running, out_of_contact(pod)),
        _ => (
            TaskState::Pending,
            pod.pending.as_deref().map(str::to_owned),
        ),
    };
    NodeStatus {
        rank: pod.rank,
        status,
        job: pod.job_name.to_string(),
        pod: Some(pod.name.to_string()),
        host: pod.host(),
        exit_code: pod.exit_code(),
        signal: pod.exit_code().and_then(signal),
        started_at: pod.started(),
        finished_at: pod.finished(),
        restarts: pod.num_restarts(),
        reason,
        stopped_after: pod.stopped_after,
    }
}

pub fn signal(exit_code: i32) -> Option<String> {
    signal_name(exit_code).map(str::to_owned)
}

/// The rank of the node whose failure stopped this one. The annotation stands on the pod if it had started, else on the Job.
pub fn stopped_after(job: &JobRow, pod: Option<&PodRow>) -> Option<u32> {
    job.stopped_after
        .or_else(|| pod.and_then(|pod| pod.stopped_after))
}

fn completed(pod: Option<&PodRow>) -> NodeEnd {
    NodeEnd {
        status: TaskState::Completed,
        exit_code: pod.and_then(PodRow::exit_code),
        reason: None,
        stopped_after: None,
    }
}

/// Whether a Job has failed because of its pod, and the pod says why, but not yet.
fn is_ahead(reason: Option<&str>, pod: Option<&PodRow>) -> bool {
    let is_about_pod = reason.is_some_and(|reason| reason.starts_with("BackoffLimitExceeded"));
    let says_nothing = |pod: &PodRow| pod.exit_code().is_none() && pod.failure.is_none();
    is_about_pod && pod.is_some_and(|pod| pod.is_behind_its_job() && says_nothing(pod))
}

/// The end of a node whose Job has failed.
fn failed(job: &JobRow, pod: Option<&PodRow>, reason: Option<&str>) -> NodeEnd {
    let stopped_after = stopped_after(job, pod);
    let exit_code = pod.and_then(PodRow::exit_code);
    let exit_code = exit_code.or_else(|| exit_code_of_job(reason?));
    let by_itself = stopped_after.is_none() && pod.is_some_and(|pod| pod.ended_by_itself);
    if exit_code == Some(0) && by_itself {
        // Another container of the pod failed. The task's container decides.
        return completed(pod);
    }
    let deadline = || reason.filter(|reason| reason.starts_with("DeadlineExceeded"));
    let reason = match stopped_after {
        Some(first) => Some(format!("stopped: node-{first} failed first")),
        // The pod says only that it was deleted.
        None if deadline().is_some() => deadline().map(str::to_owned),
        None => pod
            .and_then(|pod| limit_reached(job, pod).or_else(|| failed_pod(pod)))
            .or_else(|| reason.map(|reason| job_failure(reason, pod))),
    };
    NodeEnd {
        status: TaskState::Failed,
        exit_code,
        reason,
        stopped_after,
    }
}

/// The reason of a node that has reached the time limit of its task. Another deadline of its pod is not the task's: somebody has
/// lowered it.
fn limit_reached(job: &JobRow, pod: &PodRow) -> Option<String> {
    let limit = job
        .time_limit
        .filter(|_| job.time_limit == pod.reached_limit);
    limit.map(TimeLimit::reached)
}

/// The reason why a pod failed. A pod that is deleted says so, with the cause if the cluster named one.
fn failed_pod(pod: &PodRow) -> Option<String> {
    let failure = pod.failure.as_deref();
    let deletion = match (&pod.disruption, pod.is_deleted) {
        (Some(disruption), _) => Some(disruption.to_string()),
        (None, true) => Some("its pod was deleted".to_owned()),
        (None, false) => None,
    };
    match (deletion, failure) {
        (Some(deletion), Some(failure)) => Some(format!("{deletion} ({failure})")),
        (deletion, failure) => deletion.or_else(|| failure.map(str::to_owned)),
    }
}

/// The reason of a failed Job whose pod says nothing.
fn job_failure(reason: &str, pod: Option<&PodRow>) -> String {
    // With a `podFailurePolicy` the condition of the Job says what happened to a pod that is gone (job_controller, 1.26).
    if let Some(code) = exit_code_of_job(reason) {
        return format!("exit code {code}");
    }
    if reason.contains(" has condition DisruptionTarget ") {
        return "the cluster removed its pod: an eviction, a preemption, or the loss of its machine"
            .to_owned();
    }
    if pod.is_none() && reason.starts_with("BackoffLimitExceeded") {
        return "its pod was deleted".to_owned();
    }
    reason.to_owned()
}

/// The exit code that a `podFailurePolicy` wrote into the condition of a Job.
fn exit_code_of_job(reason: &str) -> Option<i32> {
    let (_, rest) = reason.split_once(" failed with exit code ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    rest[..digits.unwrap_or(rest.len())].parse().ok()
}

/// The reason why the state of a running pod is uncertain.
fn out_of_contact(pod: &PodRow) -> Option<String> {
    let machine = pod.machine.as_deref().unwrap_or("its machine");
    pod.is_out_of_contact.then(|| {
        format!("`{machine}` is not ready: its kubelet is silent, so the node may have ended")
    })
}

fn setting_up(pod: &PodRow) -> Option<String> {
    let is_setting_up =
        pod.start != Start::Own && pod.container == Container::Running && !pod.is_started;
    is_setting_up.then(|| SETTING_UP.to_owned())
}

/// The reason why a node does not run yet.
fn pending(job: &JobRow, pod: Option<&PodRow>, observed: &Observed) -> Option<String> {
    match (&job.state, pod) {
        (JobState::Suspended(why), _) => why.as_deref().map(str::to_owned),
        (_, Some(pod)) => pending_pod(pod, observed),
        (_, None) if job.is_waiting_in_group() => {
            let most = job.group.as_ref().and_then(|group| group.max_running)?;
            Some(format!("queued: at most {most} of its group run at a time"))
        }
        (_, None) => {
            let failure = observed.failures.get(&job.uid)?;
            Some(failure.why.to_string())
        }
    }
}

/// The reason why a pod does not run yet. Where its status says little, an event says more.
fn pending_pod(pod: &PodRow, observed: &Observed) -> Option<String> {
    let why = pod.pending.as_deref();
    let is_vague = |why: &str| why == "ContainerCreating" || why == "PodInitializing";
    if why.is_none_or(is_vague) {
        let event = observed.failures.get(&pod.uid);
        return event.map(|event| &*event.why).or(why).map(str::to_owned);
    }
    let why = why?;
    if !why.contains("PersistentVolumeClaims") {
        return Some(why.to_owned());
    }
    // The scheduler does not say which claim has no volume.
    let claims = observed.failures.values();
    let claims = claims.filter(|event| event.subject == Subject::Claim && pod.has_reason(event));
    let mut claims: Vec<_> = claims
        .map(|event| format!("claim `{}`: {}", event.name, event.why))
        .collect();
    claims.sort();
    let names = || pod.claims.iter().map(|name| format!("claim `{name}`"));
    let more = if claims.is_empty() {
        names().collect()
    } else {
        claims
    };
    Some(format!("{why} ({})", more.join("; ")))
}
