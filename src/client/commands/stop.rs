//! `k8s-cli jobs stop`: stops tasks, and waits until their pods have ended.

use std::{thread::sleep, time::Duration};

use super::{documents, for_each};
use crate::{
    api::{TaskId, TaskState},
    cli::{Format, StopArgs},
    client::{Context, Error, Exit, http::ApiClient, output},
};

/// The first pause between two looks at a stopping task. Pauses double up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The number of pauses, 1.5 s together, after which the command says that it waits.
const SILENT_PAUSES: u32 = 4;

pub fn run(context: &mut Context<'_>, args: StopArgs) -> Result<Exit, Error> {
    let StopArgs {
        ids,
        all,
        all_users,
        no_wait,
        yes,
        output,
        api_url,
        as_user,
    } = args;
    let format = context.format(output);
    let usage = |message: &str| Err(Error::Usage(message.to_owned()));
    match (ids.is_empty(), all) {
        (false, true) => return usage("give ids of tasks or --all, not both"),
        (true, false) => return usage("give a task's id, or --all"),
        _ if all_users && !all => return usage("--all-users needs --all"),
        (true, true) if format == Format::Name => {
            return usage("`-o name` does not work with --all: the answer names no ids");
        }
        _ => (),
    }
    let client = context.client(api_url, as_user)?;
    if all_users && !yes && context.terminal.input {
        context.ask("stop the unfinished tasks of all users?")?;
    }
    if all {
        let stopped = client.stop_all_tasks(all_users)?;
        if !no_wait {
            let mut tasks = stopping(&client, all_users)?;
            wait(context, || {
                let still = stopping(&client, all_users)?;
                tasks.retain(|id| still.contains(id));
                Ok(!tasks.is_empty())
            })?;
        }
        match format {
            Format::Json | Format::Yaml => output::document(context.out, format, &stopped.body)?,
            _ => writeln!(context.out, "{}", output::escape(&stopped.value.message))?,
        }
        return Ok(Exit::Done);
    }
    // All are told before the first is waited for.
    let stopped: Vec<_> = ids.iter().map(|id| client.stop_task(id)).collect();
    let is_list = ids.len() > 1;
    let mut bodies = Vec::new();
    let done = for_each(
        context,
        ids.iter().zip(stopped),
        |context, (id, stopped)| {
            let stopped = stopped?;
            if !no_wait {
                wait(context, || is_stopping(&client, id))?;
            }
            match format {
                Format::Table | Format::Tsv => {
                    writeln!(context.out, "{}", output::escape(&stopped.value.message))?;
                }
                Format::Name => writeln!(context.out, "{id}")?,
                Format::Json | Format::Yaml => bodies.push(stopped.body),
            }
            Ok(())
        },
    );
    if matches!(format, Format::Json | Format::Yaml) {
        documents(context, format, &bodies, is_list)?;
    }
    done
}

/// Waits while processes of stopped tasks run.
fn wait(
    context: &mut Context<'_>,
    mut is_stopping: impl FnMut() -> Result<bool, Error>,
) -> Result<(), Error> {
    let mut pauses = 0;
    while is_stopping()? {
        if pauses == SILENT_PAUSES {
            context.say(
                "stopped; waiting until the processes have ended (Ctrl-C ends the waiting only)",
            );
        }
        sleep((FIRST_PAUSE * 2_u32.pow(pauses.min(4))).min(LONGEST_PAUSE));
        pauses += 1;
    }
    Ok(())
}

/// Whether processes of a stopped task still run.
fn is_stopping(client: &ApiClient, id: &TaskId) -> Result<bool, Error> {
    match client.task(id) {
        Ok(task) => Ok(task.value.status == TaskState::Stopping),
        Err(Error::Api { status: 404, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The tasks whose processes still run although they were stopped.
fn stopping(client: &ApiClient, all_users: bool) -> Result<Vec<TaskId>, Error> {
    let tasks = client.list_tasks(all_users)?.value.tasks.into_iter();
    let stopping = tasks.filter(|task| task.status == TaskState::Stopping);
    Ok(stopping.map(|task| task.task_id).collect())
}
