//! `k8s-cli jobs wait`: waits until tasks have reached a state.

use std::{
    iter,
    thread::sleep,
    time::{Duration, Instant},
};

use super::find::{self, Finder};
use crate::{
    api::{Awaited, LONGEST_WAIT, TaskId, TaskState, TaskStatus, TaskWaitResponse, WaitQuery},
    cli::{Format, Reference, WaitArgs},
    client::{
        Context, Error, Exit,
        http::{Answer, ApiClient},
        logs::{may_come_back, may_pass},
        output::{self, task_view},
    },
};

/// The pause before a request to a server that is away, or had no room for the one before.
const AWAY_PAUSE: Duration = Duration::from_secs(2);
/// The pause between two looks at a server that cannot wait.
const POLL_PAUSE: Duration = Duration::from_secs(1);

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
    let mut waited = wait(context, &client, &query);
    if let Err(Error::TaskNotFound { .. }) = &waited
        && let Ok(ids) = all(&client, &finder, &typed)
        && ids != query.ids
    {
        query.ids = ids;
        waited = wait(context, &client, &query);
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
            let reached = tasks.iter().filter(|task| awaited.is_reached(task));
            let ids = reached.map(|task| vec![task.task_id.to_string()]);
            output::tsv(context.out, ids)?;
        }
        Format::Table | Format::Wide => report(context, tasks),
    }
    Ok(finish(context, &query, &answer.value))
}

/// The exit code for the last answer. It is said why, if the time was over.
fn finish(context: &mut Context<'_>, query: &WaitQuery, last: &TaskWaitResponse) -> Exit {
    let exit = exit(query, &last.tasks, last.done);
    if exit == Exit::TimedOut {
        let waited = output::duration(query.timeout.as_secs().try_into().unwrap_or(i64::MAX));
        context.say(&format!("not {} within {waited}", query.awaited));
    }
    exit
}

/// The ids of the tasks that are meant, each by an id or a name of its own or together as a group.
fn all(
    client: &ApiClient,
    finder: &Finder<'_, TaskId>,
    typed: &[Reference],
) -> Result<Vec<TaskId>, Error> {
    let mut ids = Vec::new();
    for typed in typed {
        match finder.find(typed) {
            Ok(id) => ids.push(id),
            Err(several @ Error::Several { .. }) => return Err(several),
            Err(error) => {
                let (_, tasks) = find::group(client, typed)?.ok_or(error)?;
                ids.extend(tasks.iter().map(|task| task.task_id));
            }
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
    timeout: Option<Duration>,
) -> Result<Exit, Error> {
    let query = WaitQuery {
        ids,
        awaited,
        any: false,
        timeout: timeout.unwrap_or(Duration::MAX),
    };
    let Some(answer) = wait(context, client, &query)? else {
        let what = match query.ids[..] {
            [id] => format!("task {id} was stopped"),
            _ => "all of the tasks were stopped".to_owned(),
        };
        context.say(&what);
        return Ok(Exit::TaskStopped);
    };
    report(context, &answer.value.tasks);
    Ok(finish(context, &query, &answer.value))
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
fn wait(
    context: &mut Context<'_>,
    client: &ApiClient,
    query: &WaitQuery,
) -> Result<Option<Answer<TaskWaitResponse>>, Error> {
    let begun = Instant::now();
    let mut query = query.clone();
    let timeout = query.timeout;
    // Whether there was no answer yet; the server cannot wait; it has gone away.
    let (mut is_first, mut polls, mut is_away) = (true, false, false);
    loop {
        query.timeout = timeout.saturating_sub(begun.elapsed()).min(LONGEST_WAIT);
        let answer = match polls {
            true => look(client, &query),
            false => client.wait_for_tasks(&query),
        };
        let answer = match answer {
            // Stopped between two requests.
            Err(Error::Api { status: 404, .. }) if !is_first => {
                query.ids.retain(|id| client.task(id).is_ok());
                if query.ids.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            // A server that cannot wait takes `wait` for an id.
            Err(Error::Api { status: 404, .. }) => {
                if let Some(error) = missing(client, &query.ids) {
                    return Err(error);
                }
                polls = true;
                continue;
            }
            // It starts again, or other commands of this user wait and follow logs.
            Err(error)
                if (may_pass(&error) || (is_away || !is_first) && may_come_back(&error))
                    && begun.elapsed() + AWAY_PAUSE < timeout =>
            {
                if !std::mem::replace(&mut is_away, true) {
                    context.say(&format!("{error}; trying again"));
                }
                sleep(AWAY_PAUSE);
                continue;
            }
            answer => answer?,
        };
        is_first = false;
        if std::mem::take(&mut is_away) {
            context.say("the server is back");
        }
        if polls && answer.value.tasks.is_empty() {
            return Ok(None);
        }
        if answer.value.done || begun.elapsed() >= timeout {
            return Ok(Some(answer));
        }
        if polls {
            sleep(POLL_PAUSE.min(timeout.saturating_sub(begun.elapsed())));
        }
    }
}

/// The error about the first of some tasks that does not exist.
fn missing(client: &ApiClient, ids: &[TaskId]) -> Option<Error> {
    let of_task = |id| match client.task(id) {
        Err(Error::Api {
            status: 404,
            detail,
            ..
        }) => Some(Error::TaskNotFound { detail }),
        Err(error) => Some(error),
        Ok(_) => None,
    };
    ids.iter().find_map(of_task)
}

/// The states of the tasks at a server that cannot wait, such as the Python program. Those that were stopped are missing.
fn look(client: &ApiClient, query: &WaitQuery) -> Result<Answer<TaskWaitResponse>, Error> {
    let mut tasks = Vec::new();
    for id in &query.ids {
        match client.task(id) {
            Ok(answer) => tasks.push(answer.value),
            Err(Error::Api { status: 404, .. }) => (),
            Err(error) => return Err(error),
        }
    }
    let done = query.is_over(&tasks);
    let value = TaskWaitResponse { tasks, done };
    let body = serde_json::to_vec(&value).expect("tasks can be written as JSON");
    Ok(Answer {
        value,
        body,
        time: None,
    })
}

/// The exit code for the last states of tasks. A task that is missing was stopped.
fn exit(query: &WaitQuery, tasks: &[TaskStatus], done: bool) -> Exit {
    let is_reached = |task: &TaskStatus| query.awaited.is_reached(task);
    let was_stopped = |id: &TaskId| !tasks.iter().any(|task| task.task_id == *id);
    let has_failed = |task: &TaskStatus| task.status == TaskState::Failed;
    match query.any {
        true if tasks.iter().any(is_reached) => {
            of_reached(tasks.iter().filter(|task| is_reached(task)))
        }
        _ if !done => Exit::TimedOut,
        _ if tasks.iter().any(has_failed) => Exit::TaskFailed,
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
