//! `k8s-cli jobs logs`: turns the flags into a query and follows the log.

use std::{io, time::Duration};

use super::find::{self, Finder};
use crate::{
    api::{LogQuery, TaskId, TaskState},
    cli::{LogFormat, LogsArgs, Reference},
    client::{
        Context, Error, Exit,
        http::ApiClient,
        logs::{self, LogFeed, Style},
    },
};

/// The default for tasks of a group, which may wait for each other for days.
const AS_LONG_AS_IT_TAKES: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub fn run(context: &mut Context<'_>, mut args: LogsArgs) -> Result<Exit, Error> {
    let server = args.take_server();
    let LogsArgs {
        id,
        group,
        follow,
        no_follow,
        tail,
        since,
        timestamps,
        node,
        attempt,
        prefix,
        wait,
        output,
        ..
    } = args;
    if follow && no_follow {
        return Err(Error::Usage(
            "--follow and --no-follow exclude each other".to_owned(),
        ));
    }
    if group && output == LogFormat::Json {
        return Err(Error::Usage(
            "--group has no `-o json`: the records of a log do not name its task".to_owned(),
        ));
    }
    // The tasks of a group may wait for each other.
    let usual = match group {
        true => AS_LONG_AS_IT_TAKES,
        false => LogQuery::default().wait,
    };
    let query = LogQuery {
        follow: !no_follow,
        tail,
        since,
        timestamps,
        nodes: node,
        attempt,
        wait: wait.unwrap_or(usual),
        after: Vec::new(),
        // A record per line is several times as long as the line, and only the line is shown.
        joined: output == LogFormat::Text && !timestamps,
    };
    let client = context.client(server)?;
    let style = Style {
        prefix,
        output,
        reports_success: false,
    };
    if group {
        return of_group(context, &client, &id, &query, style);
    }
    let followed = Finder::tasks(&client).with(&id, |id| {
        let feed = LogFeed::listen();
        let followed = logs::follow(context, &client, feed, *id, query.clone(), style, None);
        or_unfinished(&client, id, followed)
    });
    followed.map_err(|error| match error {
        Error::Group { id, .. } => Error::Group {
            id,
            wants_log: true,
        },
        error => error.of_watched_task(),
    })
}

/// Prints the logs of the tasks of a group in the order of their ranks, each line with the name of its task.
fn of_group(
    context: &mut Context<'_>,
    client: &ApiClient,
    typed: &Reference,
    query: &LogQuery,
    style: Style,
) -> Result<Exit, Error> {
    let tasks = find::group(client, typed)?;
    let Some((_, tasks)) = tasks else {
        return Err(find::no_group(typed).of_watched_task());
    };
    let mut exits = Vec::new();
    for task in tasks {
        let (id, label) = (task.task_id, Some(task.name.as_str()));
        let feed = LogFeed::listen();
        let followed = logs::follow(context, client, feed, id, query.clone(), style, label);
        match or_unfinished(client, &id, followed) {
            // It was stopped since the list.
            Err(Error::TaskNotFound { .. }) => exits.push(Exit::TaskStopped),
            exit => exits.push(exit?),
        }
    }
    let order = [Exit::TaskFailed, Exit::TaskUnfinished, Exit::TaskStopped];
    let worst = order.into_iter().find(|exit| exits.contains(exit));
    Ok(worst.unwrap_or(Exit::Done))
}

/// The result of a followed log. A closed pipe is a quiet end, but the log of a task that goes on has not ended.
pub fn or_unfinished(
    client: &ApiClient,
    id: &TaskId,
    result: Result<Exit, Error>,
) -> Result<Exit, Error> {
    match result {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            let state = client.task(id).map(|answer| answer.value.status);
            Ok(match state {
                Ok(TaskState::Completed | TaskState::Failed) => Exit::Done,
                _ => Exit::TaskUnfinished,
            })
        }
        result => result,
    }
}
