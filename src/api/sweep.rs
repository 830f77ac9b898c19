//! A sweep: one submission that becomes many tasks, a group, which differ in the values of some variables.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    GroupId, Kind, Parameter, Problem, TaskDefinition, TaskId, check_env_name, is_reserved_env,
};

/// The most tasks of a group.
pub const MAX_GROUP: u32 = 1000;
/// The most bytes of a value. Each task of the group repeats its values in its objects.
const MAX_VALUE: usize = 4096;
/// The most parameters of a sweep.
const MAX_PARAMETERS: usize = 16;

/// The variables that the program itself sets in the nodes of a group, beside those of every task.
const SET_FOR_EACH: [&str; 3] = [JOB_RANK, NUM_JOBS, "SKYPILOT_NUM_RESTARTS"];

/// The number of a task in its group, from 0.
pub const JOB_RANK: &str = "SKYPILOT_JOB_RANK";
/// The number of tasks in a group.
pub const NUM_JOBS: &str = "SKYPILOT_NUM_JOBS";

/// A variable, and the values that it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepParameter {
    pub name: String,
    pub values: Vec<String>,
}

/// Reads `lr=0.1,0.01` and `seed=1..5`.
impl FromStr for SweepParameter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, list) = text.split_once('=').ok_or_else(|| {
            "expected a variable and its values, such as lr=0.1,0.01 or seed=1..5".to_owned()
        })?;
        check_env_name(name).map_err(|problem| format!("`{name}` {problem}"))?;
        if is_reserved_env(name) || SET_FOR_EACH.contains(&name) {
            return Err(format!("`{name}` is set for every node"));
        }
        let mut values = Vec::new();
        for item in list.split(',') {
            if item.is_empty() {
                return Err(format!("`{name}` has an empty value"));
            }
            if item.len() > MAX_VALUE || item.contains('\0') {
                return Err(format!(
                    "a value of `{name}` is longer than {MAX_VALUE} bytes, or has a NUL character"
                ));
            }
            match range(item)? {
                Some(range) if range.clone().count() > MAX_GROUP as usize => {
                    return Err(format!("`{item}` are more than {MAX_GROUP} values"));
                }
                Some(range) => values.extend(range.map(|number| number.to_string())),
                None => values.push(item.to_owned()),
            }
        }
        Ok(Self {
            name: name.to_owned(),
            values,
        })
    }
}

/// As it can be read again.
impl fmt::Display for SweepParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.values.join(","))
    }
}

/// The numbers of `1..5`, of which both are meant; none if it is another value.
fn range(item: &str) -> Result<Option<std::ops::RangeInclusive<i64>>, String> {
    let Some((first, last)) = item.split_once("..") else {
        return Ok(None);
    };
    match (first.parse::<i64>(), last.parse::<i64>()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Some(first..=last)),
        (Ok(_), Ok(_)) => Err(format!("`{item}` ends before it begins")),
        _ if is_like_range(item) => Err(format!(
            "`{item}`: a range has two whole numbers, such as 1..5"
        )),
        _ => Ok(None),
    }
}

/// Whether a value with `..` is a range to a reader, and neither a path such as `../data` nor a sentence.
fn is_like_range(item: &str) -> bool {
    let is_of_range = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    item.chars().all(is_of_range) && item.contains(|c: char| c.is_ascii_alphanumeric())
}

/// A sweep, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// All combinations of their values are tasks. The last one changes fastest.
    pub parameters: Vec<SweepParameter>,
    /// The number of tasks.
    pub num_tasks: u32,
    /// How many of them run at the same time.
    pub max_running: Option<u32>,
}

impl Sweep {
    /// The parameters of a request that [`Sweep::new`] is made of.
    pub const PARAMETERS: [Parameter; 3] = [
        Parameter::new(
            "sweep",
            Kind::Sweep,
            "a variable and its values: the task becomes a group of tasks, one for each combination of values, all or none",
        )
        .repeated(),
        Parameter::new(
            "array",
            Kind::Number(1, MAX_GROUP as u64),
            "the task becomes a group of this number of tasks",
        ),
        Parameter::new(
            "max_running",
            Kind::Number(1, u32::MAX as u64),
            "the most tasks of the group that run at the same time",
        ),
    ];

    /// Its variables, each with its longest value.
    pub fn longest(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|parameter| {
            let values = parameter.values.iter().map(String::as_str);
            let longest = values.max_by_key(|value| value.len());
            (parameter.name.as_str(), longest.unwrap_or_default())
        })
    }

    /// The sweep of some options; none without options. `array` is the number of tasks that differ in nothing but their number.
    ///
    /// # Errors
    /// All problems at once.
    pub fn new(
        parameters: Vec<SweepParameter>,
        array: Option<u32>,
        max_running: Option<u32>,
    ) -> Result<Option<Self>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut refuse = |field, message: String| problems.push(Problem::new(field, message));
        let counts = parameters
            .iter()
            .map(|parameter| parameter.values.len() as u32);
        let product = counts.fold(1, u32::saturating_mul);
        if parameters.len() > MAX_PARAMETERS {
            refuse("sweep", format!("has more than {MAX_PARAMETERS} variables"));
        }
        for (index, SweepParameter { name, .. }) in parameters.iter().enumerate() {
            if parameters[..index].iter().any(|other| other.name == *name) {
                refuse("sweep", format!("gives `{name}` twice"));
            }
        }
        let num_tasks = match array {
            Some(_) if !parameters.is_empty() => {
                refuse("array", "does not go together with `sweep`".to_owned());
                product
            }
            Some(number) => number,
            None if parameters.is_empty() => {
                if max_running.is_some() {
                    refuse("max_running", "needs `sweep` or `array`".to_owned());
                }
                return if problems.is_empty() {
                    Ok(None)
                } else {
                    Err(problems)
                };
            }
            None => product,
        };
        if !(1..=MAX_GROUP).contains(&num_tasks) {
            let field = if array.is_some() { "array" } else { "sweep" };
            refuse(
                field,
                format!("makes {num_tasks} tasks: expected 1 to {MAX_GROUP}"),
            );
        }
        if max_running == Some(0) {
            refuse("max_running", "expected at least 1".to_owned());
        }
        let sweep = Self {
            parameters,
            num_tasks,
            max_running,
        };
        if problems.is_empty() {
            Ok(Some(sweep))
        } else {
            Err(problems)
        }
    }

    /// The pairs that [`Sweep::new`] is made of, in texts.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let parameters = self.parameters.iter();
        let mut pairs: Vec<_> = parameters.map(|it| ("sweep", it.to_string())).collect();
        if pairs.is_empty() {
            pairs.push(("array", self.num_tasks.to_string()));
        }
        pairs.extend(
            self.max_running
                .map(|most| ("max_running", most.to_string())),
        );
        pairs
    }

    /// The values of the task of this rank.
    pub fn values(&self, rank: u32) -> BTreeMap<String, String> {
        let mut rest = rank as usize;
        let values = self.parameters.iter().rev().map(|parameter| {
            let count = parameter.values.len();
            let value = parameter.values[rest % count].clone();
            rest /= count;
            (parameter.name.clone(), value)
        });
        values.collect()
    }

    /// The task of this rank in the group of this id.
    pub fn member(&self, group_id: GroupId, rank: u32) -> TaskGroup {
        TaskGroup {
            group_id,
            rank,
            num_tasks: self.num_tasks,
            max_running: self.max_running,
            parameters: self.values(rank),
        }
    }

    /// The problems of a sweep over a task.
    pub fn problems(&self, task: &TaskDefinition) -> Vec<Problem> {
        let names = self.parameters.iter().map(|parameter| &parameter.name);
        let secret = names.filter(|name| task.secrets.contains_key(*name));
        let problem = |name| {
            Problem::new(
                "sweep",
                format!("`{name}` is a secret of the task, which would win"),
            )
        };
        secret.map(problem).collect()
    }
}

/// The place of a task in the group that one submission has made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskGroup {
    pub group_id: GroupId,
    /// Its number from 0, `SKYPILOT_JOB_RANK` in its environment.
    pub rank: u32,
    /// How many tasks were submitted together.
    pub num_tasks: u32,
    /// How many of them run at the same time.
    pub max_running: Option<u32>,
    /// The variables in which it differs from the others.
    pub parameters: BTreeMap<String, String>,
}

impl TaskGroup {
    /// The name that the tasks of the group have in common, by that of this one.
    pub fn common_name<'a>(&self, name: &'a str) -> &'a str {
        name.strip_suffix(&format!("-{}", self.rank))
            .unwrap_or(name)
    }

    /// The parameters in a line: `lr=0.1 seed=3`.
    pub fn describe(&self) -> String {
        let pairs = self.parameters.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join(" ")
    }
}

/// `POST /tasks/submit` with a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupSubmitResponse {
    pub group_id: GroupId,
    /// The ids of its tasks, by rank.
    pub task_ids: Vec<TaskId>,
    /// Always `submitted`.
    pub status: String,
    pub message: String,
    /// Parts of the definition that may not work as its author expects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl GroupSubmitResponse {
    pub fn new(group_id: GroupId, task_ids: Vec<TaskId>, warnings: Vec<String>) -> Self {
        let count = task_ids.len();
        Self {
            status: "submitted".to_owned(),
            message: format!("{count} tasks submitted successfully as group: {group_id}"),
            group_id,
            task_ids,
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sweep(
        parameters: &[&str],
        array: Option<u32>,
        max: Option<u32>,
    ) -> Result<Option<Sweep>, String> {
        let parameters: Result<Vec<SweepParameter>, String> =
            parameters.iter().map(|text| text.parse()).collect();
        Sweep::new(parameters?, array, max).map_err(|problems| super::super::describe(&problems))
    }

    #[test]
    fn all_combinations_are_tasks_and_the_last_parameter_changes_fastest() {
        let sweep = sweep(&["lr=0.1,0.01", "seed=1..2,9"], None, Some(4));
        let sweep = sweep.unwrap().unwrap();
        assert_eq!((sweep.num_tasks, sweep.max_running), (6, Some(4)));
        let group_id: GroupId = "gr00up00".parse().unwrap();
        let lines = (0..6).map(|rank| sweep.member(group_id, rank).describe());
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "lr=0.1 seed=1",
                "lr=0.1 seed=2",
                "lr=0.1 seed=9",
                "lr=0.01 seed=1",
                "lr=0.01 seed=2",
                "lr=0.01 seed=9",
            ]
        );
    }

    #[test]
    fn an_array_has_only_numbers() {
        let array = sweep(&[], Some(3), None).unwrap().unwrap();
        assert_eq!((array.num_tasks, array.values(2).len()), (3, 0));
        assert_eq!(sweep(&[], None, None), Ok(None));
    }

    #[test]
    fn values_are_texts_and_only_whole_numbers_are_ranges() {
        let values = |text: &str| text.parse::<SweepParameter>().map(|it| it.values.join("|"));
        for (text, expected) in [
            ("A=1", "1"),
            ("A=-1..1", "-1|0|1"),
            ("A=x,y z,a=b", "x|y z|a=b"),
            ("A=../data,s3://a..b", "../data|s3://a..b"),
            ("A=..,so .. on", "..|so .. on"),
        ] {
            assert_eq!(values(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn odd_sweeps_are_refused() {
        for (parameters, array, max, problem) in [
            (
                &["lr"][..],
                None,
                None,
                "expected a variable and its values",
            ),
            (&["1a=2"], None, None, "is not the name of a variable"),
            (&["NODE_RANK=1,2"], None, None, "is set for every node"),
            (
                &["SKYPILOT_JOB_RANK=7,8"],
                None,
                None,
                "is set for every node",
            ),
            (
                &["SKYPILOT_NUM_RESTARTS=7"],
                None,
                None,
                "is set for every node",
            ),
            (&["a="], None, None, "has an empty value"),
            (&["a=1,,2"], None, None, "has an empty value"),
            (&["a=5..1"], None, None, "ends before it begins"),
            (&["a=0.1..0.5"], None, None, "whole numbers"),
            (&["a=x..z"], None, None, "whole numbers"),
            (&["a=1.."], None, None, "whole numbers"),
            (&["a=..5"], None, None, "whole numbers"),
            (&["a=1..5..2"], None, None, "whole numbers"),
            (&["a=1..9999999999"], None, None, "more than 1000 values"),
            (
                &["a=1..100", "b=1..100"],
                None,
                None,
                "makes 10000 tasks: expected 1 to 1000",
            ),
            (&["a=1", "a=2"], None, None, "gives `a` twice"),
            (&["a=1"], Some(2), None, "does not go together"),
            (&[], Some(0), None, "makes 0 tasks"),
            (&[], Some(1001), None, "makes 1001 tasks"),
            (&[], None, Some(2), "needs `sweep` or `array`"),
            (&["a=1"], None, Some(0), "at least 1"),
        ] {
            let refused = sweep(parameters, array, max).unwrap_err();
            assert!(refused.contains(problem), "{parameters:?}: {refused}");
        }
        let task = json!({"run": "true", "secrets": {"A": "b"}});
        let task = TaskDefinition::from_json(&task).unwrap();
        let sweep = sweep(&["A=1", "B=1"], None, None).unwrap().unwrap();
        assert_eq!(sweep.problems(&task).len(), 1);
    }
}
