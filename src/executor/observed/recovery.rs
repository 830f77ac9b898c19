//! Whether another attempt of a task follows, and why. Pure.
//!
//! The last attempt decides, as Kubernetes shows it: what its nodes failed of, and the annotations of its Jobs. A pod counts as lost to
//! the cluster only where Kubernetes says so.

use std::sync::Arc;

use super::{
    JobRow, JobState, Loss, Observed, PodRow, attempts::number_of, could_not_start, first_failure,
    names_its_node, node_status,
};
use crate::api::{NodeStatus, TaskState, User};

/// Why another attempt of a task follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// For a person: `node lost`, `exit code 3`.
    pub text: String,
    /// Whether it is a failure of the task itself, of which the file allows a number.
    pub is_error: bool,
}

impl Cause {
    /// The reason of a task whose next attempt has not begun, from the first Job of the last one.
    pub fn describe(&self, first: &JobRow) -> String {
        let mut restarts = first.restarts.as_deref().cloned().unwrap_or_default();
        restarts.after_errors += u32::from(self.is_error);
        let attempt = number_of(first, first.attempt + 1, &restarts);
        format!("{attempt} follows: {}", self.text)
    }
}

impl Observed {
    /// Why another attempt of this task with Jobs of one owner follows; none if none does. The nodes that did not fail may still run.
    pub fn cause_of_restart(&self) -> Option<Cause> {
        let first = self.jobs.first()?;
        let recovery = first.recovery.as_deref()?;
        let was_deleted = |owner: &Arc<JobRow>| owner.attempts.is_some_and(|it| it > first.attempt);
        if self.is_alone || self.is_stopping() || self.all_jobs().any(was_deleted) {
            return None;
        }
        if self.lacks_ends() {
            // What follows depends on them, so the task is not said to have failed yet.
            let text = "how its nodes have ended is not known yet".to_owned();
            let is_error = false;
            return Some(Cause { text, is_error });
        }
        let pods = self.newest_pods();
        let pod_of = |job: &JobRow| {
            let lost = || self.lost_pods.get(&job.uid).map(|pod| &**pod);
            pods.get(&job.uid).copied().or_else(lost)
        };
        let of_jobs = self.jobs.iter().map(|job| {
            let pod = pods.get(&job.uid).copied();
            (node_status(job, pod, self), loss(job, pod_of(job)))
        });
        if !self.nodes_without_job().is_empty() {
            // Its Job would be missing in the next attempt, too.
            return None;
        }
        let failed: Vec<_> = of_jobs
            .filter(|(node, _)| node.status == TaskState::Failed)
            .collect();
        if let Some(loss) = failed.iter().find_map(|(_, loss)| *loss) {
            // The others may have failed because of it.
            return Some(Cause {
                text: loss.as_str().to_owned(),
                is_error: false,
            });
        }
        let failed: Vec<NodeStatus> = failed.into_iter().map(|(node, _)| node).collect();
        let node = first_failure(&failed)?;
        let is_for_ever = |node: &NodeStatus| {
            let reason = node.reason.as_deref().unwrap_or_default();
            names_its_node(reason) || could_not_start(reason)
        };
        // Those that were stopped did not fail by themselves.
        let own = || failed.iter().filter(|node| node.stopped_after.is_none());
        if own().any(is_for_ever) {
            return None;
        }
        let reason = node.reason.as_deref().unwrap_or("failed");
        let cause = |is_error| Cause {
            text: match first.num_nodes {
                Some(number) if number > 1 => format!("node-{}: {reason}", node.rank),
                _ => reason.to_owned(),
            },
            is_error,
        };
        if own().any(|node| recovery.recovers_from(node.exit_code)) {
            return Some(cause(false));
        }
        let before = first.restarts.as_ref().map_or(0, |it| it.after_errors);
        (before < recovery.max_restarts_on_errors).then(|| cause(true))
    }

    /// The first Job of an attempt after the first one whose Jobs are being created.
    pub fn begun_attempt(&self) -> Option<&JobRow> {
        let first = self.jobs.first()?;
        let is_begun = first.is_begun() && first.attempt > 1 && !self.is_stopping();
        is_begun.then_some(first)
    }

    /// Why the next attempt of this task with Jobs of one owner may begin now, or after a pause.
    pub fn next_attempt(&self) -> Option<Cause> {
        let has_ended = self.jobs.iter().all(|job| job.state.has_ended());
        let is_known = has_ended && !self.lacks_ends();
        is_known.then(|| self.cause_of_restart()).flatten()
    }

    /// Whether a Job has failed, and its pod has not yet, as far as the rows show.
    pub(super) fn lacks_ends(&self) -> bool {
        let pods = self.newest_pods();
        let is_noted =
            |job: &JobRow| (job.ends.as_ref()).is_some_and(|it| it.get(job.rank).is_some());
        let mut failed = (self.jobs.iter()).filter(|job| job.state.has_failed() && !is_noted(job));
        failed.any(|job| {
            let pod = pods.get(&job.uid);
            pod.is_some_and(|pod| pod.is_behind_its_job())
        })
    }

    /// Whether another Job may follow these Jobs of a node of `user`, those of the last attempt and of earlier ones.
    pub(super) fn may_follow(
        &self,
        last: &[Arc<JobRow>],
        earlier: &[Arc<JobRow>],
        user: &User,
    ) -> bool {
        if self.is_alone {
            return false;
        }
        let is_recovered = |job: &Arc<JobRow>| job.recovery.is_some() && job.state.has_ended();
        if last.is_empty() {
            // The Jobs of its attempt are being created.
            return !earlier.is_empty() && !self.jobs.is_empty() && !self.is_stopping();
        }
        if !last.iter().any(is_recovered) {
            return false;
        }
        // Another node may still fail.
        let task = self.of(|owner| owner.is(user));
        let is_over = task.jobs.iter().all(|job| job.state.has_ended());
        !task.is_stopping() && (!is_over || task.cause_of_restart().is_some())
    }
}

/// How the cluster lost the pod of a failed node: as the pod says, or the Job if the pod is gone.
fn loss(job: &JobRow, pod: Option<&PodRow>) -> Option<Loss> {
    let JobState::Failed { reason, .. } = &job.state else {
        return None;
    };
    let reason = reason.as_deref().unwrap_or_default();
    let of_job = || (reason.contains(" has condition DisruptionTarget ")).then_some(Loss::Removed);
    pod.and_then(|pod| pod.loss).or_else(of_job)
}
