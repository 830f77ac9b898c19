//! One task, kept in sight: its Jobs and pods as they are now, for as long as somebody looks.
//!
//! All who look at a task share one [`Sight`], and in it each looks at one node: a change of a pod costs those who look at its
//! node, not all of them.

use std::{sync::Arc, time::Instant};

use tokio::sync::{Mutex, watch};

use super::super::{Error, Executor, status::Observed};
use crate::api::{TaskId, User};

/// A task, as far as it is known.
pub struct Sight {
    pub num_nodes: u32,
    nodes: Vec<watch::Receiver<Observed>>,
    executor: Executor,
    id: TaskId,
    /// When the last list was asked for, and what came of it.
    listed: Mutex<Option<(Instant, Refreshed)>>,
}

type Refreshed = Result<(), Arc<Error>>;

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
    ///
    /// # Errors
    /// When there is no answer: what is known may be old.
    pub async fn refresh(&self) -> Refreshed {
        let asked = Instant::now();
        let mut listed = self.listed.lock().await;
        if let Some((begun, refreshed)) = &*listed
            && *begun > asked
        {
            return refreshed.clone();
        }
        let begun = Instant::now();
        let refreshed = self.executor.refresh_task(self.id).await.map_err(Arc::new);
        if let Err(error) = &refreshed {
            log::debug!("task {}: cannot be listed anew: {error}", self.id);
        }
        *listed = Some((begun, refreshed.clone()));
        refreshed
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
