//! The barrier between `setup` and `run`: no node of a task begins `run` before the `setup` of all has ended. Pure.
//!
//! The state is that of the pods. A node has come to the barrier when its startup probe has succeeded, and may pass it when its
//! annotation says so.

use std::collections::HashSet;

use super::{Observed, PodRow, Start, node_status};
use crate::{api::TaskState, executor::identity::Uid};

/// The most nodes that a reason names.
const NAMED: usize = 8;

/// The nodes of a task at the barrier.
#[derive(Debug, PartialEq)]
pub struct Barrier {
    num_nodes: u32,
    /// The names of the pods that may not pass yet.
    pub held: Vec<Box<str>>,
    /// The ranks of the nodes whose `setup` has not ended, in order.
    awaited: Vec<u32>,
    /// The first node that has failed.
    failed: Option<u32>,
    /// Whether the failure of a node stops the others.
    fails_fast: bool,
    /// Whether a node has passed.
    is_open: bool,
}

impl Barrier {
    /// The barrier of a task with Jobs of one owner; none if no pod is held.
    pub fn of(task: &Observed) -> Option<Self> {
        let earlier: HashSet<Uid> = task.earlier.iter().map(|job| job.uid).collect();
        let is_of_earlier = |pod: &PodRow| pod.job.is_some_and(|job| earlier.contains(&job));
        let mut own = task.pods.iter().filter(|pod| !is_of_earlier(pod));
        if !own.clone().any(|pod| is_held(pod)) {
            return None;
        }
        let num_nodes = task.jobs.first()?.num_nodes?;
        let jobless = task.nodes_without_job();
        let mut barrier = Self {
            num_nodes,
            held: Vec::new(),
            awaited: Vec::new(),
            failed: None,
            fails_fast: task.jobs.iter().any(|job| job.fails_fast),
            is_open: own.any(|pod| pod.start == Start::Released),
        };
        let pods = task.newest_pods();
        let mut is_known = vec![false; num_nodes as usize];
        let of_jobs = task.jobs.iter().map(|job| {
            let pod = pods.get(&job.uid).copied();
            (node_status(job, pod, task), pod)
        });
        let orphans = task.jobless_pods(None);
        let of_pods = jobless.into_iter().map(|node| {
            let pod = orphans.iter().find(|pod| pod.rank == node.rank);
            (node, pod.copied())
        });
        for (node, pod) in of_jobs.chain(of_pods) {
            if let Some(is_known) = is_known.get_mut(node.rank as usize) {
                *is_known = true;
            }
            let has_failed = node.status == TaskState::Failed
                || pod.is_some_and(|pod| pod.exit_code().is_some_and(|code| code != 0));
            if has_failed {
                barrier.failed = barrier.failed.or(Some(node.rank));
            } else if !node.status.is_terminal() && !pod.is_some_and(has_come) {
                barrier.awaited.push(node.rank);
            }
            if let Some(pod) = pod.filter(|pod| is_held(pod)) {
                barrier.held.push(pod.name.clone());
            }
        }
        let unknown = (0..num_nodes).zip(is_known).filter(|(_, known)| !known);
        barrier.awaited.extend(unknown.map(|(rank, _)| rank));
        barrier.awaited.sort_unstable();
        (!barrier.held.is_empty()).then_some(barrier)
    }

    /// Whether the held pods may pass now. Where a failure stops the others, none may.
    pub fn opens(&self) -> bool {
        let is_lost = self.fails_fast && self.failed.is_some();
        !is_lost && (self.is_open || self.awaited.is_empty())
    }

    /// A line for the logs of the nodes that pass although another has failed.
    pub fn notice(&self) -> Option<String> {
        let failed = self.failed?;
        Some(format!(
            "node-{failed} has failed, and the other nodes go on without it"
        ))
    }

    /// `waiting for the setup of 2 of 16 nodes: node-4, node-7`, while there is such a node.
    pub fn reason(&self) -> Option<String> {
        let (number, num_nodes) = (self.awaited.len(), self.num_nodes);
        if number == 0 {
            return None;
        }
        let names = self.awaited.iter().take(NAMED);
        let mut names: Vec<_> = names.map(|rank| format!("node-{rank}")).collect();
        if number > NAMED {
            names.push("…".to_owned());
        }
        let names = names.join(", ");
        Some(format!("{WAITING}{number} of {num_nodes} nodes: {names}"))
    }
}

/// The beginning of [`Barrier::reason`].
pub const WAITING: &str = "waiting for the setup of ";

/// Whether a task may have pods to let pass, as far as a look at its pods alone shows.
pub fn may_open(task: &Observed) -> bool {
    let mut has_held = false;
    for pod in task.pods.iter().filter(|pod| is_held(pod)) {
        if !has_come(pod) {
            return false;
        }
        has_held = true;
    }
    has_held
}

/// Whether a pod has come to the barrier, or will never come, or needs not.
pub fn has_come(pod: &PodRow) -> bool {
    pod.is_over() || !pod.is_deleted && (pod.is_started || pod.start == Start::Own)
}

/// Whether the node of a pod waits at the barrier, with its `setup` done.
pub fn is_waiting(pod: &PodRow) -> bool {
    is_held(pod) && pod.is_started
}

fn is_held(pod: &PodRow) -> bool {
    pod.start == Start::Held && !pod.is_over() && !pod.is_deleted
}
