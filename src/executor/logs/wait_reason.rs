//! The reason why a node waits, reported once per change.

use std::time::Duration;

use tokio::time::Instant;

/// The time that the creation of a container usually takes. Only a longer one is reported.
const USUAL_START: Duration = Duration::from_secs(10);

/// The reason why a node waits, and whether it was reported.
#[derive(Default)]
pub struct WaitReason {
    pub reason: Option<String>,
    since: Option<Instant>,
    is_reported: bool,
}

impl WaitReason {
    pub fn set(&mut self, reason: Option<String>) {
        if self.reason != reason {
            *self = Self {
                reason,
                since: Some(Instant::now()),
                is_reported: false,
            };
        }
    }

    /// The time of the next report; none if there is none. The creation of a container is reported only if it takes long.
    pub fn next_report(&self) -> Option<Instant> {
        let reason = self.reason.as_deref().filter(|_| !self.is_reported)?;
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

    /// The reason, once, when it is time to report it.
    pub fn due_report(&mut self) -> Option<String> {
        self.next_report().filter(|time| *time <= Instant::now())?;
        self.is_reported = true;
        self.reason.clone()
    }
}
