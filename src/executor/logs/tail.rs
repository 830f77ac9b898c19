//! The one stream of a container that is followed, for all who follow it.

use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    container::Container,
    position::Position,
    reader::{Listener, Reader},
    reads::Reads,
    ring::Ring,
    shared::{AbortOnDrop, Shared},
};
use crate::{
    api::LogPoint,
    executor::{identity::Uid, view::TaskWatch},
};

/// The open files that are not for logs: the listening socket, the clients' connections, the connections for other requests.
const OTHER_FILES: usize = 512;

/// The end of a log, read for as long as somebody follows it.
pub struct Tail {
    pub ring: Arc<Ring>,
    _reading: AbortOnDrop,
    _stream: OwnedSemaphorePermit,
}

/// All logs that are followed, and how many streams may be open.
pub struct Tails {
    tails: Shared<(Uid, i32), Tail>,
    streams: Arc<Semaphore>,
    /// How many there may be.
    pub max_streams: usize,
    /// For logs that viewers read without following them.
    reads: Arc<Semaphore>,
    /// The same for the streams that all share. A viewer who takes long holds up none of them.
    own_reads: Arc<Semaphore>,
}

impl Tails {
    /// Bounded by the number of files that the process may have open.
    pub fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let files = usize::try_from(files)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        let files = files.saturating_sub(OTHER_FILES).max(64);
        let max_streams = files / 3 * 2;
        Self {
            tails: Shared::default(),
            streams: Arc::new(Semaphore::new(max_streams)),
            max_streams,
            reads: Arc::new(Semaphore::new(files / 6)),
            own_reads: Arc::new(Semaphore::new(files / 12)),
        }
    }

    /// What one viewer may read at once: a quarter, since a viewer may take as long as they like.
    pub fn reads(&self) -> Reads {
        let most = (self.max_streams / 16).max(1);
        Reads {
            own: Arc::new(Semaphore::new(most)),
            all: self.reads.clone(),
        }
    }

    /// The end of the log of a container, from a place on if nobody follows it yet; none if too many are followed.
    pub fn join(
        &self,
        container: &Container,
        point: Option<LogPoint>,
        watch: &Arc<TaskWatch>,
    ) -> Option<Arc<Tail>> {
        let key = (container.source.uid, container.source.restarts);
        self.tails.join(
            key,
            |tail| !tail.ring.has_ended(),
            || {
                let stream = self.streams.clone().try_acquire_owned().ok()?;
                let ring = Arc::new(Ring::new(point));
                let listener = Listener::Ring(ring.clone());
                let position = Position::at(point);
                let mut container = container.clone();
                container.reads = Reads {
                    own: Arc::new(Semaphore::new(1)),
                    all: self.own_reads.clone(),
                };
                let mut reader = Reader::new(container, position, listener, watch.clone());
                let filled = ring.clone();
                let reading = tokio::spawn(async move {
                    // A ring always takes what it is given.
                    let _ = reader.follow(&filled).await;
                });
                Some(Tail {
                    ring,
                    _reading: reading.into(),
                    _stream: stream,
                })
            },
        )
    }
}
