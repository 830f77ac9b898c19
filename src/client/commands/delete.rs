//! `k8s-cli jobs delete`: deletes finished tasks, and waits until their pods are gone.

use super::{
    documents,
    find::{self, Finder},
    for_each, stop,
};
use crate::{
    api::{ListQuery, TaskStatus, matches_glob},
    cli::{DeleteArgs, Format, Reference},
    client::{Context, Error, Exit, http::ApiClient},
};

const DELETED: &str =
    "deleted; waiting until Kubernetes has removed the pods (Ctrl-C ends the waiting only)";

pub fn run(context: &mut Context<'_>, mut args: DeleteArgs) -> Result<Exit, Error> {
    let server = args.take_server();
    let usage = |message: &str| Err(Error::Usage(message.to_owned()));
    match (args.ids.is_empty(), args.finished) {
        (false, true) => return usage("give ids of tasks or --finished, not both"),
        (true, false) => return usage("give a task's id, or --finished"),
        (false, false) if args.older_than.is_some() || args.name.is_some() => {
            return usage("--older-than and --name need --finished");
        }
        _ => (),
    }
    let client = context.client(server)?;
    let format = context.format(args.output);
    let is_list = args.finished || args.ids.len() > 1;
    let finder = Finder::tasks(&client).with_care(context);
    let ids = match args.finished {
        true => finished(context, &client, &args)?,
        false => args.ids.clone(),
    };
    if args.finished {
        if ids.is_empty() {
            context.say("no tasks to delete");
        } else if context.terminal.input && !args.yes {
            context.ask(&format!(
                "delete {} finished tasks and their logs?",
                ids.len()
            ))?;
        }
    }
    // All are deleted before the pods of the first are waited for.
    let delete = |typed| match finder.with(typed, |id| client.delete_task(id)) {
        Err(Error::Group { id, .. }) => match find::members(&client, id, false, None) {
            Ok(tasks) => {
                let tasks = tasks.iter().map(|task| client.delete_task(&task.task_id));
                tasks.collect()
            }
            Err(error) => vec![Err(error)],
        },
        deleted => vec![deleted],
    };
    let deleted: Vec<_> = ids.iter().flat_map(delete).collect();
    let is_list = is_list || deleted.len() > 1;
    let mut bodies = Vec::new();
    let deleted = for_each(context, deleted, |context, answer| {
        let answer = answer?;
        let id = answer.value.task_id;
        stop::wait(context, DELETED, || stop::stopping(&client, &id))?;
        match format {
            Format::Table | Format::Wide | Format::Tsv => {
                context.confirm(&answer.value.message)?;
            }
            Format::Name => writeln!(context.out, "{id}")?,
            Format::Json | Format::Yaml => bodies.push(answer.body),
        }
        Ok(())
    });
    if matches!(format, Format::Json | Format::Yaml) {
        documents(context, format, &bodies, is_list)?;
    }
    deleted
}

/// The finished tasks that the options mean, oldest first.
fn finished(
    context: &Context<'_>,
    client: &ApiClient,
    args: &DeleteArgs,
) -> Result<Vec<Reference>, Error> {
    let answer = client.list_tasks(false, &ListQuery::default())?;
    // The clock of this machine may be wrong.
    let now = answer.time.unwrap_or(context.now);
    let is_meant = |task: &&TaskStatus| {
        let age = u64::try_from(task.updated_at.seconds_until(now)).unwrap_or(0);
        let is_old = args.older_than.is_none_or(|least| age >= least.as_secs());
        let has_name = args
            .name
            .as_ref()
            .is_none_or(|pattern| matches_glob(pattern, &task.name));
        task.has_ended() && is_old && has_name
    };
    let meant = answer.value.tasks.iter().rev().filter(is_meant);
    let id = |task: &TaskStatus| task.task_id.as_str().parse();
    Ok(meant.filter_map(|task| id(task).ok()).collect())
}
