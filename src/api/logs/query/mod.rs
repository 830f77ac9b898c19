//! The query of a log: its nodes, its beginning, and its form.

use std::{fmt, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::LogCursor;
use crate::api::{Kind, Parameter, Problem, Timestamp};

/// The default for [`LogQuery::wait`].
const DEFAULT_WAIT: Duration = Duration::from_secs(5 * 60);

const NUMBER: Kind = Kind::Number(0, u32::MAX as u64);
const ATTEMPT: Kind = Kind::Number(1, u32::MAX as u64);

/// The time at which a log begins.
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
        OffsetDateTime::parse(text, &Rfc3339)
            .map(Timestamp::from)
            // This program writes times in UTC, without a zone.
            .or_else(|_| text.parse())
            .map(Self::At)
            .map_err(|_| {
                format!("{text:?} is neither a duration such as 10m nor a time such as 2025-10-05T12:34:56Z")
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

/// The durations with units that [`parse_duration`] reads, as a regular expression.
pub const DURATION: &str = "forever|\\+?(([0-9]+(\\.[0-9]*)?|\\.[0-9]+) ?(ns|us|µs|μs|ms|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?) ?)+";

/// Reads `90`, `90s`, `1.5h`, `10 min`, `2 days` or several in a row, `1h30m`, and `forever`: a hundred years, a limit that prevents
/// overflows. What Go writes is read too (`time.ParseDuration`, Go 1.24).
pub fn parse_duration(text: &str) -> Option<Duration> {
    const LONGEST: f64 = 100.0 * 365.0 * 24.0 * 3600.0;
    if text == "forever" {
        return Some(Duration::from_secs_f64(LONGEST));
    }
    let text = match text.strip_prefix('+') {
        Some(rest) if rest.contains(|c: char| c.is_alphabetic()) => rest,
        _ => text,
    };
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() || text.is_empty() {
        let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
        let number = rest.len() - rest.trim_start_matches(is_of_number).len();
        let (number, units) = rest.split_at(number);
        let units = units.strip_prefix(' ').unwrap_or(units);
        let after = units.trim_start_matches(|c: char| c.is_lowercase());
        let seconds = match &units[..units.len() - after.len()] {
            // A number alone is one of seconds.
            "" if number.len() == text.len() && !number.contains('.') => 1.0,
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 24.0 * 3600.0,
            "w" | "week" | "weeks" => 7.0 * 24.0 * 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    (total <= LONGEST).then(|| Duration::from_secs_f64(total))
}

/// The query of `GET /tasks/{task_id}/logs`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// Whether the log is followed until the task ends.
    pub follow: bool,
    /// The most lines of each node from before the request.
    pub tail: Option<u32>,
    pub since: Option<Since>,
    /// Whether each line of the text form begins with its time.
    pub timestamps: bool,
    /// Only these ranks; all of them when empty.
    pub nodes: Vec<u32>,
    /// Only this attempt of the task, from 1 on; all of them, one after the other, if none.
    pub attempt: Option<u32>,
    /// How long the log waits for pods that have not started.
    pub wait: Duration,
    /// For the nodes of these cursors, only the lines behind them.
    pub after: Vec<LogCursor>,
    /// Whether a record may hold several lines of a node, without their times: [`super::LogRecord::Lines`].
    pub joined: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            follow: true,
            tail: None,
            since: None,
            timestamps: false,
            nodes: Vec::new(),
            attempt: None,
            wait: DEFAULT_WAIT,
            after: Vec::new(),
            joined: false,
        }
    }
}

impl LogQuery {
    /// The parameters that [`LogQuery::from_pairs`] reads.
    pub const PARAMETERS: &[Parameter] = &[
        Parameter::new(
            "follow",
            Kind::Flag,
            "whether the log is followed until the task ends",
        )
        .or("true"),
        Parameter::new(
            "tail",
            NUMBER,
            "the most lines of each node from before the request",
        ),
        Parameter::new("since", Kind::Since, "only lines since then"),
        Parameter::new(
            "timestamps",
            Kind::Flag,
            "whether each line of the text begins with its time",
        )
        .or("false"),
        Parameter::new("node", NUMBER, "only the node of this rank").repeated(),
        Parameter::new(
            "attempt",
            ATTEMPT,
            "only this attempt of a task that was started again, from 1",
        ),
        Parameter::new(
            "wait",
            Kind::Duration,
            "how long the log waits for pods that have not started",
        )
        .or("5m"),
        Parameter::new(
            "joined",
            Kind::Flag,
            "whether a record may hold several lines, without their times",
        )
        .or("false"),
        Parameter::new(
            "after",
            Kind::Cursor,
            "only the lines of its node behind this cursor",
        )
        .repeated(),
    ];

    /// Reads the pairs of a query, and ignores unknown keys, as other HTTP servers do.
    ///
    /// # Errors
    /// One problem for each invalid value.
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
                "attempt" => read_number(value).and_then(|attempt| match attempt {
                    0 => Err("attempts are counted from 1".to_owned()),
                    attempt => {
                        query.attempt = Some(attempt);
                        Ok(())
                    }
                }),
                "wait" => parse_duration(value)
                    .ok_or_else(|| format!("{value:?} is not a duration such as 10m"))
                    .map(|wait| query.wait = wait),
                "joined" => read_bool(value).map(|joined| query.joined = joined),
                "after" => value.parse().map(|cursor| query.after.push(cursor)),
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

    /// The pairs that [`LogQuery::from_pairs`] reads as `self`, without those that have their default.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let Self {
            follow,
            tail,
            since,
            timestamps,
            nodes,
            attempt,
            wait,
            after,
            joined,
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
        pairs.extend(attempt.map(|attempt| ("attempt", attempt.to_string())));
        if *wait != DEFAULT_WAIT {
            pairs.push(("wait", format!("{}s", wait.as_secs())));
        }
        if *joined {
            pairs.push(("joined", "true".to_owned()));
        }
        pairs.extend(after.iter().map(|cursor| ("after", cursor.to_string())));
        pairs
    }
}

/// Reads a boolean of a query as the contract writes it.
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

#[cfg(test)]
mod tests;
