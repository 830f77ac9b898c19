//! `k8s-cli jobs wait`: waits until tasks have reached a state.

use std::{
    iter,
    time::{Duration, Instant},
};

use super::find::{self, Finder};
use crate::{
    api::{Awaited, LONGEST_WAIT, TaskId, TaskState, TaskStatus, TaskWaitResponse, WaitQuery},
    cli::{Format, Reference, WaitArgs},
    client::{
        Context, Error, Exit,
        http::{Answer, ApiClient},
        output::{self, task_view},
    },
};

pub fn run(context: &mut Context<'_>, mut args: WaitArgs) -> Result<Exit, Error> {
    let server = args.take_server();
    let WaitArgs {
        id,
        ids,
        awaited,
        any,
        timeout,
        output,
        ..
    } = args;
    let client = context.client(server)?;
    let typed: Vec<Reference> = iter::once(id).chain(ids).collect();
    let finder = Finder::tasks(&client);
    let mut query = WaitQuery {
        ids: finder.ids(&typed).map_err(Error::of_watched_task)?,
        awaited,
        any,
        timeout: timeout.unwrap_or(Duration::MAX),
    };
    let mut waited = wait(&client, &query);
    if let Err(Error::TaskNotFound { .. }) = &waited
        && let Ok(ids) = all(&client, &finder, &typed)
        && ids != query.ids
    {
        query.ids = ids;
        waited = wait(&client, &query);
    }
    let Some(answer) = waited? else {
        context.say("all of the tasks were stopped");
        return Ok(Exit::TaskStopped);
    };
    let tasks = &answer.value.tasks;
    match context.format(output) {
        format @ (Format::Json | Format::Yaml) => {
            output::document(context.out, format, &answer.body)?;
        }
        Format::Tsv => task_view::tsv(context.out, tasks)?,
        Format::Name => {
            let reached = tasks.iter().filter(|task| awaited.is_reached(task.status));
            let ids = reached.map(|task| vec![task.task_id.to_string()]);
            output::tsv(context.out, ids)?;
        }
        Format::Table | Format::Wide => report(context, tasks),
    }
    Ok(exit(&query, tasks, answer.value.done))
}

/// The ids of the tasks that are meant, each by an id or a name of its own or together as a group.
fn all(
    client: &ApiClient,
    finder: &Finder<'_, TaskId>,
    typed: &[Reference],
) -> Result<Vec<TaskId>, Error> {
    let mut ids = Vec::new();
    for typed in typed {
        match (finder.find(typed), find::group(client, typed)?) {
            (Ok(id), _) => ids.push(id),
            (Err(_), Some((_, tasks))) => ids.extend(tasks.iter().map(|task| task.task_id)),
            (Err(error), None) => return Err(error),
        }
    }
    Ok(ids)
}

/// Waits for tasks that were just submitted, and reports their states.
pub fn for_submitted(
    context: &mut Context<'_>,
    client: &ApiClient,
    ids: Vec<TaskId>,
    awaited: Awaited,
) -> Result<Exit, Error> {
    let query = WaitQuery {
        ids,
        awaited,
        any: false,
        timeout: Duration::MAX,
    };
    let Some(answer) = wait(client, &query)? else {
        let what = match query.ids[..] {
            [id] => format!("task {id} was stopped"),
            _ => "all of the tasks were stopped".to_owned(),
        };
        context.say(&what);
        return Ok(Exit::TaskStopped);
    };
    report(context, &answer.value.tasks);
    Ok(exit(&query, &answer.value.tasks, answer.value.done))
}

/// Names the tasks with their states; of many only some of those that have failed, and how many have ended in which way.
fn report(context: &mut Context<'_>, tasks: &[TaskStatus]) {
    const MANY: usize = 10;
    let is_told = |task: &&TaskStatus| tasks.len() <= MANY || task.status == TaskState::Failed;
    for task in tasks.iter().filter(is_told).take(MANY) {
        let reason = task.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        context.say(&format!("task {} {}{reason}", task.task_id, task.status));
    }
    if tasks.len() > MANY {
        context.say(&format!(
            "{} tasks: {}",
            tasks.len(),
            task_view::counts(tasks)
        ));
    }
}

/// The last answer; none if all tasks were stopped.
///
/// # Errors
/// There is no such task, or the server does not answer.
fn wait(client: &ApiClient, query: &WaitQuery) -> Result<Option<Answer<TaskWaitResponse>>, Error> {
    let begun = Instant::now();
    let mut query = query.clone();
    let timeout = query.timeout;
    let mut is_first = true;
    loop {
        query.timeout = timeout.saturating_sub(begun.elapsed()).min(LONGEST_WAIT);
        let answer = match client.wait_for_tasks(&query) {
            // Stopped between two requests.
            Err(Error::Api { status: 404, .. }) if !is_first => {
                query.ids.retain(|id| client.task(id).is_ok());
                if query.ids.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            Err(Error::Api {
                status: 404,
                detail,
                ..
            }) => return Err(Error::TaskNotFound { detail }),
            answer => answer?,
        };
        is_first = false;
        if answer.value.done || begun.elapsed() >= timeout {
            return Ok(Some(answer));
        }
    }
}

/// The exit code for the last states of tasks. A task that is missing was stopped.
fn exit(query: &WaitQuery, tasks: &[TaskStatus], done: bool) -> Exit {
    let is_reached = |task: &TaskStatus| query.awaited.is_reached(task.status);
    let was_stopped = |id: &TaskId| !tasks.iter().any(|task| task.task_id == *id);
    let has_failed = |task: &TaskStatus| task.status == TaskState::Failed;
    match query.any {
        true if tasks.iter().any(is_reached) => {
            of_reached(tasks.iter().filter(|task| is_reached(task)))
        }
        _ if tasks.iter().any(has_failed) => Exit::TaskFailed,
        _ if !done => Exit::TimedOut,
        _ if query.ids.iter().any(was_stopped) => Exit::TaskStopped,
        _ => Exit::Done,
    }
}

/// The exit code for tasks that have reached the state, with --any: one that has completed is enough.
fn of_reached<'a>(mut tasks: impl Iterator<Item = &'a TaskStatus>) -> Exit {
    match tasks.any(|task| task.status != TaskState::Failed) {
        true => Exit::Done,
        false => Exit::TaskFailed,
    }
}
