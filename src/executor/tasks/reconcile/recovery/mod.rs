//! Starts a task again after a failure, where its file or its user says so.
//!
//! The Jobs of an attempt are made from those of the attempt before. Their names are those of the attempt, so of two servers one makes
//! them. They carry what the next decision needs: see `objects::attempt`. Once they exist, the first Job of the task says so: a Job that
//! a person deletes afterwards is not made again, and a task that was stopped meanwhile gets its new Jobs deleted.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::{batch::v1::Job, core::v1::Service};
use kube::api::PostParams;
use serde_json::json;

use crate::{
    api::{TaskId, Timestamp},
    executor::{
        cluster::{CONCURRENCY, call},
        error::Result,
        fresh,
        objects::{
            Attempt, MAX_RESTARTS, RESTARTS_PERIOD, Restarts, job_of_attempt, labels,
            service_of_attempt,
        },
        observed::{JobRow, Observed},
        tasks::stop,
        view::{LiveView, Table},
    },
};

/// The longest pause before an attempt, in seconds.
const MAX_PAUSE: i64 = 300;

/// What a task requires.
#[derive(Debug, PartialEq)]
enum Step {
    Nothing,
    /// An attempt begins after this time.
    Wait(Duration),
    /// An attempt begins, after these restarts.
    Begin(Restarts),
}

/// Starts a task again if it is time; returns the pause after which to look at it again.
pub async fn settle(live: &LiveView, id: TaskId) -> Result<Option<Duration>> {
    let task = live.view.task(id).unwrap_or_default();
    let mut pause = None;
    for part in task.parts() {
        if let Some(first) = part.begun_attempt() {
            complete(live, id, &part, first).await?;
            continue;
        }
        if let Some(owner) = part.unnoted_attempt() {
            note(live, id, owner, &part).await?;
            continue;
        }
        match plan(&part, fresh::now()) {
            Step::Nothing => (),
            Step::Wait(time) => pause = pause.max(Some(time)),
            Step::Begin(restarts) => begin(live, id, &part, &restarts).await?,
        }
    }
    Ok(pause)
}

/// The step that a task with Jobs of one owner requires.
fn plan(task: &Observed, now: Timestamp) -> Step {
    let Some(cause) = task.next_attempt() else {
        return Step::Nothing;
    };
    let first = task.jobs.first();
    let before = first.and_then(|first| first.restarts.as_deref().cloned());
    let before = before.unwrap_or_default();
    let ended = task.jobs.iter().filter_map(|job| job.changed_at).max();
    let begins = begins_after(&before.times, ended, now);
    match u64::try_from(begins) {
        Ok(0) | Err(_) => Step::Begin(before.and(&cause.text, cause.is_error, now)),
        Ok(seconds) => Step::Wait(Duration::from_secs(seconds)),
    }
}

/// The seconds until an attempt may begin, after earlier restarts at `times` and the end of the last attempt. The pauses double, since
/// an attempt may fail at once each time.
fn begins_after(times: &[Timestamp], ended: Option<Timestamp>, now: Timestamp) -> i64 {
    let is_recent = |time: &&Timestamp| time.seconds_until(now) < RESTARTS_PERIOD;
    let recent: Vec<_> = times.iter().filter(is_recent).collect();
    let pause = match recent.len() {
        0 => 0,
        count => MAX_PAUSE.min(1 << (count - 1).min(30)),
    };
    // The clock of the cluster may be another one.
    let passed = ended.map_or(pause, |ended| ended.seconds_until(now).max(0));
    let of_hour = match recent.as_slice() {
        [oldest, ..] if recent.len() >= MAX_RESTARTS => RESTARTS_PERIOD - oldest.seconds_until(now),
        _ => 0,
    };
    (pause - passed).max(of_hour).max(0)
}

/// Begins the next attempt: creates its first Job, which is held if there are others.
async fn begin(live: &LiveView, id: TaskId, task: &Observed, restarts: &Restarts) -> Result<()> {
    let (Some(owner), Some(last)) = (task.all_jobs().next(), task.jobs.first()) else {
        return Ok(());
    };
    let attempt = Attempt {
        number: last.attempt + 1,
        restarts,
        owner: (&owner.name, owner.uid.to_string()),
    };
    let Some(before) = read(live, &last.name).await? else {
        return Ok(());
    };
    let mut job = job_of_attempt(&before, &attempt);
    if last.num_nodes.unwrap_or(1) > 1 {
        job.spec.get_or_insert_default().parallelism = Some(0);
    }
    if !create(live, &job).await? {
        // Another server was first.
        return live.refresh_jobs(id).await;
    }
    log::info!(
        "attempt {} begins task_id={id} cause={:?}",
        attempt.number,
        restarts.cause
    );
    let task = live.view.task(id).unwrap_or_default();
    let parts = task.parts();
    let is_it = |part: &&Observed| part.earlier.iter().any(|job| job.uid == owner.uid);
    let Some(part) = parts.iter().find(is_it) else {
        return Ok(());
    };
    match part.begun_attempt() {
        Some(first) => complete(live, id, part, first).await,
        None => note(live, id, owner, part).await.map(drop),
    }
}

/// Creates the other objects of an attempt whose first Job exists, and starts it. Of two servers that do so each goes on with what the
/// other has created.
async fn complete(live: &LiveView, id: TaskId, task: &Observed, first: &JobRow) -> Result<()> {
    let (Some(owner), Some(restarts)) = (task.earlier.first(), first.restarts.as_deref()) else {
        return Ok(());
    };
    let attempt = Attempt {
        number: first.attempt,
        restarts,
        owner: (&owner.name, owner.uid.to_string()),
    };
    let Some(job) = read(live, &first.name).await? else {
        return Ok(());
    };
    if let Some(service) = service_of_attempt(&job, &attempt) {
        let services = live.cluster.api::<Service>();
        let created = async {
            match services.create(&PostParams::default(), &service).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                answer => answer.map(drop),
            }
        };
        call(format!("create the Service of task `{id}`"), created).await?;
    }
    // The Jobs of the attempt before, those that have none in this one.
    let is_made = |rank| task.jobs.iter().any(|job| job.rank == rank);
    let before = task.earlier.iter().rev();
    let before = before.take_while(|job| job.attempt + 1 == first.attempt);
    let names: Vec<_> = before
        .filter(|job| !is_made(job.rank))
        .map(|job| job.name.clone())
        .collect();
    let attempt = &attempt;
    let others = stream::iter(names).map(|name| async move {
        let Some(before) = read(live, &name).await? else {
            return Ok(());
        };
        create(live, &job_of_attempt(&before, attempt))
            .await
            .map(drop)
    });
    let others: Vec<Result<()>> = others.buffer_unordered(CONCURRENCY).collect().await;
    others.into_iter().collect::<Result<()>>()?;
    if note(live, id, owner, task).await? {
        let annotations = json!({ labels::COMPLETE: "true" });
        let patch =
            json!({ "metadata": { "annotations": annotations }, "spec": { "parallelism": 1 } });
        live.patch::<JobRow>("Job", &first.name, patch).await?;
    }
    Ok(())
}

/// The Job of this name, as the API server shows it.
async fn read(live: &LiveView, name: &str) -> Result<Option<Job>> {
    let jobs = live.cluster.api::<Job>();
    call(format!("read Job `{name}`"), jobs.get_opt(name)).await
}

/// Creates a Job; returns whether there was none of its name.
async fn create(live: &LiveView, job: &Job) -> Result<bool> {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let created = async {
        match live.create::<JobRow>(job).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
            answer => answer.map(|_| true),
        }
    };
    call(format!("create Job `{name}`"), created).await
}

/// Notes on the first Job of a task that its last attempt was made. If the task was stopped meanwhile, the attempt ends. Returns whether
/// it goes on.
async fn note(live: &LiveView, id: TaskId, owner: &JobRow, task: &Observed) -> Result<bool> {
    let number = task.jobs.first().map_or(1, |job| job.attempt);
    let annotations = json!({ labels::ATTEMPTS: number.to_string() });
    let patch = json!({ "metadata": { "annotations": annotations } });
    let doing = format!("change Job `{}`", owner.name);
    let noted = call(doing, live.cluster.patch::<JobRow>(&owner.name, patch)).await?;
    let is_wanted = |job: &JobRow| job.uid == owner.uid && !job.is_stopping && !job.is_deleted;
    match noted.filter(is_wanted) {
        Some(noted) => {
            live.view.change::<JobRow, _>(|table| table.merge(noted));
            Ok(true)
        }
        None => {
            log::info!("attempt {number} ends, since its task was stopped task_id={id}");
            let task = live.view.task(id).unwrap_or_default();
            let is_of_attempt =
                |job: &&Arc<JobRow>| job.attempt == number && job.owner == owner.owner;
            let jobs = task
                .jobs
                .iter()
                .filter(is_of_attempt)
                .map(|job| (**job).clone());
            stop::delete_all(live, jobs).await?;
            Ok(false)
        }
    }
}
