//! Waits until tasks have reached a state.

use tokio::time::{Instant, sleep_until};

use crate::{
    api::{Reason, TaskStatus, TaskWaitResponse, User, WaitQuery},
    executor::{
        error::{Error, Result},
        view::LiveView,
    },
};

/// Answers when the tasks of `user` have reached the state, or never will, or the time of the query is over.
///
/// # Errors
/// When `user` has no such task, or Kubernetes has to be asked and does not answer.
pub async fn wait(live: &LiveView, user: &User, query: &WaitQuery) -> Result<TaskWaitResponse> {
    let deadline = Instant::now() + query.timeout;
    let mut changes = live.view.changes();
    let mut seen = None;
    let mut tasks = Vec::new();
    loop {
        changes.mark_unchanged();
        let version = live.view.list_version(Some(user));
        if seen != Some(version) {
            tasks = look(live, user, query, seen.is_some()).await?;
            seen = Some(version);
        }
        if query.is_over(&tasks) {
            return Ok(TaskWaitResponse { tasks, done: true });
        }
        tokio::select! {
            // The view never goes away.
            _ = changes.changed() => (),
            () = sleep_until(deadline) => return Ok(TaskWaitResponse { tasks, done: false }),
        }
    }
}

/// The tasks of a query, `again` without those that were stopped since the first look.
async fn look(
    live: &LiveView,
    user: &User,
    query: &WaitQuery,
    again: bool,
) -> Result<Vec<TaskStatus>> {
    let mut tasks = Vec::new();
    for id in &query.ids {
        let task = match live.task(user, *id).await {
            Ok(task) => task.status(*id, Some(user), &live.cluster.namespace),
            Err(error) if again && error.reason() == Reason::NotFound => continue,
            Err(error) => return Err(error),
        };
        match task {
            Some(task) => tasks.push(task),
            None if again => (),
            None => return Err(Error::no_such_task(*id)),
        }
    }
    Ok(tasks)
}
