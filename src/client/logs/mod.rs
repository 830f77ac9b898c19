//! Follows the log of a task, and ends as the task ends: `jobs logs`, and the second half of `jobs submit`.
//!
//! ```text
//! followed_log ──► feed   the events of one stream, Ctrl-C and a closed stdout among them
//!       └────────► view   the records of the log to the lines that a person sees
//! ```

mod feed;
mod followed_log;
mod view;

use std::ffi::OsString;

pub use self::feed::LogFeed;
use self::{
    feed::Event,
    followed_log::FollowedLog,
    view::{LineStyle, LogView},
};
use crate::{
    api::{LogEnd, LogQuery, TaskId, TaskState},
    cli::{LogFormat, Prefix},
    client::{Context, Error, Exit, config::Env, http::ApiClient},
};

/// How a log is to be shown.
#[derive(Clone, Copy)]
pub struct Style {
    pub prefix: Prefix,
    pub output: LogFormat,
}

/// Shows the log of a task until it ends, and says how the task did.
///
/// # Errors
/// There is no such task, the server refuses, or the reader had enough.
pub fn follow(
    context: &mut Context<'_>,
    client: &ApiClient,
    feed: LogFeed,
    id: TaskId,
    query: LogQuery,
    style: Style,
) -> Result<Exit, Error> {
    let line_style = LineStyle {
        prefix: style.prefix,
        timestamps: query.timestamps,
        colors: context.terminal.out && wants_colors(context.env),
    };
    let view = LogView::new(id, line_style, style.output);
    let mut followed = FollowedLog::new(client, feed, view, id, query);
    let result = match followed.begin(context)? {
        Event::Begun { in_records: false } if style.output == LogFormat::Text => {
            return text(context, client, &mut followed.feed, &followed.id);
        }
        Event::Begun { in_records: false } => {
            return Err(client.not_ours("it gives logs as text only, so `-o json` cannot be had"));
        }
        Event::Failed(Error::Api {
            status: 404,
            detail,
        }) => return Err(Error::TaskNotFound { detail }),
        Event::Failed(error) if !may_pass(&error) => return Err(error),
        Event::Begun { in_records: true } => followed.show(context, None),
        event => followed.show(context, Some(event)),
    };
    if result.is_err() {
        followed.view.finish(context)?;
    }
    result
}

/// Whether it is worth asking again what was never answered: something in between is in trouble, or Kubernetes is.
fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::NoAnswer { .. }
            | Error::Api {
                status: 429 | 502 | 503 | 504,
                ..
            }
    )
}

/// Copies a log that is text, from a server that knows no records, and asks how the task did.
fn text(
    context: &mut Context<'_>,
    client: &ApiClient,
    feed: &mut LogFeed,
    id: &TaskId,
) -> Result<Exit, Error> {
    loop {
        match feed.next(context.out)? {
            Event::Bytes(bytes) => context.out.write_all(&bytes)?,
            Event::Ended => break,
            event => return Err(event.into_error(id)),
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
}
