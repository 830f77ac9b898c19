//! The observed rows of one task, and the status that they add up to. Pure.
//!
//! The Job says whether a node succeeded or failed; its pod says whether it runs, and why it does not.

use std::{collections::HashMap, sync::Arc};

use super::{
    Barrier, Ends, EventRow, JobRow, NodeEnd, Owner, PodRow,
    attempts::describe_attempt,
    barrier::is_waiting,
    node::{node_status, pod_status, signal},
    reason::{DELETED_JOB, reason},
};
use crate::{
    api::{
        NodeStatus, TaskId, TaskMetadata, TaskState, TaskStatus, Timestamp, User, short_username,
    },
    executor::{
        identity::Uid,
        objects::{KeptFiles, names},
    },
};

/// The rows of one task, or of one of its nodes, at about the same moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Those of the last attempt, by rank.
    pub jobs: Vec<Arc<JobRow>>,
    /// Those of earlier attempts, by attempt, then by rank.
    pub earlier: Vec<Arc<JobRow>>,
    /// By rank, then by age.
    pub pods: Vec<Arc<PodRow>>,
    /// The last event that says why a Job has no pod, why a pod has not started, or why a claim of a pod is pending: by the uid of
    /// that object.
    pub failures: HashMap<Uid, EventRow>,
    /// The last pod of each Job whose pods are gone, by the uid of the Job.
    pub lost_pods: HashMap<Uid, Arc<PodRow>>,
    /// The ends of nodes whose Jobs were removed while this program watched.
    pub seen_ends: Ends,
    /// The ranks of Jobs that a list no longer contains, by uid, until the watch shows their last state.
    pub awaited_ends: HashMap<Uid, u32>,
    /// Whether it is the part about one attempt, which no other follows.
    pub is_alone: bool,
    /// In the part about a node: whether another attempt of its task may follow, although the node has ended.
    pub may_follow: bool,
}

/// The facts about a task that each of its objects carries.
struct Facts<'a> {
    num_nodes: Option<u32>,
    name: Option<&'a str>,
    owner: &'a Owner,
    created_at: Timestamp,
}

impl<'a> Facts<'a> {
    fn of_job(job: &'a JobRow) -> Self {
        Self {
            num_nodes: job.num_nodes,
            name: job.task_name.as_deref(),
            owner: &job.owner,
            created_at: job.created_at,
        }
    }

    fn of_pod(pod: &'a PodRow) -> Self {
        Self {
            num_nodes: pod.num_nodes,
            name: pod.task_name.as_deref(),
            owner: &pod.owner,
            created_at: pod.task_created_at,
        }
    }
}

impl Observed {
    /// The pods of a Job, oldest first.
    pub fn pods_of(&self, job: &JobRow) -> impl DoubleEndedIterator<Item = &PodRow> {
        let own = self.pods.iter().filter(|pod| pod.job == Some(job.uid));
        own.map(|pod| &**pod)
    }

    /// The newest pod of each Job.
    pub fn newest_pods(&self) -> HashMap<Uid, &PodRow> {
        let pods = self.pods.iter();
        // A newer pod replaces an older one.
        pods.filter_map(|pod| Some((pod.job?, &**pod))).collect()
    }

    /// Removes a Job, and keeps the end of its node.
    pub fn remove_job(&mut self, at: usize) -> Arc<JobRow> {
        let job = self.jobs[at].clone();
        self.note_end(&job);
        self.jobs.remove(at);
        self.lost_pods.remove(&job.uid);
        // It may have been the last one of its attempt.
        self.join_attempts(0);
        self.split_attempts();
        job
    }

    /// Notes the end of the node of a Job that is being removed, if it has ended.
    pub fn note_end(&mut self, job: &JobRow) {
        if !job.state.has_ended() || job.num_nodes.unwrap_or(1) == 1 {
            return;
        }
        let node = node_status(job, self.pods_of(job).next_back(), self);
        // A Job of another user may carry the same id.
        if self.jobs.iter().all(|other| other.owner == job.owner) {
            self.seen_ends.insert(node.rank, NodeEnd::of(&node));
        }
    }

    /// Removes a pod. The last one of a Job is kept, because it says how its node ended.
    pub fn remove_pod(&mut self, at: usize) -> Arc<PodRow> {
        let pod = self.pods.remove(at);
        let job = self
            .job_of(&pod)
            .filter(|job| self.pods_of(job).next().is_none());
        if let Some(job) = job.map(|job| job.uid) {
            self.lost_pods.insert(job, pod.clone());
        }
        pod
    }

    /// Whether an unfinished Job has no pod, or a pod that has not started. Only events say why.
    pub fn lacks_reasons(&self) -> bool {
        let pods = self.newest_pods();
        let mut unfinished = self.jobs.iter().filter(|job| !job.state.has_ended());
        unfinished.any(|job| pods.get(&job.uid).is_none_or(|pod| !pod.has_run()))
    }

    /// The pods of `user`, or of all users, whose Job is gone: the newest of each rank that has no Job. Kubernetes is about to
    /// delete such a pod, unless its Job was deleted with `--cascade=orphan`.
    pub fn jobless_pods(&self, user: Option<&User>) -> Vec<&PodRow> {
        let mut jobless: Vec<&PodRow> = Vec::new();
        let mut jobs = self.jobs.iter().peekable();
        for pod in &self.pods {
            while jobs.next_if(|job| job.rank < pod.rank).is_some() {}
            let has_job = jobs.peek().is_some_and(|job| job.rank == pod.rank);
            if has_job || pod.is_foreign || user.is_some_and(|user| !pod.owner.is(user)) {
                continue;
            }
            // A newer pod replaces an older one.
            if jobless.last().is_some_and(|last| last.rank == pod.rank) {
                jobless.pop();
            }
            jobless.push(pod);
        }
        jobless
    }

    /// Whether an object of the task is `user`'s.
    pub fn is_of(&self, user: &User) -> bool {
        let mut jobs = self.jobs.iter();
        jobs.any(|job| job.owner.is(user)) || !self.jobless_pods(Some(user)).is_empty()
    }

    /// Whether lists show it as a task of `user`, or it is a task of the user of exactly this name.
    pub fn is_shown_as(&self, user: &str) -> bool {
        let is_it = |owner: &Owner| {
            let exact = owner.exact.as_deref();
            *owner.label == *user
                || exact.is_some_and(|exact| exact == user || short_username(exact) == user)
        };
        self.jobs.iter().any(|job| is_it(&job.owner))
            || self.jobless_pods(None).iter().any(|pod| is_it(&pod.owner))
    }

    /// Whether there is an object that makes this a task.
    pub fn is_task(&self) -> bool {
        !self.jobs.is_empty() || self.pods.iter().any(|pod| !pod.is_foreign)
    }

    /// The time of the task's creation; `None` if this is no task.
    pub fn created_at(&self) -> Option<Timestamp> {
        let of_job = self.jobs.first().map(|job| job.created_at);
        let mut pods = self.pods.iter().filter(|pod| !pod.is_foreign);
        of_job.or_else(|| pods.next().map(|pod| pod.task_created_at))
    }

    /// The first Job, if the task has ended and its own files are still kept. Those of a group are not its own.
    pub fn with_files_to_delete(&self) -> Option<&JobRow> {
        let first = self.jobs.first()?;
        let is_own = |files: &Arc<KeptFiles>| files.holder.is_none();
        let is_due = first.files.as_ref().is_some_and(is_own)
            && !first.has_deleted_files
            && self.has_ended();
        is_due.then_some(first)
    }

    /// Whether a user stops the task.
    pub fn is_stopping(&self) -> bool {
        self.all_jobs().any(|job| job.is_stopping)
    }

    /// Whether all Jobs of the task have ended, and no other attempt follows.
    pub fn has_ended(&self) -> bool {
        self.jobs.iter().all(|job| job.state.has_ended()) && self.cause_of_restart().is_none()
    }

    /// The part about the Jobs of some owners.
    pub fn of(&self, is_wanted: impl Fn(&Owner) -> bool) -> Self {
        let mut part = self.clone();
        part.jobs.retain(|job| is_wanted(&job.owner));
        part.earlier.retain(|job| is_wanted(&job.owner));
        part
    }

    /// Whether its objects have several owners, since somebody gave the id of another user's task to an object.
    pub fn is_shared(&self) -> bool {
        self.owners().len() > 1
    }

    /// A part for each owner of its objects.
    pub fn parts(&self) -> Vec<Self> {
        let owners = self.owners();
        if owners.len() < 2 {
            return vec![self.clone()];
        }
        let part = |owner: &Owner| {
            let mut part = self.of(|other| other == owner);
            part.pods.retain(|pod| match self.job_of(pod) {
                Some(job) => job.owner == *owner,
                None => owner.may_own(&pod.owner),
            });
            part
        };
        owners.into_iter().map(part).collect()
    }

    fn owners(&self) -> Vec<&Owner> {
        let mut owners: Vec<&Owner> = Vec::new();
        for job in &self.jobs {
            if !owners.contains(&&job.owner) {
                owners.push(&job.owner);
            }
        }
        for pod in self.pods.iter().filter(|pod| !pod.is_foreign) {
            if !owners.iter().any(|owner| owner.may_own(&pod.owner)) && self.job_of(pod).is_none() {
                owners.push(&pod.owner);
            }
        }
        owners
    }

    fn job_of(&self, pod: &PodRow) -> Option<&JobRow> {
        let uid = pod.job?;
        self.all_jobs().map(|job| &**job).find(|job| job.uid == uid)
    }

    /// Whether it has a Job, or a pod that outlived its Job and that no one stops.
    pub fn is_kept(&self) -> bool {
        self.all_jobs().next().is_some() || self.pods.iter().any(|pod| pod.is_orphan())
    }

    /// The nodes whose Jobs are gone, of a task with Jobs of one owner that is not being stopped.
    pub fn nodes_without_job(&self) -> Vec<NodeStatus> {
        let jobs: Vec<&JobRow> = self.jobs.iter().map(|job| &**job).collect();
        let num_nodes = jobs.first().and_then(|job| job.num_nodes).unwrap_or(1);
        if num_nodes == 1 {
            return Vec::new();
        }
        self.jobless_nodes(&jobs, &self.jobless_pods(None), num_nodes)
    }

    /// The part about the node of a rank, without Jobs of other users.
    pub fn node(&self, rank: u32, user: &User) -> Self {
        let first = self.jobs.partition_point(|job| job.rank < rank);
        let jobs = self.jobs[first..].iter();
        let jobs = jobs.take_while(|job| job.rank == rank);
        let jobs: Vec<_> = jobs.filter(|job| job.owner.is(user)).cloned().collect();
        let first = self.pods.partition_point(|pod| pod.rank < rank);
        let pods = self.pods[first..].iter();
        let pods = pods.take_while(|pod| pod.rank == rank);
        let earlier = self.earlier.iter();
        let earlier = earlier.filter(|job| job.rank == rank && job.owner.is(user));
        let earlier: Vec<_> = earlier.cloned().collect();
        let is_of_job = |pod: &PodRow| {
            let mut all = earlier.iter().chain(&jobs);
            all.any(|job| Some(job.uid) == pod.job)
        };
        let pods = pods.filter(|pod| pod.owner.is(user) || is_of_job(pod));
        let pods: Vec<_> = pods.cloned().collect();
        let is_of_node = |event: &&EventRow| {
            jobs.iter().any(|job: &Arc<JobRow>| event.object == job.uid)
                || pods.iter().any(|pod: &Arc<PodRow>| pod.has_reason(event))
        };
        let failures = self.failures.values().filter(is_of_node);
        let lost_pods = jobs.iter().filter_map(|job| {
            let pod = self.lost_pods.get(&job.uid)?;
            Some((job.uid, pod.clone()))
        });
        Self {
            failures: failures.map(|it| (it.object, it.clone())).collect(),
            lost_pods: lost_pods.collect(),
            seen_ends: Ends::default(),
            awaited_ends: HashMap::new(),
            is_alone: self.is_alone,
            may_follow: self.may_follow(&jobs, &earlier, user),
            pods,
            jobs,
            earlier,
        }
    }

    /// The status of the task, from the objects of `user` or of all users; `None` if there are none.
    pub fn status(&self, id: TaskId, user: Option<&User>, namespace: &str) -> Option<TaskStatus> {
        let all = self.jobs.iter();
        let jobs: Vec<&JobRow> = all
            .map(|job| &**job)
            .filter(|job| user.is_none_or(|user| job.owner.is(user)))
            .collect();
        let jobless = self.jobless_pods(user);
        let of_job = jobs.first().map(|job| Facts::of_job(job));
        let facts = of_job.or_else(|| jobless.first().map(|pod| Facts::of_pod(pod)))?;
        let pods = self.newest_pods();
        let nodes = self.nodes(&jobs, &pods, &jobless, facts.num_nodes.unwrap_or(1));
        let num_nodes = facts
            .num_nodes
            .unwrap_or_else(|| u32::try_from(nodes.len()).unwrap_or(u32::MAX));
        let count = |state| {
            u32::try_from(nodes.iter().filter(|node| node.status == state).count())
                .unwrap_or(u32::MAX)
        };
        let changes = jobs.iter().flat_map(|job| {
            let of_pod = pods.get(&job.uid).and_then(|pod| pod.changed_at);
            job.changed_at.into_iter().chain(of_pod)
        });
        let of_pods = jobless.iter().filter_map(|pod| pod.changed_at);
        let changed_at = changes.chain(of_pods).fold(facts.created_at, Ord::max);
        let is_stopping = self
            .all_jobs()
            .any(|job| job.is_stopping && user.is_none_or(|user| job.owner.is(user)));
        let recovered = (jobs.first())
            .filter(|job| job.recovery.is_some() && !is_stopping)
            .map(|job| self.of(|owner| *owner == job.owner));
        let cause = recovered.as_ref().and_then(Self::cause_of_restart);
        let is_begun = jobs.first().is_some_and(|job| job.is_begun());
        let status = match overall(&nodes, num_nodes) {
            // Some of its Jobs are deleted already. If those of the last attempt are, the one before it has failed.
            status if is_stopping && (!status.is_terminal() || !self.earlier.is_empty()) => {
                TaskState::Stopping
            }
            TaskState::Failed if cause.is_some() => {
                let goes_on = nodes.iter().any(|node| !node.status.is_terminal());
                match goes_on || recovered.is_some_and(|part| part.lacks_ends()) {
                    true => TaskState::Running,
                    false => TaskState::Pending,
                }
            }
            // Not all of its Jobs exist. Those that do may have pods.
            TaskState::Running if is_begun => TaskState::Pending,
            status => status,
        };
        let running = count(TaskState::Running) + count(TaskState::Stopping);
        let rest = num_nodes
            .saturating_sub(count(TaskState::Completed) + count(TaskState::Failed) + running);
        let status = TaskStatus {
            task_id: id,
            name: match facts.name {
                Some(name) => name.to_owned(),
                None => names::default_task_name(id),
            },
            status,
            created_at: facts.created_at,
            updated_at: changed_at,
            username: facts.owner.label.to_string(),
            reason: match (&cause, jobs.first()) {
                (Some(cause), Some(first)) => Some(cause.describe(first)),
                (None, Some(first)) => {
                    let reason = reason(&nodes, num_nodes, status, is_begun);
                    describe_attempt(first, status, reason)
                }
                (_, None) => reason(&nodes, num_nodes, status, is_begun),
            },
            metadata: TaskMetadata {
                job_name: job_name(&nodes, num_nodes),
                namespace: namespace.to_owned(),
                num_nodes,
                node_jobs: nodes.iter().map(|node| node.job.clone()).collect(),
                succeeded_nodes: count(TaskState::Completed),
                failed_nodes: count(TaskState::Failed),
                running_nodes: running,
                // A node without a Job is pending too, unless the task is being stopped.
                pending_nodes: match status {
                    TaskState::Stopping => 0,
                    _ => rest,
                },
                files: jobs
                    .iter()
                    .find_map(|job| Some(job.files.as_ref()?.about.clone())),
                group: jobs.first().and_then(|job| job.group.as_deref().cloned()),
                nodes,
                ..TaskMetadata::default()
            },
            events: Vec::new(),
        };
        Some(status.with_span())
    }

    /// The nodes of a task by rank, from these Jobs with their newest pods, and from the pods without a Job.
    fn nodes(
        &self,
        jobs: &[&JobRow],
        pods: &HashMap<Uid, &PodRow>,
        jobless: &[&PodRow],
        num_nodes: u32,
    ) -> Vec<NodeStatus> {
        let is_stopping = jobs.iter().any(|job| job.is_stopping);
        let waiting = Barrier::of(self).and_then(|barrier| barrier.reason());
        let of_jobs = jobs.iter().map(|job| {
            let mut node = node_status(job, pods.get(&job.uid).copied(), self);
            if is_stopping && !node.status.is_terminal() {
                node.status = TaskState::Stopping;
            } else if node.status == TaskState::Running
                && node.reason.is_none()
                && pods.get(&job.uid).is_some_and(|pod| is_waiting(pod))
            {
                node.reason.clone_from(&waiting);
            }
            node
        });
        let mut nodes: Vec<_> = of_jobs.collect();
        if jobs.is_empty() || is_stopping {
            nodes.extend(jobless.iter().map(|pod| pod_status(pod)));
        } else if num_nodes > 1 {
            nodes.extend(self.jobless_nodes(jobs, jobless, num_nodes));
        }
        nodes.sort_by_key(|node| node.rank);
        nodes
    }

    /// The nodes without a Job in a task that is not being stopped.
    fn jobless_nodes(
        &self,
        jobs: &[&JobRow],
        jobless: &[&PodRow],
        num_nodes: u32,
    ) -> Vec<NodeStatus> {
        // The first Job is created before the others, and says when all exist.
        let first = jobs.first();
        let has_first = first.is_some_and(|job| job.rank == 0);
        let existed = !has_first || first.is_some_and(|job| job.is_complete);
        let given_up = first.and_then(|job| job.given_up());
        let mut missing = Vec::new();
        let mut jobs_by_rank = jobs.iter().peekable();
        let mut pods_by_rank = jobless.iter().peekable();
        for rank in 0..num_nodes {
            if jobs_by_rank.next_if(|job| job.rank == rank).is_some() {
                while jobs_by_rank.next_if(|job| job.rank == rank).is_some() {}
                continue;
            }
            while pods_by_rank.next_if(|pod| pod.rank < rank).is_some() {}
            let orphan = pods_by_rank.peek().filter(|pod| pod.rank == rank);
            let orphan = orphan.filter(|pod| pod.is_orphan());
            if let Some(orphan) = orphan {
                missing.push(pod_status(orphan));
                continue;
            }
            let end = self.end_of(rank, jobs).cloned();
            if end.is_none() && self.awaited_ends.values().any(|awaited| *awaited == rank) {
                continue;
            }
            let failed = |reason| NodeEnd {
                status: TaskState::Failed,
                exit_code: None,
                reason: Some(reason),
                stopped_after: None,
            };
            let not_created = || given_up.map(|why| failed(why.to_owned()));
            let deleted = || failed(format!("{DELETED_JOB}{rank} was deleted"));
            let end = end.or_else(not_created);
            let Some(end) = end.or_else(|| existed.then(deleted)) else {
                continue;
            };
            missing.push(NodeStatus {
                rank,
                status: end.status,
                job: first.map_or_else(String::new, |first| sibling(first, rank)),
                pod: None,
                host: None,
                exit_code: end.exit_code,
                signal: end.exit_code.and_then(signal),
                started_at: None,
                finished_at: None,
                restarts: 0,
                reason: end.reason,
                stopped_after: end.stopped_after,
            });
        }
        missing
    }

    /// The known end of a node whose Job is gone.
    fn end_of<'a>(&'a self, rank: u32, jobs: &[&'a JobRow]) -> Option<&'a NodeEnd> {
        let noted = || jobs.iter().find_map(|job| job.ends.as_ref()?.get(rank));
        self.seen_ends.get(rank).or_else(noted)
    }
}

/// The name of the Job of another node of the same task.
fn sibling(job: &JobRow, rank: u32) -> String {
    let first = names::first_job_name(&job.name);
    let suffix = format!("-node-{}", job.rank);
    let name = first.strip_suffix(&suffix).unwrap_or(first);
    let name = format!("{name}-node-{rank}");
    match job.attempt {
        1 => name,
        attempt => names::attempt_job_name(&name, attempt),
    }
}

/// The state of the task, by precedence: stopping, failed, completed, running, pending.
fn overall(nodes: &[NodeStatus], num_nodes: u32) -> TaskState {
    let any = |state| nodes.iter().any(|node| node.status == state);
    let all_completed = nodes
        .iter()
        .filter(|node| node.status == TaskState::Completed)
        .count()
        >= num_nodes as usize;
    match () {
        () if any(TaskState::Stopping) => TaskState::Stopping,
        () if any(TaskState::Failed) => TaskState::Failed,
        () if all_completed => TaskState::Completed,
        () if any(TaskState::Running) => TaskState::Running,
        () => TaskState::Pending,
    }
}

/// The common part of the names of the task's Jobs.
fn job_name(nodes: &[NodeStatus], num_nodes: u32) -> String {
    let Some(first) = nodes.first() else {
        return String::new();
    };
    let name = names::first_job_name(&first.job);
    let suffix = format!("-node-{}", first.rank);
    match name.strip_suffix(&suffix) {
        Some(name) if num_nodes > 1 => name.to_owned(),
        _ => name.to_owned(),
    }
}
