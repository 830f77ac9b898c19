//! Stops and deletes tasks: deletes their Jobs, and with them their pods.
//!
//! The first Job of a task owns its other objects and says that the task is being stopped, so it is deleted last. Without that mark, a
//! Job that is already deleted would look like a failed node.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{
    api::{GroupId, Reason, TaskId, User},
    executor::{
        cluster::{CONCURRENCY, call},
        error::{Error, Result},
        identity::Uid,
        objects::labels,
        observed::{JobRow, Observed, PodRow},
        view::LiveView,
    },
};

/// Stops a task of `user`. A task that is being stopped already is no error.
///
/// # Errors
/// When `user` has no such task, or Kubernetes refuses.
pub async fn stop(live: &LiveView, user: &User, id: TaskId) -> Result<()> {
    live.refresh_task(id).await?;
    let task = live.view.task(id).filter(|task| task.is_of(user));
    let task = task.ok_or_else(|| Error::no_such_task(id))?;
    delete(live, [Objects::of(id, &task, Some(user))], Some(user)).await?;
    log::info!("task stopped task_id={id} user={:?}", user.as_str());
    Ok(())
}

/// Stops the unfinished tasks of `user`, or of all users, or only those of a group, in the name of `asking`; returns their ids.
///
/// # Errors
/// When Kubernetes does not answer, or refuses. Some tasks may be stopped already.
pub async fn stop_all(
    live: &LiveView,
    asking: &User,
    user: Option<&User>,
    group: Option<GroupId>,
) -> Result<Vec<TaskId>> {
    // A task that has just ended must stay, and one that has just begun must go.
    live.refresh_list(user).await?;
    let mut tasks = live.view.list(user);
    tasks.retain(|(id, task)| {
        let status = task.status(*id, user, &live.cluster.namespace);
        status.is_some_and(|status| !status.has_ended())
    });
    tasks.retain(|(_, task)| {
        let of_task = || task.jobs.first()?.group.as_ref();
        group.is_none_or(|wanted| of_task().is_some_and(|group| group.group_id == wanted))
    });
    // The tasks that wait for their turn go first: the end of another one would start them.
    let is_queued = |task: &Observed| task.jobs.first().is_some_and(|job| job.is_queued());
    let mut deleted = HashSet::new();
    for queued in [true, false] {
        let now = tasks.iter().filter(|(_, task)| is_queued(task) == queued);
        let objects = now.map(|(id, task)| Objects::of(*id, task, user));
        deleted.extend(delete(live, objects, user).await?);
    }
    // Another request may have stopped a task in the meantime.
    tasks.retain(|(_, task)| {
        let mut uids = task.all_jobs().map(|job| job.uid);
        let mut pods = task.pods.iter().map(|pod| pod.uid);
        uids.any(|uid| deleted.contains(&uid)) || pods.any(|uid| deleted.contains(&uid))
    });
    for (id, _) in &tasks {
        log::info!("task stopped task_id={id} user={:?}", asking.as_str());
    }
    Ok(tasks.into_iter().map(|(id, _)| id).collect())
}

/// Deletes a finished task of `user`, with its logs.
///
/// # Errors
/// When `user` has no such task, or it has not finished, or Kubernetes refuses.
pub async fn delete_finished(live: &LiveView, user: &User, id: TaskId) -> Result<()> {
    live.refresh_task(id).await?;
    let task = live.view.task(id).filter(|task| task.is_of(user));
    let task = task.ok_or_else(|| Error::no_such_task(id))?;
    let status = task.status(id, Some(user), &live.cluster.namespace);
    let status = status.ok_or_else(|| Error::no_such_task(id))?;
    // A deletion that was broken off goes on.
    if !status.has_ended() && !task.is_stopping() {
        let state = status.status;
        let while_others = match state.is_terminal() {
            true => ", and other nodes of it still run",
            false => "",
        };
        let message = format!(
            "task `{id}` is {state}{while_others}: stop it first (`k8s-cli jobs stop {id}`)"
        );
        return Err(Error::new(Reason::Conflict, message));
    }
    delete(live, [Objects::of(id, &task, Some(user))], Some(user)).await?;
    log::info!("task deleted task_id={id} user={:?}", user.as_str());
    Ok(())
}

/// Deletes a task, whosever it is.
///
/// # Errors
/// When Kubernetes refuses.
pub async fn delete_whole(live: &LiveView, id: TaskId, task: &Observed) -> Result<()> {
    delete(live, [Objects::of(id, task, None)], None).await?;
    Ok(())
}

/// Deletes those Jobs of a task that its broken creation has made; returns how many there were.
pub async fn roll_back(
    live: &LiveView,
    id: TaskId,
    is_own: impl Fn(&JobRow) -> bool,
) -> Result<usize> {
    live.refresh_jobs(id).await?;
    let task = live.view.task(id).unwrap_or_default();
    let jobs = task.all_jobs().filter(|job| is_own(job));
    let jobs: Vec<_> = jobs.cloned().collect();
    Ok(delete_jobs(live, &jobs).await?.len())
}

/// Deletes the rest of a task whose stop was begun.
pub async fn finish(live: &LiveView, id: TaskId) -> Result<()> {
    live.refresh_task(id).await?;
    let task = live.view.task(id).unwrap_or_default();
    // Objects of other users may have the same id.
    for part in task.parts().iter().filter(|part| part.is_stopping()) {
        delete(live, [Objects::of(id, part, None)], None).await?;
    }
    Ok(())
}

/// Deletes these Jobs.
pub async fn delete_all(live: &LiveView, jobs: impl Iterator<Item = JobRow>) -> Result<()> {
    let jobs: Vec<_> = jobs.map(Arc::new).collect();
    delete_jobs(live, &jobs).await.map(drop)
}

/// The objects of one task whose deletion ends it.
struct Objects {
    id: TaskId,
    /// By attempt, then by rank.
    jobs: Vec<Arc<JobRow>>,
    /// The pods that no Job controls any more.
    orphans: Vec<Arc<PodRow>>,
}

impl Objects {
    /// Those of `user`, or of all users.
    fn of(id: TaskId, task: &Observed, user: Option<&User>) -> Self {
        let is_own = |job: &&Arc<JobRow>| user.is_none_or(|user| job.owner.is(user));
        let jobless = task.jobless_pods(user).into_iter();
        let orphans = jobless.filter(|pod| pod.is_orphan());
        Self {
            id,
            jobs: task.all_jobs().filter(is_own).cloned().collect(),
            orphans: orphans.map(|pod| Arc::new(pod.clone())).collect(),
        }
    }

    /// Marks the first Job of a task that may have other Jobs: it has several nodes, or is started again.
    async fn mark(mut self, live: &LiveView, user: Option<&User>) -> Result<Self> {
        let Some(first) = self.jobs.first() else {
            return Ok(self);
        };
        let has_one = first.num_nodes.unwrap_or(1) == 1 && first.recovery.is_none();
        if has_one || first.is_stopping {
            return Ok(self);
        }
        let patch = json!({ "metadata": { "annotations": { labels::STOPPING: "true" } } });
        let is_marked = live.patch::<JobRow>("Job", &first.name, patch).await?;
        if is_marked && (!first.is_complete || first.recovery.is_some()) {
            // Its creation, or that of another attempt, may have added Jobs. From now on it sees the mark, and ends.
            live.refresh_jobs(self.id).await?;
            let task = live.view.task(self.id).unwrap_or_default();
            self = Self::of(self.id, &task, user);
        }
        Ok(self)
    }
}

/// Deletes the objects of tasks, as far as they are `user`'s; returns the uids of those that existed.
async fn delete(
    live: &LiveView,
    tasks: impl IntoIterator<Item = Objects>,
    user: Option<&User>,
) -> Result<HashSet<Uid>> {
    let marked = stream::iter(tasks).map(|task| task.mark(live, user));
    let marked: Vec<_> = marked.buffer_unordered(CONCURRENCY).try_collect().await?;
    let (mut firsts, mut others, mut orphans) = (Vec::new(), Vec::new(), Vec::new());
    for task in marked {
        let mut jobs = task.jobs.into_iter();
        firsts.extend(jobs.next());
        others.extend(jobs);
        orphans.extend(task.orphans);
    }
    let mut deleted = delete_jobs(live, &others).await?;
    deleted.extend(delete_jobs(live, &firsts).await?);
    let pods = stream::iter(orphans).map(|pod| async move {
        let doing = format!("delete pod `{}`", pod.name);
        let existed = call(doing, live.cluster.delete::<PodRow>(&pod.name)).await?;
        // The pod exists until its processes have ended.
        if let Some(id) = pod.task {
            live.refresh_task(id).await?;
        }
        Ok::<_, Error>(existed.then_some(pod.uid))
    });
    let pods: Vec<_> = pods.buffer_unordered(CONCURRENCY).try_collect().await?;
    deleted.extend(pods.into_iter().flatten());
    Ok(deleted)
}

async fn delete_jobs(live: &LiveView, jobs: &[Arc<JobRow>]) -> Result<HashSet<Uid>> {
    let deletions = stream::iter(jobs.to_vec()).map(|job| async move {
        let existed = live.delete::<JobRow>("Job", &job.name, job.uid).await?;
        Ok(existed.then_some(job.uid))
    });
    let deleted = deletions.buffer_unordered(CONCURRENCY);
    deleted
        .try_filter_map(|uid| std::future::ready(Ok(uid)))
        .try_collect()
        .await
}
