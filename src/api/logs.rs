//! What a log stream is asked for, and the records it is made of.
//!
//! `GET /tasks/{task_id}/logs` answers in one of two forms. `text/plain` is the log as a person reads it. NDJSON, for
//! `Accept: application/x-ndjson`, has one [`LogRecord`] a line and can say what text cannot: why a node waits, how it
//! ended, and that the stream is complete. A stream without its [`LogRecord::End`] was cut.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Problem, TaskState, Timestamp};

/// The content type of a log for people and for curl.
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
/// The content type of a log for programs.
pub const NDJSON: &str = "application/x-ndjson";

/// How long a log stream waits for pods that have not started, unless told otherwise.
const DEFAULT_WAIT: Duration = Duration::from_secs(5 * 60);

/// Where in time a log is to begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Since {
    /// This long before the request.
    Ago(Duration),
    At(Timestamp),
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(duration) = parse_duration(text) {
            return Ok(Self::Ago(duration));
        }
        text.parse().map(Self::At).map_err(|_| {
            format!("{text:?} is neither a duration such as 10m nor a UTC time such as 2025-10-05T12:34:56Z")
        })
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ago(duration) => write!(f, "{}s", duration.as_secs()),
            Self::At(time) => write!(f, "{time}Z"),
        }
    }
}

/// Reads `90`, `90s`, `10m`, `2h` or `1d`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    digits
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)
        .map(Duration::from_secs)
}

/// What of a task's log is wanted: the query of `GET /tasks/{task_id}/logs`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// Whether to go on until the task ends.
    pub follow: bool,
    /// Only this many lines of each node from before the request.
    pub tail: Option<u32>,
    pub since: Option<Since>,
    /// Whether each line of the text form begins with its time.
    pub timestamps: bool,
    /// Only these ranks; all of them when empty.
    pub nodes: Vec<u32>,
    /// How long to wait for pods that have not started.
    pub wait: Duration,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            follow: true,
            tail: None,
            since: None,
            timestamps: false,
            nodes: Vec::new(),
            wait: DEFAULT_WAIT,
        }
    }
}

impl LogQuery {
    /// Reads the query's pairs. Unknown keys are left alone, as every HTTP server does.
    ///
    /// # Errors
    /// All values that cannot be read.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut query = Self::default();
        let mut problems = Vec::new();
        for (key, value) in pairs {
            let read = match key.as_str() {
                "follow" => read_bool(value).map(|follow| query.follow = follow),
                "timestamps" => read_bool(value).map(|timestamps| query.timestamps = timestamps),
                "tail" => read_number(value).map(|tail| query.tail = Some(tail)),
                "since" => value.parse().map(|since| query.since = Some(since)),
                "node" => read_number(value).map(|rank| query.nodes.push(rank)),
                "wait" => parse_duration(value)
                    .ok_or_else(|| format!("{value:?} is not a duration such as 10m"))
                    .map(|wait| query.wait = wait),
                _ => Ok(()),
            };
            problems.extend(read.err().map(|message| Problem::new(key, message)));
        }
        if problems.is_empty() {
            Ok(query)
        } else {
            Err(problems)
        }
    }

    /// The pairs that [`LogQuery::from_pairs`] reads as `self`; what is at its default is left out.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let Self {
            follow,
            tail,
            since,
            timestamps,
            nodes,
            wait,
        } = self;
        let mut pairs = Vec::new();
        if !follow {
            pairs.push(("follow", "false".to_owned()));
        }
        pairs.extend(tail.map(|tail| ("tail", tail.to_string())));
        pairs.extend(since.map(|since| ("since", since.to_string())));
        if *timestamps {
            pairs.push(("timestamps", "true".to_owned()));
        }
        pairs.extend(nodes.iter().map(|rank| ("node", rank.to_string())));
        if *wait != DEFAULT_WAIT {
            pairs.push(("wait", format!("{}s", wait.as_secs())));
        }
        pairs
    }
}

/// Reads a boolean of a query as the contract writes it.
///
/// # Errors
/// A message for the user.
pub fn read_bool(value: &str) -> Result<bool, String> {
    match value {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" => Ok(false),
        _ => Err(format!("{value:?} is neither true nor false")),
    }
}

fn read_number(value: &str) -> Result<u32, String> {
    value
        .parse()
        .map_err(|_| format!("{value:?} is not a whole number"))
}

/// The bytes of a line, or of a piece of one. JSON has no bytes, so what is not UTF-8 travels as Latin-1: one character,
/// U+0000 to U+00FF, a byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogText {
    Text(String),
    Latin1(String),
}

impl LogText {
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(
            |error| Self::Latin1(error.into_bytes().into_iter().map(char::from).collect()),
            Self::Text,
        )
    }

    /// The bytes as the task wrote them. A character that is no byte, which no server sends, comes out as `?`.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Latin1(text) => text
                .chars()
                .map(|c| u8::try_from(c).unwrap_or(b'?'))
                .collect(),
        }
    }
}

/// How a log stream, and with it perhaps the task, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogEnd {
    Completed,
    Failed,
    /// The task was stopped while its log was read.
    Stopped,
    /// The task goes on; the log was not to be followed, or its pods took too long to start.
    Unfinished,
}

impl From<TaskState> for LogEnd {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Completed => Self::Completed,
            TaskState::Failed => Self::Failed,
            TaskState::Pending | TaskState::Running => Self::Unfinished,
        }
    }
}

/// One line of an NDJSON log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogRecord {
    /// The first record: what the reader has to know before the first line.
    Start { num_nodes: u32 },
    /// Something that a node printed, without its newline.
    Line {
        node: u32,
        /// When the container runtime took it, RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<String>,
        #[serde(flatten)]
        text: LogText,
        /// Whether the line goes on in the node's next record.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
    },
    /// A node has not started, for this reason.
    Waiting { node: u32, reason: String },
    /// Something about a node's log that its reader should know.
    Notice { node: u32, message: String },
    /// A node has ended and its log is complete.
    NodeEnd {
        node: u32,
        status: TaskState,
        exit_code: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The last record.
    End {
        status: LogEnd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Nothing happened; the connection is alive.
    Heartbeat {},
}

/// What stands before every line of a node when there are several.
pub fn line_prefix(rank: u32) -> String {
    format!("node-{rank} | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
        query
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_query_survives_the_wire() {
        let query = LogQuery {
            follow: false,
            tail: Some(5),
            since: Some(Since::Ago(Duration::from_secs(600))),
            timestamps: true,
            nodes: vec![0, 3],
            wait: Duration::from_secs(1),
        };
        for query in [query, LogQuery::default()] {
            let sent: Vec<_> = query
                .to_pairs()
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect();
            assert_eq!(LogQuery::from_pairs(&sent), Ok(query));
        }
        assert_eq!(
            LogQuery::from_pairs(&pairs(&[("theme", "dark")])),
            Ok(LogQuery::default())
        );
    }

    #[test]
    fn every_bad_value_of_a_query_is_named() {
        let query = pairs(&[
            ("follow", "yes"),
            ("tail", "-1"),
            ("since", "yesterday"),
            ("node", "x"),
            ("wait", "1y"),
        ]);
        let problems = LogQuery::from_pairs(&query).unwrap_err();
        let fields: Vec<_> = problems
            .iter()
            .map(|problem| problem.field.as_str())
            .collect();
        assert_eq!(fields, ["follow", "tail", "since", "node", "wait"]);
        assert_eq!(problems[0].message, "\"yes\" is neither true nor false");
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("2h", 7200),
            ("1d", 86400),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in ["", "m", "1.5h", "-1s", "1w", "99999999999999999999d", "1 m"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        for bytes in [
            &b"plain"[..],
            "smørrebrød".as_bytes(),
            b"\xff\xfe\x00\x80",
            b"",
        ] {
            let text = LogText::from_bytes(bytes.to_vec());
            let sent = serde_json::to_string(&text).unwrap();
            let received: LogText = serde_json::from_str(&sent).unwrap();
            assert_eq!(received.to_bytes(), bytes);
        }
    }
}
