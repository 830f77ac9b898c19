//! Changes the objects of tasks where Kubernetes alone does not do what a task means.
//!
//! - [`fail_fast`]: the failure of a node stops the other nodes.
//! - [`release`]: the nodes of a task begin `run` when the `setup` of all has ended.
//! - [`ends`]: the end of the task's container ends the node, whatever else runs in its pod, and a container that can never start
//!   fails. The ends of nodes are noted where Kubernetes would forget them.
//! - [`groups`]: the tasks of a group start when there is room for them.
//! - [`recovery`]: a task that has failed is started again, if its file or its user says so.
//! - [`incomplete`]: creations and stops that a killed server has left half-made are ended.
//! - The files of a task are deleted once it has ended.
//!
//! The view names the tasks that need attention. Each plan is a pure function of a task's rows, and all state is in the cluster: a
//! server that starts continues the work of another one, and two servers make the same changes.

mod ends;
mod fail_fast;
mod groups;
mod incomplete;
mod recovery;
mod release;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    api::TaskId,
    backoff::Backoff,
    executor::{
        cluster::CONCURRENCY,
        error::{Error, Result},
        files::Files,
        objects::{KeptFiles, labels},
        observed::{Ends, JobRow, Observed, PodRow},
        view::LiveView,
    },
};

/// After this time, the kubelets of nodes that may begin `run` are asked to look at their pods once more.
const REPEAT: Duration = Duration::from_secs(3);

/// The number of tasks that are handled at the same time.
const TASKS: usize = 4;

/// A change of one object.
#[derive(Debug, PartialEq)]
enum Change {
    /// Notes the ends of nodes on a Job.
    Note { job: String, ends: Ends },
    /// Gives an object a deadline that has passed already, or passes in a second.
    Stop {
        target: Target,
        /// The rank of the node whose failure is the cause.
        after: Option<u32>,
    },
    /// Deletes the files of a task, and notes it on its first Job.
    DeleteFiles { job: String, files: Arc<KeptFiles> },
    /// Lets a pod begin `run`; its annotation says so.
    Release { pod: String, annotation: String },
}

/// An object that gets a deadline. The logs of a stopped node stay readable, so neither is deleted. The kubelet of a pod that has
/// started enforces the pod's deadline. No kubelet enforces the deadline of another pod, so its Job gets the deadline.
#[derive(Debug, PartialEq)]
enum Target {
    Pod(String),
    Job(String),
}

/// Handles the tasks that need attention. Never returns.
pub async fn run(live: &LiveView, files: &Files) {
    let failures = Failures::default();
    let tasks = stream::unfold((), |()| async {
        Some((live.view.next_unsettled().await, ()))
    });
    let settle = |id| settle_and_log(live, files, &failures, id);
    tokio::join!(
        tasks.for_each_concurrent(TASKS, settle),
        files.keep_swept(&live.view),
        incomplete::keep_ended(live),
        groups::keep_going(live, files),
    );
}

/// The failures to handle tasks.
#[derive(Default)]
struct Failures(Mutex<(HashMap<TaskId, Backoff>, String)>);

async fn settle_and_log(live: &LiveView, files: &Files, failures: &Failures, id: TaskId) {
    let settled = settle(live, files, id).await;
    let settled = match settled {
        Ok(()) => recovery::settle(live, id).await,
        Err(error) => Err(error),
    };
    let mut failures = failures.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (backoffs, last_message) = &mut *failures;
    let pause = match settled {
        Ok(pause) => {
            backoffs.remove(&id);
            pause
        }
        Err(error) => {
            let error = error.to_string();
            if error != *last_message {
                log::warn!("cannot handle the end of a node: {error}");
                *last_message = error;
            }
            Some(backoffs.entry(id).or_default().next(rand::random()))
        }
    };
    // It is for this task only.
    let Some(pause) = pause else { return };
    let view = live.view.clone();
    view.postpone(id);
    tokio::spawn(async move {
        sleep(pause).await;
        view.try_again(id);
    });
}

/// Makes the changes that the current state of a task requires.
async fn settle(live: &LiveView, files: &Files, id: TaskId) -> Result<()> {
    // The choice between pod and Job needs the current state of the pod.
    live.refresh_task(id).await?;
    let task = live.view.task(id).unwrap_or_default();
    let changes = plan(&task);
    let stops = &changes[1];
    if let Some(Change::Stop {
        after: Some(first), ..
    }) = stops.first()
    {
        log::info!(
            "task stopped after a failure task_id={id} failed_node={first} stopped_nodes={}",
            stops.len()
        );
    }
    let released = stops.iter().filter_map(|change| match change {
        Change::Release { pod, .. } => Some(pod.clone()),
        _ => None,
    });
    let released: Vec<String> = released.collect();
    if !released.is_empty() {
        log::info!("nodes begin `run` task_id={id} nodes={}", released.len());
    }
    // A node that is stopped because its container has ended must not look like a failure.
    for changes in changes {
        let changes = stream::iter(changes).map(|change| apply(live, files, id, change));
        let results: Vec<_> = changes.buffer_unordered(CONCURRENCY).collect().await;
        results.into_iter().collect::<Result<()>>()?;
    }
    if !released.is_empty() {
        tokio::spawn(repeat(live.clone(), id, released));
    }
    Ok(())
}

/// Changes pods again that may begin `run`. A kubelet that writes the files of a pod for another reason at the moment of the first
/// change can lose it (`remountRequired` of its volume manager is reset by the older write), and sees it at its next look, up to 90 s
/// later. On 1.20 a node was seen that had not begun 70 s after the others.
async fn repeat(live: LiveView, id: TaskId, released: Vec<String>) {
    sleep(REPEAT).await;
    let task = live.view.task(id).unwrap_or_default();
    let runs = |name: &String| {
        let mut pods = task.pods.iter();
        pods.any(|pod| *pod.name == **name && !pod.is_over() && !pod.is_deleted)
    };
    let patch = json!({ "metadata": { "annotations": { labels::START_REPEATED: "true" } } });
    let change = async |name: String| {
        if let Err(error) = live.patch::<PodRow>("pod", &name, patch.clone()).await {
            log::debug!("{error}");
        }
    };
    let changes = stream::iter(released.into_iter().filter(runs));
    changes.for_each_concurrent(CONCURRENCY, change).await;
}

/// The changes that a task requires: first the notes, then the stops, then the deletions of files.
fn plan(task: &Observed) -> [Vec<Change>; 3] {
    let (mut notes, mut stops, mut deletions) = (Vec::new(), Vec::new(), Vec::new());
    if task.is_stopping() {
        return [notes, stops, deletions];
    }
    // A Job of another user may carry the same id. It does not concern this one.
    let parts = task
        .parts()
        .into_iter()
        .filter(|part| !part.jobs.is_empty());
    for part in parts {
        let with_files = part.with_files_to_delete();
        deletions.extend(with_files.and_then(|first| {
            let (job, files) = (first.name.to_string(), first.files.clone()?);
            Some(Change::DeleteFiles { job, files })
        }));
        stops.extend(fail_fast::plan(&part));
        stops.extend(release::plan(&part));
        let (more_notes, more_stops) = ends::plan(&part);
        notes.extend(more_notes);
        stops.extend(more_stops);
    }
    [notes, stops, deletions]
}

/// Makes a change. An object that is gone is no error.
async fn apply(live: &LiveView, files: &Files, id: TaskId, change: Change) -> Result<()> {
    match change {
        Change::Note { job, ends } => {
            let ends = serde_json::to_string(&ends).map_err(Error::internal)?;
            let patch = json!({ "metadata": { "annotations": { labels::ENDS: ends } } });
            live.patch::<JobRow>("Job", &job, patch).await?;
        }
        Change::DeleteFiles { job, files: kept } => {
            if files.delete(&live.cluster, id, &kept).await? {
                let annotations = json!({ labels::FILES_DELETED: "true" });
                let patch = json!({ "metadata": { "annotations": annotations } });
                live.patch::<JobRow>("Job", &job, patch).await?;
            }
        }
        Change::Stop { target, after } => {
            let mut patch = json!({ "spec": { "activeDeadlineSeconds": 1 } });
            if let Some(first) = after {
                let annotations = json!({ labels::STOPPED_AFTER: first.to_string() });
                patch["metadata"] = json!({ "annotations": annotations });
            }
            match target {
                Target::Pod(name) => live.patch::<PodRow>("pod", &name, patch).await?,
                Target::Job(name) => live.patch::<JobRow>("Job", &name, patch).await?,
            };
        }
        Change::Release { pod, annotation } => {
            let patch = json!({ "metadata": { "annotations": { labels::START: annotation } } });
            live.patch::<PodRow>("pod", &pod, patch).await?;
        }
    }
    Ok(())
}
