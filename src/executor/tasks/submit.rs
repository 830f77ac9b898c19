//! The beginning of a task: it is created whole, or not at all.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{RwLock, oneshot};

use super::{
    CONCURRENCY, Error, Executor, Result, call, manifest, prepare::Prepared, rows::JobRow,
    view::Table,
};
use crate::api::{Reason, TaskDefinition, TaskId, TaskSubmitResponse, User};

/// The tasks that are being created: when the server ends, none is to be left half-made.
#[derive(Default)]
pub struct Creations {
    /// Each holds it for reading.
    under_way: Arc<RwLock<()>>,
    /// Whether they are to end.
    is_over: AtomicBool,
}

impl Creations {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

fn stopping() -> Error {
    let message = "the task was not created: the server is stopping, submit it again";
    Error::new(Reason::ServiceUnavailable, message)
}

impl Executor {
    /// Creates no task any more, and rolls back those that are being created. Returns when nothing is half-made, as far as
    /// Kubernetes allows.
    pub async fn stop_creating(&self) {
        self.creations.is_over.store(true, Ordering::SeqCst);
        if self.creations.under_way.try_write().is_err() {
            log::info!("tasks that are being created are rolled back before the server stops");
        }
        drop(self.creations.under_way.write().await);
    }

    /// Starts a task: whole, or not at all. When one of its objects is refused, or the caller drops the future before it is
    /// done, what was made is deleted again. `fail_fast`: when a node fails, the others are stopped.
    ///
    /// # Errors
    /// When a volume of the task does not exist, or Kubernetes refuses an object.
    pub async fn submit(
        &self,
        asking: &User,
        task: TaskDefinition,
        fail_fast: bool,
    ) -> Result<TaskSubmitResponse> {
        let mut prepared = self.prepare(asking, task, fail_fast).await?;
        if prepared.task.pod_config.is_some() {
            // What a user wrote into a pod is looked at by Kubernetes before anything is created.
            self.try_job(&prepared).await?;
        }
        let warnings = std::mem::take(&mut prepared.warnings);
        let id = prepared.id;
        let (answer, answered) = oneshot::channel();
        let executor = self.clone();
        let under_way = self.creations.under_way.clone().try_read_owned();
        let under_way = under_way.map_err(|_| stopping())?;
        if self.creations.is_over() {
            return Err(stopping());
        }
        // A task of its own, which goes on when the request that wants it goes away.
        tokio::spawn(async move {
            let id = prepared.id;
            let is_unwanted = || answer.is_closed() || executor.creations.is_over();
            let created = executor.create(&prepared, is_unwanted).await;
            let mut created = match created {
                // There is nothing that could have been left over.
                Ok(_) if prepared.task.num_nodes == 1 => Ok(()),
                Ok(first) => executor.check_not_stopped(id, &first).await,
                Err(error) => Err(error),
            };
            let gone = || log::warn!("task {id}: the client went away, rolling back");
            if created.is_err() && answer.is_closed() {
                gone();
            }
            if created.is_err() && !executor.roll_back(id).await {
                let rest = format!(
                    "what was created of it could not be deleted, so it may run: see `k8s-cli jobs status {id}`"
                );
                created = created.map_err(|error| error.but(&rest));
            }
            // Nobody waits any more, so nobody learns the id.
            if let Err(Ok(())) = answer.send(created) {
                gone();
                executor.roll_back(id).await;
            }
            drop(under_way);
        });
        let gone = || {
            Error::new(
                Reason::InternalError,
                format!("creating task `{id}` was cut off"),
            )
        };
        answered.await.map_err(|_| gone())??;
        log::info!("task submitted task_id={id} user={:?}", asking.as_str());
        Ok(TaskSubmitResponse::new(id, warnings))
    }

    /// Creates the objects of a task, but starts none after the first that is refused, or once `is_unwanted`, which is an error
    /// too; returns the first Job.
    async fn create(&self, prepared: &Prepared, is_unwanted: impl Fn() -> bool) -> Result<JobRow> {
        let submission = &prepared.submission();
        // The first Job owns what belongs to the task as a whole, so it comes first.
        let first = self.create_job(prepared.job(0)?).await?;
        let owner = &ObjectMeta {
            name: Some(first.name.to_string()),
            uid: Some(first.uid.to_string()),
            ..ObjectMeta::default()
        };
        if !prepared.task.secrets.is_empty() {
            create(&self.secrets(), &manifest::secret(submission, owner)).await?;
        }
        if manifest::is_shared(submission) {
            create(&self.secrets(), &manifest::shared(submission, owner)).await?;
        }
        for claim in manifest::ephemeral_claims(submission, owner) {
            create(&self.claims(), &claim).await?;
        }
        let num_nodes = prepared.task.num_nodes;
        if num_nodes == 1 {
            return Ok(first);
        }
        create(&self.services(), &manifest::service(submission, owner)).await?;

        let has_failed = AtomicBool::new(false);
        let results: Vec<Result<JobRow>> = stream::iter(1..num_nodes)
            .take_while(|_| {
                std::future::ready(!has_failed.load(Ordering::Relaxed) && !is_unwanted())
            })
            .map(|rank| async move { self.create_job(prepared.job(rank)?).await })
            .buffer_unordered(CONCURRENCY)
            // What is under way is waited for: a Job that appears after the roll-back would stay for ever.
            .inspect_err(|_| has_failed.store(true, Ordering::Relaxed))
            .collect()
            .await;
        let is_whole = results.len() as u32 + 1 == num_nodes;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop))?;
        if is_whole { Ok(first) } else { Err(stopping()) }
    }

    /// Makes sure that nobody stopped a task of several nodes while it was being created: whoever does deletes the Jobs that they see, the
    /// first one always among them, and not those that came later.
    async fn check_not_stopped(&self, id: TaskId, first: &JobRow) -> Result<()> {
        let name = &first.name;
        let present = self.get_row::<JobRow>(name);
        let present = call(format!("look for Job `{name}`"), present).await?;
        if present.is_some_and(|job| job.uid == first.uid && !job.is_deleted) {
            return Ok(());
        }
        let message = format!("task `{id}` was stopped while it was being created");
        Err(Error::new(Reason::Conflict, message))
    }

    async fn create_job(&self, job: Job) -> Result<JobRow> {
        let name = job.metadata.name.clone().unwrap_or_default();
        let created = async {
            match self.create_row::<JobRow>(&job).await {
                // kube repeats a request whose answer was lost. The name has a random part, so the one that exists is ours.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    let present = self.get_row::<JobRow>(&name).await?;
                    let present = present.ok_or(kube::Error::Api(status))?;
                    self.view
                        .change::<JobRow, _>(|table| table.tell(present.clone()));
                    Ok(present)
                }
                answer => answer,
            }
        };
        call(format!("create Job `{name}`"), created).await
    }

    /// Deletes what there is of a task that is not to be, and tries that for a while; returns whether nothing is left.
    async fn roll_back(&self, id: TaskId) -> bool {
        const ATTEMPTS: u32 = 5;
        let mut is_left = true;
        for attempt in 1..=ATTEMPTS {
            let deleted = async { self.delete_jobs(self.jobs_of(id).await?).await };
            match deleted.await {
                Ok(deleted) if deleted.is_empty() => return true,
                // Perhaps not all of them were seen yet.
                Ok(_) => is_left = false,
                Err(error) => {
                    is_left = true;
                    log::warn!("task {id}: rolling back, attempt {attempt} of {ATTEMPTS}: {error}");
                    tokio::time::sleep(super::DEADLINE / 2).await;
                }
            }
        }
        if is_left {
            log::error!("task {id}: could not be rolled back, its Jobs have to be deleted by hand");
        }
        !is_left
    }
}

/// Creates what belongs to a task. What exists under its name is ours: see [`Executor::create_job`].
async fn create<K>(api: &Api<K>, object: &K) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
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
