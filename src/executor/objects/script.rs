//! The script of a task: the commands of its containers, and the choice of the object that holds it. Pure.
//!
//! A script in each Job costs much in a large task: with 1 KiB and 256 nodes, etcd and each list and watch carry 256 KiB. Beyond
//! [`MAX_REPEATED`] a Secret of the task holds the script once, and the containers get it from their environment. The program may
//! create Secrets anyway, so it needs no further right.

use serde_json::{Map, Value};

use crate::api::TaskDefinition;

/// The termination message of a container whose `setup` has failed.
pub const SETUP_FAILED: &str = "k8s-cli: setup failed";
/// The file from which Kubernetes reads the termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// Root needs no `sudo`, and many images have none, but task files call it. SkyPilot defines it as an empty alias there.
const SUDO: &str =
    r#"[ "$EUID" != 0 ] || command -v sudo >/dev/null || { sudo() { "$@"; }; export -f sudo; }"#;
/// Sets SkyPilot's names of these variables for `setup` (SkyPilot 0.14.1, `sky/skylet/constants.py`).
const SETUP_VARIABLES: &str = "SKYPILOT_SETUP_NODE_RANK=$SKYPILOT_NODE_RANK SKYPILOT_SETUP_NODE_IPS=$SKYPILOT_NODE_IPS \
                               SKYPILOT_SETUP_NUM_GPUS_PER_NODE=$SKYPILOT_NUM_GPUS_PER_NODE";

/// The longest variable, including its name: Linux' `MAX_ARG_STRLEN`, less 16 bytes. A process with a longer one does not start.
pub const MAX_VARIABLE: usize = 128 * 1024 - 16;
/// The most bytes of script in all Jobs of a task together.
const MAX_REPEATED: usize = 256 * 1024;
/// The variable that holds the script.
pub const VARIABLE: &str = "K8S_CLI_SCRIPT";
/// Runs the script in [`VARIABLE`] as if it were an argument, without that variable in its environment.
pub const RUN_VARIABLE: &str =
    r#"set -- "${K8S_CLI_SCRIPT:?}"; unset K8S_CLI_SCRIPT; exec /bin/bash -c "$1""#;
/// Variables that would change the effect of [`RUN_VARIABLE`] if the user set them.
const RESERVED: [&str; 2] = [VARIABLE, "BASH_ENV"];

/// The script of a task, by the object that holds it.
#[derive(Debug, PartialEq)]
pub enum Script {
    /// An argument of the container, in each Job.
    InJob(String),
    /// A variable of the container, from a Secret of the task. The Secret holds the names of the nodes too.
    InSecret(String),
}

impl Script {
    /// Builds the script of a task, and decides which object holds it.
    pub fn new(task: &TaskDefinition) -> Self {
        let script = text(task);
        let is_given =
            |name: &&str| task.envs.contains_key(*name) || task.secrets.contains_key(*name);
        let num_nodes = task.num_nodes as usize;
        // The name of a node is more than 16 bytes long. The exact length is not worth building the names.
        let repeated = num_nodes.saturating_mul(script.len() + 16 * num_nodes);
        let fits_a_variable = VARIABLE.len() + script.len() < MAX_VARIABLE;
        if num_nodes == 1
            || repeated <= MAX_REPEATED
            || !fits_a_variable
            || RESERVED.iter().any(is_given)
            || task.pod_config.as_ref().is_some_and(sets_command)
        {
            Self::InJob(script)
        } else {
            Self::InSecret(script)
        }
    }
}

/// Whether the user replaces our bash, which gets the script as an argument.
fn sets_command(pod_config: &Map<String, Value>) -> bool {
    let containers = pod_config
        .get("spec")
        .and_then(|spec| spec.get("containers"));
    let mut containers = containers.and_then(Value::as_array).into_iter().flatten();
    containers.any(|container| {
        ["command", "args"]
            .iter()
            .any(|field| container.get(field).is_some())
    })
}

/// The commands for the container's bash. As in SkyPilot, `setup` runs in a shell of its own, and `run` starts only if it succeeded.
fn text(task: &TaskDefinition) -> String {
    let mut script = String::new();
    let setup = task.setup.as_deref().unwrap_or_default();
    if setup.contains("sudo") || task.run.contains("sudo") {
        script = format!("{SUDO}\n");
    }
    if let Some(workdir) = task
        .workdir
        .as_deref()
        .filter(|workdir| workdir.starts_with('/'))
    {
        script += &format!("cd -- {} || exit\n", quote(workdir));
    }
    if !setup.trim().is_empty() {
        script += &format!(
            "{SETUP_VARIABLES} /bin/bash -c {} || {{ code=$?; printf {} 2>/dev/null >{TERMINATION_LOG}; exit $code; }}\n",
            quote(setup),
            quote(SETUP_FAILED),
        );
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
}
