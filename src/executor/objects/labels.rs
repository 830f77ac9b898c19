//! The labels and annotations by which the program finds its objects. Pure.
//!
//! *The label selects, the annotation decides.* A label value is short and allows few characters, so different users may share one.
//! An annotation holds the exact name, and is compared after every selection. The keys without a prefix come from the program's
//! Python predecessor, whose objects have no other keys.

use super::names;
use crate::api::{GroupId, TaskId, User};

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
/// `false`: the failure of a node does not stop the other nodes.
pub const FAIL_FAST: &str = "k8s-cli/fail-fast";
/// The rank of the node whose failure stopped this one.
pub const STOPPED_AFTER: &str = "k8s-cli/stopped-after";
/// On a pod whose nodes begin `run` together: [`START_HELD`], later [`START_NOW`], and perhaps a space and a line for its log. Pods
/// without it do not wait.
pub const START: &str = "k8s-cli/start";
pub const START_HELD: &str = "held";
pub const START_NOW: &str = "now";
/// On a pod that was let pass: a change of the pod, after which its kubelet looks at it once more.
pub const START_REPEATED: &str = "k8s-cli/start-repeated";
/// `true` on the first Job: all objects of the task were created.
pub const COMPLETE: &str = "k8s-cli/complete";
/// On the first Job: the creation of the task was given up when this number of Jobs existed.
pub const INCOMPLETE: &str = "k8s-cli/incomplete";
/// Beside it: the time, by Kubernetes' clock.
pub const INCOMPLETE_SINCE: &str = "k8s-cli/incomplete-since";
/// `true` on the first Job: a user stops the task, so a missing Job is no failure.
pub const STOPPING: &str = "k8s-cli/stopping";
/// The ends of nodes, for the time after Kubernetes has removed their Jobs or pods.
pub const ENDS: &str = "k8s-cli/ends";

/// On all Jobs of a task that is started again after some failures: which ones, see [`Recovery`](crate::api::Recovery).
pub const RECOVERY: &str = "k8s-cli/recovery";
/// The label of the Jobs and pods of each attempt but the first: its number.
pub const ATTEMPT: &str = "k8s-cli/attempt";
/// On the Jobs of such an attempt: why it began, and what was before. See `attempt`.
pub const RESTARTS: &str = "k8s-cli/restarts";
/// On the first Job of a task: the number of attempts whose Jobs were created. So one that is deleted is not made again.
pub const ATTEMPTS: &str = "k8s-cli/attempts";

/// On all objects of a task whose id a key has decided: the nonce in the names of the objects that the first Job owns.
pub const NONCE: &str = "k8s-cli/nonce";
/// On the same: the digest of the request, by which a second one of the same key is known. Also on claims of volumes.
pub const REQUEST: &str = "k8s-cli/request";

/// The files that travelled with the task, on the first Job: see `files`.
pub const FILES: &str = "k8s-cli/files";
/// `true` on the first Job: the files are deleted, since the task has ended.
pub const FILES_DELETED: &str = "k8s-cli/files-deleted";

/// The file of the task, on the first Job: see `source`.
pub const SOURCE: &str = "k8s-cli/source";

/// The label of all objects of the tasks of a group: its id.
pub const GROUP: &str = "k8s-cli/group";
/// The place of the task in its group: its number, and how many there are.
pub const JOB_RANK: &str = "k8s-cli/job-rank";
pub const NUM_JOBS: &str = "k8s-cli/num-jobs";
/// How many tasks of the group run at the same time.
pub const MAX_RUNNING: &str = "k8s-cli/max-running";
/// The variables in which the task differs from the others of its group, as JSON.
pub const PARAMETERS: &str = "k8s-cli/parameters";

/// The label of a pod by which Kubernetes names its Job.
pub const JOB_NAME: &str = "job-name";

/// Whether the program relies on this key of a label or an annotation.
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

/// Selects the Jobs and pods of the tasks of a group.
pub fn group_selector(id: GroupId) -> String {
    format!("{TASK}=true,{GROUP}={id}")
}

/// Selects the Jobs and pods of the tasks of one user, or of all users.
pub fn tasks_selector(user: Option<&User>) -> String {
    selector(TASK, user)
}

/// Selects the claims of the volumes of one user, or of all users.
pub fn volumes_selector(user: Option<&User>) -> String {
    selector(VOLUME, user)
}

fn selector(kind: &str, user: Option<&User>) -> String {
    match user {
        Some(user) => format!("{kind}=true,{USERNAME}={}", names::username(user)),
        None => format!("{kind}=true"),
    }
}
