//! The life of tasks after their beginning: get, list, stop. What is read is read from the view.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::ListParams;

use super::{
    CONCURRENCY, Error, Executor, Result, labels,
    rows::{EventRow, JobRow, PodRow, Uid},
    status::{self, Observed},
    view::{ListVersion, Listed, Scope, Table},
};
use crate::api::{Reason, TaskId, TaskStatus, User};

/// Tasks as they were at one moment, newest first; each is told when it is taken.
pub struct TaskList {
    tasks: Listed,
    user: Option<User>,
    namespace: String,
}

/// What was known of a task at one moment. It stays as it was for as long as somebody holds it.
pub struct Snapshot(Arc<Observed>);

impl TaskList {
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The id of the task at an index below [`TaskList::len`].
    pub fn id(&self, index: usize) -> TaskId {
        self.tasks[index].0
    }

    /// What is known of the task at an index, to be compared.
    pub fn snapshot(&self, index: usize) -> Snapshot {
        Snapshot(self.tasks[index].1.clone())
    }

    /// Whether nothing has changed of the task at an index since a snapshot was taken.
    pub fn is(&self, index: usize, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&self.tasks[index].1, &snapshot.0)
    }

    /// What is told of the task at an index; none if nothing of it is the user's.
    pub fn status(&self, index: usize) -> Option<TaskStatus> {
        let (id, task) = &self.tasks[index];
        status::task(*id, task, self.user.as_ref(), &self.namespace)
    }
}

#[cfg(test)]
impl TaskList {
    /// What is listed after each of these batches of Jobs was told of.
    pub fn after(batches: &[Vec<serde_json::Value>]) -> Vec<Self> {
        let view = super::view::View::default();
        let lists = batches.iter().map(|batch| {
            for job in batch {
                let row: JobRow = serde_json::from_value(job.clone()).unwrap();
                view.change::<JobRow, _>(|table| table.tell(row));
            }
            Self {
                tasks: view.list(None),
                user: None,
                namespace: "default".to_owned(),
            }
        });
        lists.collect()
    }
}

impl Executor {
    /// How old what is answered about tasks may be; none while Kubernetes is asked itself.
    pub fn age(&self) -> Option<Duration> {
        self.view.age().filter(|_| self.view.is_fresh())
    }

    /// One task of `user`.
    ///
    /// # Errors
    /// When there is none of that id, or it is another user's, which looks the same.
    pub async fn get(&self, user: &User, id: TaskId) -> Result<TaskStatus> {
        let task = self.look_up(user, id).await?;
        log::debug!("task status read task_id={id} user={:?}", user.as_str());
        status::task(id, &task, Some(user), &self.namespace).ok_or_else(|| not_found(id))
    }

    /// The tasks of `user`, or everyone's.
    ///
    /// # Errors
    /// When Kubernetes has to be asked and cannot.
    pub async fn list(&self, user: Option<&User>) -> Result<TaskList> {
        let (params, scope) = scope_of(user);
        if self.view.is_fresh() {
            self.refresh_reasons(&scope).await;
        } else {
            self.refresh_tasks(params, scope).await?;
        }
        Ok(TaskList {
            tasks: self.view.list(user),
            user: user.cloned(),
            namespace: self.namespace.clone(),
        })
    }

    /// What the list of `user`'s tasks, or of all, is the same as; none while nobody can say.
    pub fn list_version(&self, user: Option<&User>) -> Option<ListVersion> {
        self.view.is_fresh().then(|| self.view.list_version(user))
    }

    /// Stops a task: deletes its Jobs, and with them its pods.
    ///
    /// # Errors
    /// When there is none of that id, or it is another user's.
    pub async fn stop(&self, user: &User, id: TaskId) -> Result<()> {
        let jobs = self.jobs_of(id).await?.into_iter();
        let jobs: Vec<_> = jobs.filter(|job| job.owner.is(user)).collect();
        if jobs.is_empty() {
            return Err(not_found(id));
        }
        self.delete_jobs(jobs).await?;
        log::info!("task stopped task_id={id} user={:?}", user.as_str());
        Ok(())
    }

    /// Stops the unfinished tasks of `user`, or everyone's, because `asking` wants it; returns which.
    ///
    /// # Errors
    /// When Kubernetes cannot be asked, or refuses; tasks may have been stopped by then.
    pub async fn stop_all(&self, asking: &User, user: Option<&User>) -> Result<Vec<TaskId>> {
        // What has ended a moment ago is not to be deleted, and what has begun is.
        let (params, scope) = scope_of(user);
        self.refresh_tasks(params, scope).await?;
        let mut tasks = self.view.list(user);
        let own = |job: &Arc<JobRow>| user.is_none_or(|user| job.owner.is(user));
        tasks.retain(|(id, task)| {
            let status = status::task(*id, task, user, &self.namespace);
            status.is_some_and(|status| !status.status.is_terminal())
        });
        let jobs = tasks.iter().flat_map(|(_, task)| &task.jobs);
        let deleted = self
            .delete_jobs(jobs.filter(|job| own(job)).cloned())
            .await?;
        // Somebody else may have stopped one meanwhile.
        tasks.retain(|(_, task)| task.jobs.iter().any(|job| deleted.contains(&job.uid)));
        for (id, _) in &tasks {
            log::info!("task stopped task_id={id} user={:?}", asking.as_str());
        }
        Ok(tasks.into_iter().map(|(id, _)| id).collect())
    }

    /// The Jobs of a task as Kubernetes lists them now: who deletes them must miss none that the view has not heard of.
    pub(super) async fn jobs_of(&self, id: TaskId) -> Result<Vec<Arc<JobRow>>> {
        let params = ListParams::default().labels(&labels::task_selector(id));
        self.refresh::<JobRow>(params, &Scope::Task(id)).await?;
        Ok(self
            .view
            .task(id)
            .map_or_else(Vec::new, |task| task.jobs.clone()))
    }

    /// Deletes Jobs; returns the uids of those that were still there.
    pub(super) async fn delete_jobs(
        &self,
        jobs: impl IntoIterator<Item = Arc<JobRow>>,
    ) -> Result<HashSet<Uid>> {
        let deletions = jobs.into_iter().map(|job| async move {
            let was_there = self.delete_row::<JobRow>("Job", &job.name, job.uid).await?;
            Ok(was_there.then_some(job.uid))
        });
        let deleted = stream::iter(deletions).buffer_unordered(CONCURRENCY);
        deleted
            .try_filter_map(|uid| std::future::ready(Ok(uid)))
            .try_collect()
            .await
    }

    /// What is known of a task of `user`: one that the view does not know, or may not know whole or well, is looked for in
    /// Kubernetes. A Job that is missing means much: that it was stopped, or never made.
    pub(super) async fn look_up(&self, user: &User, id: TaskId) -> Result<Arc<Observed>> {
        let is_own = |task: &Arc<Observed>| task.jobs.iter().any(|job| job.owner.is(user));
        let is_whole = |task: &Arc<Observed>| {
            let own = task.jobs.iter().filter(|job| job.owner.is(user));
            let num_nodes = own.clone().next().map(|job| job.num_nodes.unwrap_or(1));
            num_nodes.is_some_and(|num_nodes| own.count() >= num_nodes as usize)
        };
        if self.view.is_fresh() && self.view.task(id).as_ref().is_some_and(is_whole) {
            self.refresh_reasons(&Scope::Task(id)).await;
        } else {
            self.refresh_task(id).await?;
        }
        self.view
            .task(id)
            .filter(is_own)
            .ok_or_else(|| not_found(id))
    }

    /// Lists the Jobs and pods of a task.
    pub(super) async fn refresh_task(&self, id: TaskId) -> Result<()> {
        let params = ListParams::default().labels(&labels::task_selector(id));
        self.refresh_tasks(params, Scope::Task(id)).await
    }

    async fn refresh_tasks(&self, params: ListParams, scope: Scope) -> Result<()> {
        futures::try_join!(
            self.refresh::<JobRow>(params.clone(), &scope),
            self.refresh::<PodRow>(params, &scope)
        )?;
        self.refresh_reasons(&scope).await;
        Ok(())
    }

    /// Asks why Jobs have no pods, if there are such and the view is not told. A task can do without the answer.
    async fn refresh_reasons(&self, scope: &Scope) {
        if !self.view.may_lack_reasons(scope) {
            return;
        }
        let params = ListParams::default().fields(EventRow::OF_JOBS);
        match self.list_rows::<EventRow>(params).await {
            Ok((rows, _)) => self.view.change::<EventRow, _>(|table| {
                rows.into_iter().for_each(|row| table.tell(row));
            }),
            Err(error) => log::debug!("why Jobs have no pods is not known: {error}"),
        }
    }
}

/// What to list for the tasks of `user`, or all, and what that is.
fn scope_of(user: Option<&User>) -> (ListParams, Scope) {
    let params = ListParams::default().labels(&labels::tasks_selector(user));
    let scope = user.map_or(Scope::All, |user| {
        Scope::User(labels::username(user).into())
    });
    (params, scope)
}

pub(super) fn not_found(id: TaskId) -> Error {
    Error::new(Reason::NotFound, format!("task `{id}` not found"))
}
