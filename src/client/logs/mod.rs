//! Follows the log of a task to its end, for `jobs logs` and `jobs submit`.
//!
//! ```text
//! followed_log ──► feed   the events of one stream, Ctrl-C and a closed stdout among them
//!       └────────► view   the records of the log to lines on stdout and messages on stderr
//! ```
//!
//! Only `commands` comes in. The options of `jobs logs` are not here, but in `commands::logs`.

mod feed;
mod followed_log;
mod view;

use std::time::{Duration, Instant};

pub use self::feed::{Event, LogFeed};
use self::{
    followed_log::FollowedLog,
    view::{LineStyle, LogView},
};
use crate::{
    api::{LogEnd, LogQuery, TaskId, TaskState},
    backoff::Backoff,
    cli::{LogFormat, Prefix, When},
    client::{Context, Error, Exit, http::ApiClient},
};

/// The longest pause before a log of text is requested again.
const TEXT_PAUSE: Duration = Duration::from_secs(3);

/// The output options of a log.
#[derive(Clone, Copy)]
pub struct Style {
    pub prefix: Prefix,
    pub output: LogFormat,
    /// Whether a message reports that the task has completed.
    pub reports_success: bool,
}

/// Shows the log of a task until it ends, and returns how the task ended. `label` stands before each line.
///
/// # Errors
/// The task does not exist, the server refuses the request, the user pressed Ctrl-C, or stdout cannot be written.
pub fn follow(
    context: &mut Context<'_>,
    client: &ApiClient,
    feed: LogFeed,
    id: TaskId,
    query: LogQuery,
    style: Style,
    label: Option<&str>,
) -> Result<Exit, Error> {
    let line_style = LineStyle {
        prefix: style.prefix,
        timestamps: query.timestamps,
        colors: context.terminal.has_colors(When::Auto, context.env),
    };
    let only_for_records = only_for_records(&query, style.prefix);
    let asked = query.clone();
    let mut view = LogView::new(id, line_style, style.output);
    view.label = label.map(str::to_owned);
    view.follows = query.follow;
    view.reports_success = style.reports_success;
    let mut followed = FollowedLog::new(client, feed, view, id, query);
    let result = match followed.begin(context)? {
        Event::Begun { in_records: false } if !only_for_records.is_empty() => {
            let options = only_for_records.join(", ");
            return Err(client.not_ours(&format!("its logs are text, and it ignores {options}")));
        }
        Event::Begun { in_records: false } if style.output == LogFormat::Text => {
            let success = style.reports_success;
            return text(context, client, &mut followed.feed, &id, &asked, success);
        }
        Event::Begun { in_records: false } => {
            return Err(client.not_ours("its logs are text, and `-o json` needs records"));
        }
        Event::Failed(Error::Api {
            status: 404,
            detail,
            ..
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

/// Whether a request is worth repeating after an answer of the server or of a proxy. A client error is not, except that the request
/// came too slowly (408), too early (425), or after too many others (429).
pub fn may_pass(error: &Error) -> bool {
    match error {
        Error::NoAnswer { .. } => true,
        Error::Api { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
        _ => false,
    }
}

/// Whether a server that was reached before may be starting again, or answer later.
pub fn may_come_back(error: &Error) -> bool {
    may_pass(error) || matches!(error, Error::Unreachable { .. })
}

/// The options that a server without records ignores.
fn only_for_records(query: &LogQuery, prefix: Prefix) -> Vec<&'static str> {
    let given = [
        (prefix != Prefix::Auto, "--prefix"),
        (query.attempt.is_some(), "--attempt"),
        (!query.follow, "--no-follow"),
        (query.tail.is_some(), "--tail"),
        (query.since.is_some(), "--since"),
        (query.timestamps, "--timestamps"),
        (!query.nodes.is_empty(), "--node"),
    ];
    let given = given.into_iter().filter(|(is_given, _)| *is_given);
    given.map(|(_, option)| option).collect()
}

/// Copies a log of text, from a server without records, and then requests the state of the task. Such a server ends the log at once
/// while the pods cannot be read; then the log is requested again.
fn text(
    context: &mut Context<'_>,
    client: &ApiClient,
    feed: &mut LogFeed,
    id: &TaskId,
    query: &LogQuery,
    reports_success: bool,
) -> Result<Exit, Error> {
    // In the log, such a server says nothing about a task that does not exist.
    if let Err(error) = client.task(id) {
        return Err(match error {
            Error::Api {
                status: 404,
                detail,
                ..
            } => Error::TaskNotFound { detail },
            error => error,
        });
    }
    let patience = Instant::now() + query.wait;
    let mut backoff = Backoff::up_to(TEXT_PAUSE);
    let mut is_empty = true;
    let task = loop {
        match feed.next(context.out)? {
            Event::Begun { in_records: false } => continue,
            Event::Bytes(bytes) => {
                is_empty &= bytes.is_empty();
                context.out.write_all(&bytes)?;
                continue;
            }
            Event::Ended => context.out.flush()?,
            event => return Err(event.into_error(id)),
        }
        let task = match client.task(id) {
            Ok(answer) => answer.value,
            // The task existed when its log began, and stopping a task deletes it.
            Err(Error::Api { status: 404, .. }) => {
                context.say(&format!("task {id} was stopped"));
                return Ok(Exit::TaskStopped);
            }
            Err(error) => return Err(error),
        };
        let is_unfinished = matches!(task.status, TaskState::Pending | TaskState::Running);
        if !is_empty || !is_unfinished || Instant::now() >= patience {
            break task;
        }
        if !feed.wait(backoff.next(rand::random()))? {
            return Err(Error::Detached { id: *id });
        }
        let (client, id, query) = (client.clone(), *id, query.clone());
        feed.start(move || client.logs(&id, &query, &[]));
    };
    let suffix = task
        .reason
        .map_or_else(String::new, |reason| format!(": {reason}"));
    match task.status {
        TaskState::Completed if reports_success => context.say(&format!("task {id} completed")),
        TaskState::Completed => (),
        TaskState::Failed => context.say(&format!("task {id} failed{suffix}")),
        TaskState::Pending | TaskState::Running | TaskState::Stopping => {
            context.say(&format!("task {id} has not finished{suffix}"));
        }
    }
    Ok(LogEnd::from(task.status).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_is_not_repeated() {
        let repeated = |status| {
            let detail = String::new();
            may_pass(&Error::Api {
                status,
                detail,
                reason: None,
            })
        };
        let passing = [408, 425, 429, 500, 501, 502, 503, 504, 520, 599];
        assert!(passing.into_iter().all(repeated));
        let refusals = [400, 401, 403, 404, 405, 409, 410, 413, 422, 431];
        assert!(!refusals.into_iter().any(repeated));
    }
}
