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
use crate::{
    api::TaskId,
    executor::{
        identity::{Uid, Version},
        observed::{Barrier, EventRow, JobRow, Observed, PodRow, Subject, has_come, may_open},
    },
};

/// Whether a change of a Job makes its task an unsettled one. It does so when the Job has failed while others run, when it is new
/// and another has failed, when it has failed without its pod, when it is the last one to end, when others wait for its `setup`, and
/// while the files of a task that has ended are kept.
fn unsettles(task: &Observed, job: &JobRow, before: Option<&JobRow>) -> bool {
    if task.with_files_to_delete().is_some() {
        return true;
    }
    if job.recovery.is_some() && recovers(task) {
        return true;
    }
    let ends = job.state.has_ended() && before.is_some_and(|before| !before.state.has_ended());
    if (ends || before.is_none()) && opens(task) {
        return true;
    }
    if ends && job.state.has_failed() && task.pods_of(job).any(|pod| pod.exit_code() == Some(0)) {
        return true;
    }
    if ends && has_failed_without_pod(task, Some(job.uid)) {
        return true;
    }
    let is_other = |other: &&Arc<JobRow>| other.owner == job.owner && other.uid != job.uid;
    let mut others = task.jobs.iter().filter(is_other);
    if ends && others.clone().next().is_some() && others.clone().all(|job| job.state.has_ended()) {
        return true;
    }
    let is_first = match before {
        Some(before) => job.state.has_failed() && !before.state.has_failed(),
        None => true,
    };
    if !job.fails_fast || !is_first {
        return false;
    }
    if job.state.has_failed() {
        // Stopped nodes fail too, so only the first failure counts.
        !others.clone().any(|other| other.state.has_failed())
            && others.any(|other| !other.state.has_ended())
    } else {
        !job.state.has_ended() && others.any(|other| other.state.has_failed())
    }
}

/// Whether a Job has failed whose pod was deleted, so that only the view knows why.
fn has_failed_without_pod(task: &Observed, job: Option<Uid>) -> bool {
    let failed = |job: Uid| {
        let mut jobs = task.jobs.iter();
        jobs.any(|row| row.uid == job && row.state.has_failed())
    };
    job.is_some_and(|job| task.lost_pods.contains_key(&job) && failed(job))
}

/// Whether another attempt of a task follows, is being created, or is not noted yet.
fn recovers(task: &Observed) -> bool {
    let recovers = |task: &Observed| {
        task.next_attempt().is_some()
            || task.begun_attempt().is_some()
            || task.unnoted_attempt().is_some()
    };
    task.parts().iter().any(recovers)
}

/// Whether a change of a pod makes its task an unsettled one.
fn pod_unsettles(task: &Observed, pod: &PodRow, before: Option<&PodRow>) -> bool {
    let ends = pod.has_ended() && !before.is_some_and(PodRow::has_ended);
    if ends && is_recovered(task) {
        return true;
    }
    let needs = |pod: &PodRow| pod.has_leftovers || pod.is_hopeless;
    needs(pod) && !before.is_some_and(needs)
        || has_come(pod) && !before.is_some_and(has_come) && opens(task)
}

/// Whether a task is started again after some failures, so that the end of a pod decides on what follows.
fn is_recovered(task: &Observed) -> bool {
    task.jobs.iter().any(|job| job.recovery.is_some())
}

/// Whether pods of a task may pass the barrier before `run` now.
fn opens(task: &Observed) -> bool {
    let opens = |task: &Observed| Barrier::of(task).is_some_and(|barrier| barrier.opens());
    // A look at the pods is enough for most calls.
    may_open(task) && task.parts().iter().any(opens)
}

impl Tasks {
    /// Notes a change of all nodes of a task that is started again after some failures: whether another attempt follows depends on all
    /// of them.
    fn note_change_of_others(&mut self, id: TaskId) {
        let task = self.tasks.get(&id).filter(|task| is_recovered(task));
        let several = task.filter(|task| task.jobs.len() > 1);
        let ranks = several.into_iter().flat_map(|task| &task.jobs);
        self.changed_nodes.extend(ranks.map(|job| (id, job.rank)));
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
        task.join_attempts(row.attempt);
        let before = put(&mut task.jobs, row);
        let at = find(&task.jobs, rank, uid).expect("it was put there");
        let row = task.jobs[at].clone();
        task.split_attempts();
        if unsettles(task, &row, before.as_deref()) {
            self.unsettled.push(id);
        }
        let owner_before = before.as_ref().map(|before| &before.owner);
        if owner_before != Some(&row.owner) {
            self.add_object_of(id, &row.owner);
            if let Some(before) = &before {
                self.note_change(id, rank, &before.owner);
                self.remove_object_of(id, &before.owner);
            }
        }
        if before.is_none() {
            self.update_failure(id, uid);
        }
        self.note_change(id, rank, &row.owner);
        self.note_change_of_others(id);
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
        let task = Arc::make_mut(task);
        let removed = match find(&task.jobs, rank, uid) {
            Some(at) => Some(task.remove_job(at)),
            None => task.remove_earlier_job(uid),
        };
        if let Some(row) = removed {
            if !task.jobs.is_empty() && !task.is_stopping() {
                self.unsettled.push(id);
            }
            self.note_change(id, rank, &row.owner);
            self.remove_object_of(id, &row.owner);
        }
        self.forget_if_empty(id);
    }

    fn remove_before_event(&mut self, uid: Uid) {
        if let Some((id, job)) = self.job(uid)
            && let Some(task) = self.tasks.get_mut(&id)
        {
            Arc::make_mut(task).awaited_ends.insert(uid, job.rank);
        }
        Table::<JobRow>::remove(self, uid);
    }

    fn remove_row(&mut self, row: JobRow) {
        let uid = row.uid;
        let task = row.task.and_then(|id| self.tasks.get_mut(&id));
        let task = task.filter(|task| task.awaited_ends.contains_key(&uid));
        let task = task.map(|task| {
            let task = Arc::make_mut(task);
            task.awaited_ends.remove(&uid);
            task
        });
        if self.jobs.place(uid).is_some() {
            // Its last state tells how its node ended.
            self.put(row);
            Table::<JobRow>::remove(self, uid);
        } else if let (Some(id), Some(task)) = (row.task, task) {
            task.note_end(&row);
            self.unsettled.push(id);
            self.note_change(id, row.rank, &row.owner);
        }
    }

    fn forget_awaited_events(&mut self) {
        for (id, task) in &mut self.tasks {
            if !task.awaited_ends.is_empty() {
                Arc::make_mut(task).awaited_ends.clear();
                self.unsettled.push(*id);
                self.changes += 1;
            }
        }
    }

    fn within(&self, scope: &Scope) -> Vec<Uid> {
        let tasks = Tasks::within(self, scope).into_iter();
        let jobs = tasks.flat_map(Observed::all_jobs);
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
        let owner = row.owner.clone();
        let has_run = row.has_run();
        let task = Arc::make_mut(self.tasks.entry(id).or_default());
        let before = put(&mut task.pods, row);
        let at = find(&task.pods, rank, uid).expect("it was put there");
        let pod = task.pods[at].clone();
        let has_ended = pod.has_ended() && !before.as_ref().is_some_and(|pod| pod.has_ended());
        if pod_unsettles(task, &pod, before.as_deref()) {
            self.unsettled.push(id);
        }
        if has_run {
            self.forget_failure_of_pod(id, uid);
        } else {
            self.add_reasons(id, &pod);
        }
        let owner_before = before.as_ref().map(|before| &before.owner);
        if owner_before != Some(&owner) {
            self.add_object_of(id, &owner);
            if let Some(before) = owner_before {
                self.note_change(id, rank, before);
                self.remove_object_of(id, before);
            }
        }
        if let Some(before) = before.filter(|before| before.job != job) {
            self.note_job_change(before.job);
        }
        if let Some(job) = job {
            self.forget_failure(job);
        }
        if !self.note_job_change(job) {
            // A viewer may still read the end of the log.
            self.note_change(id, rank, &owner);
        }
        if has_ended {
            self.note_change_of_others(id);
        }
    }

    fn remove(&mut self, uid: Uid) {
        let Some(((id, rank), _)) = self.pods.places.remove(&uid) else {
            return;
        };
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let task = Arc::make_mut(task);
        if let Some(at) = find(&task.pods, rank, uid) {
            let row = task.remove_pod(at);
            if is_recovered(task) || has_failed_without_pod(task, row.job) {
                self.unsettled.push(id);
            }
            self.forget_failure_of_pod(id, uid);
            if !self.note_job_change(row.job) {
                self.note_change(id, rank, &row.owner);
            }
            self.remove_object_of(id, &row.owner);
        }
        self.forget_if_empty(id);
    }

    fn within(&self, scope: &Scope) -> Vec<Uid> {
        let tasks = Tasks::within(self, scope).into_iter();
        let pods = tasks.flat_map(|task| &task.pods);
        let pods = pods.filter(|pod| scope.holds(&pod.owner));
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
        if !row.is_reason {
            return;
        }
        let object = row.object;
        self.failures.places.insert(row.uid, (object, row.version));
        if row.subject == Subject::Job
            && let Some((id, _)) = self.jobs.place(object)
            && self.has_pod(id, object)
        {
            return;
        }
        let nodes = self.tasks_of_event(&row);
        if row.subject == Subject::Claim {
            self.pending_claims.insert(row.name.clone(), object);
        }
        let known = self.failures_of.get(&object);
        if known.is_none_or(|known| known.last <= row.last) {
            self.failures_of.insert(object, row);
        }
        if let Some((id, _)) = self.jobs.place(object) {
            self.update_failure(id, object);
            self.note_job_change(Some(object));
        }
        for (id, rank) in nodes {
            self.update_failure(id, object);
            let pods = self.tasks.get(&id).into_iter().flat_map(|task| &task.pods);
            let mut owner = pods.filter(|pod| pod.rank == rank).map(|pod| &pod.owner);
            if let Some(owner) = owner.next_back().cloned() {
                self.note_change(id, rank, &owner);
            }
        }
    }

    fn remove(&mut self, uid: Uid) {
        let Some((object, _)) = self.failures.places.remove(&uid) else {
            return;
        };
        // Kubernetes usually deletes events after an hour. The reason why a Job has no pod is valid for longer.
        if self.jobs.place(object).is_none()
            && self
                .failures_of
                .get(&object)
                .is_some_and(|it| it.uid == uid)
            && let Some(event) = self.failures_of.remove(&object)
            && event.subject == Subject::Claim
        {
            self.pending_claims.remove(&event.name);
        }
    }

    fn within(&self, _: &Scope) -> Vec<Uid> {
        self.failures.places.keys().copied().collect()
    }
}
