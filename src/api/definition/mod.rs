//! The task file: what a user submits, read and checked in one go.
//!
//! A field that was read is a good field; what cannot be read is a [`Problem`], and all of them are reported together. The
//! client reads a file with this to give a quick answer, the server reads a request with it because it must.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Problem, Resources, volume::is_dns_subdomain};

/// The most nodes that a task can have.
const MAX_NUM_NODES: u64 = 10_000;
/// `setup` and `run` become arguments of a process, and Linux takes at most 128 KiB in one (`MAX_ARG_STRLEN`); a quarter of
/// that is left for quoting.
const MAX_SCRIPT_LENGTH: usize = 96 * 1024;

/// A SkyPilot task, checked. What is not given is not sent, so that every server fills in its own defaults.
#[derive(Clone, PartialEq, Serialize)]
pub struct TaskDefinition {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub num_nodes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    pub resources: Resources,
    pub envs: BTreeMap<String, String>,
    /// Where in the container each volume is mounted: path to volume name.
    pub volumes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
    pub run: String,
    /// SkyPilot's other fields, as they were given: accepted, without effect.
    #[serde(flatten)]
    pub unused: Map<String, Value>,
}

const USED: [&str; 8] = [
    "name",
    "num_nodes",
    "workdir",
    "resources",
    "envs",
    "volumes",
    "setup",
    "run",
];
/// SkyPilot's other fields (SkyPilot 0.14.1, `sky/utils/schemas.py`).
const UNUSED: [&str; 11] = [
    "file_mounts",
    "secrets",
    "managed_secrets",
    "config",
    "api_server_access",
    "inputs",
    "outputs",
    "event_callback",
    "file_mounts_mapping",
    "volume_mounts",
    "_metadata",
];
/// What makes a file something else than one batch task.
const OTHER_KINDS: [&str; 3] = ["service", "pool", "execution"];
/// What the program itself says to a node.
const RESERVED_ENVS: [&str; 4] = [
    "NODE_RANK",
    "NUM_NODES",
    "SKYPILOT_NODE_RANK",
    "SKYPILOT_NUM_NODES",
];

impl TaskDefinition {
    /// Reads a definition and checks it.
    ///
    /// # Errors
    /// All problems at once, each with its field.
    pub fn from_json(value: &Value) -> Result<Self, Vec<Problem>> {
        let Some(fields) = value.as_object() else {
            return Err(vec![Problem::new(
                "",
                "expected a task: a mapping with at least `run`",
            )]);
        };
        let mut problems = Vec::new();
        let task = Self {
            name: read(fields, "name", &mut problems, read_name),
            num_nodes: read(fields, "num_nodes", &mut problems, read_num_nodes).unwrap_or(1),
            workdir: read(fields, "workdir", &mut problems, read_text),
            resources: Resources::from_json(
                fields.get("resources").unwrap_or(&Value::Null),
                &mut problems,
            ),
            envs: read_mapping(fields, "envs", &mut problems, read_env),
            volumes: read_mapping(fields, "volumes", &mut problems, read_volume),
            setup: read(fields, "setup", &mut problems, read_text),
            run: read(fields, "run", &mut problems, read_text).unwrap_or_default(),
            unused: fields
                .iter()
                .filter(|(key, value)| UNUSED.contains(&key.as_str()) && !value.is_null())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        };
        let is_blank = |run: &Value| run.as_str().is_some_and(|run| run.trim().is_empty());
        if fields
            .get("run")
            .is_none_or(|run| run.is_null() || is_blank(run))
        {
            problems.push(Problem::new("run", "is required: the commands of the task"));
        }
        if task.run.len() + task.setup.as_ref().map_or(0, String::len) > MAX_SCRIPT_LENGTH {
            let kib = MAX_SCRIPT_LENGTH / 1024;
            problems.push(Problem::new(
                "run",
                format!("`setup` and `run` together must not be longer than {kib} KiB"),
            ));
        }
        for key in fields.keys() {
            match key.as_str() {
                known if USED.contains(&known) || UNUSED.contains(&known) => (),
                kind if OTHER_KINDS.contains(&kind) => {
                    problems.push(Problem::new(key, "is not a batch task's"))
                }
                _ => problems.push(Problem::new(
                    key,
                    unknown_field(key, USED.iter().chain(&UNUSED)),
                )),
            }
        }
        if problems.is_empty() {
            Ok(task)
        } else {
            Err(problems)
        }
    }

    /// What in the definition does not do what its author may expect, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let ignored = |field: String| format!("{field} is ignored: it has no meaning here yet");
        let mut warnings: Vec<_> = self.unused.keys().map(|key| ignored(key.clone())).collect();
        warnings.extend(
            self.resources
                .unused
                .keys()
                .map(|key| ignored(format!("resources.{key}"))),
        );
        if let Some(workdir) = self
            .workdir
            .as_ref()
            .filter(|workdir| !workdir.starts_with('/'))
        {
            warnings.push(format!(
                "workdir is ignored: {workdir:?} would be a local directory, which does not travel with the task; an \
                 absolute path names a directory in the container"
            ));
        }
        if let Some(name) = self
            .resources
            .accelerators
            .as_ref()
            .and_then(|accelerators| accelerators.name.as_ref())
        {
            warnings.push(format!(
                "resources.accelerators: any GPU will do, the type {name:?} is not asked for yet"
            ));
        }
        let reserved = self
            .envs
            .keys()
            .filter(|name| RESERVED_ENVS.contains(&name.as_str()));
        warnings.extend(
            reserved.map(|name| format!("envs.{name} is ignored: it is set for every node")),
        );
        warnings
    }

    /// The user's variables that a node gets: all but those that say which node it is.
    pub fn node_envs(&self) -> impl Iterator<Item = (&String, &String)> {
        self.envs
            .iter()
            .filter(|(name, _)| !RESERVED_ENVS.contains(&name.as_str()))
    }
}

/// Hides the values of `envs`: they may be secrets, and what is printed with `{:?}` ends in logs.
impl fmt::Debug for TaskDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let envs: Vec<_> = self.envs.keys().collect();
        f.debug_struct("TaskDefinition")
            .field("name", &self.name)
            .field("num_nodes", &self.num_nodes)
            .field("envs", &envs)
            .finish_non_exhaustive()
    }
}

/// Reads one field; `None` when it is absent, null or wrong.
fn read<T>(
    fields: &Map<String, Value>,
    key: &str,
    problems: &mut Vec<Problem>,
    reader: fn(&Value) -> Result<T, String>,
) -> Option<T> {
    let value = fields.get(key).filter(|value| !value.is_null())?;
    reader(value)
        .map_err(|message| problems.push(Problem::new(key, message)))
        .ok()
}

/// Reads a field that maps names to texts, leaving out the entries that are wrong.
fn read_mapping(
    fields: &Map<String, Value>,
    key: &str,
    problems: &mut Vec<Problem>,
    reader: fn(&str, &Value) -> Result<String, String>,
) -> BTreeMap<String, String> {
    let entries = match fields.get(key) {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            problems.push(Problem::new(
                key,
                format!("expected a mapping, got {other}"),
            ));
            return BTreeMap::new();
        }
    };
    let mut read = BTreeMap::new();
    for (name, value) in entries {
        match reader(name, value) {
            Ok(text) => drop(read.insert(name.clone(), text)),
            Err(message) => problems.push(Problem::new(format!("{key}.{name}"), message)),
        }
    }
    read
}

fn read_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains('\0') => {
            Err("must not contain a NUL character".to_owned())
        }
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("expected text, got {other}")),
    }
}

/// Reads a name as SkyPilot does: runs of letters and digits, joined by one or two of `.`, `_`, `-`.
fn read_name(value: &Value) -> Result<String, String> {
    let name = read_text(value)?;
    let mut joints = 0;
    let is_good = name.bytes().all(|byte| {
        joints = if matches!(byte, b'.' | b'_' | b'-') {
            joints + 1
        } else {
            0
        };
        joints <= 2 && (joints > 0 || byte.is_ascii_alphanumeric())
    });
    let begins_and_ends_well = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    if name.len() <= 1024 && is_good && begins_and_ends_well(&name) {
        return Ok(name);
    }
    Err(format!(
        "{value} is not a task name: expected letters and digits, joined by at most two of `.`, `_`, `-`"
    ))
}

fn read_num_nodes(value: &Value) -> Result<u32, String> {
    value
        .as_u64()
        .filter(|num_nodes| (1..=MAX_NUM_NODES).contains(num_nodes))
        .and_then(|num_nodes| u32::try_from(num_nodes).ok())
        .ok_or_else(|| format!("expected a whole number from 1 to {MAX_NUM_NODES}, got {value}"))
}

/// Reads the value of a variable, spelling numbers and booleans as SkyPilot's Python does.
fn read_env(name: &str, value: &Value) -> Result<String, String> {
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err("is not the name of a variable: expected letters, digits and `_`, not beginning with a digit".to_owned());
    }
    let text = match value {
        Value::Null => return Err("has no value".to_owned()),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        text => read_text(text)?,
    };
    if text.len() > MAX_SCRIPT_LENGTH {
        return Err(format!(
            "must not be longer than {} KiB",
            MAX_SCRIPT_LENGTH / 1024
        ));
    }
    Ok(text)
}

fn read_volume(path: &str, value: &Value) -> Result<String, String> {
    let is_path = path.starts_with('/')
        && path.len() > 1
        && !path.contains(':')
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|part| matches!(part, "." | ".."));
    if !is_path {
        return Err(
            "is not a mount path: expected an absolute path without `..` and `:`".to_owned(),
        );
    }
    let name = read_text(value)?;
    if !is_dns_subdomain(&name) {
        return Err(format!("{name:?} is not the name of a volume"));
    }
    Ok(name)
}

/// The message for a field that nobody knows, with the known field that it looks like.
pub(super) fn unknown_field<'a>(field: &str, known: impl Iterator<Item = &'a &'a str>) -> String {
    let nearest = known
        .map(|known| (edit_distance(field, known), known))
        .min();
    match nearest {
        Some((distance, known)) if distance * 3 <= known.len().max(3) => {
            format!("unknown field, did you mean `{known}`?")
        }
        _ => "unknown field".to_owned(),
    }
}

/// How many characters have to be inserted, deleted or replaced to make `b` of `a` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
