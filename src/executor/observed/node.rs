//! The status of one node, from its Job and its pod. Pure.

use super::{Container, JobRow, JobState, Observed, PodRow};
use crate::api::{NodeStatus, TaskState};

/// The status of a node, from its Job and its newest pod.
pub fn node_status(job: &JobRow, pod: Option<&PodRow>, observed: &Observed) -> NodeStatus {
    let mut stopped_after = None;
    let (status, reason) = match &job.state {
        JobState::Complete => (TaskState::Completed, None),
        JobState::Failed { reason, .. } => {
            stopped_after = self::stopped_after(job, pod);
            let of_pod = pod.and_then(|pod| pod.failure.as_deref());
            let reason = stopped_after
                .map(|first| format!("stopped: node-{first} failed first"))
                .or_else(|| of_pod.or(reason.as_deref()).map(str::to_owned));
            (TaskState::Failed, reason)
        }
        // A pod that has ended counts as running until its Job has ended too. Otherwise a node could go back from running to
        // pending.
        _ if pod.is_some_and(PodRow::has_run) => (TaskState::Running, None),
        _ => (TaskState::Pending, pending(job, pod, observed)),
    };
    NodeStatus {
        rank: job.rank,
        job_name: job.name.to_string(),
        status,
        pod_name: pod.map(|pod| pod.name.to_string()),
        exit_code: pod.and_then(|pod| match pod.container {
            Container::Terminated { exit_code } => Some(exit_code),
            Container::Absent | Container::Running => None,
        }),
        reason,
        stopped_after,
    }
}

/// The rank of the node whose failure stopped this one. The annotation stands on the pod if it had started, else on the Job.
pub fn stopped_after(job: &JobRow, pod: Option<&PodRow>) -> Option<u32> {
    job.stopped_after
        .or_else(|| pod.and_then(|pod| pod.stopped_after))
}

/// The reason why a node does not run yet.
fn pending(job: &JobRow, pod: Option<&PodRow>, observed: &Observed) -> Option<String> {
    let why = match (&job.state, pod) {
        (JobState::Suspended(why), _) => why.as_deref(),
        (_, Some(pod)) => pod.pending.as_deref(),
        (_, None) => observed.failures.get(&job.uid).map(|failure| &*failure.why),
    };
    why.map(str::to_owned)
}
