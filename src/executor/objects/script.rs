//! The commands of a task's containers, and the choice of the object that holds them. Pure.
//!
//! `init.sh` is the container's first process: it runs `setup` and `run`, and passes stop signals on to them. Both reach it as arguments,
//! in each Job. In a large task that costs much: with 4 KiB and 256 nodes, etcd and each list and watch carry 1 MiB. Beyond
//! [`MAX_REPEATED`], and where they are too long for an argument, a Secret of the task holds the commands once, and its containers
//! mount it. The program may create Secrets anyway, so it needs no further right.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::api::{Problem, TaskDefinition};

/// The termination message of a container whose `setup` has failed.
pub const SETUP_FAILED: &str = "k8s-cli: setup failed";
/// The first process of a container, for people.
const INIT: &str = include_str!("init.sh");

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
    /// Builds the commands of a task, and decides which object holds them.
    pub fn new(task: &TaskDefinition) -> Self {
        if sets_command(task) {
            let arguments = vec![plain(task)];
            return Self::InJob { arguments };
        }
        let [name, workdir] = ["k8s-cli", workdir(task).unwrap_or_default()].map(str::to_owned);
        let texts = [init(), setup(task).to_owned(), task.run.clone()];
        let length: usize = texts.iter().map(String::len).sum();
        let num_nodes = task.num_nodes as usize;
        // The name of a node is more than 16 bytes long. The exact length is not worth building the names.
        let repeated = num_nodes.saturating_mul(length + 16 * num_nodes);
        if length > MAX_ARGUMENT || (num_nodes > 1 && repeated > MAX_REPEATED) {
            let files = ["init", "setup", "run"].map(str::to_owned);
            return Self::InSecret {
                arguments: vec![RUN_FILE.to_owned(), name, workdir],
                files: files.into_iter().zip(texts).collect(),
            };
        }
        let [init, setup, run] = texts;
        Self::InJob {
            arguments: vec![init, name, workdir, setup, run],
        }
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

/// `init.sh` for a container: without its comments.
pub fn init() -> String {
    let lines = INIT.lines();
    let code = lines.filter(|line| !line.trim_start().starts_with('#'));
    code.fold(String::with_capacity(INIT.len()), |init, line| {
        init + line + "\n"
    })
}

fn setup(task: &TaskDefinition) -> &str {
    let setup = task.setup.as_deref();
    setup
        .filter(|setup| !setup.trim().is_empty())
        .unwrap_or_default()
}

/// The working directory of a task; none if it is a directory of the user's machine.
fn workdir(task: &TaskDefinition) -> Option<&str> {
    let workdir = task.workdir.as_deref();
    workdir.filter(|workdir| workdir.starts_with('/'))
}

/// Whether the user replaces our bash, or its arguments.
fn sets_command(task: &TaskDefinition) -> bool {
    let containers = |config: &'_ Map<String, Value>| -> Vec<Value> {
        let containers = config.get("spec").and_then(|spec| spec.get("containers"));
        containers
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let containers = task.pod_config.as_ref().map(containers).unwrap_or_default();
    containers.iter().any(|container| {
        ["command", "args"]
            .iter()
            .any(|field| container.get(field).is_some())
    })
}

/// The commands of a task for a shell of the user, without `init.sh`.
fn plain(task: &TaskDefinition) -> String {
    let mut script = String::new();
    if let Some(workdir) = workdir(task) {
        script += &format!("cd -- {} || exit\n", quote(workdir));
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
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_word_for_the_shell() {
        assert_eq!(quote("it's"), r"'it'\''s'");
    }

    /// Where `init.sh` is not process 1, other processes may be strangers: only the script gets the signal.
    #[test]
    fn only_the_script_is_told_where_other_processes_may_be_strangers() {
        use std::{
            io::{BufRead, BufReader},
            process::{Command, Stdio},
        };

        let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
        let run = "trap 'echo told; exit 9' TERM; echo ready; sleep 1000 & wait";
        let mut process = Command::new("/bin/bash")
            .args(["-p", "-c", &init(), "k8s-cli", "", "", run])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "told");
        assert_eq!(process.wait().unwrap().code(), Some(9));
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn init_has_no_comments_and_names_the_message() {
        assert!(init().len() < 4096 && !init().contains("\n#"), "{}", init());
        assert!(init().contains(SETUP_FAILED));
    }
}
