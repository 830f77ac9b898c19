//! `k8s-cli jobs stop`: stops tasks, and waits until their pods have ended.

use std::{thread::sleep, time::Duration};

use super::{documents, find::Finder, for_each};
use crate::{
    api::{ListQuery, TaskId, TaskState, TaskStatus, TaskStopAllResponse, TaskStopResponse},
    cli::{Format, StopArgs},
    client::{
        Context, Error, Exit,
        http::{Answer, ApiClient},
        output,
    },
};

/// The first pause between two looks at a stopping task. Pauses double up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The number of pauses, 1.5 s together, after which the command says that it waits.
const SILENT_PAUSES: u32 = 4;
const STOPPED: &str =
    "stopped; waiting until the processes have ended (Ctrl-C ends the waiting only)";
/// The number of pauses, about a minute together, after which it names the pods. The usual grace period is over by then.
const LONG: u32 = 64;

pub fn run(context: &mut Context<'_>, mut args: StopArgs) -> Result<Exit, Error> {
    let server = args.take_server();
    let StopArgs {
        ids,
        all,
        all_users,
        no_wait,
        yes,
        output,
        ..
    } = args;
    let format = context.format(output);
    let usage = |message: &str| Err(Error::Usage(message.to_owned()));
    match (ids.is_empty(), all) {
        (false, true) => return usage("give ids of tasks or --all, not both"),
        (true, false) => return usage("give a task's id, or --all"),
        _ if all_users && !all => return usage("--all-users needs --all"),
        _ => (),
    }
    let client = context.client(server)?;
    if all_users && !yes && context.terminal.input {
        context.ask("stop the unfinished tasks of all users?")?;
    }
    if all {
        let stopped = client.stop_all_tasks(all_users)?;
        if !no_wait {
            let mut ids: Option<Vec<TaskId>> = None;
            wait(context, STOPPED, || {
                let mut tasks = client
                    .list_tasks(all_users, &ListQuery::default())?
                    .value
                    .tasks;
                tasks.retain(|task| {
                    let is_wanted = ids.as_ref().is_none_or(|ids| ids.contains(&task.task_id));
                    is_wanted && task.status == TaskState::Stopping
                });
                // Tasks that are stopped later do not prolong the waiting.
                ids = Some(tasks.iter().map(|task| task.task_id).collect());
                Ok(tasks)
            })?;
        }
        match format {
            Format::Json | Format::Yaml => output::document(context.out, format, &stopped.body)?,
            Format::Name if stopped.value.task_ids.len() < stopped.value.count => {
                return Err(client.not_ours("its answer does not name the stopped tasks"));
            }
            Format::Name => {
                let ids = stopped.value.task_ids.iter();
                output::tsv(context.out, ids.map(|id| vec![id.to_string()]))?;
            }
            _ => context.confirm(&stopped.value.message)?,
        }
        return Ok(Exit::Done);
    }
    // All are told before the first is waited for.
    let finder = Finder::tasks(&client).with_care(context);
    let stop = |typed| match finder.with(typed, |id| client.stop_task(id)) {
        Err(Error::Group { id, .. }) => client.stop_group(&id).map(Stopped::group),
        stopped => stopped.map(Stopped::task),
    };
    let stopped: Vec<_> = ids.iter().map(stop).collect();
    let is_list = ids.len() > 1;
    let mut bodies = Vec::new();
    let done = for_each(context, stopped, |context, stopped| {
        let stopped = stopped?;
        for id in stopped.ids.iter().filter(|_| !no_wait) {
            wait(context, STOPPED, || stopping(&client, id))?;
        }
        match format {
            Format::Table | Format::Wide | Format::Tsv => {
                context.confirm(&stopped.message)?;
            }
            Format::Name => {
                let ids = stopped.ids.iter();
                output::tsv(context.out, ids.map(|id| vec![id.to_string()]))?;
            }
            Format::Json | Format::Yaml => bodies.push(stopped.body),
        }
        Ok(())
    });
    if matches!(format, Format::Json | Format::Yaml) {
        documents(context, format, &bodies, is_list)?;
    }
    done
}

/// What one argument has stopped: a task, or the tasks of a group.
struct Stopped {
    ids: Vec<TaskId>,
    message: String,
    body: Vec<u8>,
}

impl Stopped {
    fn task(answer: Answer<TaskStopResponse>) -> Self {
        Self {
            ids: vec![answer.value.task_id],
            message: answer.value.message,
            body: answer.body,
        }
    }

    fn group(answer: Answer<TaskStopAllResponse>) -> Self {
        Self {
            ids: answer.value.task_ids,
            message: answer.value.message,
            body: answer.body,
        }
    }
}

/// Waits until there are no tasks whose pods still exist although they were stopped or deleted. `note` is said if that takes a while.
pub fn wait(
    context: &mut Context<'_>,
    note: &str,
    mut stopping: impl FnMut() -> Result<Vec<TaskStatus>, Error>,
) -> Result<(), Error> {
    for pauses in 0.. {
        let tasks = stopping()?;
        if tasks.is_empty() {
            break;
        }
        if pauses == SILENT_PAUSES {
            context.say(note);
        }
        if pauses == LONG {
            let nodes = tasks.iter().flat_map(|task| &task.metadata.nodes);
            let pods: Vec<_> = nodes.filter_map(|node| node.pod.as_deref()).collect();
            context.say(&format!(
                "Kubernetes has not removed {} yet: if a machine is broken, `kubectl delete pod --force` removes its pods",
                pods.join(", ")
            ));
        }
        sleep((FIRST_PAUSE * 2_u32.pow(pauses.min(4))).min(LONGEST_PAUSE));
    }
    Ok(())
}

/// The task of this id, if its pods still exist although it was stopped or deleted.
pub fn stopping(client: &ApiClient, id: &TaskId) -> Result<Vec<TaskStatus>, Error> {
    match client.task(id) {
        Ok(task) if task.value.status == TaskState::Stopping => Ok(vec![task.value]),
        Ok(_) | Err(Error::Api { status: 404, .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
