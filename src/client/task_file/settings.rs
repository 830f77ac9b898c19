//! The changes that the command line makes to a task file: variables, secrets and overridden fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::{Problem, Sweep, SweepParameter, secret_variable};

/// The most bytes that variables may add to the paths of a file.
const MAX_SUBSTITUTED: usize = 1024 * 1024;

/// The changes that the command line makes to a task file. Later entries win.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub envs: Vec<(String, String)>,
    pub secrets: Vec<(String, String)>,
    /// Flags, fields and values. The path of a field is at most one level deep: `name`, `resources.cpus`.
    pub fields: Vec<(&'static str, &'static str, Value)>,
    /// The variables of a sweep.
    pub swept: Vec<String>,
}

impl Settings {
    /// The same with the variables of a sweep. In the file they have their first values; the server gives each task its own.
    #[must_use]
    pub fn with_sweep(mut self, sweep: Option<&Sweep>) -> Self {
        for SweepParameter { name, values } in sweep.iter().flat_map(|sweep| &sweep.parameters) {
            self.swept.push(name.clone());
            let first = values.first().cloned().unwrap_or_default();
            self.envs.push((name.clone(), first));
        }
        self
    }

    /// The name for messages of a field that the command line gives: its flag, or the field itself if several flags can set it.
    /// `None` for a field of the file, which has a line.
    pub fn given_as<'a>(&self, field: &'a str) -> Option<&'a str> {
        let own = self.fields.iter().find(|(_, path, _)| *path == field);
        let is_among = |prefix, given: &[(String, String)]| {
            let name = field.strip_prefix(prefix);
            name.is_some_and(|name| given.iter().any(|(key, _)| key == name))
        };
        let is_variable = is_among("envs.", &self.envs) || is_among("secrets.", &self.secrets);
        own.map(|(flag, ..)| *flag)
            .or_else(|| is_variable.then_some(field))
    }

    /// Applies the changes to the fields of a task, and replaces variables in its paths; returns problems and warnings.
    pub fn apply(&self, task: &mut Value) -> (Vec<Problem>, Vec<Problem>) {
        let Value::Object(fields) = task else {
            return (Vec::new(), Vec::new());
        };
        add_variables(fields, "envs", &self.envs);
        add_variables(fields, "secrets", &self.secrets);
        for (_, path, value) in &self.fields {
            override_field(fields, path, value);
        }
        let warnings = secrets_in_paths(fields);
        let mut problems = self.swept_in_paths(fields);
        problems.extend(substitute(fields));
        (problems, warnings)
    }
}

impl Settings {
    /// A problem for each field of paths that mentions a variable of the sweep: paths are the same for all tasks of a group.
    fn swept_in_paths(&self, fields: &Map<String, Value>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for key in PATHS {
            let text = fields.get(key).map(Value::to_string).unwrap_or_default();
            let used = self
                .swept
                .iter()
                .find(|name| variables_of(&text).any(|used| used == *name));
            problems.extend(used.map(|name| {
                let message = format!(
                    "`${name}` differs between the tasks of the sweep, and paths do not: use it in `run`"
                );
                Problem::new(key, message)
            }));
        }
        problems
    }
}

fn add_variables(fields: &mut Map<String, Value>, key: &str, given: &[(String, String)]) {
    if given.is_empty() {
        return;
    }
    let variables = fields.entry(key).or_insert(Value::Null);
    // A list of secrets names secrets that SkyPilot's server stores.
    let listed: Option<Map<_, _>> = variables.as_array().and_then(|names| {
        (names.iter())
            .map(|name| {
                let name = name.as_str()?.strip_prefix("secrets:")?;
                Some((name.to_owned(), Value::Null))
            })
            .collect()
    });
    if let Some(listed) = listed {
        *variables = Value::Object(listed);
    }
    if variables.is_null() {
        *variables = Value::Object(Map::new());
    }
    // Any other value is reported when the task is decoded.
    if let Value::Object(variables) = variables {
        // A given secret replaces that of SkyPilot's store, whatever its scope there.
        variables.retain(|name, value| {
            let is_given = |given: &(String, String)| given.0 == secret_variable(name);
            !value.is_null() || !given.iter().any(is_given)
        });
        for (name, value) in given {
            variables.insert(name.clone(), value.clone().into());
        }
    }
}

/// Sets a field. A field of `resources` is removed from the alternatives.
fn override_field(fields: &mut Map<String, Value>, path: &str, value: &Value) {
    let Some(key) = path.strip_prefix("resources.") else {
        fields.insert(path.to_owned(), value.clone());
        return;
    };
    let resources = fields.entry("resources").or_insert(Value::Null);
    if resources.is_null() {
        *resources = Value::Object(Map::new());
    }
    let Value::Object(resources) = resources else {
        return;
    };
    remove_field(resources, key);
    resources.insert(key.to_owned(), value.clone());
    for alternatives in ["any_of", "ordered"] {
        let list = resources
            .get_mut(alternatives)
            .and_then(Value::as_array_mut);
        for alternative in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            remove_field(alternative, key);
        }
    }
}

fn remove_field(fields: &mut Map<String, Value>, key: &str) {
    fields.remove(key);
    if key == "accelerators" {
        fields.remove("gpus");
    }
}

/// The fields in which variables are replaced.
const PATHS: [&str; 3] = ["workdir", "volumes", "file_mounts"];

/// A warning for each secret that a path contains: all who may see the Job of the task see its paths.
fn secrets_in_paths(fields: &Map<String, Value>) -> Vec<Problem> {
    let secrets = fields.get("secrets").and_then(Value::as_object);
    let secrets: Vec<&String> = secrets.into_iter().flat_map(Map::keys).collect();
    let mut warnings = Vec::new();
    for key in PATHS {
        let text = fields.get(key).map(Value::to_string).unwrap_or_default();
        for name in &secrets {
            if variables_of(&text).any(|used| used == name.as_str()) {
                let message = format!(
                    "the secret `{name}` becomes a part of a path, which is visible in the Job of the task"
                );
                warnings.push(Problem::new(key, message));
            }
        }
    }
    warnings
}

/// The names of the variables that a text mentions.
fn variables_of(text: &str) -> impl Iterator<Item = &str> {
    let mentions = text.split('$').skip(1);
    mentions.map(|after| variable(after).1)
}

/// The name of a variable behind its `$`: the text from the name on, and the name.
fn variable(after: &str) -> (&str, &str) {
    let inner = after.strip_prefix('{').unwrap_or(after);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
    (inner, &inner[..end])
}

/// Replaces `$NAME` and `${NAME}` in paths, from `envs` and `secrets`; other names are unchanged. As in SkyPilot 0.14.1
/// (`sky/task.py`, `_fill_in_env_vars`), an unclosed `${NAME` is replaced too. Unlike there, values may have any characters.
fn substitute(fields: &mut Map<String, Value>) -> Vec<Problem> {
    let mut variables = BTreeMap::new();
    for key in ["envs", "secrets"] {
        for (name, value) in fields
            .get(key)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            variables.extend(value.as_str().map(|value| (name.clone(), value.to_owned())));
        }
    }
    let mut left = MAX_SUBSTITUTED;
    let mut problems = Vec::new();
    for key in PATHS {
        let Some(value) = fields.get_mut(key) else {
            continue;
        };
        if let Some(replaced) = replace_in(value, &variables, &mut left) {
            *value = replaced;
        } else {
            problems.push(Problem::new(key, "its variables make it too large"));
        }
    }
    problems
}

/// `None` when the values are longer than the bytes that are `left`.
fn replace_in(
    value: &Value,
    variables: &BTreeMap<String, String>,
    left: &mut usize,
) -> Option<Value> {
    Some(match value {
        Value::String(text) => replace(text, variables, left)?.into(),
        Value::Array(items) => (items.iter())
            .map(|item| replace_in(item, variables, left))
            .collect::<Option<_>>()?,
        Value::Object(entries) => {
            let mut replaced = Map::new();
            for (key, value) in entries {
                replaced.insert(
                    replace(key, variables, left)?,
                    replace_in(value, variables, left)?,
                );
            }
            Value::Object(replaced)
        }
        other => other.clone(),
    })
}

fn replace(text: &str, variables: &BTreeMap<String, String>, left: &mut usize) -> Option<String> {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        replaced.push_str(before);
        let (inner, name) = variable(after);
        match variables.get(name) {
            Some(value) => {
                *left = left.checked_sub(value.len())?;
                replaced.push_str(value);
                let behind = &inner[name.len()..];
                rest = behind.strip_prefix('}').unwrap_or(behind);
            }
            None => {
                replaced.push('$');
                rest = after;
            }
        }
    }
    replaced.push_str(rest);
    Some(replaced)
}
