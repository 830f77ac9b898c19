//! The reason of a task, from those of its nodes. Pure.

use super::{barrier::WAITING, job::INCOMPLETE, node::SETTING_UP};
use crate::api::{NodeStatus, TaskState, TimeLimit};

/// Whether the reason of a node says by itself which node it is about, or is about the whole task.
pub fn names_its_node(reason: &str) -> bool {
    reason.starts_with(DELETED_JOB)
        || reason.starts_with(INCOMPLETE)
        || TimeLimit::is_reached(reason)
}

/// The beginning of the reason of a node whose Job was deleted, up to its rank.
pub const DELETED_JOB: &str = "the Job of node-";

/// The reason why a task has failed or does not run: missing Jobs, else that of the first node that has one.
pub fn reason(
    nodes: &[NodeStatus],
    num_nodes: u32,
    status: TaskState,
    is_begun: bool,
) -> Option<String> {
    if status == TaskState::Failed {
        let node = first_failure(nodes)?;
        let reason = node.reason.as_ref()?;
        return Some(match setup_failure(node) {
            Some(why) if num_nodes > 1 => why,
            _ if names_its_node(reason) => reason.clone(),
            _ if num_nodes > 1 => format!("node-{}: {reason}", node.rank),
            _ => reason.clone(),
        });
    }
    if is_begun && status == TaskState::Pending {
        return Some(match num_nodes {
            1 => "being created".to_owned(),
            _ => format!("being created: {} of {num_nodes} Jobs exist", nodes.len()),
        });
    }
    let missing = (num_nodes as usize).saturating_sub(nodes.len());
    if missing > 0 && status != TaskState::Stopping {
        return Some(format!(
            "{missing} of {num_nodes} Jobs do not exist: they are being created, or something went wrong"
        ));
    }
    let unfinished =
        |state| move |node: &&NodeStatus| node.status == state && node.reason.is_some();
    let states = [TaskState::Pending, TaskState::Running, TaskState::Stopping];
    let mut nodes_with_reason = states.into_iter().filter_map(|state| {
        let nodes = nodes.iter().filter(unfinished(state));
        nodes.min_by_key(|node| urgency(node))
    });
    let node = nodes_with_reason.next()?;
    let reason = node.reason.as_ref()?;
    Some(if num_nodes > 1 && urgency(node) == 0 {
        format!("node-{}: {reason}", node.rank)
    } else {
        reason.clone()
    })
}

/// The rank of the reason of a node: 0 if it is about the node, and more if it is about the task.
fn urgency(node: &NodeStatus) -> u8 {
    match node.reason.as_deref() {
        Some(SETTING_UP) => 2,
        Some(reason) if reason.starts_with(WAITING) => 1,
        _ => 0,
    }
}

/// The node that made the task fail: the one that failed first, if an annotation names it.
pub fn first_failure(nodes: &[NodeStatus]) -> Option<&NodeStatus> {
    let failed = || nodes.iter().filter(|node| node.status == TaskState::Failed);
    let first = failed().find_map(|node| node.stopped_after);
    let own = |node: &&NodeStatus| node.stopped_after.is_none() && node.reason.is_some();
    let end = |node: &&NodeStatus| (node.finished_at.is_none(), node.finished_at);
    failed()
        .find(|node| Some(node.rank) == first)
        .or_else(|| failed().filter(own).min_by_key(end))
        .or_else(|| failed().next())
}

/// `setup on node-1 exited with 3`, if a node failed in its setup.
pub fn setup_failure(node: &NodeStatus) -> Option<String> {
    let how = node.reason.as_deref()?.strip_prefix("setup ")?;
    Some(format!("setup on node-{} {how}", node.rank))
}
