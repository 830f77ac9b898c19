//! What a viewer is told about the container runs of a node, beside their lines.

use std::sync::PoisonError;

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
        let attempt = self.watch.node(node).borrow().attempt_of(source.uid);
        let message = match (attempt, last) {
            (_, Some(last)) if last.uid == source.uid => {
                "its container was started again".to_owned()
            }
            // Of the attempts before nothing is left.
            (Some(_), None) if !self.wants_all() => return Ok(()),
            (Some((number, attempt)), _) => {
                // All nodes begin it.
                let reported = self.reported_attempts.lock();
                let mut reported = reported.unwrap_or_else(PoisonError::into_inner);
                if !reported.insert(number) {
                    return Ok(());
                }
                attempt
            }
            (None, Some(_)) => format!("another pod runs it: {}", source.pod),
            (None, None) => return Ok(()),
        };
        self.record(LogRecord::Notice { node, message }).await
    }

    /// Whether the viewer asks for the log from its beginning.
    fn wants_all(&self) -> bool {
        self.place.is_none() && self.query.tail.is_none() && self.query.since.is_none()
    }

    /// Reports the earlier attempts whose logs are gone, to a viewer that comes later.
    pub async fn report_lost_attempts(&self) -> Result<(), ViewerGone> {
        if !self.wants_all() {
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
