//! Cursors: places in the logs of a task, and their form on the wire.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// A place in the log of one node. For clients it is an opaque text of letters, digits and `-._~`.
///
/// The form is `<node>-<pod>-<time>.<nth>[_<offset>][~<latest>]`, `<node>-<pod>-start`, `<node>-begin` or `<node>-end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCursor {
    pub node: u32,
    pub place: LogPlace,
}

/// A place in the output of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// The beginning, of a node without a log so far.
    Begin,
    /// The log of this pod: behind the point, or at its beginning.
    Pod {
        key: String,
        point: Option<LogPoint>,
    },
    /// The end of the node's log.
    End,
}

/// A place in the log of one container, directly behind a line or a piece of one.
///
/// A log file only grows at its end, so a line keeps its place: it is the `nth` of the lines with its time. A time alone is not
/// enough: several lines may have the same time, and times are not in order if two writers are not in step or a clock is set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPoint {
    /// The time at which the container runtime took the line, in nanoseconds since 1970.
    pub time: i64,
    /// The number of earlier lines with this time in the log.
    pub nth: u32,
    /// The number of bytes of the line before this place; none behind its end.
    pub offset: Option<u64>,
    /// The newest time of all lines up to this one.
    pub latest: i64,
}

impl fmt::Display for LogPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            nth,
            offset,
            latest,
        } = self;
        write!(f, "{time}.{nth}")?;
        if let Some(offset) = offset {
            write!(f, "_{offset}")?;
        }
        if latest != time {
            write!(f, "~{latest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node;
        match &self.place {
            LogPlace::Begin => write!(f, "{node}-begin"),
            LogPlace::End => write!(f, "{node}-end"),
            LogPlace::Pod { key, point: None } => write!(f, "{node}-{key}-start"),
            LogPlace::Pod {
                key,
                point: Some(point),
            } => write!(f, "{node}-{key}-{point}"),
        }
    }
}

impl Serialize for LogCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for LogCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| format!("{text:?} is not a cursor of a log"))
    }
}

fn parse(text: &str) -> Option<LogCursor> {
    let (node, place) = text.split_once('-')?;
    let node = number(node)?;
    let place = match place.split_once('-') {
        None if place == "begin" => LogPlace::Begin,
        None if place == "end" => LogPlace::End,
        None => return None,
        Some((key, point)) => {
            let is_key = (1..=32).contains(&key.len())
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
            LogPlace::Pod {
                key: is_key.then(|| key.to_owned())?,
                point: match point {
                    "start" => None,
                    point => Some(parse_point(point)?),
                },
            }
        }
    };
    Some(LogCursor { node, place })
}

fn parse_point(text: &str) -> Option<LogPoint> {
    let (text, latest) = split(text, '~')?;
    let (text, offset) = split(text, '_')?;
    let (time, nth) = text.split_once('.')?;
    let time = number(time)?;
    Some(LogPoint {
        time,
        nth: number(nth)?,
        offset,
        latest: latest.unwrap_or(time),
    })
}

/// The text before `separator`, and the number behind it if there is one.
fn split<T: FromStr>(text: &str, separator: char) -> Option<(&str, Option<T>)> {
    match text.split_once(separator) {
        None => Some((text, None)),
        Some((text, rest)) => Some((text, Some(number(rest)?))),
    }
}

/// A number of digits only: `parse` accepts a sign too.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_wire() {
        for text in [
            "0-begin",
            "0-end",
            "9999-3f2a91bc-start",
            "0-3f2a91bc-1763862000123456789.0",
            "1-3f2a91bcr2-1763862000123456789.17",
            "2-3f2a91bc-1763862000123456789.0_8192",
            "3-3f2a91bc-1763862000123456789.3~1763862000123456800",
            "3-3f2a91bc-1763862000123456789.3_7~1763862000123456800",
        ] {
            let cursor: LogCursor = text.parse().unwrap();
            assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_no_cursors() {
        for text in [
            "",
            "0",
            "0-",
            "-end",
            "end",
            "0-start",
            "0--start",
            "0-3f2a91bc-",
            "0-3f2a91bc-end",
            "0-../x-start",
            "0-3F-start",
            "+1-end",
            "0-3f2a91bc-1",
            "0-3f2a91bc--1.0",
            "0-3f2a91bc-1.0_",
            "0-3f2a91bc-1.0~x",
            "0-3f2a91bc-1.0~1_2",
            "0-3f2a91bc-99999999999999999999.0",
            "4294967296-end",
        ] {
            let error = text.parse::<LogCursor>().unwrap_err();
            assert_eq!(error, format!("{text:?} is not a cursor of a log"));
        }
    }
}
