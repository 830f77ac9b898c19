//! Tasks on Kubernetes: the only module that knows both.
//!
//! [`Executor`] is the façade: a cheap handle with all operations of the server. The modules behind it are layers. Each layer uses
//! only the layers below it:
//!
//! ```text
//! tasks, logs          submit, list, stop, fail fast; a log from the pod to the viewer
//! volumes              claims with an owner and a name that the owner chooses
//! files                the archive of the files that travel with a task
//! view                 live state: rows of the cluster's objects, kept by watches
//! observed             the cluster's objects as rows and statuses                   (pure)
//! objects              the objects that a task becomes                              (pure)
//! cluster              requests to Kubernetes; error, identity, key and fresh beside it
//! ```
//!
//! The cluster holds the state. The view is a copy of it, and a server that starts reads it again. The executor knows nothing of
//! HTTP towards the user.

mod cluster;
mod error;
mod files;
mod fresh;
mod identity;
mod key;
mod logs;
mod objects;
mod observed;
#[cfg(test)]
mod scripted_server;
mod tasks;
mod view;
mod volumes;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::batch::v1::Job;
use prometheus::HistogramVec;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

#[cfg(test)]
pub use self::logs::{Block, LogSource, Piece};
use self::{
    cluster::Cluster,
    files::{Files, Upload},
    logs::Logs,
    objects::{Keyed, Origin, Submission, labels},
    observed::AskedRow,
    tasks::{
        census::Census,
        definition, dry_run, events, expire,
        keyed::{self, Earlier},
        list, prepare, reconcile, stop,
        submit::{self, Creations},
        wait,
    },
    view::LiveView,
    volumes::Volumes,
};
pub use self::{
    cluster::{ClusterConfig, Identity, Need, Permission},
    error::{Error, Result},
    files::{Archive, FileRules},
    key::RequestKey,
    logs::{LogItem, LogLines},
    objects::{Defaults, PodRules},
    tasks::{
        census::Numbers, dry_run::DryRun, list::TaskList, submit::GroupRequest, watch::ListWatch,
    },
    view::ListVersion,
};
use crate::api::{
    GroupId, GroupSubmitResponse, ListQuery, LogQuery, NodeListResponse, NodeStatus, Reason,
    SubmitFlags, TaskCheckResponse, TaskDefinition, TaskDefinitionResponse, TaskId, TaskSource,
    TaskState, TaskStatus, TaskSubmitResponse, TaskWaitResponse, Timestamp, User, VolumeDefinition,
    VolumeId, VolumeStatus, WaitQuery,
};

/// A handle on a cluster. Clones share its view and its connections.
#[derive(Clone)]
pub struct Executor {
    live: LiveView,
    pod_rules: Arc<PodRules>,
    files: Arc<Files>,
    creations: Arc<Creations>,
    creating_volume: Arc<Mutex<()>>,
    logs: Arc<Logs>,
    census: Arc<Census>,
}

impl Executor {
    /// Connects to a cluster and asks it for its version. If Kubernetes is away for now, returns why too: the executor serves what it can,
    /// and all once Kubernetes is there.
    ///
    /// # Errors
    /// When there is no usable configuration, or Kubernetes refuses the server.
    pub async fn connect(
        from: ClusterConfig<'_>,
        namespace: &str,
    ) -> Result<(Self, Option<Error>)> {
        let (cluster, away) = Cluster::connect(from, namespace).await?;
        let executor = Self {
            live: LiveView::new(cluster),
            pod_rules: Arc::default(),
            files: Arc::new(Files::new(FileRules::default())?),
            creations: Arc::default(),
            creating_volume: Arc::default(),
            logs: Arc::new(Logs::new()),
            census: Arc::default(),
        };
        Ok((executor, away))
    }

    /// The same executor with connections of its own, for a thread with a runtime of its own. Call it within that runtime.
    ///
    /// # Errors
    /// When a file that the kubeconfig names is no longer usable.
    pub fn with_own_connections(&self) -> Result<Self> {
        Ok(Self {
            live: self.live.with_own_connections()?,
            ..self.clone()
        })
    }

    /// Sets the rules for the pods of all tasks.
    pub fn with_pod_rules(mut self, rules: PodRules) -> Self {
        self.pod_rules = Arc::new(rules);
        self
    }

    /// Sets the limits of the files that travel with tasks.
    ///
    /// # Errors
    /// When the directory for large archives cannot be used.
    pub fn with_file_rules(mut self, rules: FileRules) -> Result<Self> {
        self.files = Arc::new(Files::new(rules)?);
        Ok(self)
    }

    /// Checks that the executor can answer: Kubernetes answers, and the view has listed all tasks once.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or the first list is not complete.
    pub async fn check_ready(&self) -> Result<()> {
        self.live.check_ready().await
    }

    /// Keeps the view of the cluster up to date. Never returns.
    pub async fn keep_view(&self) {
        self.live.keep_alive().await;
    }

    /// Changes the objects of tasks where Kubernetes alone does not do what a task means: after the failure of a node, for example.
    /// Never returns.
    pub async fn reconcile(&self) {
        reconcile::run(&self.live, &self.files).await;
    }

    /// Deletes tasks when `ttl` has passed since their end. Never returns.
    pub async fn expire(&self, ttl: Duration) {
        expire::run(&self.live, ttl).await;
    }

    /// Lets no further task begin, and rolls back the tasks that are being created. Returns when no task is incomplete, as far as
    /// Kubernetes allows.
    pub async fn stop_creating(&self) {
        self.creations.stop().await;
    }

    // === Numbers ===

    /// The durations of all requests to Kubernetes so far.
    pub fn calls(&self) -> HistogramVec {
        self.live.cluster.calls.0.clone()
    }

    /// Counts the tasks and nodes of all users.
    pub fn count(&self) -> Numbers {
        self.census.count(&self.live)
    }

    /// The age of the view of tasks; none while it is not known.
    pub fn view_age(&self) -> Option<Duration> {
        self.live.view.age()
    }

    /// The bytes of files that are kept in Kubernetes for unfinished tasks, and the most of them.
    pub fn kept_files(&self) -> (u64, u64) {
        self.files.kept(&self.live.view)
    }

    // === Users ===

    /// The rights that the server itself needs, and whether it has them. `with_tokens`: with those to check the tokens of users.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn own_rights(&self, with_tokens: bool) -> Result<Vec<(&'static Need, bool)>> {
        self.live.cluster.own_rights(with_tokens).await
    }

    /// Whether the namespace of the server certainly does not exist.
    pub async fn lacks_namespace(&self) -> bool {
        self.live.cluster.lacks_namespace().await
    }

    /// The version of Kubernetes, and whether this program works with it.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn version(&self) -> Result<(String, bool)> {
        self.live.cluster.supported_version().await
    }

    /// The user of a token; none if it is not valid, or not for this audience. Without an audience it is that of the API server.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or the server may not ask.
    pub async fn identify(&self, token: &str, audience: Option<&str>) -> Result<Option<Identity>> {
        self.live.cluster.identify(token, audience).await
    }

    /// Whether a user has a right in the namespace of the server.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or the server may not ask.
    pub async fn allows(&self, user: &Identity, permission: Permission<'_>) -> Result<bool> {
        self.live.cluster.allows(user, permission).await
    }

    // === Tasks ===

    /// Begins to receive the archive of the files of a task.
    ///
    /// # Errors
    /// When too many others are being received.
    pub async fn begin_upload(&self) -> Result<Upload> {
        self.files.begin_upload().await
    }

    /// Checks that a submission would be accepted, and tells how large the archive of its files may be.
    ///
    /// # Errors
    /// Those of [`Executor::submit`], as far as they do not depend on the files.
    pub async fn check(
        &self,
        user: &User,
        task: TaskDefinition,
        flags: SubmitFlags,
    ) -> Result<TaskCheckResponse> {
        let (submission, first) = self
            .prepare(user, keyed::random_origin(), task, flags, None)
            .await?;
        let num_nodes = submission.task.num_nodes;
        let (max_files_size, limit) = self.files.limit(&self.live.view, num_nodes);
        let of_kubernetes = prepare::try_first(&self.live.cluster, &first).await?;
        Ok(TaskCheckResponse {
            status: "accepted".to_owned(),
            max_files_size,
            limit,
            warnings: [submission.warnings, of_kubernetes].concat(),
        })
    }

    /// Whether a request of this key has made a task or a group of `user`.
    pub fn has_made(&self, user: &User, key: &RequestKey) -> bool {
        let ids = [
            key.id("task", user),
            key::member_id(key.id("group", user), 0),
        ];
        let mut tasks = ids.into_iter().filter_map(|id| self.live.view.task(id));
        tasks.any(|task| task.is_of(user))
    }

    /// Starts a task with its files: all of it, or nothing. A second request with the same key finds the task of the first. `source` is
    /// kept for [`Executor::definition`]. If Kubernetes refuses an object, or the caller drops the future before it is done, the
    /// other objects are deleted again.
    ///
    /// # Errors
    /// When the definition is not allowed, or Kubernetes refuses an object.
    pub async fn submit(
        &self,
        user: &User,
        task: TaskDefinition,
        flags: SubmitFlags,
        files: Option<Archive>,
        source: TaskSource,
        key: Option<&RequestKey>,
    ) -> Result<TaskSubmitResponse> {
        let (origin, mut earlier, turn) = match key {
            Some(key) => self.keyed(user, &task, flags, files.as_ref(), key).await?,
            None => (keyed::random_origin(), Earlier::Nothing, None),
        };
        if earlier == Earlier::Task {
            let id = origin.id;
            // The answer is that of the first request. The files are not looked at again.
            let warnings = match files {
                Some(_) => Vec::new(),
                None => {
                    self.prepare(user, origin, task, flags, None)
                        .await?
                        .0
                        .warnings
                }
            };
            return Ok(TaskSubmitResponse::new(id, warnings));
        }
        let place = match &mut earlier {
            Earlier::Begun { files, .. } => files.take(),
            Earlier::Nothing | Earlier::Task => None,
        };
        let source = objects::pack_source(source, &task);
        let admit = |archive| {
            let view = &self.live.view;
            self.files.admit(view, task.num_nodes, archive, place)
        };
        let travelling = files.map(admit).transpose()?;
        let files = travelling
            .as_ref()
            .map(|travelling| travelling.files.clone());
        let (submission, mut first) = self.prepare(user, origin, task, flags, files).await?;
        let annotations = first.metadata.annotations.get_or_insert_default();
        annotations.extend(source.map(|source| (labels::SOURCE.to_owned(), source)));
        let travelling = travelling.map(|travelling| (travelling, self.files.clone()));
        let creations = &self.creations;
        submit::submit(&self.live, creations, submission, first, travelling, turn).await
    }

    /// The id that a key decides, what an earlier request of that key has left, and the turn to create the task.
    async fn keyed(
        &self,
        user: &User,
        task: &TaskDefinition,
        flags: SubmitFlags,
        files: Option<&Archive>,
        key: &RequestKey,
    ) -> Result<(Origin, Earlier, Option<OwnedMutexGuard<()>>)> {
        let id = key.id("task", user);
        let content = task.to_wire().map_err(Error::internal)?;
        let files = files.map(|files| files.sha256.as_str());
        let request = key.digest(&(
            content,
            flags.fail_fast,
            flags.barrier,
            flags.recover,
            files,
        ));
        let turn = self.creations.turn(id).await?;
        keyed::check_no_group(&self.live, user, key)?;
        let earlier = keyed::find(&self.live, user, id, &request).await?;
        let nonce = match &earlier {
            Earlier::Begun { nonce, .. } => nonce.clone(),
            Earlier::Nothing | Earlier::Task => fresh::nonce(),
        };
        let keyed = Some(Keyed { nonce, request });
        let group = None;
        Ok((Origin { id, keyed, group }, earlier, Some(turn)))
    }

    /// The effect that a submission would have, after Kubernetes has checked the first Job. The values of `secrets` are omitted.
    ///
    /// # Errors
    /// Those of [`Executor::submit`], as far as a dry run can detect them.
    pub async fn dry_run(
        &self,
        user: &User,
        task: TaskDefinition,
        flags: SubmitFlags,
        files: Option<Archive>,
    ) -> Result<DryRun> {
        let view = &self.live.view;
        let admit = |archive| self.files.admit(view, task.num_nodes, archive, None);
        let travelling = files.map(admit).transpose()?;
        let files = travelling.map(|travelling| travelling.files);
        let origin = keyed::random_origin();
        let (submission, _) = self.prepare(user, origin, task, flags, files).await?;
        dry_run::dry_run(&self.live.cluster, vec![submission]).await
    }

    /// Starts the tasks of a sweep: all of them, or nothing. A second request with the same key finds the group of the first.
    ///
    /// # Errors
    /// Those of [`Executor::submit`].
    pub async fn submit_group(&self, request: GroupRequest<'_>) -> Result<GroupSubmitResponse> {
        let rules = self.rules();
        submit::submit_group(&self.live, &self.creations, &self.files, request, rules).await
    }

    /// The effect that a sweep would have, as [`Executor::dry_run`].
    ///
    /// # Errors
    /// Those of [`Executor::dry_run`].
    pub async fn dry_run_group(&self, request: GroupRequest<'_>) -> Result<DryRun> {
        let rules = self.rules();
        submit::dry_run_group(&self.live, &self.files, request, rules).await
    }

    async fn prepare(
        &self,
        user: &User,
        origin: Origin,
        task: TaskDefinition,
        flags: SubmitFlags,
        files: Option<objects::Files>,
    ) -> Result<(Submission, Job)> {
        prepare::prepare(&self.live, user, origin, task, flags, files, self.rules()).await
    }

    fn rules(&self) -> prepare::Rules<'_> {
        let store = self.files.store.as_ref();
        prepare::Rules {
            pods: &self.pod_rules,
            reserved_claim: store.map(|store| store.claim()),
        }
    }

    /// One task of `user`, perhaps with the last events of its objects.
    ///
    /// # Errors
    /// When `user` has no such task. A task of another user looks the same.
    pub async fn get(&self, user: &User, id: TaskId, with_events: bool) -> Result<TaskStatus> {
        let task = self.live.task(user, id).await?;
        log::debug!("task status read task_id={id} user={:?}", user.as_str());
        let status = task.status(id, Some(user), &self.live.cluster.namespace);
        let mut status = status.ok_or_else(|| Error::no_such_task(id))?;
        if with_events {
            let mut own = task.of(|owner| owner.is(user));
            own.pods.retain(|pod| pod.owner.is(user));
            status.events = events::last(&self.live, &own).await;
            if !status.status.is_terminal()
                && let Some(shortage) = self.shortage(&status).await
            {
                let reason = status.reason.take().unwrap_or_default();
                status.reason = Some(format!("{reason} ({shortage})"));
            }
        }
        Ok(status)
    }

    /// What the cluster lacks for a task that waits for its scheduler. An error is only logged: this explains, and decides nothing.
    async fn shortage(&self, task: &TaskStatus) -> Option<String> {
        let waits = |node: &&NodeStatus| {
            let reason = node.reason.as_deref().unwrap_or_default();
            node.status == TaskState::Pending && reason.contains("nodes are available")
        };
        let node = task.metadata.nodes.iter().find(waits)?;
        let job = self.live.cluster.get::<AskedRow>(&node.job);
        match futures::join!(job, self.nodes()) {
            (Ok(Some(AskedRow(asked))), Ok(cluster)) => objects::shortage(asked, &cluster.nodes),
            (_, Err(error)) => {
                log::debug!("cannot tell what the cluster lacks: {error}");
                None
            }
            _ => None,
        }
    }

    /// The file of a task of `user`, as it was submitted.
    ///
    /// # Errors
    /// When `user` has no such task, or Kubernetes does not answer.
    pub async fn definition(&self, user: &User, id: TaskId) -> Result<TaskDefinitionResponse> {
        definition::definition(&self.live, user, id).await
    }

    /// Waits until tasks of `user` have reached a state, or never will, or the time of the query is over.
    ///
    /// # Errors
    /// When `user` has no such task, or Kubernetes has to be asked and does not answer.
    pub async fn wait(&self, user: &User, query: &WaitQuery) -> Result<TaskWaitResponse> {
        wait::wait(&self.live, user, query).await
    }

    /// The tasks of `user`, or of all users.
    ///
    /// # Errors
    /// When the view is not fresh and Kubernetes does not answer.
    pub async fn list(&self, user: Option<&User>) -> Result<TaskList> {
        list::list(&self.live, user).await
    }

    /// Watches the tasks of `user`, or of all users. `now` is the time of the request.
    pub fn watch_list(&self, user: Option<&User>, query: ListQuery, now: Timestamp) -> ListWatch {
        ListWatch::new(&self.live, user, query, now)
    }

    /// The version of the list of `user`'s tasks, or of all tasks; none while the view is not fresh.
    pub fn list_version(&self, user: Option<&User>) -> Option<ListVersion> {
        let view = &self.live.view;
        view.is_fresh().then(|| view.list_version(user))
    }

    /// The age of the view, which is the age of an answer about tasks; none while each answer comes from Kubernetes.
    pub fn age(&self) -> Option<Duration> {
        self.live.age()
    }

    /// Stops a task of `user`.
    ///
    /// # Errors
    /// When `user` has no such task, or Kubernetes refuses.
    pub async fn stop(&self, user: &User, id: TaskId) -> Result<()> {
        stop::stop(&self.live, user, id).await
    }

    /// Deletes a finished task of `user`, with its logs.
    ///
    /// # Errors
    /// When `user` has no such task, or it has not finished, or Kubernetes refuses.
    pub async fn delete(&self, user: &User, id: TaskId) -> Result<()> {
        stop::delete_finished(&self.live, user, id).await
    }

    /// Stops the unfinished tasks of `user`, or of all users, or only those of a group, in the name of `asking`; returns their ids.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or refuses. Some tasks may be stopped already.
    pub async fn stop_all(
        &self,
        asking: &User,
        user: Option<&User>,
        group: Option<GroupId>,
    ) -> Result<Vec<TaskId>> {
        stop::stop_all(&self.live, asking, user, group).await
    }

    /// The log of a task of `user`, as a channel that ends with [`LogRecord::End`](crate::api::LogRecord). Dropping the receiver
    /// stops the reading.
    ///
    /// # Errors
    /// When `user` has no such task, or `query` names a node that the task does not have.
    pub async fn logs(
        &self,
        user: &User,
        id: TaskId,
        query: LogQuery,
    ) -> Result<mpsc::Receiver<LogItem>> {
        logs::open(&self.logs, &self.live, user, id, query).await
    }

    // === Nodes ===

    /// The nodes of the cluster, and what is free on them, if the server may see the pods of all namespaces.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or the server may not see the nodes.
    pub async fn nodes(&self) -> Result<NodeListResponse> {
        let cluster = &self.live.cluster;
        let (nodes, pods) = futures::join!(cluster.nodes(), cluster.all_pods());
        let pods = match pods {
            Err(error) if error.reason() == Reason::Forbidden => None,
            pods => Some(pods?),
        };
        let nodes = objects::cluster_nodes(&nodes?, pods.as_deref());
        Ok(NodeListResponse::new(nodes))
    }

    // === Volumes ===

    /// Creates a volume. A second request with the same key finds the volume of the first.
    ///
    /// # Errors
    /// When `user` already has a volume of that name, or Kubernetes refuses the claim.
    pub async fn create_volume(
        &self,
        user: &User,
        volume: &VolumeDefinition,
        key: Option<&RequestKey>,
    ) -> Result<VolumeId> {
        let volumes = Volumes(&self.live);
        let creating = &self.creating_volume;
        volumes.create(creating, user, volume, key).await
    }

    /// The volumes of `user`, or of all users, newest first.
    ///
    /// # Errors
    /// When the view is not fresh and Kubernetes does not answer.
    pub async fn list_volumes(&self, user: Option<&User>) -> Result<Vec<VolumeStatus>> {
        Volumes(&self.live).list(user).await
    }

    /// One volume of `user`.
    ///
    /// # Errors
    /// When `user` has no such volume. A volume of another user looks the same.
    pub async fn get_volume(&self, user: &User, id: VolumeId) -> Result<VolumeStatus> {
        Volumes(&self.live).get(user, id).await
    }

    /// Deletes a volume and the data in it.
    ///
    /// # Errors
    /// When `user` has no such volume, or a pod still uses it.
    pub async fn delete_volume(&self, user: &User, id: VolumeId) -> Result<()> {
        Volumes(&self.live).delete(user, id).await
    }
}
