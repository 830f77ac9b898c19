//! What a node waits for, told once per change.

use std::time::Duration;

use tokio::time::Instant;

/// How long a container may take to be created before that is worth a word.
const USUAL_START: Duration = Duration::from_secs(10);

/// What a node waits for, and whether its reader knows.
#[derive(Default)]
pub struct WaitReason {
    pub reason: Option<String>,
    since: Option<Instant>,
    is_told: bool,
}

impl WaitReason {
    pub fn is_for(&mut self, reason: Option<String>) {
        if self.reason != reason {
            *self = Self {
                reason,
                since: Some(Instant::now()),
                is_told: false,
            };
        }
    }

    /// When there is something to tell. That a container is being created is no news until it takes long.
    pub fn next_news(&self) -> Option<Instant> {
        let reason = self.reason.as_deref().filter(|_| !self.is_told)?;
        let is_usual = matches!(reason, "ContainerCreating" | "PodInitializing");
        Some(
            self.since?
                + if is_usual {
                    USUAL_START
                } else {
                    Duration::ZERO
                },
        )
    }

    /// The reason, once, when it is time to tell it.
    pub fn news(&mut self) -> Option<String> {
        self.next_news().filter(|time| *time <= Instant::now())?;
        self.is_told = true;
        self.reason.clone()
    }
}
