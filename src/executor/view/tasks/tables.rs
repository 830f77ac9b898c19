//! The effects of a row of each kind on the tasks. Pure.

use std::sync::Arc;

use super::{
    super::{
        by_rank::{find, put},
        table::{Scope, Table},
        versions::Versions,
    },
    Tasks,
};
use crate::executor::{
    identity::{Uid, Version},
    observed::{EventRow, JobRow, JobState, Observed, PodRow},
};

/// Whether a change of a Job makes its task a failing one: it has failed while others run, or it is new and another has failed.
fn begins_to_fail(task: &Observed, job: &JobRow, before: Option<&JobRow>) -> bool {
    let has_failed = |job: &JobRow| matches!(job.state, JobState::Failed { .. });
    let is_first = match before {
        Some(before) => has_failed(job) && !has_failed(before),
        None => true,
    };
    if !job.fails_fast || !is_first {
        return false;
    }
    let is_other = |other: &&Arc<JobRow>| other.fails_fast && other.uid != job.uid;
    let mut others = task.jobs.iter().filter(is_other);
    if has_failed(job) {
        // Stopped nodes fail too, so only the first failure counts.
        !others.clone().any(|other| has_failed(other))
            && others.any(|other| !other.state.has_ended())
    } else {
        !job.state.has_ended() && others.any(|other| has_failed(other))
    }
}

impl Table<JobRow> for Tasks {
    fn versions(&mut self) -> &mut Versions {
        &mut self.jobs.versions
    }

    fn version(&self, uid: Uid) -> Option<Version> {
        self.jobs.version(uid)
    }

    fn put(&mut self, row: JobRow) {
        let (uid, rank) = (row.uid, row.rank);
        let place = row.task.map(|id| (id, rank));
        if self.jobs.place(uid) != place {
            Table::<JobRow>::remove(self, uid);
        }
        let Some((id, _)) = place else { return };
        self.jobs.places.insert(uid, ((id, rank), row.version));
        let task = Arc::make_mut(self.tasks.entry(id).or_default());
        let before = put(&mut task.jobs, row);
        let at = find(&task.jobs, rank, uid).expect("it was put there");
        let row = task.jobs[at].clone();
        if begins_to_fail(task, &row, before.as_deref()) {
            self.failing.push(id);
        }
        let owner_before = before.as_ref().map(|before| &before.owner);
        if owner_before != Some(&row.owner) {
            self.add_job_of(id, &row.owner);
            if let Some(before) = &before {
                self.note_change(id, before);
                self.remove_job_of(id, &before.owner);
            }
        }
        if before.is_none() {
            self.update_failure(id, uid);
        }
        self.note_change(id, &row);
    }

    fn remove(&mut self, uid: Uid) {
        let Some(((id, rank), _)) = self.jobs.places.remove(&uid) else {
            return;
        };
        self.failures_of.remove(&uid);
        self.update_failure(id, uid);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let jobs = &mut Arc::make_mut(task).jobs;
        if let Some(at) = find(jobs, rank, uid) {
            let row = jobs.remove(at);
            self.note_change(id, &row);
            self.remove_job_of(id, &row.owner);
        }
        self.forget_if_empty(id);
    }

    fn within(&self, scope: &Scope) -> Vec<Uid> {
        let tasks = Tasks::within(self, scope).into_iter();
        let jobs = tasks.flat_map(|task| &task.jobs);
        let jobs = jobs.filter(|job| scope.holds(&job.owner));
        jobs.map(|job| job.uid).collect()
    }
}

impl Table<PodRow> for Tasks {
    fn versions(&mut self) -> &mut Versions {
        &mut self.pods.versions
    }

    fn version(&self, uid: Uid) -> Option<Version> {
        self.pods.version(uid)
    }

    fn put(&mut self, row: PodRow) {
        let (uid, job) = (row.uid, row.job);
        let place = row.task.map(|id| (id, row.rank));
        if self.pods.place(uid) != place {
            Table::<PodRow>::remove(self, uid);
        }
        let Some((id, rank)) = place else { return };
        self.pods.places.insert(uid, ((id, rank), row.version));
        let task = self.tasks.entry(id).or_default();
        let before = put(&mut Arc::make_mut(task).pods, row);
        if let Some(before) = before.filter(|before| before.job != job) {
            self.note_job_change(before.job);
        }
        if let Some(job) = job {
            self.forget_failure(job);
        }
        self.note_job_change(job);
        // The Job may be gone already, but a viewer may still read the end of the log.
        self.changed_nodes.push((id, rank));
    }

    fn remove(&mut self, uid: Uid) {
        let Some(((id, rank), _)) = self.pods.places.remove(&uid) else {
            return;
        };
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let pods = &mut Arc::make_mut(task).pods;
        if let Some(at) = find(pods, rank, uid) {
            let row = pods.remove(at);
            self.note_job_change(row.job);
            self.changed_nodes.push((id, rank));
        }
        self.forget_if_empty(id);
    }

    fn within(&self, scope: &Scope) -> Vec<Uid> {
        // A pod does not show in which user's list it would be.
        if matches!(scope, Scope::User(_)) {
            return Vec::new();
        }
        let tasks = Tasks::within(self, scope).into_iter();
        let pods = tasks.flat_map(|task| &task.pods);
        pods.map(|pod| pod.uid).collect()
    }
}

impl Table<EventRow> for Tasks {
    fn versions(&mut self) -> &mut Versions {
        &mut self.failures.versions
    }

    fn version(&self, uid: Uid) -> Option<Version> {
        self.failures.version(uid)
    }

    fn put(&mut self, row: EventRow) {
        let job = row.object;
        self.failures.places.insert(row.uid, (job, row.version));
        if let Some((id, _)) = self.jobs.place(job)
            && self.has_pod(id, job)
        {
            return;
        }
        let known = self.failures_of.get(&job);
        if known.is_none_or(|known| known.last <= row.last) {
            self.failures_of.insert(job, row);
        }
        if let Some((id, _)) = self.jobs.place(job) {
            self.update_failure(id, job);
            self.note_job_change(Some(job));
        }
    }

    fn remove(&mut self, uid: Uid) {
        let Some((job, _)) = self.failures.places.remove(&uid) else {
            return;
        };
        // Kubernetes usually deletes events after an hour. The reason why a Job has no pod is valid for longer.
        if self.jobs.place(job).is_none()
            && self.failures_of.get(&job).is_some_and(|it| it.uid == uid)
        {
            self.failures_of.remove(&job);
        }
    }

    fn within(&self, _: &Scope) -> Vec<Uid> {
        self.failures.places.keys().copied().collect()
    }
}
