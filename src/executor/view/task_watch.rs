//! A watch on the Jobs and pods of one task, node by node.
//!
//! All viewers of a task share one [`TaskWatch`], and each viewer of a node subscribes to that node. So a change of a pod costs
//! only the viewers of its node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

use super::{LiveView, versions::USUAL_AGE};
use crate::{
    api::{NodeStatus, TaskId, User},
    executor::{
        error::Error,
        observed::{Barrier, Observed},
    },
};

/// The time in which those who waited for the cluster go on.
const SPREAD: Duration = Duration::from_secs(1);

/// A watch on one task, as long as it is held.
pub struct TaskWatch {
    live: LiveView,
    id: TaskId,
    user: User,
    /// The attempt of the task that it is about; none for all of them.
    attempt: Option<u32>,
    nodes: Vec<watch::Receiver<Observed>>,
    /// The start and the result of the last list.
    listed: Mutex<Option<(Instant, Refreshed)>>,
}

type Refreshed = std::result::Result<(), Arc<Error>>;

impl TaskWatch {
    pub fn new(
        live: LiveView,
        id: TaskId,
        user: User,
        attempt: Option<u32>,
        nodes: Vec<watch::Receiver<Observed>>,
    ) -> Self {
        Self {
            live,
            id,
            user,
            attempt,
            nodes,
            listed: Mutex::default(),
        }
    }

    pub fn num_nodes(&self) -> u32 {
        u32::try_from(self.nodes.len()).expect("a number of nodes was given")
    }

    /// The Job and the pods of the node of a rank below [`TaskWatch::num_nodes`], now and after each change.
    pub fn node(&self, rank: u32) -> watch::Receiver<Observed> {
        self.nodes[rank as usize].clone()
    }

    /// Whether the task has been stopped.
    pub fn is_gone(&self) -> bool {
        self.nodes.iter().all(|node| !node.borrow().is_kept())
    }

    /// The end of a node whose Job is gone although its task was not stopped.
    pub fn end_without_job(&self, rank: u32) -> Option<NodeStatus> {
        let task = self.task()?;
        if task.is_stopping() {
            return None;
        }
        let mut nodes = task.nodes_without_job().into_iter();
        nodes.find(|node| node.rank == rank && node.status.is_terminal())
    }

    /// The nodes whose `setup` the others wait for, in words; none if none waits.
    pub fn awaited_setup(&self) -> Option<String> {
        let task = self.task()?;
        Barrier::of(&task)?.reason()
    }

    /// The Jobs and pods of all its nodes.
    fn task(&self) -> Option<Observed> {
        let task = self.live.view.task(self.id)?;
        let task = super::of_attempt(task, self.attempt);
        Some(task.of(|owner| owner.is(&self.user)))
    }

    /// Waits until the cluster is back, if it was away. The callers do not go on all at once.
    pub async fn until_back(&self) {
        self.live.view.next_list().await;
        sleep(SPREAD.mul_f64(rand::random())).await;
    }

    /// Whether the view was or is old at some time after `moment`, so that it showed changes late.
    pub fn was_away_since(&self, moment: Instant) -> bool {
        let view = &self.live.view;
        view.age().is_none_or(|age| age > USUAL_AGE)
            || view.came_back().is_some_and(|back| back > moment)
    }

    /// Lists the task in the cluster, for the view. Concurrent callers share one list.
    ///
    /// The watches of Jobs and pods are not in step, and a dead watch is silent. A caller that needs the current state calls this.
    ///
    /// # Errors
    /// When the cluster does not answer, so that the view may be old.
    pub async fn refresh(&self) -> Refreshed {
        let asked = Instant::now();
        let mut listed = self.listed.lock().await;
        if let Some((begun, refreshed)) = &*listed
            && *begun > asked
        {
            return refreshed.clone();
        }
        let begun = Instant::now();
        let refreshed = self.live.refresh_task(self.id).await.map_err(Arc::new);
        if let Err(error) = &refreshed {
            log::debug!("task {}: cannot list it again: {error}", self.id);
        }
        *listed = Some((begun, refreshed.clone()));
        refreshed
    }
}
