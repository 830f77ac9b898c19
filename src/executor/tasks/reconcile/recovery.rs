//! Starts a task again after a failure, where its file or its user says so.
//!
//! The Jobs of an attempt are made from those of the attempt before. Their names are those of the attempt, so of two servers one makes
//! them. They carry what the next decision needs: see `objects::attempt`. Once they exist, the first Job of the task says so: a Job that
//! a person deletes afterwards is not made again, and a task that was stopped meanwhile gets its new Jobs deleted.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use crate::{
    api::{TaskId, Timestamp},
    executor::{
        cluster::call,
        error::Result,
        fresh,
        objects::{Attempt, MAX_RESTARTS, RESTARTS_PERIOD, Restarts, job_of_attempt, labels},
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

/// Creates the Jobs of the next attempt.
async fn begin(live: &LiveView, id: TaskId, task: &Observed, restarts: &Restarts) -> Result<()> {
    let (Some(owner), Some(last)) = (task.all_jobs().next(), task.jobs.first()) else {
        return Ok(());
    };
    let attempt = Attempt {
        number: last.attempt + 1,
        restarts,
        owner: (&owner.name, owner.uid.to_string()),
    };
    let reading = live.cluster.api::<Job>();
    let before = call(
        format!("read Job `{}`", last.name),
        reading.get_opt(&last.name),
    );
    let Some(before) = before.await? else {
        return Ok(());
    };
    let job = job_of_attempt(&before, &attempt);
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let created = async {
        match live.create::<JobRow>(&job).await {
            // Another server was first.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
            answer => answer.map(|_| true),
        }
    };
    if !call(format!("create Job `{name}`"), created).await? {
        return live.refresh_jobs(id).await;
    }
    log::info!(
        "attempt {} begins task_id={id} cause={:?}",
        attempt.number,
        restarts.cause
    );
    let task = live.view.task(id).unwrap_or_default();
    match task
        .parts()
        .iter()
        .find(|part| part.jobs.iter().any(|job| *job.name == *name))
    {
        Some(part) => note(live, id, owner, part).await,
        None => Ok(()),
    }
}

/// Notes on the first Job of a task that its last attempt was made. If the task was stopped meanwhile, the attempt ends.
async fn note(live: &LiveView, id: TaskId, owner: &JobRow, task: &Observed) -> Result<()> {
    let number = task.jobs.first().map_or(1, |job| job.attempt);
    let annotations = json!({ labels::ATTEMPTS: number.to_string() });
    let patch = json!({ "metadata": { "annotations": annotations } });
    let doing = format!("change Job `{}`", owner.name);
    let noted = call(doing, live.cluster.patch::<JobRow>(&owner.name, patch)).await?;
    let is_wanted = |job: &JobRow| job.uid == owner.uid && !job.is_stopping && !job.is_deleted;
    match noted.filter(is_wanted) {
        Some(noted) => {
            live.view.change::<JobRow, _>(|table| table.merge(noted));
            Ok(())
        }
        None => {
            log::info!("attempt {number} ends, since its task was stopped task_id={id}");
            let jobs = task.jobs.iter().map(|job| (**job).clone());
            stop::delete_all(live, jobs).await
        }
    }
}
