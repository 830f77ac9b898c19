//! The records of an NDJSON log.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::TaskState;

/// The end of a log stream, and perhaps of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogEnd {
    Completed,
    Failed,
    /// The task was stopped while its log was read.
    Stopped,
    /// The task still runs; the log was not followed, or its pods took too long to start.
    Unfinished,
}

impl From<TaskState> for LogEnd {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Completed => Self::Completed,
            TaskState::Failed => Self::Failed,
            TaskState::Pending | TaskState::Running | TaskState::Stopping => Self::Unfinished,
        }
    }
}

/// A type of its own, since `serde` cannot borrow an `Option<Cow<str>>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A line of a node, without its newline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine<'a> {
    pub node: u32,
    #[serde(borrow, default)]
    pub pod: Cow<'a, str>,
    /// The time at which the container runtime took the line, RFC 3339; only with the first piece of a line.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub time: Cow<'a, str>,
    /// The text of the line, if it is UTF-8.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    text: Option<Text<'a>>,
    /// The bytes of the line, if they are not UTF-8. JSON has no bytes, so each byte is one character from U+0000 to U+00FF.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    latin1: Cow<'a, str>,
    /// Whether the line continues in the node's next record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// The place behind the line, for `after`.
    #[serde(borrow, default)]
    pub cursor: Cow<'a, str>,
}

impl<'a> LogLine<'a> {
    /// The record of a line, or a piece of one, of a node's pod.
    pub fn new(
        node: u32,
        pod: &'a str,
        time: &'a str,
        bytes: &'a [u8],
        partial: bool,
        cursor: String,
    ) -> Self {
        let (text, latin1) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(Text(text.into())), Cow::Borrowed("")),
            Err(_) => (None, bytes.iter().copied().map(char::from).collect()),
        };
        Self {
            node,
            pod: pod.into(),
            time: time.into(),
            text,
            latin1,
            partial,
            cursor: cursor.into(),
        }
    }

    /// The bytes of the line as the task wrote them. A character that is not a byte, which no server sends, becomes `?`.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.text {
            Some(Text(text)) => Cow::Borrowed(text.as_bytes()),
            None => {
                let chars = self.latin1.chars();
                chars.map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
            }
        }
    }
}

/// One line of an NDJSON log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogRecord<'a> {
    /// The first record.
    Start { num_nodes: u32 },
    #[serde(borrow)]
    Line(LogLine<'a>),
    /// Several lines of a node in one record, if the client asked for that with `joined`.
    Lines {
        node: u32,
        /// Whole lines, each with its newline.
        #[serde(borrow)]
        text: Cow<'a, str>,
        /// The place behind the last line, for `after`.
        #[serde(borrow)]
        cursor: Cow<'a, str>,
    },
    /// A node without a wanted line so far, or without a pod (then `pod` is empty). Its lines come behind this cursor.
    Pod {
        node: u32,
        pod: String,
        cursor: String,
    },
    /// A node that has not started, and the reason.
    Waiting { node: u32, reason: String },
    /// Lines of a node that are or may be missing.
    Gap {
        node: u32,
        /// The time of the last line before the gap, RFC 3339, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        reason: String,
    },
    /// The log of a node, or without a node the whole log, cannot be read at the moment.
    Interrupted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u32>,
        reason: String,
    },
    /// The log can be read again.
    Resumed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u32>,
    },
    /// A message about a node's log.
    Notice { node: u32, message: String },
    /// A node has ended and its log is complete.
    NodeEnd {
        node: u32,
        status: TaskState,
        #[schema(required)]
        exit_code: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The rank of the node whose failure stopped this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_after: Option<u32>,
        /// The end of the node's log: a query behind it gets no more lines.
        #[serde(default)]
        #[schema(required)]
        cursor: String,
    },
    /// The last record.
    End {
        status: LogEnd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Shows that the connection is alive.
    Heartbeat {},
    /// A record of a newer server.
    #[serde(other)]
    Unknown,
}

impl<'a> LogRecord<'a> {
    /// Reads one record.
    ///
    /// When the JSON is not a record.
    /// When it is none.
    pub fn from_json(json: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

/// The prefix of a node's lines in the log of a task with several nodes.
pub fn line_prefix(rank: u32) -> String {
    format!("node-{rank} | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_wire() {
        for bytes in [
            &b"plain"[..],
            "smørrebrød".as_bytes(),
            b"\"quoted\" \\ \t \x01",
            b"\xff\xfe\x00\x80",
            b"",
        ] {
            for (time, partial) in [("2026-11-22T02:11:01.4Z", true), ("", false)] {
                let cursor = "3-3f2a91bc-5.2".to_owned();
                let line = LogLine::new(3, "train-\"x\"", time, bytes, partial, cursor);
                let json = serde_json::to_vec(&LogRecord::Line(line.clone())).unwrap();
                let LogRecord::Line(read) = LogRecord::from_json(&json).unwrap() else {
                    panic!("no line");
                };
                assert_eq!(read, line);
                assert_eq!(*read.bytes(), *bytes);
            }
        }
    }

    #[test]
    fn records_of_newer_servers_are_unknown() {
        let record = LogRecord::from_json(br#"{"type":"weather","node":0}"#).unwrap();
        assert_eq!(record, LogRecord::Unknown);
        let line = br#"{"node":3,"type":"line","text":"a","color":"red"}"#;
        let LogRecord::Line(line) = LogRecord::from_json(line).unwrap() else {
            panic!("no line");
        };
        assert_eq!((line.node, &*line.bytes()), (3, &b"a"[..]));
        assert!(LogRecord::from_json(b"{}").is_err());
    }
}
