//! Follows every node of a task at once, until the task has ended.
//!
//! ```text
//! observe ──► one follower per node ──► records, in the order in which they arrive
//! ```
//!
//! A follower decides what to do next from what was observed ([`step`], pure) and reads one container after the other. That
//! a stream ends means nothing: only the cluster says that a container has.

mod container;
mod lines;
mod node;
mod position;
mod step;

use std::collections::{BTreeSet, HashSet};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::node::{Follower, Outcome};
use super::{Error, Executor, Result, labels, status, status::Observed};
use crate::api::{LogEnd, LogQuery, LogRecord, NodeStatus, Reason, TaskId, TaskState, User};

/// How many records may wait for a slow reader. Each is at most a piece of a line, so this bounds the memory of a stream.
const BUFFER: usize = 64;

impl Executor {
    /// The log of a task of `user`: records, ending with [`LogRecord::End`]. Dropping the receiver ends the work.
    ///
    /// # Errors
    /// When there is no such task, or `query` asks for nodes that it does not have.
    pub async fn logs(
        &self,
        user: &User,
        id: &TaskId,
        query: LogQuery,
    ) -> Result<mpsc::Receiver<LogRecord>> {
        let observed = self.observe_task(user, id).await?;
        let num_nodes = status::tasks(&observed, &self.namespace)
            .pop()
            .map_or(1, |task| task.metadata.num_nodes);
        if let Some(rank) = query.nodes.iter().find(|rank| **rank >= num_nodes) {
            let last = num_nodes - 1;
            return Err(Error::new(
                Reason::Invalid,
                format!("node: task `{id}` has no node {rank}, only 0 to {last}"),
            ));
        }
        let ranks: BTreeSet<u32> = match query.nodes.as_slice() {
            [] => (0..num_nodes).collect(),
            nodes => nodes.iter().copied().collect(),
        };
        let (records, receiver) = mpsc::channel(BUFFER);
        let (observation, observing) = self.keep_observing(user.clone(), id.clone(), observed);
        let (executor, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            let following = executor.follow(&id, ranks, num_nodes, &query, observation, &records);
            tokio::select! {
                () = following => (),
                () = observing => (),
                () = records.closed() => (),
            }
        });
        Ok(receiver)
    }

    /// Follows the nodes to their ends, then tells that of the task.
    async fn follow(
        &self,
        id: &TaskId,
        ranks: BTreeSet<u32>,
        num_nodes: u32,
        query: &LogQuery,
        observation: watch::Receiver<Observed>,
        records: &mpsc::Sender<LogRecord>,
    ) {
        // That nobody reads any more is noticed by the caller.
        let _ = records.send(LogRecord::Start { num_nodes }).await;
        let mut followers = JoinSet::new();
        for rank in ranks {
            let follower = Follower {
                pods: self.pods(),
                selector: labels::task_selector(id),
                rank,
                query: query.clone(),
                observation: observation.clone(),
                records: records.clone(),
                read: HashSet::new(),
            };
            followers.spawn(follower.run());
        }
        let outcomes = followers.join_all().await;
        let (status, reason) = conclude(&outcomes);
        let _ = records.send(LogRecord::End { status, reason }).await;
    }
}

/// What the ends of the nodes mean for the whole.
fn conclude(outcomes: &[Outcome]) -> (LogEnd, Option<String>) {
    let ended = |state| {
        outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Ended(node) if node.status == state => Some(node),
            _ => None,
        })
    };
    if outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::Stopped))
    {
        return (LogEnd::Stopped, None);
    }
    if let Some(node) = ended(TaskState::Failed) {
        return (LogEnd::Failed, Some(describe(node, outcomes.len())));
    }
    let unfinished = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Unfinished(reason) => Some(reason.clone()),
        _ => None,
    });
    match unfinished {
        Some(reason) => (LogEnd::Unfinished, reason),
        None => (LogEnd::Completed, None),
    }
}

fn describe(node: &NodeStatus, num_nodes: usize) -> String {
    let reason = node.reason.as_deref().unwrap_or("for an unknown reason");
    if num_nodes > 1 {
        format!("node-{} failed: {reason}", node.rank)
    } else {
        format!("failed: {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(rank: u32, status: TaskState) -> Outcome {
        Outcome::Ended(NodeStatus {
            rank,
            job_name: format!("train-ab12cd34-node-{rank}"),
            status,
            pod_name: None,
            exit_code: None,
            reason: (status == TaskState::Failed).then(|| "exit code 3".to_owned()),
        })
    }

    #[test]
    fn the_end_of_a_log_is_that_of_its_nodes() {
        let (done, failed) = (
            || ended(0, TaskState::Completed),
            || ended(1, TaskState::Failed),
        );
        assert_eq!(conclude(&[done(), done()]), (LogEnd::Completed, None));
        assert_eq!(
            conclude(&[done(), failed()]),
            (
                LogEnd::Failed,
                Some("node-1 failed: exit code 3".to_owned())
            )
        );
        assert_eq!(
            conclude(&[failed()]),
            (LogEnd::Failed, Some("failed: exit code 3".to_owned()))
        );
        assert_eq!(
            conclude(&[failed(), Outcome::Stopped]),
            (LogEnd::Stopped, None)
        );
        let late = || Outcome::Unfinished(Some("Unschedulable".to_owned()));
        assert_eq!(
            conclude(&[done(), late()]),
            (LogEnd::Unfinished, Some("Unschedulable".to_owned()))
        );
        assert_eq!(conclude(&[failed(), late()]).0, LogEnd::Failed);
    }
}
