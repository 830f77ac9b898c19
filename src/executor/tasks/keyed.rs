//! The id of a new task, and the task that an earlier request of the same key has made.

use std::time::Duration;

use kube::api::ListParams;
use tokio::time::{Instant, sleep};

use crate::{
    api::{GroupId, Reason, TaskId, User},
    executor::{
        error::{Error, Result},
        fresh,
        key::{RequestKey, member_id},
        objects::{FilesPlace, Origin, labels},
        observed::KeyedJobRow,
        view::LiveView,
    },
};

/// The longest wait for another server that creates the task.
const MAX_WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// What an earlier request has left.
#[derive(Debug, PartialEq)]
pub enum Earlier {
    Nothing,
    /// A task whose creation has begun: another server goes on with it, or has ended before it was done.
    Begun {
        nonce: String,
        files: Option<FilesPlace>,
    },
    Task,
}

/// The id of a task without a key.
pub fn random_origin() -> Origin {
    Origin {
        id: fresh::id(),
        keyed: None,
        group: None,
    }
}

/// Looks for the task of `user` with this id, which a key has decided. `request` is the digest of the request.
///
/// # Errors
/// When the key has made another task, or Kubernetes does not answer.
pub async fn find(live: &LiveView, user: &User, id: TaskId, request: &str) -> Result<Earlier> {
    let known = live.view.task(id);
    if live.view.is_fresh() && known.is_none() {
        // What another server is just making is found when its first Job is created again.
        return Ok(Earlier::Nothing);
    }
    for _ in 0..2 {
        let selected = ListParams::default().labels(&labels::task_selector(id));
        let (jobs, _) = live.cluster.list::<KeyedJobRow>(selected).await?;
        let first = jobs
            .into_iter()
            .min_by_key(|job| (job.job.attempt, job.job.rank));
        if let Some(first) = first {
            return state(&first, user, ("task", id.as_str()), request);
        }
        live.refresh_task(id).await?;
        match live.view.task(id).filter(|task| task.is_of(user)) {
            None => return Ok(Earlier::Nothing),
            // Its first Job was created since that list.
            Some(task) if !task.jobs.is_empty() => (),
            Some(_) => break,
        }
    }
    Err(is_stopping("task", id.as_str()))
}

/// # Errors
/// When the key of a task has made a group.
pub fn check_no_group(live: &LiveView, user: &User, key: &RequestKey) -> Result<()> {
    match live.view.task(member_id(key.id("group", user), 0)) {
        Some(_) => Err(Error::key_makes_another("group")),
        None => Ok(()),
    }
}

/// # Errors
/// When the key of a group has made a task.
pub fn check_no_task(live: &LiveView, user: &User, key: &RequestKey) -> Result<()> {
    match live.view.task(key.id("task", user)) {
        Some(_) => Err(Error::key_makes_another("task")),
        None => Ok(()),
    }
}

/// Looks for the group of `user` with this id, which a key has decided. `request` is the digest of the request.
///
/// # Errors
/// When the key has made another group, or Kubernetes does not answer.
pub async fn find_group(
    live: &LiveView,
    user: &User,
    id: GroupId,
    request: &str,
) -> Result<Earlier> {
    let selected = ListParams::default().labels(&labels::group_selector(id));
    let (mut jobs, _) = live.cluster.list::<KeyedJobRow>(selected).await?;
    jobs.retain(|job| job.job.rank == 0 && job.job.attempt == 1);
    // One that is whole tells that all are: see `submit::group`.
    let whole = jobs.iter().filter(|job| job.job.is_complete);
    // Some of its tasks may have been stopped alone.
    let whole = whole.min_by_key(|job| job.job.is_stopping || job.job.is_deleted);
    let is_cut_off = whole.is_none() && jobs.iter().any(|job| job.job.state.has_ended());
    match whole.or(jobs.first()) {
        Some(first) if is_cut_off => {
            state(first, user, ("group", id.as_str()), request)?;
            let message = format!(
                "group `{id}` was cut off while it was created: delete it (`k8s-cli jobs delete {id}`), then submit it again"
            );
            Err(Error::new(Reason::Conflict, message))
        }
        Some(first) => state(first, user, ("group", id.as_str()), request),
        None => Ok(Earlier::Nothing),
    }
}

/// How far what the key has made is: a task or a group, by its kind and its id.
fn state(
    first: &KeyedJobRow,
    user: &User,
    (kind, id): (&str, &str),
    request: &str,
) -> Result<Earlier> {
    let job = &first.job;
    let keyed = first.keyed.as_ref().filter(|_| job.owner.is(user));
    let Some(keyed) = keyed else {
        let message = format!(
            "Idempotency-Key: gives the id {id}, which another {kind} has: use another key"
        );
        return Err(Error::new(Reason::Conflict, message));
    };
    if keyed.request != request {
        let message = format!(
            "Idempotency-Key: has made {kind} `{id}` from another definition: use another key for another {kind}"
        );
        return Err(Error::new(Reason::Invalid, message));
    }
    if job.is_held && job.is_deleted && !job.is_complete && !job.is_stopping {
        return Err(submit_again(kind, id, "is being rolled back"));
    }
    if job.is_stopping || job.is_deleted {
        return Err(is_stopping(kind, id));
    }
    if job.is_complete || !job.is_held || job.state.has_ended() {
        return Ok(Earlier::Task);
    }
    Ok(Earlier::Begun {
        nonce: keyed.nonce.clone(),
        files: job.files.as_ref().map(|files| files.place.clone()),
    })
}

/// Waits until another server has created the task.
///
/// # Errors
/// When it has not after a while, or has rolled it back.
pub async fn wait_for_other(live: &LiveView, user: &User, id: TaskId, request: &str) -> Result<()> {
    wait(("task", id.as_str()), || find(live, user, id, request)).await
}

/// Waits until another server has created the group.
///
/// # Errors
/// When it has not after a while, or has rolled it back.
pub async fn wait_for_other_group(
    live: &LiveView,
    user: &User,
    id: GroupId,
    request: &str,
) -> Result<()> {
    wait(("group", id.as_str()), || {
        find_group(live, user, id, request)
    })
    .await
}

async fn wait<F: Future<Output = Result<Earlier>>>(
    (kind, id): (&str, &str),
    find: impl Fn() -> F,
) -> Result<()> {
    let deadline = Instant::now() + MAX_WAIT;
    loop {
        match find().await? {
            Earlier::Task => return Ok(()),
            Earlier::Nothing => {
                return Err(submit_again(kind, id, "was rolled back by another server"));
            }
            Earlier::Begun { .. } if Instant::now() > deadline => {
                return Err(submit_again(
                    kind,
                    id,
                    "is still being created by another server",
                ));
            }
            Earlier::Begun { .. } => sleep(PAUSE).await,
        }
    }
}

/// The error for a key whose task or group is being stopped. It is not started again, for the request may have been sent before that.
fn is_stopping(kind: &str, id: &str) -> Error {
    let message = format!(
        "{kind} `{id}` of this key is being stopped or deleted: submit it again when it is gone"
    );
    Error::new(Reason::Conflict, message)
}

/// The error for a request whose task or group cannot be created or given now.
pub fn submit_again(kind: &str, id: &str, why: &str) -> Error {
    let message = format!("{kind} `{id}` {why}: submit it again");
    Error::new(Reason::ServiceUnavailable, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::executor::scripted_server::{self, method_and_name};

    fn object() -> Value {
        json!({"metadata": {
            "name": "t", "uid": "uid-0", "resourceVersion": "7", "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"skypilot-task": "true", "task-id": "ab12cd34", "username": "ada"},
            "annotations": {"num-nodes": "1", "k8s-cli/user": "ada", "k8s-cli/nonce": "x1y2z", "k8s-cli/request": "ab"},
        }})
    }

    /// What a server finds that has no view yet, when Kubernetes lists this many Jobs at first, later, and this many pods.
    async fn found(first: usize, later: usize, pods: usize) -> Result<Earlier> {
        let mut is_first = true;
        let cluster = scripted_server::cluster(move |request| {
            let count = match method_and_name(request) {
                ("GET", "jobs") if std::mem::take(&mut is_first) => first,
                ("GET", "jobs") => later,
                _ => pods,
            };
            let mut object = object();
            object["spec"] = json!({"parallelism": 0});
            let items = vec![object; count];
            Some(json!({"metadata": {"resourceVersion": "9"}, "items": items}).to_string())
        });
        let live = LiveView::new(cluster.await);
        let (user, id) = ("ada".parse().unwrap(), "ab12cd34".parse().unwrap());
        find(&live, &user, id, "ab").await
    }

    #[actix_rt::test]
    async fn a_task_that_another_server_begins_meanwhile_is_not_being_stopped() {
        let begun = || Earlier::Begun {
            nonce: "x1y2z".to_owned(),
            files: None,
        };
        assert_eq!(found(1, 1, 0).await.unwrap(), begun());
        assert_eq!(found(0, 1, 0).await.unwrap(), begun());
        assert_eq!(found(0, 0, 0).await.unwrap(), Earlier::Nothing);
        // Only its pod is left.
        let error = found(0, 0, 1).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Conflict, "{error}");
    }
}
