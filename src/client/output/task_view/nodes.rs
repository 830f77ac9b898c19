//! The lines of nodes in the block of a task, for people.

use super::{ending, output};
use crate::api::{NodeStatus, TaskState, TaskStatus, Timestamp};

/// The least number of equal nodes that share a line.
const FOLDED: usize = 3;

/// A line for each node, or for several that are equal but for their machines and times. A cause that is `told` already, as the reason
/// of the task, is not repeated.
pub fn lines(nodes: &[NodeStatus], told: Option<&str>, now: Timestamp) -> Vec<(String, String)> {
    let mut groups: Vec<(String, Vec<&NodeStatus>)> = Vec::new();
    for node in nodes {
        let text = text(node, told);
        match groups.iter_mut().find(|(other, _)| *other == text) {
            Some((_, group)) => group.push(node),
            None => groups.push((text, vec![node])),
        }
    }
    let mut lines = Vec::new();
    for (text, group) in groups {
        if group.len() >= FOLDED {
            lines.push((group[0].rank, format!("{} nodes", group.len()), text));
            continue;
        }
        let own = |node: &&NodeStatus| {
            (
                node.rank,
                format!("node-{}", node.rank),
                whole(node, told, now),
            )
        };
        lines.extend(group.iter().map(own));
    }
    lines.sort_by_key(|(rank, ..)| *rank);
    lines
        .into_iter()
        .map(|(_, key, value)| (key, value))
        .collect()
}

/// The reason of a task, with the signal that ended its first failed node in words.
pub fn reason(task: &TaskStatus) -> Option<String> {
    let reason = task.reason.as_ref()?;
    let told = task.metadata.nodes.iter().find_map(|node| {
        let own = node.reason.as_ref().filter(|_| node.signal.is_some())?;
        reason
            .ends_with(own.as_str())
            .then(|| reason.replace(own, &cause(node).unwrap_or_default()))
    });
    Some(told.unwrap_or_else(|| reason.clone()))
}

/// The state of a node, and why.
fn text(node: &NodeStatus, told: Option<&str>) -> String {
    match news(node, told) {
        Some(why) => format!("{}: {why}", node.status),
        None => node.status.to_string(),
    }
}

/// The same with how long it ran, and where: `failed after 3m 12s on gpu-7: exit code 3`.
fn whole(node: &NodeStatus, told: Option<&str>, now: Timestamp) -> String {
    let took = node.started_at.map(|started| {
        let took = started.seconds_until(node.finished_at.unwrap_or(now));
        let word = match node.status.is_terminal() {
            true => "after",
            false => "for",
        };
        format!(" {word} {}", output::duration(took))
    });
    let host = node.host.as_ref().map(|host| format!(" on {host}"));
    let restarts = match node.restarts {
        0 => String::new(),
        1 => ", restarted once".to_owned(),
        times => format!(", restarted {times} times"),
    };
    let why = news(node, told).map(|why| format!(": {why}"));
    let [took, host, why] = [took, host, why].map(Option::unwrap_or_default);
    format!("{}{took}{host}{restarts}{why}", node.status)
}

/// Why a node is in its state, if that is not told already: of the node, of all, or of a task that waits.
fn news(node: &NodeStatus, told: Option<&str>) -> Option<String> {
    let told = told.unwrap_or_default();
    let of_node = format!("node-{}: ", node.rank);
    cause(node).filter(|why| {
        let rest = told.strip_prefix(&of_node).unwrap_or(told);
        let rest = rest.strip_prefix(&**why);
        let is_told = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("));
        let waits = node.status == TaskState::Pending && told.contains(&**why);
        !(is_told || waits)
    })
}

/// Why a node is in its state, with signals by name.
fn cause(node: &NodeStatus) -> Option<String> {
    if node.status == TaskState::Failed
        && let Some(first) = node.stopped_after
    {
        return Some(format!("stopped after node-{first} failed"));
    }
    let exit_code = node.exit_code.filter(|code| *code != 0);
    let ending = ending(exit_code, node.reason.as_deref())?;
    let (Some(signal), Some(code)) = (&node.signal, exit_code) else {
        return Some(ending);
    };
    // The reason holds more than the signal, such as an eviction.
    let Some(rest) = ending.strip_prefix(&format!("exit code {code}")) else {
        return Some(ending);
    };
    let why = rest.replace("OOMKilled", "out of memory");
    Some(format!("killed by {signal}{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(rank: u32, status: TaskState) -> NodeStatus {
        NodeStatus {
            rank,
            status,
            job: format!("job-{rank}"),
            pod: None,
            host: Some(format!("gpu-{rank}")),
            exit_code: None,
            signal: None,
            started_at: Some("2025-10-05T12:00:00".parse().unwrap()),
            finished_at: None,
            restarts: 0,
            reason: None,
            stopped_after: None,
        }
    }

    #[test]
    fn equal_nodes_share_a_line() {
        let mut nodes: Vec<_> = (0..40).map(|rank| node(rank, TaskState::Failed)).collect();
        for other in &mut nodes {
            other.exit_code = Some(143);
            other.signal = Some("SIGTERM".to_owned());
            other.reason = Some("stopped: node-7 failed first".to_owned());
            other.stopped_after = Some(7);
        }
        nodes[7] = NodeStatus {
            exit_code: Some(137),
            signal: Some("SIGKILL".to_owned()),
            reason: Some("exit code 137 (OOMKilled)".to_owned()),
            finished_at: Some("2025-10-05T12:03:12".parse().unwrap()),
            restarts: 2,
            ..node(7, TaskState::Failed)
        };
        let now = "2025-10-05T13:05:00".parse().unwrap();
        let lines = lines(&nodes, None, now);
        let lines: Vec<_> = lines
            .iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        assert_eq!(
            lines,
            [
                "39 nodes: failed: stopped after node-7 failed",
                "node-7: failed after 3m 12s on gpu-7, restarted 2 times: killed by SIGKILL (out of memory)",
            ]
        );
        let line = whole(&node(0, TaskState::Running), None, now);
        assert_eq!(line, "running for 1h 5m on gpu-0");
    }

    #[test]
    fn the_reason_of_the_task_is_not_repeated() {
        let reason = "Unschedulable: 0/3 nodes are available";
        let pending = |rank| NodeStatus {
            reason: Some(reason.to_owned()),
            started_at: None,
            host: None,
            ..node(rank, TaskState::Pending)
        };
        let now = "2025-10-05T13:05:00".parse().unwrap();
        let of = |count, told| {
            let nodes: Vec<_> = (0..count).map(pending).collect();
            let (_, value) = lines(&nodes, told, now).remove(0);
            value
        };
        for count in [1, 3] {
            assert_eq!(of(count, Some(reason)), "pending");
            assert_eq!(of(count, Some("another")), format!("pending: {reason}"));
        }
    }
}
