//! What is the same for all nodes of a task, kept once where its Jobs would otherwise repeat it too often.
//!
//! A Job an object, a script of 1 KiB and 256 nodes: that is as much for etcd, for every list and for every watch. Beyond
//! [`MAX_REPEATED`] it stands in a Secret of the task (which needs no right that the program does not have already), and the
//! containers take it from their environment.

use k8s_openapi::{
    api::core::v1::{EnvFromSource, Secret, SecretEnvSource},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use serde_json::{Map, Value};

use super::{
    Submission,
    environment::{MAX_VARIABLE, NODE_IPS},
    owned::owned_by,
    script::script,
};
use crate::executor::labels;

/// How many bytes may be repeated, in all Jobs of a task together.
const MAX_REPEATED: usize = 256 * 1024;
/// The variable that holds the script.
const SCRIPT: &str = "K8S_CLI_SCRIPT";
/// Runs it as if it had been an argument, and without leaving it in its environment.
pub const RUN_SHARED: &str =
    r#"set -- "${K8S_CLI_SCRIPT:?}"; unset K8S_CLI_SCRIPT; exec /bin/bash -c "$1""#;
/// What would be different for a second bash, or is in the way.
const IN_THE_WAY: [&str; 2] = [SCRIPT, "BASH_ENV"];

/// Whether the script and the names of the nodes stand in a Secret instead of in every Job.
pub fn is_shared(submission: &Submission<'_>) -> bool {
    let task = submission.task;
    let is_given = |name: &&str| task.envs.contains_key(*name) || task.secrets.contains_key(*name);
    if IN_THE_WAY.iter().any(is_given) || task.pod_config.as_ref().is_some_and(sets_command) {
        return false;
    }
    let num_nodes = task.num_nodes as usize;
    let script = script(task).len();
    if SCRIPT.len() + script >= MAX_VARIABLE {
        return false;
    }
    // A name is more than 16 bytes long; that there are exactly so many is not worth writing them down.
    let repeated = num_nodes.saturating_mul(script + 16 * num_nodes);
    submission.is_multi_node() && repeated > MAX_REPEATED
}

/// Whether users run something of their own instead of our bash, which is given the script as an argument.
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

/// The Secret of a task for which [`is_shared`].
pub fn shared(submission: &Submission<'_>, first_job: &ObjectMeta) -> Secret {
    let name = labels::shared_name(submission.id);
    let script = Some((SCRIPT, script(submission.task)));
    let names = submission.node_names().map(|names| (NODE_IPS, names));
    let data = script.into_iter().chain(names);
    let data = data.map(|(name, value)| (name.to_owned(), value));
    Secret {
        metadata: owned_by(first_job, name, submission),
        string_data: Some(data.collect()),
        immutable: Some(true),
        ..Secret::default()
    }
}

/// The variables of a Secret of the task.
pub fn env_from(secret: String) -> EnvFromSource {
    EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: secret,
            optional: Some(false),
        }),
        ..EnvFromSource::default()
    }
}
