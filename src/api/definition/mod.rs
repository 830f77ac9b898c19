//! The definition of a task: the task file that a user submits, read and checked.
//!
//! Reading reports every invalid field as a [`Problem`], all of them together. The client reads a file with this module to answer
//! quickly; the server reads each request with it, since it must not trust the client.

mod env;
mod mount;
mod openapi;
mod schema;
mod size;
mod warnings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

pub use env::{
    RegistryLogin, check_name as check_env_name, is_reserved as is_reserved_env, secret_variable,
};
pub use mount::VolumeMount;
pub use size::MAX_JOBS;
pub(super) use warnings::has_effect;

use super::{
    Problem, Recovery, Resources, TimeLimit, limit_problems, resources,
    shape::{Got, refuse_unknown},
    time_limit::read_time_limit,
};

/// The most nodes that a task can have.
pub const MAX_NUM_NODES: u32 = 10_000;
/// The most bytes of `setup` and `run` together. A Secret of at most 1 MiB has to hold them.
const MAX_SCRIPT_LENGTH: usize = 900 * 1024;
/// The most bytes of the value of a variable. Linux limits a variable to 128 KiB (`MAX_ARG_STRLEN`).
const MAX_VALUE_LENGTH: usize = 96 * 1024;
/// The most bytes of a name or a path.
const MAX_NAME_LENGTH: usize = 1024;
/// The most values in `pod_config`.
const MAX_POD_CONFIG: usize = 5000;

/// A SkyPilot task, checked. Absent fields are not sent, so that each server applies its own defaults.
#[derive(Clone, PartialEq)]
pub struct TaskDefinition {
    pub name: Option<String>,
    pub num_nodes: u32,
    pub workdir: Option<String>,
    pub resources: Resources,
    pub envs: BTreeMap<String, String>,
    /// Variables whose values only the task may see. They override `envs`, as in SkyPilot.
    pub secrets: BTreeMap<String, String>,
    /// Secrets without a value, which SkyPilot reads from its own store: `NAME`, `global.NAME`, ...
    pub missing_secrets: BTreeSet<String>,
    /// The volumes, by mount path in the container.
    pub volumes: BTreeMap<String, VolumeMount>,
    pub setup: Option<String>,
    pub run: String,
    /// `max_duration`: the longest time that a node may run.
    pub time_limit: Option<TimeLimit>,
    /// `config.kubernetes.pod_config`: fields of a Pod that override those of the task.
    pub pod_config: Option<Map<String, Value>>,
    /// SkyPilot's other fields, as given: without effect on the server. They include the whole of `config`, and the files that a
    /// client sends: `file_mounts`, and a `workdir` in git.
    pub unused: Map<String, Value>,
}

/// The fields with an effect.
const USED: &[&str] = &[
    "name",
    "num_nodes",
    "workdir",
    "resources",
    "envs",
    "secrets",
    "volumes",
    "setup",
    "run",
    "max_duration",
];

impl TaskDefinition {
    /// Reads and checks a definition, including SkyPilot's checks of the fields without effect.
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
        let (secrets, missing_secrets) = env::read_secrets(fields.get("secrets"), &mut problems);
        let mut task = Self {
            name: read(fields, "name", &mut problems, read_name),
            num_nodes: read(fields, "num_nodes", &mut problems, read_num_nodes).unwrap_or(1),
            workdir: None,
            resources: Resources::from_json(
                fields.get("resources").unwrap_or(&Value::Null),
                &mut problems,
            ),
            envs: env::read(fields.get("envs"), &mut problems),
            secrets,
            missing_secrets,
            volumes: mount::read(fields.get("volumes"), &mut problems),
            setup: read(fields, "setup", &mut problems, read_script),
            run: read(fields, "run", &mut problems, read_script).unwrap_or_default(),
            time_limit: read(fields, "max_duration", &mut problems, read_time_limit).flatten(),
            pod_config: fields.get("config").and_then(|config| {
                config
                    .pointer("/kubernetes/pod_config")?
                    .as_object()
                    .cloned()
            }),
            unused: Map::new(),
        };
        problems.extend(env::check_docker_login(&task.envs, &task.secrets));
        task.check_images(&mut problems);
        task.read_workdir(fields, &mut problems);
        task.read_unused(fields, &mut problems);
        if problems.is_empty() {
            problems.extend(task.has_large_pod_config());
        }
        task.check_scripts(fields, &mut problems);
        problems.extend(task.is_certainly_too_large());
        if problems.is_empty() {
            Ok(task)
        } else {
            Err(limit_problems(problems))
        }
    }

    /// Reads `workdir`: a path, or a git source.
    fn read_workdir(&mut self, fields: &Map<String, Value>, problems: &mut Vec<Problem>) {
        match fields.get("workdir") {
            Some(git @ Value::Object(source)) => {
                schema::GIT.check("workdir", git, problems);
                if source.get("url").is_none_or(Value::is_null) {
                    problems.push(Problem::new("workdir.url", "is required: the repository"));
                }
                self.unused.insert("workdir".to_owned(), git.clone());
            }
            _ => self.workdir = read(fields, "workdir", problems, read_text),
        }
    }

    fn read_unused(&mut self, fields: &Map<String, Value>, problems: &mut Vec<Problem>) {
        for (key, shape, _) in schema::IGNORED {
            if let Some(value) = fields.get(*key).filter(|value| !value.is_null()) {
                shape.check(key, value, problems);
                self.unused.insert((*key).to_owned(), value.clone());
            }
        }
        for (kind, why) in schema::OTHER_KINDS {
            if fields.get(*kind).is_some_and(|value| !value.is_null()) {
                problems.push(Problem::new(*kind, *why));
            }
        }
        let ignored = schema::IGNORED.iter().map(|(key, ..)| *key);
        let other = schema::OTHER_KINDS.iter().map(|(key, _)| *key);
        let known = USED.iter().copied().chain(ignored).chain(other);
        let is_misplaced = |key: &&String| {
            resources::is_field(key) && !known.clone().any(|known| known == key.as_str())
        };
        for key in fields.keys().filter(is_misplaced) {
            problems.push(Problem::new(key, "belongs under `resources`"));
        }
        let others = fields.keys().filter(|key| !is_misplaced(key));
        refuse_unknown("", others, known.clone(), problems);
    }

    /// The problem if `pod_config` has too many values: each is compared with a schema.
    fn has_large_pod_config(&self) -> Option<Problem> {
        let values = self.pod_config.iter().flat_map(Map::values);
        let number: usize = values.map(count_values).sum();
        let message = format!("has {number} values, and at most {MAX_POD_CONFIG} are taken");
        let field = "config.kubernetes.pod_config";
        (number > MAX_POD_CONFIG).then(|| Problem::new(field, message))
    }

    /// Checks the images of the containers in `pod_config`.
    fn check_images(&self, problems: &mut Vec<Problem>) {
        let spec = self
            .pod_config
            .as_ref()
            .and_then(|config| config.get("spec"));
        for kind in ["containers", "initContainers"] {
            let containers = spec.and_then(|spec| spec.get(kind)?.as_array());
            for (index, container) in containers.into_iter().flatten().enumerate() {
                let image = container.get("image").and_then(Value::as_str);
                if let Some(Err(message)) = image.map(resources::check_image_name) {
                    let field = format!("config.kubernetes.pod_config.spec.{kind}[{index}].image");
                    problems.push(Problem::new(field, message));
                }
            }
        }
    }

    fn check_scripts(&self, fields: &Map<String, Value>, problems: &mut Vec<Problem>) {
        let is_blank = |run: &Value| run.as_str().is_some_and(|run| run.trim().is_empty());
        if fields
            .get("run")
            .is_none_or(|run| run.is_null() || is_blank(run))
        {
            problems.push(Problem::new("run", "is required: the commands of the task"));
        }
        if self.run.len() + self.setup.as_ref().map_or(0, String::len) > MAX_SCRIPT_LENGTH {
            let kib = MAX_SCRIPT_LENGTH / 1024;
            problems.push(Problem::new(
                "run",
                format!("`setup` and `run` together must not be longer than {kib} KiB"),
            ));
        }
    }

    /// The body of a request. It is the definition with amounts that a server need not know SkyPilot to read: `memory: 4` means
    /// four bytes to Kubernetes, so it is sent as `4G`, and `{V100: 1}` as `V100:1`.
    pub fn to_wire(&self) -> serde_json::Result<Value> {
        let mut wire = serde_json::to_value(self)?;
        if let Some(memory) = &self.resources.memory {
            wire["resources"]["memory"] = memory.to_string().into();
        }
        if let Some(accelerators) = &self.resources.accelerators {
            wire["resources"]["accelerators"] = accelerators.to_string().into();
        }
        Ok(wire)
    }

    /// Takes the login to a registry of images out of the variables. The image that the task names is then one of that registry.
    pub fn take_registry_login(&mut self) -> Option<RegistryLogin> {
        let login = env::take_registry_login(&mut self.envs, &mut self.secrets)?;
        let image = &mut self.resources.image_id;
        *image = image.as_ref().map(|image| login.image(image));
        Some(login)
    }

    /// When it is started again. `is_asked`: the command line asks for it, too.
    pub fn recovery(&self, is_asked: bool) -> Option<Recovery> {
        let of_file = self.resources.unused.get("job_recovery");
        let of_file = of_file.and_then(Recovery::from_json);
        of_file.or_else(|| is_asked.then(Recovery::default))
    }

    /// The git repository that is the working directory: a mapping with `url`, and `ref` if it is given.
    pub fn git_workdir(&self) -> Option<&Map<String, Value>> {
        self.unused.get("workdir")?.as_object()
    }

    /// What the container gets, by destination: a path, a URL, or SkyPilot's mapping of a storage.
    pub fn file_mounts(&self) -> Option<&Map<String, Value>> {
        self.unused.get("file_mounts")?.as_object()
    }

    /// Removes the names of the files that travel with the task: on the way to the server they stand in an archive. The names of local
    /// directories, and logins in URLs, stay with the client.
    pub fn take_out_files(&mut self, has_workdir: bool) {
        self.unused.remove("file_mounts");
        if has_workdir {
            self.unused.remove("workdir");
            self.workdir = Some(".".to_owned());
        }
    }

    /// The user's variables for a node, without secrets and without those that the program sets.
    pub fn node_envs(&self) -> impl Iterator<Item = (&String, &String)> {
        self.envs.iter().filter(|(name, _)| !env::is_reserved(name))
    }
}

/// Writes the definition as the body of a request, secrets included.
impl Serialize for TaskDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        if let Some(name) = &self.name {
            fields.serialize_entry("name", name)?;
        }
        fields.serialize_entry("num_nodes", &self.num_nodes)?;
        if let Some(workdir) = &self.workdir {
            fields.serialize_entry("workdir", workdir)?;
        }
        fields.serialize_entry("resources", &self.resources)?;
        fields.serialize_entry("envs", &self.envs)?;
        if self.secrets.is_empty() && !self.missing_secrets.is_empty() {
            let list: Vec<_> = (self.missing_secrets.iter())
                .map(|name| format!("secrets:{name}"))
                .collect();
            fields.serialize_entry("secrets", &list)?;
        } else if !self.secrets.is_empty() {
            let missing = self.missing_secrets.iter().map(|name| (name, None));
            let given = self.secrets.iter().map(|(name, value)| (name, Some(value)));
            let all: BTreeMap<_, _> = missing.chain(given).collect();
            fields.serialize_entry("secrets", &all)?;
        }
        fields.serialize_entry("volumes", &self.volumes)?;
        if let Some(setup) = &self.setup {
            fields.serialize_entry("setup", setup)?;
        }
        fields.serialize_entry("run", &self.run)?;
        if let Some(limit) = &self.time_limit {
            fields.serialize_entry("max_duration", &limit.to_string())?;
        }
        for (key, value) in &self.unused {
            fields.serialize_entry(key, value)?;
        }
        fields.end()
    }
}

/// Hides the values of `envs` and `secrets`, since debug output may go to a log.
impl fmt::Debug for TaskDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let envs: Vec<_> = self.envs.keys().collect();
        let secrets: Vec<_> = self.secrets.keys().collect();
        f.debug_struct("TaskDefinition")
            .field("name", &self.name)
            .field("num_nodes", &self.num_nodes)
            .field("envs", &envs)
            .field("secrets", &secrets)
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

fn read_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains('\0') => {
            Err("must not contain a NUL character".to_owned())
        }
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("expected text, got {}", Got(other))),
    }
}

/// The number of values in a value, with itself.
fn count_values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count_values).sum(),
        Value::Object(fields) => fields.values().map(count_values).sum(),
        _ => 0,
    }
}

/// Checks the length of a name or a path, which objects and messages repeat.
fn check_length(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME_LENGTH {
        let kib = MAX_NAME_LENGTH / 1024;
        return Err(format!("must not be longer than {kib} KiB"));
    }
    Ok(())
}

/// Reads commands. A line may end as on Windows, for bash it ends as in a file that YAML has read.
fn read_script(value: &Value) -> Result<String, String> {
    Ok(read_text(value)?.replace("\r\n", "\n"))
}

/// Reads a name as SkyPilot does: runs of letters and digits, joined by one or two of `.`, `_`, `-`.
fn read_name(value: &Value) -> Result<String, String> {
    let name = read_text(value)?;
    check_length(&name)?;
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
    if is_good && begins_and_ends_well(&name) {
        return Ok(name);
    }
    Err(format!(
        "{} is not a task name: expected letters and digits, joined by at most two of `.`, `_`, `-`",
        Got(value)
    ))
}

fn read_num_nodes(value: &Value) -> Result<u32, String> {
    value
        .as_u64()
        .and_then(|num_nodes| u32::try_from(num_nodes).ok())
        .filter(|num_nodes| (1..=MAX_NUM_NODES).contains(num_nodes))
        .ok_or_else(|| {
            format!(
                "expected a whole number from 1 to {MAX_NUM_NODES}, got {}",
                Got(value)
            )
        })
}

#[cfg(test)]
mod tests;
