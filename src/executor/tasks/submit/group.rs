//! Creates the tasks of a group: all of them, or none.
//!
//! No task starts before all exist: each has a first Job that is held. Then all are marked as complete, and the first ones start.
//! `reconcile::groups` starts the others. A server that ends in between leaves a group whose creation another request of the same key
//! continues; without one, `reconcile::incomplete` ends it.
//!
//! The files of a group are stored once. All its first Jobs own them, so they stay until the last one is deleted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::api::ListParams;
use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    CONCURRENT_SECRETS, Creation, Creations, PATIENCE, Start, create, cut_off, in_the_way, release,
    stopping, taken,
};
use crate::{
    api::{
        GroupId, GroupSubmitResponse, JOB_RANK, NUM_JOBS, SubmitFlags, Sweep, TaskDefinition,
        TaskId, TaskSource, User,
    },
    executor::{
        cluster::CONCURRENCY,
        error::{Error, Result},
        files::{Archive, Files, Travelling},
        fresh,
        key::{RequestKey, member_id},
        objects::{self, Keyed, Origin, PART, files_secret, labels},
        observed::{JobRow, KeyedJobRow},
        tasks::{
            dry_run::{self, DryRun},
            keyed::{self, Earlier},
            prepare::{Decided, Rules, decide, describe_warnings, try_first},
            stop,
        },
        view::{LiveView, Table},
    },
};

/// The tasks of a group that are created at the same time.
const TASKS: usize = 8;
/// The most bytes of the task files that are kept with all tasks of a group.
const MAX_SOURCES: usize = 8 << 20;
/// The pause between two attempts to roll a group back.
const PAUSE: Duration = Duration::from_secs(5);

/// A submission with a sweep.
pub struct GroupRequest<'a> {
    pub user: &'a User,
    pub task: TaskDefinition,
    pub flags: SubmitFlags,
    pub sweep: Sweep,
    pub files: Option<Archive>,
    pub source: TaskSource,
    pub key: Option<&'a RequestKey>,
}

/// Starts the tasks of a sweep: all of them, or nothing.
///
/// # Errors
/// When the definition is not allowed, or Kubernetes refuses an object.
pub async fn submit_group(
    live: &LiveView,
    creations: &Arc<Creations>,
    files: &Arc<Files>,
    request: GroupRequest<'_>,
    rules: Rules<'_>,
) -> Result<GroupSubmitResponse> {
    let (id, keyed, earlier, turn) = identify(live, creations, &request).await?;
    let sweep = request.sweep.clone();
    let ids: Vec<TaskId> = (0..sweep.num_tasks)
        .map(|rank| member_id(id, rank))
        .collect();
    let user = request.user.clone();
    if earlier == Earlier::Task {
        return Ok(GroupSubmitResponse::new(id, ids, Vec::new()));
    }
    let GroupRequest {
        task,
        flags,
        source,
        files: archive,
        ..
    } = request;
    let place = match earlier {
        Earlier::Begun { files, .. } => files,
        Earlier::Nothing | Earlier::Task => None,
    };
    let at_once = sweep
        .max_running
        .unwrap_or(sweep.num_tasks)
        .min(sweep.num_tasks);
    let admit = |archive| {
        let num_nodes = task.num_nodes.saturating_mul(at_once);
        files.admit(&live.view, num_nodes, archive, place)
    };
    let mut travelling = archive.map(admit).transpose()?;
    if let Some(travelling) = &mut travelling {
        travelling.files.kept.holder = ids.first().copied();
    }
    let of_task = travelling
        .as_ref()
        .map(|travelling| travelling.files.clone());
    let source = small(source, &task, sweep.num_tasks);
    let decided = decide(live, &user, task, flags, of_task, rules).await?;
    let mut group = Group {
        live: live.clone(),
        creations: creations.clone(),
        files: files.clone(),
        id,
        sweep,
        keyed: keyed.clone(),
        decided,
        source,
        travelling,
        begun: Mutex::default(),
    };
    let (first, job) = group.decided.submission(group.origin(0))?;
    let mut warnings = first.warnings.clone();
    if first.task.pod_config.is_some() {
        try_first(&live.cluster, &job).await?;
    }
    let (answer, answered) = oneshot::channel();
    let under_way = creations.begin()?;
    // The creation continues, or is rolled back, when its request is dropped.
    tokio::spawn(async move {
        let created = group.create(|| answer.is_closed()).await;
        let is_keyed = group.keyed.is_some();
        let created = match created {
            Err(error) => {
                let rolling_back = group.roll_back();
                tokio::pin!(rolling_back);
                let is_gone = timeout(PATIENCE, &mut rolling_back).await.is_ok();
                let _ = answer.send(Err(match is_gone {
                    true => error,
                    false => error.and("its tasks are being rolled back"),
                }));
                if !is_gone {
                    rolling_back.await;
                }
                return drop((under_way, turn));
            }
            Ok(created) => created,
        };
        if created.is_none() {
            group.discard_files().await;
        }
        // The caller is gone, so no user learns the id, unless the request comes again.
        if let Err(Ok(_)) = answer.send(Ok(created))
            && !is_keyed
        {
            group.roll_back().await;
        }
        drop((under_way, turn));
    });
    let created = answered
        .await
        .map_err(|_| cut_off(&format!("group `{id}`")))??;
    match (created, keyed) {
        (Some(of_kubernetes), _) => warnings.extend(describe_warnings(of_kubernetes)),
        (None, Some(Keyed { request, .. })) => {
            keyed::wait_for_other_group(live, &user, id, &request).await?;
        }
        (None, None) => return Err(taken(id.as_str())),
    }
    log::info!(
        "group submitted group_id={id} tasks={} user={:?}",
        ids.len(),
        user.as_str()
    );
    Ok(GroupSubmitResponse::new(id, ids, warnings))
}

/// The effect that a submission with a sweep would have, after Kubernetes has checked the first Job.
///
/// # Errors
/// Those of [`submit_group`], as far as a dry run can detect them.
pub async fn dry_run_group(
    live: &LiveView,
    files: &Arc<Files>,
    request: GroupRequest<'_>,
    rules: Rules<'_>,
) -> Result<DryRun> {
    let id: GroupId = fresh::id();
    let num_nodes = request.task.num_nodes;
    let admit = |archive| files.admit(&live.view, num_nodes, archive, None);
    let of_task = request.files.map(admit).transpose()?.map(|travelling| {
        let mut files = travelling.files;
        files.kept.holder = Some(member_id(id, 0));
        files
    });
    let (user, flags) = (request.user, request.flags);
    let decided = decide(live, user, request.task, flags, of_task, rules).await?;
    let sweep = request.sweep;
    let mut submissions = Vec::new();
    for rank in 0..sweep.num_tasks {
        let origin = Origin {
            id: member_id(id, rank),
            keyed: None,
            group: Some(sweep.member(id, rank)),
        };
        submissions.push(decided.submission(origin)?.0);
        // Other requests have their turn.
        yield_now().await;
    }
    dry_run::dry_run(&live.cluster, submissions).await
}

/// The id of the group, what an earlier request of its key has left, and the turn to create it.
async fn identify(
    live: &LiveView,
    creations: &Arc<Creations>,
    request: &GroupRequest<'_>,
) -> Result<(GroupId, Option<Keyed>, Earlier, Option<OwnedMutexGuard<()>>)> {
    let Some(key) = request.key else {
        return Ok((fresh::id(), None, Earlier::Nothing, None));
    };
    let id: GroupId = key.id("group", request.user);
    let content = request.task.to_wire().map_err(Error::internal)?;
    let files = request.files.as_ref().map(|files| files.sha256.as_str());
    let SubmitFlags {
        fail_fast,
        barrier,
        recover,
    } = request.flags;
    let flags = (fail_fast, barrier, recover);
    let digest = key.digest(&(content, &request.sweep, flags, files));
    let turn = creations.turn(member_id(id, 0)).await?;
    keyed::check_no_task(live, request.user, key)?;
    let earlier = keyed::find_group(live, request.user, id, &digest).await?;
    let nonce = match &earlier {
        Earlier::Begun { nonce, .. } => nonce.clone(),
        Earlier::Nothing | Earlier::Task => fresh::nonce(),
    };
    let keyed = Keyed {
        nonce,
        request: digest,
    };
    Ok((id, Some(keyed), earlier, Some(turn)))
}

/// The source of a task, without its text if all tasks of a group together would keep too much.
fn small(source: TaskSource, task: &TaskDefinition, num_tasks: u32) -> TaskSource {
    let packed = objects::pack_source(source.clone(), task);
    let size = packed.map_or(0, |packed| packed.len());
    match size.saturating_mul(num_tasks as usize) > MAX_SOURCES {
        true => source.without_text(task),
        false => source,
    }
}

/// A group that is being created.
struct Group {
    live: LiveView,
    creations: Arc<Creations>,
    files: Arc<Files>,
    id: GroupId,
    sweep: Sweep,
    keyed: Option<Keyed>,
    decided: Decided,
    source: TaskSource,
    /// The files that travel with it.
    travelling: Option<Travelling>,
    /// The first Jobs of its tasks, by rank.
    begun: Mutex<BTreeMap<u32, JobRow>>,
}

impl Group {
    fn origin(&self, rank: u32) -> Origin {
        Origin {
            id: member_id(self.id, rank),
            keyed: self.keyed.clone(),
            group: Some(self.sweep.member(self.id, rank)),
        }
    }

    /// Creates the objects of all tasks; returns the warnings of Kubernetes. None if a request of the same key has begun to do so at
    /// another server.
    async fn create(&mut self, is_unwanted: impl Fn() -> bool) -> Result<Option<Vec<String>>> {
        if let Some(travelling) = &mut self.travelling {
            travelling.store(&self.files).await?;
        }
        let group = &*self;
        let is_unwanted = &|| is_unwanted() || group.creations.is_stopping();
        // The first task tells other servers that the group is being created.
        let Some(warnings) = group.begin(0, is_unwanted).await? else {
            return Ok(None);
        };
        let has_failed = AtomicBool::new(false);
        let created: Vec<Result<()>> = stream::iter(1..group.sweep.num_tasks)
            .take_while(|_| {
                std::future::ready(!has_failed.load(Ordering::Relaxed) && !is_unwanted())
            })
            .map(|rank| async move {
                match group.begin(rank, is_unwanted).await? {
                    Some(_) => Ok(()),
                    None => Err(in_the_way(&group.decided.submission(group.origin(rank))?.1)),
                }
            })
            .buffer_unordered(TASKS)
            // Running requests are awaited: an object that appears after the roll-back would stay for ever.
            .inspect(|created| {
                has_failed.fetch_or(created.is_err(), Ordering::Relaxed);
            })
            .collect()
            .await;
        created.into_iter().collect::<Result<()>>()?;
        let begun = group.begun();
        if begun.len() < group.sweep.num_tasks as usize || is_unwanted() {
            return Err(stopping());
        }
        group.create_files(&begun).await?;
        group.release(&begun).await?;
        Ok(Some(warnings))
    }

    fn begun(&self) -> BTreeMap<u32, JobRow> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.clone()
    }

    /// Adds the options by which a task that is started again alone is as it was in the group.
    fn place_alone(&self, rank: u32, task: &TaskDefinition, options: &mut Vec<String>) {
        const NAME: &str = "--name";
        let place = [
            (JOB_RANK.to_owned(), rank.to_string()),
            (NUM_JOBS.to_owned(), self.sweep.num_tasks.to_string()),
        ];
        let envs = self.sweep.values(rank).into_iter().chain(place);
        options
            .extend(envs.flat_map(|(name, value)| ["--env".to_owned(), format!("{name}={value}")]));
        let Some(name) = task.name.clone() else {
            return;
        };
        let given = options.iter().position(|option| option == NAME);
        match given.and_then(|at| options.get_mut(at + 1)) {
            Some(given) => *given = name,
            None => options.extend([NAME.to_owned(), name]),
        }
    }

    /// Creates the objects of one task, which waits for the others; returns the warnings of Kubernetes.
    async fn begin(
        &self,
        rank: u32,
        is_unwanted: &impl Fn() -> bool,
    ) -> Result<Option<Vec<String>>> {
        let (submission, mut first) = self.decided.submission(self.origin(rank))?;
        let mut source = self.source.clone();
        self.place_alone(rank, &submission.task, &mut source.origin.options);
        let source = objects::pack_source(source, &submission.task);
        let annotations = first.metadata.annotations.get_or_insert_default();
        annotations.extend(source.map(|source| (labels::SOURCE.to_owned(), source)));
        let creation = Creation {
            live: self.live.clone(),
            submission,
            first,
            travelling: None,
            creations: self.creations.clone(),
            is_begun: AtomicBool::new(false),
        };
        let Some((job, warnings)) = creation.begin(is_unwanted).await? else {
            return Ok(None);
        };
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.insert(rank, job);
        Ok(Some(warnings))
    }

    /// Creates the Secrets with the files of the group, which all its tasks own.
    async fn create_files(&self, begun: &BTreeMap<u32, JobRow>) -> Result<()> {
        let Some(travelling) = &self.travelling else {
            return Ok(());
        };
        let (submission, first) = self.decided.submission(self.origin(0))?;
        let owners: Vec<_> = begun
            .values()
            .map(|job| OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name: job.name.to_string(),
                uid: job.uid.to_string(),
                ..OwnerReference::default()
            })
            .collect();
        let first = &ObjectMeta {
            name: first.metadata.name,
            ..ObjectMeta::default()
        };
        let parts = travelling.files.kept.secrets(submission.id).count() as u32;
        let api = &self.live.cluster.api::<Secret>();
        let (submission, owners) = (&submission, &owners);
        let created = stream::iter(0..parts).map(|part| async move {
            let offset = u64::from(part) * PART as u64;
            let bytes = travelling.archive.read(offset, PART).await?;
            let mut secret = files_secret(submission, first, part, bytes);
            secret.metadata.owner_references = Some(owners.clone());
            create(api, &secret).await
        });
        let created: Vec<_> = created.buffer_unordered(CONCURRENT_SECRETS).collect().await;
        created.into_iter().collect()
    }

    /// Marks all tasks as complete, and starts those for which there is room. From the first mark on `reconcile::groups` does the rest,
    /// whatever happens here.
    async fn release(&self, begun: &BTreeMap<u32, JobRow>) -> Result<()> {
        let room = self.sweep.max_running.unwrap_or(u32::MAX);
        let mark = |(rank, job): (&u32, &JobRow)| {
            let start = if *rank < room {
                Start::Now
            } else {
                Start::Later
            };
            let (id, job) = (member_id(self.id, *rank), job.clone());
            async move { release(&self.live, id, &job, start).await }
        };
        let mut all = begun.iter();
        let first = all.next().map(mark);
        if let Some(first) = first {
            first.await?;
        }
        let marks = stream::iter(all).map(mark).buffer_unordered(CONCURRENCY);
        let marks: Vec<Result<()>> = marks.collect().await;
        for error in marks.into_iter().filter_map(Result::err) {
            log::warn!("group {}: {error}", self.id);
        }
        Ok(())
    }

    async fn discard_files(&self) {
        if let Some(travelling) = &self.travelling {
            travelling.discard(&self.files).await;
        }
    }

    /// Deletes the objects of all tasks, in several attempts.
    async fn roll_back(&self) {
        const ATTEMPTS: u32 = 5;
        self.discard_files().await;
        for attempt in 1..=ATTEMPTS {
            match self.delete_jobs().await {
                Ok(0) => return,
                // The list may have missed some Jobs.
                Ok(_) => (),
                Err(error) => {
                    log::warn!(
                        "group {}: rolling back, attempt {attempt} of {ATTEMPTS}: {error}",
                        self.id
                    );
                    sleep(PAUSE).await;
                }
            }
        }
        log::error!("group {}: roll-back failed, stop it by hand", self.id);
    }

    /// Deletes the Jobs of all tasks; returns how many there were.
    async fn delete_jobs(&self) -> Result<usize> {
        let params = ListParams::default().labels(&labels::group_selector(self.id));
        let (jobs, _) = self.live.cluster.list::<KeyedJobRow>(params).await?;
        let mine = jobs.into_iter().filter(|job| job.keyed == self.keyed);
        let jobs: Vec<_> = mine.map(|job| job.job).collect();
        let count = jobs.len();
        self.live.view.change::<JobRow, _>(|table| {
            jobs.iter().for_each(|job| table.merge(job.clone()));
        });
        stop::delete_all(&self.live, jobs.into_iter()).await?;
        Ok(count)
    }
}
