//! The commands of a task's containers, and the choice of the object that holds them. Pure.
//!
//! `init.sh` is the container's first process: it runs `setup` and `run`, and passes stop signals on to them. `shell.sh` makes their bash
//! the shell that SkyPilot gives them. `files.sh` unpacks the files that travel with the task, and `nodes.sh` lets the nodes of a task find
//! each other and begin `run` together. All reach the container as arguments, in each Job. In a large task that costs much: with 4 KiB and
//! 256 nodes, etcd and each list and watch carry 1 MiB. Beyond
//! [`MAX_REPEATED`], and where they are too long for an argument, a Secret of the task holds the commands once, and its containers
//! mount it. The program may create Secrets anyway, so it needs no further right.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{files::Files, pod::CONTAINER};
use crate::api::{Problem, SKY_WORKDIR, TaskDefinition};

/// The termination message of a container whose `setup` has failed.
pub const SETUP_FAILED: &str = "k8s-cli: setup failed";
/// The beginning of the termination message of a container that could not unpack the files of the task.
pub const FILES_FAILED: &str = "k8s-cli: files: ";
/// The first process of a container, for people.
const INIT: &str = include_str!("init.sh");
/// What the bash of `setup` and `run` reads first, for people.
const SHELL: &str = include_str!("shell.sh");
/// What unpacks the files of a task, for people.
const FILES: &str = include_str!("files.sh");
/// What the nodes of a task do together, for people.
const NODES: &str = include_str!("nodes.sh");

/// The longest argument or variable, including its name: Linux' `MAX_ARG_STRLEN`, less 16 bytes. A process with a longer one does
/// not start.
pub const MAX_ARGUMENT: usize = 128 * 1024 - 16;
/// The most bytes of commands in all Jobs of a task together.
const MAX_REPEATED: usize = 256 * 1024;
/// The directory at which containers mount the commands. `init.sh` names it too.
pub const DIRECTORY: &str = "/.k8s-cli";
/// Runs the mounted `init.sh`.
const RUN_FILE: &str = ". /.k8s-cli/init";

/// The commands of a task, by the object that holds them. They are the same for all its nodes.
#[derive(Debug, PartialEq)]
pub enum Script {
    /// The arguments behind `/bin/bash -p -c`, in each Job.
    InJob { arguments: Vec<String> },
    /// Files in a Secret of the task, which holds the names of the nodes too, and arguments that run them.
    InSecret {
        arguments: Vec<String>,
        files: BTreeMap<String, String>,
    },
}

impl Script {
    /// Builds the commands of a task with its files, and decides which object holds them. `domain` is the domain in which the nodes of a task
    /// that begin `run` together find each other.
    pub fn new(task: &TaskDefinition, domain: Option<&str>, files: Option<&Files>) -> Self {
        if sets_command(task) {
            let arguments = vec![plain(task)];
            return Self::InJob { arguments };
        }
        let workdir = workdir(task, files).unwrap_or_default();
        let [name, workdir] = ["k8s-cli", workdir].map(str::to_owned);
        let names = task.node_envs().map(|(name, _)| name.as_str());
        let names: BTreeSet<_> = names
            .chain(task.secrets.keys().map(String::as_str))
            .collect();
        let names = Vec::from_iter(names).join(" ");
        let unpack = files.map(|files| {
            let roots = files.roots.join(" ");
            format!("k8s_roots='{roots}'\n{}", without_comments(FILES))
        });
        let mut texts = vec![
            ("init", unpack.unwrap_or_default() + &init()),
            ("shell", without_comments(SHELL)),
            ("setup", setup(task).to_owned()),
            ("run", task.run.clone()),
        ];
        texts.extend(domain.map(|domain| ("nodes", nodes(domain))));
        let length: usize = texts.iter().map(|(_, text)| text.len()).sum();
        let num_nodes = task.num_nodes as usize;
        // The name of a node is more than 16 bytes long. The exact length is not worth building the names.
        let repeated = num_nodes.saturating_mul(length + 16 * num_nodes);
        if length > MAX_ARGUMENT || (num_nodes > 1 && repeated > MAX_REPEATED) {
            let texts = texts.into_iter();
            return Self::InSecret {
                arguments: vec![RUN_FILE.to_owned(), name, workdir, names],
                files: texts.map(|(file, text)| (file.to_owned(), text)).collect(),
            };
        }
        let mut arguments: Vec<_> = texts.into_iter().map(|(_, text)| text).collect();
        arguments.splice(1..1, [name, workdir, names]);
        Self::InJob { arguments }
    }

    pub fn arguments(&self) -> &[String] {
        match self {
            Self::InJob { arguments } | Self::InSecret { arguments, .. } => arguments,
        }
    }

    /// The files in the Secret of the task; none if its Jobs hold the commands.
    pub fn files(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::InJob { .. } => None,
            Self::InSecret { files, .. } => Some(files),
        }
    }

    /// Checks that a process with these arguments can start.
    ///
    /// # Errors
    /// When the commands are too long for a shell of the user.
    pub fn check(&self) -> Result<(), Problem> {
        let longest = self.arguments().iter().map(String::len).max();
        let longest = longest.unwrap_or_default();
        if longest < MAX_ARGUMENT {
            return Ok(());
        }
        let message = format!(
            "`setup` and `run` are {longest} bytes with quotes, and at most {MAX_ARGUMENT} where pod_config sets `command` or `args`: \
             they are one argument then"
        );
        Err(Problem::new("run", message))
    }
}

/// `init.sh` for a container.
pub fn init() -> String {
    without_comments(INIT)
}

/// `nodes.sh` for the nodes of a task.
fn nodes(domain: &str) -> String {
    format!("k8s_domain={domain}\n") + &without_comments(NODES)
}

/// A script without its comments and indentation.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    code.fold(String::with_capacity(text.len()), |code, line| {
        code + line + "\n"
    })
}

/// The commands of `setup`, empty if there are none.
pub fn setup(task: &TaskDefinition) -> &str {
    let setup = task.setup.as_deref();
    setup
        .filter(|setup| !setup.trim().is_empty())
        .unwrap_or_default()
}

/// The working directory of a task: SkyPilot's if it travels, else the one it names in the container, else SkyPilot's if its text mentions
/// that, else that of the image.
fn workdir<'a>(task: &'a TaskDefinition, files: Option<&Files>) -> Option<&'a str> {
    if files.is_some_and(|files| files.has_workdir) {
        return Some(SKY_WORKDIR);
    }
    let workdir = task.workdir.as_deref();
    let in_container = workdir.filter(|workdir| workdir.starts_with('/'));
    let mut texts = [setup(task), &task.run].into_iter();
    let is_mentioned = texts.any(|text| text.contains("sky_workdir"));
    in_container.or(is_mentioned.then_some(SKY_WORKDIR))
}

/// Whether the user replaces our bash, or its arguments.
pub fn sets_command(task: &TaskDefinition) -> bool {
    sets(task, &["command", "args"])
}

/// Whether the user sets one of these fields of the container of the task: the one of its name, and one without a name, which is merged
/// into it.
pub fn sets(task: &TaskDefinition, fields: &[&str]) -> bool {
    let spec = task
        .pod_config
        .as_ref()
        .and_then(|config| config.get("spec"));
    let containers = spec.and_then(|spec| spec.get("containers")?.as_array());
    containers.into_iter().flatten().any(|container| {
        let name = container.get("name").and_then(Value::as_str);
        name.is_none_or(|name| name == CONTAINER)
            && fields.iter().any(|field| container.get(field).is_some())
    })
}

/// The commands of a task for a shell of the user, without `init.sh`.
fn plain(task: &TaskDefinition) -> String {
    let mut script = String::new();
    match workdir(task, None) {
        Some(SKY_WORKDIR) => {
            script += &format!("mkdir -p {SKY_WORKDIR} && cd {SKY_WORKDIR} || exit\n");
        }
        Some(workdir) => script += &format!("cd -- {} || exit\n", quote(workdir)),
        None => {}
    }
    if !setup(task).is_empty() {
        script += &format!("/bin/bash -c {} || exit\n", quote(setup(task)));
    }
    script + &task.run
}

/// Quotes a text so that a shell reads it as one word.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
