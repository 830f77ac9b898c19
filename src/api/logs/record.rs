//! The records of an NDJSON log.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::api::TaskState;

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

/// A text of its own type, because `serde` borrows no `Option<Cow<str>>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Something that a node printed, without its newline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine<'a> {
    pub node: u32,
    #[serde(borrow, default)]
    pub pod: Cow<'a, str>,
    /// When the container runtime took it, RFC 3339; with the first piece of a line only.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub time: Cow<'a, str>,
    /// What it printed, if that is UTF-8.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    /// What it printed, if that is not UTF-8: JSON has no bytes, so here a character, U+0000 to U+00FF, is one.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    latin1: Cow<'a, str>,
    /// Whether the line goes on in the node's next record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// A [`super::LogCursor`].
    #[serde(borrow, default)]
    pub cursor: Cow<'a, str>,
}

impl LogLine<'_> {
    /// The bytes as the task wrote them. A character that is no byte, which no server sends, comes out as `?`.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogRecord<'a> {
    /// The first record: what the reader has to know before the first line.
    Start { num_nodes: u32 },
    #[serde(borrow)]
    Line(LogLine<'a>),
    /// Several lines of a node in one, for a reader who asked for that ([`super::LogQuery::joined`]).
    Lines {
        node: u32,
        /// Whole lines, each with its newline.
        #[serde(borrow)]
        text: Cow<'a, str>,
        /// A [`super::LogCursor`]: the place behind the last of them.
        #[serde(borrow)]
        cursor: Cow<'a, str>,
    },
    /// So far nothing of a pod's log was wanted, or there was no pod (then it has no name); what is comes behind this cursor.
    Pod {
        node: u32,
        pod: String,
        cursor: String,
    },
    /// A node has not started, for this reason.
    Waiting { node: u32, reason: String },
    /// Lines of a node are missing, or may be.
    Gap {
        node: u32,
        /// The time of the last line before them, RFC 3339, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        reason: String,
    },
    /// A node's log, or without a node all of it, cannot be read at the moment.
    Interrupted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u32>,
        reason: String,
    },
    /// It can be read again.
    Resumed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<u32>,
    },
    /// Something else about a node's log that its reader should know.
    Notice { node: u32, message: String },
    /// A node has ended and its log is complete.
    NodeEnd {
        node: u32,
        status: TaskState,
        exit_code: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The node whose failure it was stopped for, by its rank, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_after: Option<u32>,
        /// Asked for again with it, the node has nothing more to say.
        #[serde(default)]
        cursor: String,
    },
    /// The last record.
    End {
        status: LogEnd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Nothing happened; the connection is alive.
    Heartbeat {},
    /// What a newer server has to say.
    #[serde(other)]
    Unknown,
}

impl<'a> LogRecord<'a> {
    /// Reads one record.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(json: &'a [u8]) -> serde_json::Result<Self> {
        // Most records are lines, and there are many.
        if let Some(line) = read_line(json) {
            return Ok(LogRecord::Line(line));
        }
        if let Some(lines) = read_lines(json) {
            return Ok(lines);
        }
        serde_json::from_slice(json)
    }
}

/// Reads a line as [`super::LineRecords`] writes most of them: these fields in this order, and nothing in them that is escaped.
fn read_line(json: &[u8]) -> Option<LogLine<'_>> {
    let (node, rest) = read_number(json.strip_prefix(br#"{"type":"line","node":"#)?)?;
    let (pod, rest) = read_string(rest.strip_prefix(br#","pod":"#)?)?;
    let (time, rest) = match rest.strip_prefix(br#","time":"#) {
        Some(rest) => read_string(rest)?,
        None => ("", rest),
    };
    let (text, rest) = read_string(rest.strip_prefix(br#","text":"#)?)?;
    let (partial, rest) = match rest.strip_prefix(br#","partial":true"#) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (cursor, rest) = read_string(rest.strip_prefix(br#","cursor":"#)?)?;
    (rest == b"}").then(|| LogLine {
        node,
        pod: pod.into(),
        time: time.into(),
        text: Some(Text(text.into())),
        latin1: "".into(),
        partial,
        cursor: cursor.into(),
    })
}

/// Reads lines as [`super::LineRecords`] joins them: the text before the cursor, in which nothing is escaped.
fn read_lines(json: &[u8]) -> Option<LogRecord<'_>> {
    let (node, rest) = read_number(json.strip_prefix(br#"{"type":"lines","node":"#)?)?;
    let rest = rest.strip_prefix(br#","text":""#)?.strip_suffix(b"\"}")?;
    let (text, cursor) = rest.split_at(memchr::memrchr(b'"', rest)?);
    let text = text.strip_suffix(br#"","cursor":"#)?;
    Some(LogRecord::Lines {
        node,
        text: unescape(std::str::from_utf8(text).ok()?)?.into(),
        cursor: std::str::from_utf8(&cursor[1..]).ok()?.into(),
    })
}

/// What is between the quotes of a string, if all that is escaped in it is what logs are full of: newlines, tabs, quotes.
fn unescape(json: &str) -> Option<String> {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = memchr::memchr2(b'\\', b'"', rest.as_bytes()) {
        if rest.as_bytes()[at] == b'"' {
            // Its end: what follows is another field.
            return None;
        }
        text.push_str(&rest[..at]);
        text.push(match rest.as_bytes().get(at + 1)? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'"' => '"',
            b'\\' => '\\',
            _ => return None,
        });
        rest = &rest[at + 2..];
    }
    text.push_str(rest);
    Some(text)
}

fn read_number(json: &[u8]) -> Option<(u32, &[u8])> {
    let digits = json.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = json.split_at(digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// A string without escapes, and what follows it.
fn read_string(json: &[u8]) -> Option<(&str, &[u8])> {
    let rest = json.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', rest).filter(|end| rest[*end] == b'"')?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]))
}

/// What stands before every line of a node when there are several.
pub fn line_prefix(rank: u32) -> String {
    format!("node-{rank} | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_newer_servers_are_passed_over() {
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
