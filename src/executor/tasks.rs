//! The life of tasks after their beginning: get, list, stop.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;

use super::{CONCURRENCY, Error, Executor, Result, delete, labels, list, status, status::Observed};
use crate::api::{Reason, TaskId, TaskStatus, User};

impl Executor {
    /// Deletes the Jobs that a list shows; returns how many.
    pub(super) async fn delete_jobs(&self, params: &ListParams) -> Result<usize> {
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
