//! The limit of concurrent reads of logs that are not followed.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// The permits of one viewer, and those of all viewers together.
#[derive(Clone)]
pub struct Reads {
    pub own: Arc<Semaphore>,
    pub all: Arc<Semaphore>,
}

impl Reads {
    /// Waits for a permit to read one more log. The log may be read as long as the permit is held.
    pub async fn permit(&self) -> impl Sized + use<'_> {
        // In this order no viewer waits while it holds a permit that others need.
        let own = self.own.acquire().await;
        (own, self.all.acquire().await)
    }
}
