//! Creates the objects of a task: all of them, or none.

mod group;

use std::{
    collections::HashMap,
    ops::Range,
    pin::pin,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{PersistentVolumeClaim, Secret, Service},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{
    sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, RwLock, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{
    keyed,
    prepare::{describe_warnings, job, try_first},
    stop,
};
use crate::{
    api::{Reason, TaskId, TaskSubmitResponse},
    executor::{
        cluster::{CONCURRENCY, DEADLINE, call},
        error::{Error, Result},
        files::{Files, Travelling},
        objects::{self, Keyed, PART, Submission, labels, names},
        observed::{JobRow, KeyedJobRow},
        view::{LiveView, Table},
    },
};

/// The Secrets with files that are created at the same time. Each takes 3 MB of memory meanwhile.
const CONCURRENT_SECRETS: usize = 4;

/// How long an answer waits for a roll-back. It goes on behind the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the watch of Jobs may take to show one that was just created. Then they are listed.
const MAX_WATCH_DELAY: Duration = Duration::from_secs(1);

/// The longest wait for the processes of a task that was rolled back.
const MAX_ENDING: Duration = Duration::from_secs(60);

/// The tasks that are being created. The server waits for them before it stops, so that it leaves no incomplete task.
#[derive(Default)]
pub struct Creations {
    /// Each creation holds a read lock.
    under_way: Arc<RwLock<()>>,
    /// Whether all creations have to end.
    is_stopping: AtomicBool,
    /// The ids that keys have decided, of tasks that are being created.
    turns: std::sync::Mutex<HashMap<TaskId, Weak<Mutex<()>>>>,
}

impl Creations {
    /// Lets no further creation begin, and rolls back those under way. Returns when no task is incomplete, as far as Kubernetes
    /// allows.
    pub async fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        if self.under_way.try_write().is_err() {
            log::info!("tasks that are being created are rolled back before the server stops");
        }
        drop(self.under_way.write().await);
    }

    /// Waits until no other request creates the task of this id, which a key has decided, and lets none begin before the guard is dropped.
    ///
    /// # Errors
    /// When another request takes too long.
    pub async fn turn(&self, id: TaskId) -> Result<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(&id).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(id, Arc::downgrade(&turn));
            turn
        };
        let turn = timeout(DEADLINE, turn.lock_owned()).await;
        turn.map_err(|_| {
            keyed::submit_again(
                "task",
                id.as_str(),
                "is being created, or rolled back, by another request",
            )
        })
    }

    /// Begins a creation; the server waits for the guard before it stops.
    ///
    /// # Errors
    /// When the server is stopping.
    fn begin(&self) -> Result<OwnedRwLockReadGuard<()>> {
        let under_way = self.under_way.clone().try_read_owned();
        let under_way = under_way.map_err(|_| stopping())?;
        if self.is_stopping() {
            return Err(stopping());
        }
        Ok(under_way)
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }
}

fn stopping() -> Error {
    let message = "the task was not created: the server is stopping, submit it again";
    Error::new(Reason::ServiceUnavailable, message)
}

fn cut_off(what: &str) -> Error {
    Error::new(
        Reason::InternalError,
        format!("creating {what} was cut off"),
    )
}

fn taken(id: &str) -> Error {
    let message = format!("the id {id} is taken: submit the task again");
    Error::new(Reason::Conflict, message)
}

/// Creates the objects of a task. If Kubernetes refuses one of them, or the caller drops the future before it is done, the others
/// are deleted again. Holds `turn` until that is done.
///
/// # Errors
/// When Kubernetes refuses an object.
pub async fn submit(
    live: &LiveView,
    creations: &Arc<Creations>,
    submission: Submission,
    first: Job,
    travelling: Option<(Travelling, Arc<Files>)>,
    turn: Option<OwnedMutexGuard<()>>,
) -> Result<TaskSubmitResponse> {
    if submission.task.pod_config.is_some() {
        // Kubernetes checks the user's part of the pod before anything is created.
        try_first(&live.cluster, &first).await?;
    }
    let mut creation = Creation {
        live: live.clone(),
        submission,
        first,
        travelling,
        creations: creations.clone(),
        is_begun: AtomicBool::new(false),
    };
    let mut warnings = std::mem::take(&mut creation.submission.warnings);
    let submission = &creation.submission;
    let (id, user) = (submission.id, submission.user.clone());
    let keyed = submission.keyed.clone();
    let (answer, answered) = oneshot::channel();
    let under_way = creations.begin()?;
    // The creation continues, or is rolled back, when its request is dropped.
    tokio::spawn(async move {
        let begun = Instant::now();
        let created = creation.run(|| answer.is_closed()).await;
        let gone = || log::warn!("task {id}: rolling back, since the client went away");
        if created.is_err() && answer.is_closed() {
            gone();
        }
        let is_begun = creation.is_begun.load(Ordering::Relaxed);
        let patience = DEADLINE.saturating_sub(begun.elapsed()).min(PATIENCE);
        if matches!(created, Ok(Made::Elsewhere)) {
            creation.discard_files().await;
        }
        let has_failed = created.is_err() && is_begun;
        let mut rolling_back = pin!(async { !has_failed || creation.roll_back().await });
        let is_gone = tokio::select! {
            biased;
            is_gone = &mut rolling_back => Some(is_gone),
            () = sleep(patience) => None,
        };
        let rest = match is_gone {
            Some(true) => None,
            Some(false) => Some("some of its objects could not be deleted, so it may run"),
            None => Some("it is being rolled back, and may run until then"),
        };
        let created = created.map_err(|error| match rest {
            Some(rest) => error.and(&format!("{rest}: see `k8s-cli jobs status {id}`")),
            None => error,
        });
        let is_keyed = creation.submission.keyed.is_some();
        // The caller is gone, so no user learns the id, unless the request comes again.
        if let Err(Ok(_)) = answer.send(created)
            && !is_keyed
        {
            gone();
            creation.roll_back().await;
        }
        if is_gone.is_none() {
            rolling_back.await;
        }
        drop(under_way);
        if has_failed && is_keyed {
            creation.wait_until_gone().await;
        }
        drop(turn);
    });
    let cut_off = |_| cut_off(&format!("task `{id}`"));
    match (answered.await.map_err(cut_off)??, keyed) {
        (Made::Whole(of_kubernetes), _) => warnings.extend(describe_warnings(of_kubernetes)),
        (Made::Elsewhere, Some(Keyed { request, .. })) => {
            keyed::wait_for_other(live, &user, id, &request).await?;
        }
        (Made::Elsewhere, None) => return Err(taken(id.as_str())),
    }
    log::info!("task submitted task_id={id} user={:?}", user.as_str());
    Ok(TaskSubmitResponse::new(id, warnings))
}

/// A task that is being created.
struct Creation {
    live: LiveView,
    submission: Submission,
    first: Job,
    /// The files that travel with it.
    travelling: Option<(Travelling, Arc<Files>)>,
    creations: Arc<Creations>,
    /// Whether an object of the task may exist.
    is_begun: AtomicBool,
}

/// What a creation has come to.
enum Made {
    /// All objects exist. These are the warnings of Kubernetes.
    Whole(Vec<String>),
    /// A request of the same key has begun to create the task at another server.
    Elsewhere,
}

impl Creation {
    fn id(&self) -> TaskId {
        self.submission.id
    }

    /// Creates the objects of the task. Stops with an error after the first refusal, and once `is_unwanted`.
    async fn run(&mut self, is_unwanted: impl Fn() -> bool) -> Result<Made> {
        if let Some((travelling, files)) = &mut self.travelling {
            travelling.store(files).await?;
        }
        let Some((first, warnings)) = self.begin(&is_unwanted).await? else {
            return Ok(Made::Elsewhere);
        };
        if self.submission.is_held() {
            release(&self.live, self.id(), &first, Start::Now).await?;
        }
        Ok(Made::Whole(warnings))
    }

    /// Creates the objects of the task; its first Job is held if it has others. None if a request of the same key has begun to do so at
    /// another server.
    async fn begin(
        &self,
        is_unwanted: &impl Fn() -> bool,
    ) -> Result<Option<(JobRow, Vec<String>)>> {
        let (submission, first) = (&self.submission, &self.first);
        let cluster = &self.live.cluster;
        // The first Job owns the other objects, so it comes first. Its pod has to wait for them.
        let first = if submission.is_held() {
            self.create_job(&held(first)).await
        } else {
            self.create_job(first).await
        };
        let is_refused = first.as_ref().is_err_and(Error::is_refusal);
        self.is_begun.store(!is_refused, Ordering::Relaxed);
        let Some((first, warnings)) = first? else {
            self.is_begun.store(false, Ordering::Relaxed);
            return Ok(None);
        };
        self.check_key(&first).await?;
        let owner = &ObjectMeta {
            name: Some(first.name.to_string()),
            uid: Some(first.uid.to_string()),
            ..ObjectMeta::default()
        };
        for secret in objects::secrets(submission, owner) {
            create(&cluster.api::<Secret>(), &secret).await?;
        }
        self.create_file_secrets(owner, is_unwanted).await?;
        for claim in objects::ephemeral_claims(submission, owner) {
            create(&cluster.api::<PersistentVolumeClaim>(), &claim).await?;
        }
        if submission.is_multi_node() {
            let service = objects::service(submission, owner);
            create(&cluster.api::<Service>(), &service).await?;
            self.create_other_jobs(is_unwanted).await?;
        }
        Ok(Some((first, warnings)))
    }

    /// Whether this creation makes a Job of this name.
    fn is_own(&self, job: &JobRow) -> bool {
        let task = &self.submission.task;
        let own = names::job_name(task, self.id());
        *job.name == names::node_job_name(&own, job.rank, task.num_nodes)
    }

    /// Refuses a task of which a request with the same key makes another one at the same time, at another server: its Jobs have other
    /// names, so that Kubernetes accepts both. The watch shows Jobs in the order of their creation, so of two at least the later one
    /// is refused.
    async fn check_key(&self, first: &JobRow) -> Result<()> {
        let group = self.submission.group.as_ref();
        if self.submission.keyed.is_none() || group.is_some_and(|group| group.rank > 0) {
            return Ok(());
        }
        let shown = self.live.view.has_watched_jobs(first.version);
        if timeout(MAX_WATCH_DELAY, shown).await.is_err() {
            self.live.refresh_jobs(self.id()).await?;
        }
        let task = self.live.view.task(self.id()).unwrap_or_default();
        match task.all_jobs().any(|job| !self.is_own(job)) {
            true => Err(Error::key_makes_another("task")),
            false => Ok(()),
        }
    }

    /// Creates the Secrets with the files of the task.
    async fn create_file_secrets(
        &self,
        owner: &ObjectMeta,
        is_unwanted: impl Fn() -> bool,
    ) -> Result<()> {
        let Some((travelling, _)) = &self.travelling else {
            return Ok(());
        };
        let submission = &self.submission;
        let parts = travelling.files.kept.secrets(submission.id).count() as u32;
        let api = &self.live.cluster.api::<Secret>();
        let part = |part: u32| async move {
            let offset = u64::from(part) * PART as u64;
            let bytes = travelling.archive.read(offset, PART).await?;
            create(api, &objects::files_secret(submission, owner, part, bytes)).await
        };
        self.create_all(0..parts, CONCURRENT_SECRETS, is_unwanted, part)
            .await
    }

    /// Creates the Jobs of all nodes but the first.
    async fn create_other_jobs(&self, is_unwanted: impl Fn() -> bool) -> Result<()> {
        let submission = &self.submission;
        let ranks = 1..submission.task.num_nodes;
        let node = |rank| async move {
            let job = job(submission, rank)?;
            match self.create_job(&job).await? {
                Some(_) => Ok(()),
                None => Err(in_the_way(&job)),
            }
        };
        self.create_all(ranks, CONCURRENCY, is_unwanted, node).await
    }

    /// Creates several objects, until one is refused or the task `is_unwanted`.
    async fn create_all<F>(
        &self,
        objects: Range<u32>,
        concurrency: usize,
        is_unwanted: impl Fn() -> bool,
        create: impl Fn(u32) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let count = objects.len();
        let is_unwanted = || is_unwanted() || self.creations.is_stopping();
        let has_failed = AtomicBool::new(false);
        let results: Vec<Result<()>> = stream::iter(objects)
            .take_while(|_| {
                std::future::ready(!has_failed.load(Ordering::Relaxed) && !is_unwanted())
            })
            .map(create)
            .buffer_unordered(concurrency)
            // Running requests are awaited: an object that appears after the roll-back would stay for ever.
            .inspect_err(|_| has_failed.store(true, Ordering::Relaxed))
            .collect()
            .await;
        let is_whole = results.len() == count;
        results.into_iter().collect::<Result<()>>()?;
        if is_whole { Ok(()) } else { Err(stopping()) }
    }

    /// Creates a Job; returns it with the warnings of Kubernetes. None if there is a Job of its name that another request has made.
    async fn create_job(&self, job: &Job) -> Result<Option<(JobRow, Vec<String>)>> {
        let name = job_name(job);
        let created = async {
            match self.live.create::<JobRow>(job).await {
                // kube repeats a request whose answer was lost, and the creation that another request has begun is continued. A
                // name without a nonce has a random part.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    let present = self.live.cluster.get::<KeyedJobRow>(name).await?;
                    let present = present.ok_or(kube::Error::Api(status))?;
                    self.live
                        .view
                        .change::<JobRow, _>(|table| table.merge(present.job.clone()));
                    let is_ours = present.keyed == self.submission.keyed;
                    Ok(is_ours.then(|| (present.job, Vec::new())))
                }
                answer => answer.map(Some),
            }
        };
        call(format!("create Job `{name}`"), created).await
    }

    async fn discard_files(&self) {
        if let Some((travelling, files)) = &self.travelling {
            travelling.discard(files).await;
        }
    }

    /// Deletes the objects of the task, in up to 5 attempts; returns whether none is left.
    async fn roll_back(&self) -> bool {
        self.discard_files().await;
        const ATTEMPTS: u32 = 5;
        let id = self.id();
        let mut is_left = true;
        for attempt in 1..=ATTEMPTS {
            match stop::roll_back(&self.live, id, |job| self.is_own(job)).await {
                Ok(0) => return true,
                // The list may have missed some Jobs.
                Ok(_) => is_left = false,
                Err(error) => {
                    is_left = true;
                    log::warn!("task {id}: rolling back, attempt {attempt} of {ATTEMPTS}: {error}");
                    sleep(DEADLINE / 2).await;
                }
            }
        }
        if is_left {
            log::error!("task {id}: roll-back failed, delete its Jobs by hand");
        }
        !is_left
    }

    /// Waits until the processes of a task that was rolled back have ended. Until then a request of the same key is refused.
    async fn wait_until_gone(&self) {
        let mut changes = self.live.view.changes();
        let is_left = || {
            let task = self.live.view.task(self.id());
            let own = format!("{}-", names::job_name(&self.submission.task, self.id()));
            task.is_some_and(|task| {
                task.all_jobs().any(|job| self.is_own(job))
                    || task.pods.iter().any(|pod| pod.name.starts_with(&own))
            })
        };
        let gone = async { while is_left() && changes.changed().await.is_ok() {} };
        // Afterwards requests are refused, as at other servers.
        drop(timeout(MAX_ENDING, gone).await);
    }
}

/// When the pods of a task are made that is complete.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Now,
    /// When it is its turn in its group.
    Later,
}

/// Marks a task as complete, and lets Kubernetes make the pod of its first Job, unless the task was stopped in the meantime. A stop
/// marks the first Job before it lists the Jobs to delete, so it misses none that is created before this mark.
async fn release(live: &LiveView, id: TaskId, first: &JobRow, start: Start) -> Result<()> {
    let name = &first.name;
    let mut patch = json!({ "metadata": { "annotations": { labels::COMPLETE: "true" } } });
    if start == Start::Now {
        patch["spec"] = json!({ "parallelism": 1 });
    }
    let released = live.cluster.patch::<JobRow>(name, patch);
    let released = call(format!("start Job `{name}`"), released).await?;
    let released = released.filter(|job| {
        job.uid == first.uid
                && !job.is_deleted
                && !job.is_stopping
                // Another server has given the creation up.
                && !job.state.has_failed()
    });
    let Some(released) = released else {
        let message = format!("task `{id}` was stopped while it was being created");
        return Err(Error::new(Reason::Conflict, message));
    };
    live.view.change::<JobRow, _>(|table| table.merge(released));
    Ok(())
}

fn job_name(job: &Job) -> &str {
    job.metadata.name.as_deref().unwrap_or_default()
}

/// The error for a Job whose name that of an earlier task of the same id has.
fn in_the_way(job: &Job) -> Error {
    let name = job_name(job);
    let message =
        format!("Kubernetes has not deleted Job `{name}` of an earlier task yet: submit it again");
    Error::new(Reason::ServiceUnavailable, message)
}

/// The first Job of a task with other objects, for which Kubernetes makes no pod until they exist.
fn held(first: &Job) -> Job {
    let mut first = first.clone();
    first.spec.get_or_insert_default().parallelism = Some(0);
    first
}

/// Creates an object of a task. An existing object of its name is ours, since the name has a random part.
async fn create<K>(api: &Api<K>, object: &K) -> Result<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let name = object.meta().name.as_deref().unwrap_or_default();
    let created = async {
        match api.create(&PostParams::default(), object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            answer => answer.map(drop),
        }
    };
    call(format!("create {} `{name}`", K::kind(&())), created).await
}

pub use group::{GroupRequest, dry_run_group, submit_group};

#[cfg(test)]
mod tests;
