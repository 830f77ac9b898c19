//! `envs` and `secrets`: the environment variables of a task.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    super::{
        Problem,
        shape::{Got, join},
    },
    MAX_VALUE_LENGTH, check_length, read_text,
};

/// The variables that the program itself sets in each node.
const RESERVED: [&str; 4] = [
    "NODE_RANK",
    "NUM_NODES",
    "SKYPILOT_NODE_RANK",
    "SKYPILOT_NUM_NODES",
];

/// Whether the program sets this variable, so that no task can override it.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Reads `envs` without its invalid entries.
pub(super) fn read(value: Option<&Value>, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut envs = BTreeMap::new();
    match value {
        None | Some(Value::Null) => (),
        Some(Value::Object(entries)) => {
            for (name, value) in entries {
                let field = join("envs", name);
                match check_name(name).and_then(|()| read_value(value)) {
                    Ok(Some(value)) => drop(envs.insert(name.clone(), value)),
                    Ok(None) => problems.push(Problem::new(
                        field,
                        format!("has no value: give it one, or `--env {name}=VALUE`"),
                    )),
                    Err(message) => problems.push(Problem::new(field, message)),
                }
            }
        }
        Some(other) => {
            let message = format!("expected a mapping of names to values, got {}", Got(other));
            problems.push(Problem::new("envs", message));
        }
    }
    envs
}

/// The variable that a secret of SkyPilot's store becomes: its name without its scope, which is one of these.
pub fn secret_variable(name: &str) -> &str {
    let scopes = ["global.", "workspace.", "personal."];
    let mut inner = scopes.iter().filter_map(|scope| name.strip_prefix(scope));
    inner.next().unwrap_or(name)
}

/// Reads `secrets`: a mapping like `envs`, in which a null names a secret of SkyPilot's store, or a list of such names. Returns the
/// values, and the names without a value.
pub(super) fn read_secrets(
    value: Option<&Value>,
    problems: &mut Vec<Problem>,
) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut secrets, mut missing) = (BTreeMap::new(), BTreeSet::new());
    match value {
        None | Some(Value::Null) => (),
        Some(Value::Object(entries)) => {
            for (name, value) in entries {
                let field = join("secrets", name);
                match read_value(value) {
                    Ok(Some(value)) => match check_name(name) {
                        Ok(()) => drop(secrets.insert(name.clone(), value)),
                        Err(message) => problems.push(Problem::new(field, message)),
                    },
                    Ok(None) => drop(missing.insert(name.clone())),
                    // The message must not contain the value.
                    Err(_) => problems.push(Problem::new(field, "expected text of at most 96 KiB")),
                }
            }
        }
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                match item.as_str().and_then(|item| item.strip_prefix("secrets:")) {
                    Some(name) if !name.is_empty() => {
                        missing.insert(name.to_owned());
                    }
                    _ => problems.push(Problem::new(
                        format!("secrets[{index}]"),
                        "expected secrets:NAME; a secret with a value stands in a mapping, as in {NAME: VALUE}",
                    )),
                }
            }
        }
        Some(_) => problems.push(Problem::new(
            "secrets",
            "expected a mapping of names to values, or a list of secrets:NAME",
        )),
    }
    (secrets, missing)
}

/// The variables that hold the login to a registry of images (SkyPilot 0.14.1, `sky/skylet/constants.py`).
const DOCKER_LOGIN: [&str; 3] = [
    "SKYPILOT_DOCKER_USERNAME",
    "SKYPILOT_DOCKER_PASSWORD",
    "SKYPILOT_DOCKER_SERVER",
];

/// The login to a registry of images.
#[derive(Clone, PartialEq)]
pub struct RegistryLogin {
    pub server: String,
    pub username: String,
    pub password: String,
}

/// Takes the login to a registry out of the variables of a task: its containers do not get it.
pub(super) fn take_registry_login(
    envs: &mut BTreeMap<String, String>,
    secrets: &mut BTreeMap<String, String>,
) -> Option<RegistryLogin> {
    let [username, password, server] = DOCKER_LOGIN.map(|name| {
        let of_envs = envs.remove(name);
        secrets.remove(name).or(of_envs)
    });
    Some(RegistryLogin {
        server: server?,
        username: username?,
        password: password?,
    })
}

impl RegistryLogin {
    /// The name of an image in this registry, whose server a task file may leave out, as in SkyPilot 0.14.1
    /// (`sky/provision/docker_utils.py`).
    pub fn image(&self, image: &str) -> String {
        let server = &self.server;
        match image.strip_prefix(server.as_str()) {
            Some(rest) if rest.starts_with('/') => image.to_owned(),
            _ => format!("{server}/{image}"),
        }
    }
}

/// Checks that a login to a registry is complete, and in one place.
pub(super) fn check_docker_login(
    envs: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
) -> Option<Problem> {
    let given = |values: &BTreeMap<String, String>| {
        let given = DOCKER_LOGIN
            .iter()
            .filter(|name| values.contains_key(**name));
        given.count()
    };
    let (field, message) = match (given(envs), given(secrets)) {
        (0, 0) | (0, 3) | (3, 0) => return None,
        (0, _) => ("secrets", "give all three"),
        (_, 0) => ("envs", "give all three"),
        (_, _) => ("secrets", "give all of them in `envs`, or all in `secrets`"),
    };
    let names = DOCKER_LOGIN.join(", ");
    Some(Problem::new(
        field,
        format!("the login to a registry is {names}: {message}"),
    ))
}

/// Checks the name of a variable.
///
/// # Errors
/// The problem with the name, as the end of a sentence about it.
pub fn check_name(name: &str) -> Result<(), String> {
    check_length(name)?;
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name {
        return Ok(());
    }
    Err(
        "is not the name of a variable: expected letters, digits and `_`, not beginning with a digit"
            .to_owned(),
    )
}

/// Reads a value. Booleans become `True` and `False`, as in SkyPilot, which reads its files with Python.
fn read_value(value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        text => read_text(text)?,
    };
    if text.len() > MAX_VALUE_LENGTH {
        return Err(format!(
            "must not be longer than {} KiB",
            MAX_VALUE_LENGTH / 1024
        ));
    }
    Ok(Some(text))
}
