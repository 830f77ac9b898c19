//! `k8s-cli jobs logs`: turns the flags into a query and follows the log.

use std::io;

use super::find::Finder;
use crate::{
    api::{LogQuery, TaskId, TaskState},
    cli::{LogFormat, LogsArgs},
    client::{
        Context, Error, Exit,
        http::ApiClient,
        logs::{self, LogFeed, Style},
    },
};

pub fn run(context: &mut Context<'_>, mut args: LogsArgs) -> Result<Exit, Error> {
    let server = args.take_server();
    let LogsArgs {
        id,
        follow,
        no_follow,
        tail,
        since,
        timestamps,
        node,
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
    let query = LogQuery {
        follow: !no_follow,
        tail,
        since,
        timestamps,
        nodes: node,
        wait: wait.unwrap_or(LogQuery::default().wait),
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
    let followed = Finder::tasks(&client).with(&id, |id| {
        let feed = LogFeed::listen();
        let followed = logs::follow(context, &client, feed, *id, query.clone(), style);
        or_unfinished(&client, id, followed)
    });
    followed.map_err(Error::of_watched_task)
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
