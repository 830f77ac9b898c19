//! The attempts of a task: the Jobs of the last one are those of the task, and the Jobs of earlier ones stay for their logs. Pure.

use std::{collections::HashSet, sync::Arc};

use super::{Ends, JobRow, Observed, Owner, PodRow};
use crate::{
    api::TaskState,
    executor::{identity::Uid, objects::Restarts},
};

impl Observed {
    /// Puts the Jobs of earlier attempts back to the others, before a Job of this attempt is added. If it is a new one, the known ends
    /// of nodes are not those of its nodes.
    pub fn join_attempts(&mut self, attempt: u32) {
        if !self.jobs.is_empty() && self.jobs.iter().all(|job| job.attempt < attempt) {
            self.seen_ends = Ends::default();
            self.awaited_ends.clear();
        }
        if !self.earlier.is_empty() {
            self.jobs.append(&mut self.earlier);
            self.jobs.sort_by_key(|job| job.rank);
        }
    }

    /// Separates the Jobs of earlier attempts from those of the last one, for each owner.
    pub fn split_attempts(&mut self) {
        if self.jobs.iter().all(|job| job.attempt == 1) {
            return;
        }
        let last_of = |owner: &Owner| {
            let own = self.jobs.iter().filter(|job| job.owner == *owner);
            own.map(|job| job.attempt).max()
        };
        let lasts: Vec<_> = self.jobs.iter().map(|job| last_of(&job.owner)).collect();
        let mut lasts = lasts.into_iter();
        let is_earlier = |job: &mut Arc<JobRow>| lasts.next().flatten() != Some(job.attempt);
        self.earlier = self.jobs.extract_if(.., is_earlier).collect();
        self.earlier.sort_by_key(|job| (job.attempt, job.rank));
    }

    /// The part about one attempt, as if the task had no other.
    pub fn of_attempt(&self, attempt: u32) -> Self {
        let mut part = self.clone();
        part.join_attempts(0);
        let others = part.jobs.extract_if(.., |job| job.attempt != attempt);
        let others: HashSet<Uid> = others.map(|job| job.uid).collect();
        let is_of_other = |pod: &PodRow| pod.job.is_some_and(|job| others.contains(&job));
        part.pods.retain(|pod| !is_of_other(pod));
        part.is_alone = true;
        part
    }

    /// All Jobs, those of earlier attempts first.
    pub fn all_jobs(&self) -> impl Iterator<Item = &Arc<JobRow>> {
        self.earlier.iter().chain(&self.jobs)
    }

    /// Removes the Job of an earlier attempt, if there is one of this uid.
    pub fn remove_earlier_job(&mut self, uid: Uid) -> Option<Arc<JobRow>> {
        let at = self.earlier.iter().position(|job| job.uid == uid)?;
        self.lost_pods.remove(&uid);
        Some(self.earlier.remove(at))
    }

    /// Whether it has to be noted that the last attempt of this task with Jobs of one owner was made: the Job to note it on.
    pub fn unnoted_attempt(&self) -> Option<&JobRow> {
        let (owner, last) = (self.earlier.first()?, self.jobs.first()?);
        let is_noted = owner.attempts.is_some_and(|noted| noted >= last.attempt);
        (!is_noted && !last.is_begun() && !self.is_stopping()).then_some(owner)
    }

    /// The attempt that a pod is of, unless that is the first: `attempt 2 of 4: exit code 3`.
    pub fn attempt_of(&self, pod: Uid) -> Option<(u32, String)> {
        let pod = self.pods.iter().find(|row| row.uid == pod)?;
        let job = self.all_jobs().find(|job| pod.job == Some(job.uid))?;
        let attempt = describe_attempt(job, TaskState::Running, None)?;
        Some((job.attempt, attempt))
    }
}

/// The reason of a task that has had several attempts. `first` is the first Job of the last one.
pub fn describe_attempt(
    first: &JobRow,
    status: TaskState,
    reason: Option<String>,
) -> Option<String> {
    let Some(restarts) = first.restarts.as_deref().filter(|_| first.attempt > 1) else {
        return reason;
    };
    let attempt = number_of(first, first.attempt, restarts);
    let cause = &restarts.cause;
    match (status, reason) {
        (TaskState::Failed, Some(reason)) => Some(format!("{reason} ({attempt})")),
        (TaskState::Pending | TaskState::Running, Some(reason)) => {
            Some(format!("{reason} ({attempt}: {cause})"))
        }
        (TaskState::Pending | TaskState::Running, None) => Some(format!("{attempt}: {cause}")),
        (_, reason) => reason,
    }
}

/// `attempt 2 of 4`, where the number of attempts after errors is limited, and `attempt 2` where there are none.
pub fn number_of(first: &JobRow, attempt: u32, restarts: &Restarts) -> String {
    let recovery = first.recovery.as_deref();
    match recovery.map_or(0, |it| it.max_restarts_on_errors) {
        0 => format!("attempt {attempt}"),
        most => {
            let left = most.saturating_sub(restarts.after_errors);
            format!("attempt {attempt} of {}", attempt.saturating_add(left))
        }
    }
}
