//! What a viewer is told about the container runs of a node, beside their lines.

use std::sync::atomic::Ordering;

use super::{
    ViewerGone,
    node::Follower,
    step::{self, ContainerRun},
};
use crate::api::LogRecord;

impl Follower {
    /// Reports that the next log is not that of the previous container.
    pub async fn report_new_container(
        &self,
        source: &ContainerRun,
        last: Option<&ContainerRun>,
    ) -> Result<(), ViewerGone> {
        let node = self.rank;
        if source.is_previous && source.restarts > 0 && last.is_none() {
            let reason = format!("its container was started {} times before", source.restarts);
            self.record(LogRecord::Gap {
                node,
                since: None,
                reason,
            })
            .await?;
        }
        let Some(last) = last else { return Ok(()) };
        let attempt = self.watch.node(node).borrow().attempt_of(source.uid);
        let message = match attempt {
            _ if last.uid == source.uid => "its container was started again".to_owned(),
            Some((number, attempt)) => {
                // All nodes begin it.
                if self.reported_attempt.fetch_max(number, Ordering::Relaxed) >= number {
                    return Ok(());
                }
                attempt
            }
            None => format!("another pod runs it: {}", source.pod),
        };
        self.record(LogRecord::Notice { node, message }).await
    }

    /// Reports the earlier attempts whose logs are gone, to a viewer that comes later.
    pub async fn report_lost_attempts(&self) -> Result<(), ViewerGone> {
        if self.place.is_some() || self.query.tail.is_some() || self.query.since.is_some() {
            return Ok(());
        }
        let lost = step::lost_attempts(&self.watch.node(self.rank).borrow());
        for attempt in lost {
            self.record(LogRecord::Gap {
                node: self.rank,
                since: None,
                reason: format!("the pod of attempt {attempt} is gone"),
            })
            .await?;
        }
        Ok(())
    }
}
