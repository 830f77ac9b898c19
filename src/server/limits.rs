//! The limits of submissions: their size, and how many of them one user may make.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use super::error;
use crate::{
    api::{Problem, Reason, Sweep, TaskDefinition, User, format_size},
    executor::{Error, Executor},
};

const MINUTE: Duration = Duration::from_secs(60);

/// The limits. None of a number is none.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most bytes of a body, without the archive of its files.
    pub body: usize,
    pub num_nodes: Option<u32>,
    /// The most bytes of `setup` and `run`.
    pub script: Option<u64>,
    pub envs: usize,
    /// The most bytes of the names and values of variables.
    pub env_size: u64,
    pub unfinished_tasks: Option<usize>,
    pub submits_per_minute: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 2 * 1024 * 1024,
            num_nodes: None,
            script: None,
            envs: 4096,
            env_size: 1024 * 1024,
            unfinished_tasks: None,
            submits_per_minute: None,
        }
    }
}

impl Limits {
    /// Checks the size of a definition, with the longest values of a sweep. The contract has limits of its own.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(&self, task: &TaskDefinition, sweep: Option<&Sweep>) -> Result<(), Error> {
        let mut problems = Vec::new();
        if let Some(most) = self.num_nodes.filter(|most| task.num_nodes > *most) {
            let message = format!("this server allows at most {most}");
            problems.push(Problem::new("num_nodes", message));
        }
        let script = task.run.len() + task.setup.as_ref().map_or(0, String::len);
        if let Some(most) = self.script.filter(|most| script as u64 > *most) {
            let most = format_size(most);
            let message =
                format!("`setup` and `run` together are larger than this server allows, {most}");
            problems.push(Problem::new("run", message));
        }
        let own = task.envs.iter().chain(&task.secrets);
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        let swept = sweep.into_iter().flat_map(Sweep::longest);
        // A swept variable takes the place of one of the task.
        let variables: BTreeMap<_, _> = own.chain(swept).collect();
        let of_pod = variables_of_pod(task);
        let (count, most) = (variables.len() + of_pod.len(), self.envs);
        if count > most {
            let message =
                format!("{count} variables with `secrets`, and this server allows {most}");
            problems.push(Problem::new("envs", message));
        }
        let size: usize = (variables.into_iter().chain(of_pod))
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if size as u64 > self.env_size {
            let most = format_size(self.env_size);
            let message =
                format!("the variables with `secrets` are larger than this server allows, {most}");
            problems.push(Problem::new("envs", message));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(error::invalid(&problems)),
        }
    }
}

/// The names and values of the variables in the containers of a task's configuration of its pods.
fn variables_of_pod(task: &TaskDefinition) -> Vec<(&str, &str)> {
    let spec = task
        .pod_config
        .as_ref()
        .and_then(|config| config.get("spec"));
    let containers = ["containers", "initContainers"]
        .into_iter()
        .filter_map(|key| spec?.get(key)?.as_array())
        .flatten();
    let variables = containers.filter_map(|container| container.get("env")?.as_array());
    let texts = variables.flatten().map(|variable| {
        let [name, value] = ["name", "value"].map(|key| variable.get(key).and_then(Value::as_str));
        (name.unwrap_or_default(), value.unwrap_or_default())
    });
    texts.collect()
}

/// The submissions of users.
#[derive(Default)]
pub struct Submits {
    /// Their times in the last minute.
    times: Mutex<HashMap<User, VecDeque<Instant>>>,
    /// Held while a task is counted and created.
    turns: Mutex<HashMap<User, Arc<tokio::sync::Mutex<()>>>>,
}

impl Submits {
    /// Lets a user submit this number of tasks now. Hold the returned value until the task is created.
    ///
    /// # Errors
    /// The user has too many unfinished tasks, or submits too often.
    pub async fn admit(
        &self,
        limits: &Limits,
        user: &User,
        executor: &Executor,
        num_tasks: usize,
    ) -> Result<Option<OwnedMutexGuard<()>>, Error> {
        if num_tasks == 0 {
            return Ok(None);
        }
        let refused = |message: String| Error::new(Reason::TooManyRequests, message);
        if let Some(most) = limits.submits_per_minute
            && let Some(wait) = self.note(user, num_tasks, most, Instant::now())
        {
            if num_tasks > most {
                return Err(refused(format!(
                    "you may submit {most} tasks a minute, and these are {num_tasks}"
                )));
            }
            let seconds = wait.as_secs() + 1;
            let message = format!("you may submit {most} tasks a minute: try again in {seconds} s");
            return Err(refused(message).retry_after(seconds));
        }
        let Some(most) = limits.unfinished_tasks else {
            return Ok(None);
        };
        if num_tasks > most {
            return Err(refused(format!(
                "this server allows you {most} unfinished tasks, and these are {num_tasks}"
            )));
        }
        let turn = self.turn(user).lock_owned().await;
        let tasks = executor.list(Some(user)).await?;
        let statuses = (0..tasks.len()).filter_map(|index| tasks.status(index));
        let unfinished = statuses.filter(|task| !task.status.is_terminal()).count();
        if unfinished + num_tasks > most {
            let more = match num_tasks {
                1 => String::new(),
                number => format!(", which {number} more would exceed"),
            };
            return Err(refused(format!(
                "you have {unfinished} unfinished tasks, and this server allows {most}{more}: stop one, or wait until one ends"
            )));
        }
        Ok(Some(turn))
    }

    /// Notes a submission of tasks, or says how long the user has to wait with it.
    fn note(&self, user: &User, num_tasks: usize, most: usize, now: Instant) -> Option<Duration> {
        let mut all = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, times| {
            times.retain(|time| now.duration_since(*time) < MINUTE);
            !times.is_empty()
        });
        let times = all.entry(user.clone()).or_default();
        if times.len() + num_tasks > most {
            // The oldest of those that have to be forgotten last.
            let surplus = (times.len() + num_tasks - most).min(times.len());
            let first = times.get(surplus.saturating_sub(1)).copied().unwrap_or(now);
            return Some(MINUTE.saturating_sub(now.duration_since(first)));
        }
        times.extend(std::iter::repeat_n(now, num_tasks));
        None
    }

    fn turn(&self, user: &User) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(user.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_limit_has_its_sentence() {
        let limits = Limits {
            num_nodes: Some(2),
            script: Some(1024),
            envs: 2,
            env_size: 100,
            ..Limits::default()
        };
        let check = |task: Value| {
            let task = TaskDefinition::from_json(&task).unwrap();
            limits.check(&task, None).map_err(|error| error.to_string())
        };
        let long = "x".repeat(1024);
        assert_eq!(
            check(json!({"run": long, "num_nodes": 2, "envs": {"A": "b", "B": "c"}})),
            Ok(())
        );
        for (task, expected) in [
            (
                json!({"run": "true", "num_nodes": 3}),
                "num_nodes: this server allows at most 2",
            ),
            (
                json!({"run": long, "setup": "x"}),
                "run: `setup` and `run` together are larger than this server allows, 1 KiB",
            ),
            (
                json!({"run": "true", "envs": {"A": "", "B": ""}, "secrets": {"C": "d"}}),
                "envs: 3 variables with `secrets`, and this server allows 2",
            ),
            (
                json!({"run": "true", "envs": {"A": ""}, "config": {"kubernetes": {"pod_config": {"spec": {"containers": [
                    {"env": [{"name": "B", "value": ""}, {"name": "C"}]},
                ]}}}}}),
                "envs: 3 variables with `secrets`, and this server allows 2",
            ),
            (
                json!({"run": "true", "envs": {"A": "x".repeat(100)}}),
                "envs: the variables with `secrets` are larger than this server allows, 100 bytes",
            ),
        ] {
            assert_eq!(check(task), Err(expected.to_owned()));
        }
        // A swept variable counts with its longest value.
        let task = TaskDefinition::from_json(&json!({"run": "true", "envs": {"A": "b"}})).unwrap();
        for (values, is_allowed) in [
            (vec!["A=1,2", "B=1"], true),
            (vec!["B=1", "C=1"], false),
            (vec![&*format!("A=1,{}", "x".repeat(100))], false),
        ] {
            let parameters = values.iter().map(|value| value.parse().unwrap()).collect();
            let sweep = Sweep::new(parameters, None, None).unwrap();
            let checked = limits.check(&task, sweep.as_ref());
            assert_eq!(checked.is_ok(), is_allowed, "{values:?}");
        }
    }

    #[test]
    fn a_minute_has_a_number_of_submissions() {
        let (submits, start) = (Submits::default(), Instant::now());
        let note = |user: &str, second| {
            let now = start + Duration::from_secs(second);
            let wait = submits.note(&user.parse().unwrap(), 1, 2, now);
            wait.map(|wait| wait.as_secs())
        };
        assert_eq!((note("ada", 0), note("ada", 20)), (None, None));
        assert_eq!((note("ada", 30), note("bob", 30)), (Some(30), None));
        assert_eq!((note("ada", 60), note("ada", 61)), (None, Some(19)));
    }
}
