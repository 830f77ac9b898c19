//! The limit of logs that are read at the same time without being followed.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A share of the reads: what one viewer may have, and what there is for all.
#[derive(Clone)]
pub struct Reads {
    pub own: Arc<Semaphore>,
    pub all: Arc<Semaphore>,
}

impl Reads {
    /// Waits until one more log may be read, for as long as the returned permit is kept.
    pub async fn permit(&self) -> impl Sized + use<'_> {
        // In this order no viewer waits while it holds a permit that the others need.
        let own = self.own.acquire().await;
        (own, self.all.acquire().await)
    }
}
