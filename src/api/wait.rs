//! `GET /tasks/wait`: waits until tasks have reached a state.

use std::{collections::HashSet, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Kind, Parameter, Problem, TaskId, TaskState, TaskStatus,
    logs::{parse_duration, read_bool},
};

/// The longest time that one request waits. A proxy ends a request without bytes after a minute or so.
pub const LONGEST_WAIT: Duration = Duration::from_secs(50);
/// The most tasks of one request.
const MOST: usize = 1000;

/// The state that is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Awaited {
    /// At least one node has begun.
    Running,
    /// All nodes have succeeded.
    Completed,
    /// The task has ended with all its nodes, in any way.
    #[default]
    Finished,
}

impl Awaited {
    /// Whether a task has reached the state.
    pub fn is_reached(self, task: &TaskStatus) -> bool {
        match self {
            Self::Running => matches!(task.status, TaskState::Running | TaskState::Completed),
            Self::Completed => task.status == TaskState::Completed,
            Self::Finished => task.has_ended(),
        }
    }

    /// Whether waiting for a task is over: it has reached the state, or never will.
    pub fn is_over(self, task: &TaskStatus) -> bool {
        self.is_reached(task) || self != Self::Finished && task.status.is_terminal()
    }
}

impl FromStr for Awaited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "running" => Ok(Self::Running),
            "completed" => Ok(Self::Completed),
            "finished" => Ok(Self::Finished),
            _ => Err(format!("{text:?} is not running, completed or finished")),
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Finished => "finished",
        })
    }
}

/// The query of `GET /tasks/wait`.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitQuery {
    pub ids: Vec<TaskId>,
    pub awaited: Awaited,
    /// Whether one of the tasks is enough.
    pub any: bool,
    /// How long the request may take, at most [`LONGEST_WAIT`].
    pub timeout: Duration,
}

impl WaitQuery {
    /// The parameters that [`WaitQuery::from_pairs`] reads.
    pub const PARAMETERS: &[Parameter] = &[
        Parameter::new("id", Kind::TaskId, "a task to wait for")
            .required()
            .repeated(),
        Parameter::new(
            "for",
            Kind::Word(&["running", "completed", "finished"]),
            "the state to wait for",
        )
        .or("finished"),
        Parameter::new("any", Kind::Flag, "whether one of the tasks is enough").or("false"),
        Parameter::new(
            "timeout",
            Kind::Duration,
            "how long the request may take, 50 seconds at most",
        )
        .or("50s"),
    ];

    /// Reads the pairs of a query, and ignores unknown keys, as other HTTP servers do.
    ///
    /// # Errors
    /// One problem for each invalid value, and for missing ids.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut query = Self {
            ids: Vec::new(),
            awaited: Awaited::default(),
            any: false,
            timeout: LONGEST_WAIT,
        };
        let mut problems = Vec::new();
        for (key, value) in pairs {
            let read = match key.as_str() {
                "id" => value
                    .parse()
                    .map(|id| query.ids.push(id))
                    .map_err(|_| format!("{value:?} is not the id of a task")),
                "for" => value.parse().map(|awaited| query.awaited = awaited),
                "any" => read_bool(value).map(|any| query.any = any),
                "timeout" => parse_duration(value)
                    .ok_or_else(|| format!("{value:?} is not a duration such as 10m"))
                    .map(|timeout| query.timeout = timeout.min(LONGEST_WAIT)),
                _ => Ok(()),
            };
            problems.extend(read.err().map(|message| Problem::new(key, message)));
        }
        let mut seen = HashSet::new();
        query.ids.retain(|id| seen.insert(*id));
        if problems.is_empty() && !(1..=MOST).contains(&query.ids.len()) {
            let message = format!("is needed, and at most {MOST} times");
            problems.push(Problem::new("id", message));
        }
        match problems.is_empty() {
            true => Ok(query),
            false => Err(problems),
        }
    }

    /// The query of a URL. Its characters need no escaping.
    pub fn to_query(&self) -> String {
        let ids = self.ids.iter().map(|id| format!("id={id}&"));
        let (awaited, any) = (self.awaited, self.any);
        let seconds = self.timeout.as_millis().div_ceil(1000);
        ids.collect::<String>() + &format!("for={awaited}&any={any}&timeout={seconds}s")
    }

    /// Whether the request can be answered with these tasks. Those that are missing were stopped.
    pub fn is_over(&self, tasks: &[TaskStatus]) -> bool {
        let are_all_over = tasks.iter().all(|task| self.awaited.is_over(task));
        match self.any {
            // One that was stopped has come to its end too.
            true => {
                are_all_over
                    || tasks.iter().any(|task| self.awaited.is_reached(task))
                    || self.awaited == Awaited::Finished && self.ids.len() > tasks.len()
            }
            // One that has failed decides: the others need not be waited for.
            false => {
                are_all_over
                    || tasks
                        .iter()
                        .any(|task| self.awaited.is_over(task) && !self.awaited.is_reached(task))
            }
        }
    }
}

/// The answer of `GET /tasks/wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskWaitResponse {
    /// The tasks that are asked for, without those that were stopped meanwhile.
    pub tasks: Vec<TaskStatus>,
    /// Whether there is nothing more to wait for. If not, the time was over.
    pub done: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn a_query_is_read_as_it_was_written() {
        let text = "id=ab12cd34&id=ef56gh78&for=running&any=true&timeout=7s";
        let query = WaitQuery::from_pairs(&pairs(text)).unwrap();
        assert_eq!(query.ids.len(), 2);
        assert_eq!(query.to_query(), text);
        let long = WaitQuery::from_pairs(&pairs("id=ab12cd34&timeout=2h")).unwrap();
        assert_eq!(long.timeout, LONGEST_WAIT);
        for wrong in [
            "any=true",
            "id=AB",
            "id=ab12cd34&for=x",
            "id=ab12cd34&timeout=x",
        ] {
            assert!(WaitQuery::from_pairs(&pairs(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_failure_decides_unless_any_end_is_enough() {
        use TaskState::{Completed, Failed, Pending, Running};
        let task = |status| TaskStatus {
            task_id: "ab12cd34".parse().unwrap(),
            name: String::new(),
            status,
            created_at: "2026-01-01T00:00:00.000000".parse().unwrap(),
            updated_at: "2026-01-01T00:00:00.000000".parse().unwrap(),
            username: String::new(),
            reason: None,
            metadata: Default::default(),
            events: Vec::new(),
        };
        for (awaited, any, states, expected) in [
            ("finished", false, &[Completed, Running][..], false),
            ("finished", false, &[Completed, Failed], true),
            ("finished", true, &[Completed, Running], true),
            ("completed", false, &[Failed, Running], true),
            ("completed", true, &[Failed, Running], false),
            ("completed", true, &[Failed, Failed], true),
            ("running", false, &[Running, Pending], false),
            ("running", false, &[Running, Completed], true),
            ("running", true, &[Pending, Failed], false),
            ("finished", false, &[], true),
        ] {
            let query = format!("id=ab12cd34&for={awaited}&any={any}");
            let query = WaitQuery::from_pairs(&pairs(&query)).unwrap();
            let tasks: Vec<_> = states.iter().copied().map(task).collect();
            assert_eq!(
                query.is_over(&tasks),
                expected,
                "{awaited} {any} {states:?}"
            );
        }
        let two = "id=ab12cd34&id=ef56gh78&id=ef56gh78&any=true&for=";
        for (awaited, expected) in [("finished", true), ("running", false)] {
            let query = WaitQuery::from_pairs(&pairs(&format!("{two}{awaited}"))).unwrap();
            // The other one was stopped.
            assert_eq!(query.is_over(&[task(Pending)]), expected, "{awaited}");
            assert!(!query.is_over(&[task(Pending), task(Pending)]));
        }
    }
}
