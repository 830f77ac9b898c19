//! The notice about the nodes that the others wait for before `run`.

use std::{future, sync::atomic::Ordering, time::Duration};

use tokio::time::timeout;

use super::{ViewerGone, node::Follower};
use crate::{
    api::LogRecord,
    executor::observed::{Observed, is_waiting},
};

/// How long the `setup` of one node usually takes after that of another. Only a longer wait is reported.
const USUAL_WAIT: Duration = Duration::from_secs(10);

impl Follower {
    /// Reports once for all nodes whose `setup` they wait for, if that takes long. Returns only when the viewer is gone.
    pub async fn report_barrier(&self, pod: &str) -> ViewerGone {
        let mut node = self.watch.node(self.rank);
        loop {
            let waits = |node: &Observed| {
                node.pods
                    .iter()
                    .any(|it| *it.name == *pod && is_waiting(it))
            };
            if node.wait_for(waits).await.is_err() {
                return future::pending().await;
            }
            if timeout(USUAL_WAIT, node.wait_for(|node| !waits(node)))
                .await
                .is_ok()
            {
                continue;
            }
            if let Some(message) = self.watch.awaited_setup()
                && !self.is_barrier_reported.swap(true, Ordering::Relaxed)
            {
                let node = self.rank;
                if let Err(gone) = self.record(LogRecord::Notice { node, message }).await {
                    return gone;
                }
            }
            return future::pending().await;
        }
    }
}
