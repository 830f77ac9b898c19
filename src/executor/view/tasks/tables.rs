//! What happens to all tasks when a row of one kind comes or goes. Pure.

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

/// Whether the news of a Job means that others of its task are to be stopped: it has failed, or it is new and another has.
fn endangers(task: &Observed, job: &JobRow, before: Option<&JobRow>) -> bool {
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
        // Those that are stopped fail too.
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
        if endangers(task, &row, before.as_deref()) {
            self.endangered.push(id);
        }
        let owner_before = before.as_ref().map(|before| &before.owner);
        if owner_before != Some(&row.owner) {
            self.own(id, &row.owner);
            if let Some(before) = &before {
                self.touch(id, before);
                self.disown(id, &before.owner);
            }
        }
        if before.is_none() {
            self.show_failure(id, uid);
        }
        self.touch(id, &row);
    }

    fn remove(&mut self, uid: Uid) {
        let Some(((id, rank), _)) = self.jobs.places.remove(&uid) else {
            return;
        };
        self.failures_of.remove(&uid);
        self.show_failure(id, uid);
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let jobs = &mut Arc::make_mut(task).jobs;
        if let Some(at) = find(jobs, rank, uid) {
            let row = jobs.remove(at);
            self.touch(id, &row);
            self.disown(id, &row.owner);
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
            self.touch_job(before.job);
        }
        if let Some(job) = job {
            self.forget_failure(job);
        }
        self.touch_job(job);
        // Also when its Job is gone: somebody may read the last of its log.
        self.touched.push((id, rank));
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
            self.touch_job(row.job);
            self.touched.push((id, rank));
        }
        self.forget_if_empty(id);
    }

    fn within(&self, scope: &Scope) -> Vec<Uid> {
        // By which user's list a pod would have been named is not kept.
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
            self.show_failure(id, job);
            self.touch_job(Some(job));
        }
    }

    fn remove(&mut self, uid: Uid) {
        let Some((job, _)) = self.failures.places.remove(&uid) else {
            return;
        };
        // Events are kept for an hour, as a rule; why a Job has no pod is true for longer.
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
