//! One task, kept in sight: its Jobs and pods as they are now, for as long as somebody looks.
//!
//! All who look at a task share one [`Sight`], and in it each looks at one node: a change of a pod costs those who look at its
//! node, not all of them.

use std::time::Instant;

use tokio::sync::{Mutex, watch};

use super::super::{Executor, status::Observed};
use crate::api::{TaskId, User};

/// A task, as far as it is known.
pub struct Sight {
    pub num_nodes: u32,
    nodes: Vec<watch::Receiver<Observed>>,
    executor: Executor,
    id: TaskId,
    /// When the last list was asked for.
    listed: Mutex<Option<Instant>>,
}

impl Sight {
    /// What is known about the node of a rank below `num_nodes`, and all that will be.
    pub fn node(&self, rank: u32) -> watch::Receiver<Observed> {
        self.nodes[rank as usize].clone()
    }

    /// Whether the task has been stopped.
    pub fn is_gone(&self) -> bool {
        self.nodes.iter().all(|node| node.borrow().jobs.is_empty())
    }

    /// Asks Kubernetes anew, and waits until it has answered or does not. Those who ask at the same time ask once.
    ///
    /// The watches of Jobs and pods are not in step, and one that is dead says nothing. Who has to know asks for a list.
    pub async fn refresh(&self) {
        let asked = Instant::now();
        let mut listed = self.listed.lock().await;
        if listed.is_some_and(|begun| begun > asked) {
            return;
        }
        let begun = Instant::now();
        if let Err(error) = self.executor.refresh_task(self.id).await {
            log::debug!("task {}: cannot be listed anew: {error}", self.id);
        }
        *listed = Some(begun);
    }
}

impl Executor {
    /// Keeps a task of `user` in sight.
    pub fn keep_in_sight(&self, user: &User, id: TaskId, num_nodes: u32) -> Sight {
        Sight {
            num_nodes,
            nodes: self.view.look(user, id, num_nodes),
            executor: self.clone(),
            id,
            listed: Mutex::default(),
        }
    }
}
