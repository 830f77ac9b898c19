//! Stops tasks: deletes their Jobs, which deletes their pods.

use std::sync::Arc;

use crate::{
    api::{TaskId, User},
    executor::{
        error::{Error, Result},
        observed::JobRow,
        view::LiveView,
    },
};

/// Stops a task of `user`.
///
/// # Errors
/// When `user` has no such task, or Kubernetes refuses.
pub async fn stop(live: &LiveView, user: &User, id: TaskId) -> Result<()> {
    let jobs = live.jobs_of(id).await?.into_iter();
    let jobs: Vec<_> = jobs.filter(|job| job.owner.is(user)).collect();
    if jobs.is_empty() {
        return Err(Error::no_such_task(id));
    }
    live.delete_jobs(jobs).await?;
    log::info!("task stopped task_id={id} user={:?}", user.as_str());
    Ok(())
}

/// Stops the unfinished tasks of `user`, or of all users, in the name of `asking`; returns their ids.
///
/// # Errors
/// When Kubernetes does not answer, or refuses. Some tasks may be stopped already.
pub async fn stop_all(live: &LiveView, asking: &User, user: Option<&User>) -> Result<Vec<TaskId>> {
    // A task that has just ended must stay, and one that has just begun must go.
    live.refresh_list(user).await?;
    let mut tasks = live.view.list(user);
    let is_own = |job: &Arc<JobRow>| user.is_none_or(|user| job.owner.is(user));
    tasks.retain(|(id, task)| {
        let status = task.status(*id, user, &live.cluster.namespace);
        status.is_some_and(|status| !status.status.is_terminal())
    });
    let jobs = tasks.iter().flat_map(|(_, task)| &task.jobs);
    let jobs = jobs.filter(|job| is_own(job)).cloned();
    let deleted = live.delete_jobs(jobs).await?;
    // Another request may have stopped a task in the meantime.
    tasks.retain(|(_, task)| task.jobs.iter().any(|job| deleted.contains(&job.uid)));
    for (id, _) in &tasks {
        log::info!("task stopped task_id={id} user={:?}", asking.as_str());
    }
    Ok(tasks.into_iter().map(|(id, _)| id).collect())
}
