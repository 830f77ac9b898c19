//! The environment variables of a node. Pure.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, SecretKeySelector};
use serde_json::json;

use super::{
    names,
    submission::{NODE_IPS, Submission},
};
use crate::api::{JOB_RANK, NUM_JOBS};

/// How many attempts of the task were before this one.
pub const NUM_RESTARTS: &str = "SKYPILOT_NUM_RESTARTS";

/// The variables of the container of a node, those of the user first, so that those of the program override them. Variables in the
/// task's Secret are left out, since a container's own variables override those of `envFrom`.
pub fn environment(submission: &Submission, rank: u32) -> Vec<EnvVar> {
    let Submission { id, task, .. } = submission;
    let gpus = task
        .resources
        .accelerators
        .as_ref()
        .map_or(0, |accelerators| accelerators.count);
    let own = [
        ("NODE_RANK", rank.to_string()),
        ("NUM_NODES", task.num_nodes.to_string()),
        ("SKYPILOT_NODE_RANK", rank.to_string()),
        ("SKYPILOT_NUM_NODES", task.num_nodes.to_string()),
        (NUM_RESTARTS, "0".to_owned()),
    ];
    // As in SkyPilot (0.14.1, `sky jobs launch --num-jobs`), ranks begin with 0.
    let of_group = submission.group.iter().flat_map(|group| {
        [
            (JOB_RANK, group.rank.to_string()),
            (NUM_JOBS, group.num_tasks.to_string()),
        ]
    });
    let own: Vec<_> = own.into_iter().chain(of_group).collect();
    let unless_given = [
        // Python buffers its output when it does not write to a terminal. SkyPilot sets this too.
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("SKYPILOT_NUM_GPUS_PER_NODE", gpus.to_string()),
        ("SKYPILOT_TASK_ID", id.to_string()),
        // A cluster of SkyPilot runs several jobs; the nodes of a task run one.
        ("SKYPILOT_INTERNAL_JOB_ID", "1".to_owned()),
        ("SKYPILOT_CLUSTER_INFO", cluster_info(submission)),
        // `shell.sh` reads it.
        (
            "K8S_CLI_INSTALL",
            u8::from(submission.may_install).to_string(),
        ),
        ("SKYPILOT_USER", escape_dollars(submission.user.as_str())),
        // PyTorch and other launchers look for rank 0 here. The port is torchrun's default.
        ("MASTER_ADDR", master_address(submission)),
        ("MASTER_PORT", "29500".to_owned()),
    ];
    let mut environment: Vec<_> = task
        .node_envs()
        .filter(|(name, _)| !task.secrets.contains_key(*name))
        .filter(|(name, _)| !own.iter().any(|(own, _)| own == name))
        .map(|(name, value)| variable(name, escape_dollars(value)))
        .collect();
    environment.extend(own.into_iter().map(|(name, value)| variable(name, value)));
    let missing = |name: &str| !task.envs.contains_key(name) && !task.secrets.contains_key(name);
    environment.extend(
        unless_given
            .into_iter()
            .filter(|(name, _)| missing(name))
            .map(|(name, value)| variable(name, value)),
    );
    if missing(NODE_IPS) {
        environment.extend(node_ips(submission));
    }
    environment
}

/// What SkyPilot says about its cluster (SkyPilot 0.14.1, `sky/backends/cloud_vm_ray_backend.py`).
fn cluster_info(submission: &Submission) -> String {
    let name = names::job_name(&submission.task, submission.id);
    json!({ "cluster_name": name, "cloud": "Kubernetes", "region": null, "zone": null }).to_string()
}

/// The address at which the nodes of a task find rank 0.
fn master_address(submission: &Submission) -> String {
    if submission.is_multi_node() {
        return format!("{}.{}", names::hostname(0), submission.stem.service());
    }
    "127.0.0.1".to_owned()
}

/// The addresses of all nodes in rank order, one a line: names in the task's Service, or the own address of a single pod.
fn node_ips(submission: &Submission) -> Option<EnvVar> {
    if submission.is_multi_node() {
        let names = submission.node_names.clone()?;
        if submission.script.files().is_none() {
            return Some(variable(NODE_IPS, names));
        }
        return Some(EnvVar {
            name: NODE_IPS.to_owned(),
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    key: NODE_IPS.to_owned(),
                    name: submission.stem.script_secret(),
                    optional: Some(false),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        });
    }
    Some(EnvVar {
        name: NODE_IPS.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "status.podIP".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    })
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    }
}

/// Escapes a text for Kubernetes, which expands `$(NAME)` and `$$` in arguments and variables before bash sees them
/// (`third_party/forked/golang/expansion/expand.go`, v1.36): `$$` stands for one `$`.
pub fn escape_dollars(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        escaped.push(c);
        if c == '$' && matches!(chars.peek(), Some('$' | '(')) {
            escaped.push('$');
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_restores_escaped_dollars() {
        /// The expansion of an argument when no variable is defined.
        fn expand(text: &str) -> String {
            text.replace("$$", "$")
        }
        for text in [
            "echo $$",
            "$(date)",
            "$$(date)",
            "${A}",
            "$A$",
            "$$$(x)$$$",
            "a$",
            "no dollars",
        ] {
            assert_eq!(expand(&escape_dollars(text)), text);
        }
        assert_eq!(escape_dollars("$(date) ${A} $B"), "$$(date) ${A} $B");
    }
}
