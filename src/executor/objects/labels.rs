//! The labels and annotations by which the program finds its objects again. Pure.
//!
//! *The label selects, the annotation decides.* A label value is short and has few characters, so different users may share one; the
//! exact name stands in an annotation and is compared after every selection. The keys without a prefix are those of the program's
//! Python ancestor, whose objects have no others.

use super::names;
use crate::api::{TaskId, User};

pub const TASK: &str = "skypilot-task";
pub const TASK_ID: &str = "task-id";
pub const TASK_NAME: &str = "task-name";
pub const USERNAME: &str = "username";
pub const NODE_IDX: &str = "node-idx";
pub const VOLUME: &str = "skypilot-volume";
pub const VOLUME_ID: &str = "volume-id";
pub const VOLUME_NAME: &str = "volume-name";

pub const CREATED_AT: &str = "created-at";
pub const NUM_NODES: &str = "num-nodes";
pub const EXACT_USER: &str = "k8s-cli/user";
pub const EXACT_TASK_NAME: &str = "k8s-cli/task-name";
/// `false`: when a node of the task fails, the others go on.
pub const FAIL_FAST: &str = "k8s-cli/fail-fast";
/// The rank of the node after whose failure this one was stopped.
pub const STOPPED_AFTER: &str = "k8s-cli/stopped-after";

/// Whether a key, of a label or of an annotation, is one that the program relies on.
pub fn is_ours(key: &str) -> bool {
    const KEYS: [&str; 10] = [
        TASK,
        TASK_ID,
        TASK_NAME,
        USERNAME,
        NODE_IDX,
        VOLUME,
        VOLUME_ID,
        VOLUME_NAME,
        CREATED_AT,
        NUM_NODES,
    ];
    key.starts_with("k8s-cli/") || KEYS.contains(&key)
}

/// Selects the Jobs and pods of one task.
pub fn task_selector(id: TaskId) -> String {
    format!("{TASK}=true,{TASK_ID}={id}")
}

/// Selects the Jobs and pods of one user's tasks, or of everyone's.
pub fn tasks_selector(user: Option<&User>) -> String {
    selector(TASK, user)
}

/// Selects the claims of one user's volumes, or of everyone's.
pub fn volumes_selector(user: Option<&User>) -> String {
    selector(VOLUME, user)
}

fn selector(kind: &str, user: Option<&User>) -> String {
    match user {
        Some(user) => format!("{kind}=true,{USERNAME}={}", names::username(user)),
        None => format!("{kind}=true"),
    }
}
