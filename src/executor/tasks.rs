//! The life of tasks: submit, get, list, stop.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{batch::v1::Job, core::v1::Event};
use kube::api::{ListParams, PostParams};
use tokio::sync::oneshot;

use super::{
    CONCURRENCY, Error, Executor, Result, call, delete, labels, list, manifest,
    manifest::Submission, now, random_id, status, status::Observed,
};
use crate::api::{Reason, TaskDefinition, TaskId, TaskStatus, User};

impl Executor {
    /// Starts a task: whole, or not at all. When one of its objects is refused, or the caller drops the future before it is
    /// done, what was made is deleted again.
    ///
    /// # Errors
    /// When a volume of the task does not exist, or Kubernetes refuses an object.
    pub async fn submit(&self, asking: &User, task: TaskDefinition) -> Result<TaskId> {
        let claims = self.resolve_volumes(asking, &task.volumes).await?;
        let id: TaskId = random_id()
            .parse()
            .expect("a random id has the form of an id");
        let (answer, answered) = oneshot::channel();
        let (executor, user, created_id) = (self.clone(), asking.clone(), id.clone());
        // A task of its own, which goes on when the request that wants it goes away.
        tokio::spawn(async move {
            let submission = Submission {
                id: &created_id,
                user: &user,
                task: &task,
                created_at: now(),
                claims: &claims,
            };
            let created = executor.create(&submission, || answer.is_closed()).await;
            let created = match created {
                Ok(first) => executor.check_not_stopped(&created_id, &first).await,
                Err(error) => Err(error),
            };
            if created.is_err() {
                executor.roll_back(&created_id).await;
            }
            // Nobody waits any more, so nobody learns the id.
            if let Err(Ok(())) = answer.send(created) {
                log::warn!("task {created_id}: the client went away, rolling back");
                executor.roll_back(&created_id).await;
            }
        });
        let gone = || {
            Error::new(
                Reason::InternalError,
                format!("creating task `{id}` was cut off"),
            )
        };
        answered.await.map_err(|_| gone())??;
        log::info!("task submitted task_id={id} user={:?}", asking.as_str());
        Ok(id)
    }

    /// Creates the objects of a task, but starts none after the first that is refused, or once `is_unwanted`; returns the
    /// first Job.
    async fn create(
        &self,
        submission: &Submission<'_>,
        is_unwanted: impl Fn() -> bool,
    ) -> Result<Job> {
        // The first Job owns what belongs to the task as a whole, so it comes first.
        let first = self.create_job(manifest::job(submission, 0)).await?;
        let num_nodes = submission.task.num_nodes;
        if num_nodes == 1 {
            return Ok(first);
        }
        let service = manifest::service(submission, &first.metadata);
        let doing = format!("create Service `{}`", labels::service_name(submission.id));
        call(
            doing,
            self.services().create(&PostParams::default(), &service),
        )
        .await?;

        let has_failed = AtomicBool::new(false);
        let results: Vec<Result<Job>> = stream::iter(1..num_nodes)
            .take_while(|_| {
                std::future::ready(!has_failed.load(Ordering::Relaxed) && !is_unwanted())
            })
            .map(|rank| async move { self.create_job(manifest::job(submission, rank)).await })
            .buffer_unordered(CONCURRENCY)
            // What is under way is waited for: a Job that appears after the roll-back would stay for ever.
            .inspect_err(|_| has_failed.store(true, Ordering::Relaxed))
            .collect()
            .await;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop))?;
        Ok(first)
    }

    /// Makes sure that nobody stopped the task while it was being created: whoever does deletes the Jobs that they see, the
    /// first one always among them, and not those that came later.
    async fn check_not_stopped(&self, id: &TaskId, first: &Job) -> Result<()> {
        let name = first.metadata.name.as_deref().unwrap_or_default();
        let present = call(format!("look for Job `{name}`"), self.jobs().get_opt(name)).await?;
        let is_there = |job: &Job| {
            job.metadata.uid == first.metadata.uid && job.metadata.deletion_timestamp.is_none()
        };
        if present.as_ref().is_some_and(is_there) {
            return Ok(());
        }
        let message = format!("task `{id}` was stopped while it was being created");
        Err(Error::new(Reason::Conflict, message))
    }

    async fn create_job(&self, job: Job) -> Result<Job> {
        let name = job.metadata.name.clone().unwrap_or_default();
        let created = async {
            match self.jobs().create(&PostParams::default(), &job).await {
                // kube repeats a request whose answer was lost. The name has a random part, so the one that exists is ours.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    self.jobs().get(&name).await
                }
                answer => answer,
            }
        };
        call(format!("create Job `{name}`"), created).await
    }

    /// Deletes what there is of a task that is not to be. Nothing can be answered from here any more, so it tries for a while.
    async fn roll_back(&self, id: &TaskId) {
        const ATTEMPTS: u32 = 5;
        for attempt in 1..=ATTEMPTS {
            match self
                .delete_jobs(&ListParams::default().labels(&labels::task_selector(id)))
                .await
            {
                Ok(0) => return,
                Ok(_) => (),
                Err(error) => {
                    log::warn!("task {id}: rolling back, attempt {attempt} of {ATTEMPTS}: {error}");
                    tokio::time::sleep(super::DEADLINE / 2).await;
                }
            }
        }
        log::error!("task {id}: could not be rolled back, its Jobs have to be deleted by hand");
    }

    /// Deletes the Jobs that a list shows; returns how many.
    async fn delete_jobs(&self, params: &ListParams) -> Result<usize> {
        let (jobs, _) = list(&self.jobs(), params.clone(), "Jobs").await?;
        let names = jobs.into_iter().filter_map(|job| job.metadata.name);
        Ok(self.delete_all(names).await?.len())
    }

    /// Deletes Jobs; returns the names of those that were still there.
    async fn delete_all(&self, jobs: impl IntoIterator<Item = String>) -> Result<HashSet<String>> {
        let api = &self.jobs();
        let deletions = jobs.into_iter().map(|name| async move {
            let was_there = delete(api, "Job", &name).await?;
            Ok(was_there.then_some(name))
        });
        let deleted = stream::iter(deletions).buffer_unordered(CONCURRENCY);
        deleted
            .try_filter_map(|name| std::future::ready(Ok(name)))
            .try_collect()
            .await
    }

    /// One task of `user`.
    ///
    /// # Errors
    /// When there is none of that id, or it is another user's, which looks the same.
    pub async fn get(&self, user: &User, id: &TaskId) -> Result<TaskStatus> {
        let observed = self.observe_task(user, id).await?;
        log::debug!("task status read task_id={id} user={:?}", user.as_str());
        status::tasks(&observed, &self.namespace)
            .pop()
            .ok_or_else(|| not_found(id))
    }

    /// The tasks of `user`, or everyone's, newest first.
    ///
    /// # Errors
    /// When Kubernetes cannot be asked.
    pub async fn list(&self, user: Option<&User>) -> Result<Vec<TaskStatus>> {
        let params = ListParams::default().labels(&labels::tasks_selector(user));
        let observed = self.observe(params, user).await?;
        Ok(status::tasks(&observed, &self.namespace))
    }

    /// Stops a task: deletes its Jobs, and with them its pods.
    ///
    /// # Errors
    /// When there is none of that id, or it is another user's.
    pub async fn stop(&self, user: &User, id: &TaskId) -> Result<()> {
        let task = self.get(user, id).await?;
        self.delete_all(task.metadata.node_jobs).await?;
        log::info!("task stopped task_id={id} user={:?}", user.as_str());
        Ok(())
    }

    /// Stops the unfinished tasks of `user`, or everyone's, because `asking` wants it; returns which.
    ///
    /// # Errors
    /// When Kubernetes cannot be asked, or refuses; tasks may have been stopped by then.
    pub async fn stop_all(&self, asking: &User, user: Option<&User>) -> Result<Vec<TaskId>> {
        let mut tasks = self.list(user).await?;
        tasks.retain(|task| !task.status.is_terminal());
        let jobs = tasks
            .iter()
            .flat_map(|task| task.metadata.node_jobs.iter().cloned());
        let deleted = self.delete_all(jobs).await?;
        // Somebody else may have stopped one meanwhile.
        tasks.retain(|task| {
            task.metadata
                .node_jobs
                .iter()
                .any(|job| deleted.contains(job))
        });
        for task in &tasks {
            log::info!(
                "task stopped task_id={} user={:?}",
                task.task_id,
                asking.as_str()
            );
        }
        Ok(tasks.into_iter().map(|task| task.task_id).collect())
    }

    /// The Jobs and pods of one task of `user`; never none.
    pub(super) async fn observe_task(&self, user: &User, id: &TaskId) -> Result<Observed> {
        let params = ListParams::default().labels(&labels::task_selector(id));
        let observed = self.observe(params, Some(user)).await?;
        if observed
            .jobs
            .iter()
            .all(|job| job.metadata.deletion_timestamp.is_some())
        {
            return Err(not_found(id));
        }
        Ok(observed)
    }

    /// The Jobs and pods that `params` selects, of one user or of everyone.
    async fn observe(&self, params: ListParams, user: Option<&User>) -> Result<Observed> {
        let (jobs_api, pods_api) = (self.jobs(), self.pods());
        let (jobs, pods) = futures::try_join!(
            list(&jobs_api, params.clone(), "Jobs"),
            list(&pods_api, params, "pods")
        )?;
        let mut observed = Observed {
            jobs: jobs.0,
            pods: pods.0,
            events: Vec::new(),
        };
        observed
            .jobs
            .retain(|job| user.is_none_or(|user| labels::is_owned_by(&job.metadata, user)));
        observed.events = self.creation_failures(&observed).await?;
        Ok(observed)
    }

    /// The events that say why pods of these Jobs do not exist; none are asked for when no pod is missing.
    pub(super) async fn creation_failures(&self, observed: &Observed) -> Result<Vec<Event>> {
        if !observed.misses_pods() {
            return Ok(Vec::new());
        }
        let failures = ListParams::default().fields("involvedObject.kind=Job,reason=FailedCreate");
        let uids: HashSet<_> = observed
            .jobs
            .iter()
            .filter_map(|job| job.metadata.uid.as_ref())
            .collect();
        let (mut events, _) = list(&self.events(), failures, "events").await?;
        events.retain(|event| {
            event
                .involved_object
                .uid
                .as_ref()
                .is_some_and(|uid| uids.contains(uid))
        });
        Ok(events)
    }
}

pub(super) fn not_found(id: &TaskId) -> Error {
    Error::new(Reason::NotFound, format!("task `{id}` not found"))
}
