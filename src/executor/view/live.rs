//! The view together with its cluster: where the view may be old, the cluster is asked, and the view gets the answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::api::ListParams;
use serde::Serialize;
use serde_json::Value;

use super::{Listed, Scope, Table, TaskWatch, View, ViewRow, feed};
use crate::{
    api::{Reason, TaskId, User},
    executor::{
        cluster::{Cluster, call},
        error::{Error, Result},
        identity::Uid,
        objects::{labels, names},
        observed::{EventRow, JobRow, Observed, PodRow},
    },
};

/// The view and its cluster. Clones share both.
#[derive(Clone)]
pub struct LiveView {
    pub cluster: Cluster,
    pub view: Arc<View>,
}

impl LiveView {
    /// An empty view of a cluster.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            view: Arc::default(),
        }
    }

    /// The same view, with connections of its own.
    pub fn with_own_connections(&self) -> Result<Self> {
        Ok(Self {
            cluster: self.cluster.with_own_connections()?,
            view: self.view.clone(),
        })
    }

    /// Keeps the view up to date. Never returns.
    pub async fn keep_alive(&self) {
        feed::keep_alive(self).await;
    }

    /// The age of the view, which is the age of an answer about tasks; none while each answer comes from the cluster.
    pub fn age(&self) -> Option<Duration> {
        self.view.age().filter(|_| self.view.is_fresh())
    }

    /// The tasks of `user`, or of all users, newest first.
    pub async fn list(&self, user: Option<&User>) -> Result<Listed> {
        if self.view.is_fresh() {
            self.refresh_reasons(&scope_of(user)).await;
        } else {
            self.refresh_list(user).await?;
        }
        Ok(self.view.list(user))
    }

    /// A task of `user`. Asks the cluster if the view is old, or lacks the task or one of its Jobs: a missing Job means that the
    /// task was stopped, or never created completely.
    pub async fn task(&self, user: &User, id: TaskId) -> Result<Arc<Observed>> {
        let is_own = |task: &Arc<Observed>| task.is_of(user);
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
        let task = self.view.task(id).filter(is_own);
        task.ok_or_else(|| Error::no_such_task(id))
    }

    /// Watches a task of `user`, or only one attempt of it.
    pub fn watch_task(
        &self,
        user: &User,
        id: TaskId,
        num_nodes: u32,
        attempt: Option<u32>,
    ) -> TaskWatch {
        let nodes = self.view.subscribe(user, id, num_nodes, attempt);
        TaskWatch::new(self.clone(), id, user.clone(), attempt, nodes)
    }

    /// Lists the Jobs of a task in the cluster, for the view.
    pub async fn refresh_jobs(&self, id: TaskId) -> Result<()> {
        let params = ListParams::default().labels(&labels::task_selector(id));
        self.refresh::<JobRow>(params, &Scope::Task(id)).await
    }

    /// Lists the Jobs and pods of a task in the cluster, for the view.
    pub async fn refresh_task(&self, id: TaskId) -> Result<()> {
        let params = ListParams::default().labels(&labels::task_selector(id));
        self.refresh_tasks(params, Scope::Task(id)).await
    }

    /// Lists the Jobs and pods of the tasks of `user`, or of all users, in the cluster, for the view.
    pub async fn refresh_list(&self, user: Option<&User>) -> Result<()> {
        let params = ListParams::default().labels(&labels::tasks_selector(user));
        self.refresh_tasks(params, scope_of(user)).await
    }

    async fn refresh_tasks(&self, params: ListParams, scope: Scope) -> Result<()> {
        futures::try_join!(
            self.refresh::<JobRow>(params.clone(), &scope),
            self.refresh::<PodRow>(params, &scope)
        )?;
        self.refresh_reasons(&scope).await;
        Ok(())
    }

    /// Lists the events that say why nodes do not start, if there are such nodes and the watch of events is broken. An error is only
    /// logged.
    async fn refresh_reasons(&self, scope: &Scope) {
        if !self.view.may_lack_reasons(scope) {
            return;
        }
        let params = ListParams::default().fields(EventRow::REASONS);
        match self.cluster.list::<EventRow>(params).await {
            Ok((rows, _)) => self.view.change::<EventRow, _>(|table| {
                rows.into_iter().for_each(|row| table.merge(row));
            }),
            Err(error) => log::debug!("cannot read events: {error}"),
        }
    }

    /// Lists the objects of a scope, and merges them into the view.
    pub async fn refresh<R: ViewRow>(&self, params: ListParams, scope: &Scope) -> Result<()> {
        let highest = self.view.change::<R, _>(|table| table.versions().highest());
        let (rows, version) = self.cluster.list::<R>(params).await?;
        self.view
            .change::<R, _>(|table| table.merge_list(rows, version, scope, highest));
        Ok(())
    }

    /// Creates an object, and adds it to the view; returns it, and the warnings of Kubernetes.
    pub async fn create<R: ViewRow>(
        &self,
        object: &impl Serialize,
    ) -> kube::Result<(R, Vec<String>)> {
        let (row, warnings) = self.cluster.create::<R>(object, false).await?;
        self.view.change::<R, _>(|table| table.merge(row.clone()));
        Ok((row, warnings))
    }

    /// Merges a patch into an object, and the answer into the view; returns whether the object exists.
    pub async fn patch<R: ViewRow>(&self, kind: &str, name: &str, patch: Value) -> Result<bool> {
        let doing = format!("change {kind} `{name}`");
        let row = call(doing, self.cluster.patch::<R>(name, patch)).await?;
        let exists = row.is_some();
        if let Some(row) = row {
            self.view.change::<R, _>(|table| table.merge(row));
        }
        Ok(exists)
    }

    /// Deletes an object and all objects that it owns, and removes it from the view; returns whether it existed.
    pub async fn delete<R: ViewRow>(&self, kind: &str, name: &str, uid: Uid) -> Result<bool> {
        let doing = format!("delete {kind} `{name}`");
        let existed = call(doing, self.cluster.delete::<R>(name)).await?;
        self.view
            .change::<R, _>(|table| table.mark_deleted(uid, Instant::now()));
        Ok(existed)
    }

    /// Checks that the view can answer: Kubernetes answers, and the view has listed all tasks once.
    pub async fn check_ready(&self) -> Result<()> {
        if self.view.is_fresh() {
            return Ok(());
        }
        self.cluster.check().await?;
        if !self.view.has_loaded() {
            let message = format!("still reading: {} tasks so far", self.view.len());
            return Err(Error::new(Reason::ServiceUnavailable, message));
        }
        Ok(())
    }
}

/// The scope of a list of the objects of `user`, or of all users.
pub fn scope_of(user: Option<&User>) -> Scope {
    user.map_or(Scope::All, |user| Scope::User(names::username(user).into()))
}
