//! The rows of all tasks, indexed by task and by owner. Pure.
//!
//! A reader gets a snapshot of a task: rows and tasks are shared, and a change replaces them. So the view's lock is held for a
//! pointer copy only.

mod tables;

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use super::{by_rank::find, table::Scope, versions::Versions};
use crate::{
    api::{TaskId, User},
    executor::{
        identity::{Uid, Version},
        objects::KeptFiles,
        observed::{EventRow, JobRow, Observed, Owner, PodRow, Subject},
    },
};

/// All tasks.
#[derive(Default)]
pub struct Tasks {
    tasks: HashMap<TaskId, Arc<Observed>>,
    owners: HashMap<Owner, OwnerTasks>,
    jobs: Index<(TaskId, u32)>,
    pods: Index<(TaskId, u32)>,
    /// By the uid of the event; the place of an event is the uid of its object.
    failures: Index<Uid>,
    /// The reasons why Jobs have no pods, pods do not start and claims are pending, by the uid of that object, which may still be
    /// unknown. The reason of a Job is kept until it has a pod; Kubernetes deletes the events earlier.
    failures_of: HashMap<Uid, EventRow>,
    /// The claims that have a reason, by name.
    pending_claims: HashMap<Box<str>, Uid>,
    /// The number of changes so far.
    changes: u64,
    /// The nodes that changed since the view last took this list.
    pub changed_nodes: Vec<(TaskId, u32)>,
    /// The tasks whose objects may have to be changed since the view last took this list.
    pub unsettled: Vec<TaskId>,
}

/// The place and the version of each object of one kind.
struct Index<P> {
    places: HashMap<Uid, (P, Version)>,
    versions: Versions,
}

impl<P> Default for Index<P> {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            versions: Versions::default(),
        }
    }
}

impl<P: Copy> Index<P> {
    fn version(&self, uid: Uid) -> Option<Version> {
        self.places.get(&uid).map(|(_, version)| *version)
    }

    fn place(&self, uid: Uid) -> Option<P> {
        self.places.get(&uid).map(|(place, _)| *place)
    }
}

/// The tasks of one owner, with the number of Jobs and pods in each.
#[derive(Default)]
struct OwnerTasks {
    tasks: HashMap<TaskId, u32>,
    /// The number of the last change to one of them.
    changed: u64,
}

/// The version of a list. Two lists of one user with the same version are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListVersion([u64; 2]);

/// Tasks, newest first.
pub type Listed = Vec<(TaskId, Arc<Observed>)>;

impl Tasks {
    /// A task; none if no object of it is known.
    pub fn get(&self, id: TaskId) -> Option<&Arc<Observed>> {
        self.tasks.get(&id).filter(|task| task.is_task())
    }

    /// A task, or an empty one if it is not known.
    pub fn get_or_empty(&self, id: TaskId) -> Arc<Observed> {
        self.tasks.get(&id).cloned().unwrap_or_default()
    }

    /// The tasks of `user`.
    pub fn list(&self, user: &User) -> Listed {
        let owned = self.owned(user);
        let ids = owned.into_iter().flatten();
        let ids = ids.flat_map(|owned| owned.tasks.keys());
        sorted(ids.filter_map(|id| Some((id, self.tasks.get(id)?))))
    }

    /// All tasks.
    pub fn list_all(&self) -> Listed {
        let mut all = sorted(self.tasks.iter());
        // Each owner of objects with the same id has a task of that id.
        let shared: Vec<_> = all.extract_if(.., |(_, task)| task.is_shared()).collect();
        if !shared.is_empty() {
            let parts = shared.iter().flat_map(|(id, task)| {
                let parts = task.parts().into_iter();
                parts.map(|part| (*id, Arc::new(part)))
            });
            all.extend(parts);
            all = sorted(all.iter().map(|(id, task)| (id, task)));
        }
        all
    }

    /// The version of [`Tasks::list`], or without a user of [`Tasks::list_all`].
    pub fn list_version(&self, user: Option<&User>) -> ListVersion {
        let Some(user) = user else {
            return ListVersion([self.changes, 0]);
        };
        let owned = self.owned(user);
        ListVersion(owned.map(|owned| owned.map_or(0, |owned| owned.changed)))
    }

    /// The pods of all tasks.
    pub fn pods(&self) -> impl Iterator<Item = &PodRow> {
        let pods = self.tasks.values().flat_map(|task| &task.pods);
        pods.map(|pod| &**pod)
    }

    /// The claims that unfinished Jobs mount, each with its task.
    pub fn mounts(&self) -> impl Iterator<Item = (&str, TaskId)> {
        let jobs = self.tasks.iter().flat_map(|(id, task)| {
            let is_over = task.has_ended();
            let is_in_use = move |job: &&Arc<JobRow>| {
                !job.state.has_ended() || !is_over && job.recovery.is_some()
            };
            let unfinished = task.jobs.iter().filter(is_in_use);
            unfinished.map(|job| (*id, job))
        });
        jobs.flat_map(|(id, job)| job.claims.iter().map(move |claim| (&**claim, id)))
    }

    /// The files that are kept for tasks.
    pub fn kept_files(&self) -> impl Iterator<Item = &KeptFiles> {
        let first_jobs = self.tasks.values().filter_map(|task| task.jobs.first());
        let kept = first_jobs.filter(|job| !job.has_deleted_files);
        let kept = kept.filter_map(|job| job.files.as_deref());
        // The tasks of a group name the same files.
        let mut holders = HashSet::new();
        kept.filter(move |kept| kept.holder.is_none_or(|holder| holders.insert(holder)))
    }

    /// The tasks of each group that has work for this program: a task waits for its turn, or its files are still kept.
    pub fn busy_groups(&self) -> Vec<Listed> {
        let of = |task: &Observed| {
            let first = task.jobs.first()?;
            Some((first.group.as_ref()?.group_id, first.owner.clone()))
        };
        let is_busy = |task: &Observed| {
            let keeps_files = |job: &JobRow| job.files.is_some() && !job.has_deleted_files;
            (task.jobs.iter()).any(|job| job.is_waiting_in_group() || keeps_files(job))
        };
        let busy = self.tasks.values().filter(|task| is_busy(task));
        let mut groups: HashMap<_, Listed> = busy
            .filter_map(|task| Some((of(task)?, Vec::new())))
            .collect();
        if groups.is_empty() {
            return Vec::new();
        }
        for (id, task) in &self.tasks {
            if let Some(group) = of(task).and_then(|key| groups.get_mut(&key)) {
                group.push((*id, task.clone()));
            }
        }
        groups.into_values().collect()
    }

    /// The number of known tasks.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    fn owned(&self, user: &User) -> [Option<&OwnerTasks>; 2] {
        Owner::all_of(user).map(|owner| self.owners.get(&owner))
    }

    fn within(&self, scope: &Scope) -> Vec<&Observed> {
        let find = |id: &TaskId| self.tasks.get(id).map(|task| &**task);
        match scope {
            Scope::All => self.tasks.values().map(|task| &**task).collect(),
            Scope::Task(id) => find(id).into_iter().collect(),
            Scope::User(label) => {
                let owners = self.owners.iter();
                let owned = owners.filter(|(owner, _)| owner.label == *label);
                owned
                    .flat_map(|(_, owned)| owned.tasks.keys().filter_map(find))
                    .collect()
            }
        }
    }

    /// Notes a change of a node, for its subscribers and for the list of its owner.
    fn note_change(&mut self, id: TaskId, rank: u32, owner: &Owner) {
        self.changes += 1;
        self.changed_nodes.push((id, rank));
        if let Some(owned) = self.owners.get_mut(owner) {
            owned.changed = self.changes;
        }
    }

    /// Notes a change of the pods or the failure of a Job, if the Job is known; returns whether it is.
    fn note_job_change(&mut self, job: Option<Uid>) -> bool {
        let Some((id, row)) = job.and_then(|job| self.job(job)) else {
            return false;
        };
        self.note_change(id, row.rank, &row.owner);
        true
    }

    /// The row of a Job, and its task.
    fn job(&self, uid: Uid) -> Option<(TaskId, Arc<JobRow>)> {
        let (id, rank) = self.jobs.place(uid)?;
        let jobs = &self.tasks.get(&id)?.jobs;
        Some((id, jobs[find(jobs, rank, uid)?].clone()))
    }

    fn add_object_of(&mut self, id: TaskId, owner: &Owner) {
        if !self.owners.contains_key(owner) {
            self.owners.insert(owner.clone(), OwnerTasks::default());
        }
        let owned = self.owners.get_mut(owner);
        *owned.expect("it was inserted").tasks.entry(id).or_default() += 1;
    }

    fn remove_object_of(&mut self, id: TaskId, owner: &Owner) {
        let Some(owned) = self.owners.get_mut(owner) else {
            return;
        };
        if let Entry::Occupied(mut objects) = owned.tasks.entry(id) {
            *objects.get_mut() -= 1;
            if *objects.get() == 0 {
                objects.remove();
            }
        }
        if owned.tasks.is_empty() {
            self.owners.remove(owner);
        }
    }

    /// Updates a reason in a task: why one of its Jobs has no pod, or another object does not get on.
    fn update_failure(&mut self, id: TaskId, object: Uid) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        match self.failures_of.get(&object) {
            Some(failure) => {
                let failures = &mut Arc::make_mut(task).failures;
                failures.insert(object, failure.clone());
            }
            None if task.failures.contains_key(&object) => {
                Arc::make_mut(task).failures.remove(&object);
            }
            None => (),
        }
    }

    /// Gives a pod that has not started the known reasons: its own, and those of its claims.
    fn add_reasons(&mut self, id: TaskId, pod: &PodRow) {
        let claims = pod.claims.iter();
        let claims = claims.filter_map(|claim| self.pending_claims.get(claim).copied());
        let objects: Vec<Uid> = claims.chain([pod.uid]).collect();
        for object in objects {
            if self.failures_of.contains_key(&object) {
                self.update_failure(id, object);
            }
        }
    }

    /// The tasks with a pod that has not started and that an event is about.
    fn tasks_of_event(&self, event: &EventRow) -> Vec<(TaskId, u32)> {
        let waits = |pod: &PodRow| !pod.has_run() && pod.has_reason(event);
        match event.subject {
            Subject::Pod => self.pods.place(event.object).into_iter().collect(),
            // Claims have few events, and tasks do not change with them.
            Subject::Claim => {
                let pods = self.pods().filter(|pod| waits(pod));
                pods.filter_map(|pod| Some((pod.task?, pod.rank))).collect()
            }
            Subject::Job | Subject::Other => Vec::new(),
        }
    }

    /// Removes the reason why a Job had no pod.
    fn forget_failure(&mut self, job: Uid) {
        if self.failures_of.remove(&job).is_some()
            && let Some((id, _)) = self.jobs.place(job)
        {
            self.update_failure(id, job);
        }
    }

    /// Removes the reason why a pod had not started.
    fn forget_failure_of_pod(&mut self, id: TaskId, pod: Uid) {
        if self.failures_of.remove(&pod).is_some() {
            self.update_failure(id, pod);
        }
    }

    fn has_pod(&self, id: TaskId, job: Uid) -> bool {
        let task = self.tasks.get(&id);
        task.is_some_and(|task| task.pods.iter().any(|pod| pod.job == Some(job)))
    }

    /// Whether a task of a scope has a node that has not started.
    pub fn lacks_reasons(&self, scope: &Scope) -> bool {
        self.within(scope).into_iter().any(Observed::lacks_reasons)
    }

    fn forget_if_empty(&mut self, id: TaskId) {
        let is_empty = |task: &Arc<Observed>| task.jobs.is_empty() && task.pods.is_empty();
        if self.tasks.get(&id).is_some_and(is_empty) {
            self.tasks.remove(&id);
        }
    }
}

/// The tasks that have an object, newest first.
fn sorted<'a>(tasks: impl Iterator<Item = (&'a TaskId, &'a Arc<Observed>)>) -> Listed {
    let with_time = tasks.filter_map(|(id, task)| {
        let created_at = task.created_at()?.unix_nanoseconds();
        Some((created_at, *id, task))
    });
    // The sort keys stand in one array: reading them through the pointers to the tasks takes most of the time.
    let mut tasks: Vec<_> = with_time.collect();
    tasks.sort_unstable_by_key(|(created_at, id, _)| (Reverse(*created_at), *id));
    // A task may belong to both owners of a user.
    tasks.dedup_by(|(_, id, task), (_, previous, same)| id == previous && Arc::ptr_eq(task, same));
    let tasks = tasks.into_iter();
    tasks.map(|(_, id, task)| (id, task.clone())).collect()
}
