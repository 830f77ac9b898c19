//! `k8s-cli jobs logs`, and the second half of `jobs submit`: follow a task's log and end as the task ends.

use std::ffi::OsString;

use super::{
    Context, Error, Exit,
    config::Env,
    http::{ApiClient, describe_body},
    log_feed::{Event, LogFeed},
    log_view::{LineStyle, LogView},
};
use crate::{
    api::{LogEnd, LogQuery, LogRecord, TaskId, TaskState},
    cli::{LogsArgs, Prefix},
};

/// The longest record. The server cuts long lines into pieces of at most 64 KiB, so what is longer was not sent by it.
const MAX_RECORD: usize = 8 * 1024 * 1024;

pub fn run(context: &mut Context<'_>, args: LogsArgs) -> Result<Exit, Error> {
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
        api_url,
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
    };
    let client = context.client(api_url)?;
    self::follow(context, &client, LogFeed::listen(), id, query, prefix)
}

/// Shows the log of a task until it ends, and says how the task did.
///
/// # Errors
/// There is no such task, the connection was cut, or the reader had enough.
pub fn follow(
    context: &mut Context<'_>,
    client: &ApiClient,
    feed: LogFeed,
    id: TaskId,
    query: LogQuery,
    prefix: Prefix,
) -> Result<Exit, Error> {
    let style = LineStyle {
        prefix,
        timestamps: query.timestamps,
        colors: context.terminal.out && wants_colors(context.env),
    };
    feed.start(client.clone(), id.clone(), query);
    match feed.next(context.out)? {
        Event::Begun { in_records: true } => {
            let mut view = LogView::new(id.clone(), style);
            let result = records(context, client, &feed, &id, &mut view);
            if result.is_err() {
                view.finish(context)?;
            }
            result
        }
        Event::Begun { in_records: false } => text(context, client, &feed, &id),
        Event::Failed(Error::Api {
            status: 404,
            detail,
        }) => Err(Error::TaskNotFound { detail }),
        event => Err(broken_off(event, &id)),
    }
}

/// Shows records until the last one.
///
/// A stream that breaks off before it could be asked for again here, from the last time that was shown; it is not yet.
fn records(
    context: &mut Context<'_>,
    client: &ApiClient,
    feed: &LogFeed,
    id: &TaskId,
    view: &mut LogView,
) -> Result<Exit, Error> {
    let mut begun = Vec::new();
    loop {
        let bytes = match feed.next_heartbeat(context.out)? {
            Event::Bytes(bytes) => bytes,
            event => return Err(broken_off(event, id)),
        };
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            begun.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let record = decode(client, &begun)?;
            begun.clear();
            if let Some(end) = record
                .map(|record| view.show(context, record))
                .transpose()?
                .flatten()
            {
                return Ok(end.into());
            }
        }
        if begun.len() + rest.len() > MAX_RECORD {
            return Err(client.not_ours("a record of its log is longer than 8 MiB"));
        }
        begun.extend_from_slice(rest);
    }
}

/// Reads one record; `None` for an empty line.
fn decode(client: &ApiClient, line: &[u8]) -> Result<Option<LogRecord>, Error> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line)
        .map(Some)
        .map_err(|error| client.not_ours(&format!("a record of its log cannot be read: {error}")))
}

/// Copies a log that is text, from a server that knows no records, and asks how the task did.
fn text(
    context: &mut Context<'_>,
    client: &ApiClient,
    feed: &LogFeed,
    id: &TaskId,
) -> Result<Exit, Error> {
    loop {
        match feed.next(context.out)? {
            Event::Bytes(bytes) => context.out.write_all(&bytes)?,
            Event::Ended => break,
            event => return Err(broken_off(event, id)),
        }
    }
    context.out.flush()?;
    let task = match client.task(id) {
        Ok(answer) => answer.value,
        // It was there when its log began, and stopping a task deletes it.
        Err(Error::Api { status: 404, .. }) => {
            context.say(&format!("task {id} was stopped"));
            return Ok(Exit::TaskStopped);
        }
        Err(error) => return Err(error),
    };
    let because = task
        .reason
        .map_or_else(String::new, |reason| format!(": {reason}"));
    match task.status {
        TaskState::Completed => (),
        TaskState::Failed => context.say(&format!("task {id} failed{because}")),
        TaskState::Pending | TaskState::Running => {
            context.say(&format!("task {id} has not finished{because}"));
        }
    }
    Ok(LogEnd::from(task.status).into())
}

/// The error for an event that ends a log before its end.
fn broken_off(event: Event, id: &TaskId) -> Error {
    let cause = match event {
        Event::Interrupted => return Error::Detached { id: id.clone() },
        Event::Failed(error) => return error,
        Event::Broken(error) => describe_body(error),
        Event::Ended | Event::Bytes(_) | Event::Begun { .. } => {
            "the server closed the connection".to_owned()
        }
    };
    Error::Cut {
        id: id.clone(),
        cause,
    }
}

/// Whether a person at a terminal wants colours: <https://no-color.org>.
fn wants_colors(env: Env<'_>) -> bool {
    let is_set = |value: Option<OsString>| value.is_some_and(|value| !value.is_empty());
    !is_set(env("NO_COLOR")) && env("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colors(variables: &[(&str, &str)]) -> bool {
        wants_colors(&|name| {
            let variable = variables.iter().find(|(key, _)| *key == name);
            variable.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn colours_can_be_refused() {
        assert!(colors(&[]));
        assert!(colors(&[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!colors(&[("NO_COLOR", "1")]));
        assert!(!colors(&[("TERM", "dumb")]));
    }

    #[test]
    fn a_stream_without_its_last_record_was_cut() {
        let id: TaskId = "ab12cd34".parse().unwrap();
        for (event, message) in [
            (
                Event::Ended,
                "the log of task `ab12cd34` was cut off: the server closed the connection",
            ),
            (
                Event::Broken(std::io::Error::from_raw_os_error(104)),
                "the log of task `ab12cd34` was cut off: connection reset by peer",
            ),
        ] {
            let error = broken_off(event, &id);
            assert_eq!(error.to_string(), message);
            assert_eq!(error.exit(), Exit::Failed);
        }
        assert_eq!(
            broken_off(Event::Interrupted, &id).exit(),
            Exit::Interrupted
        );
    }
}
