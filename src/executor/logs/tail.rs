//! The one stream of a followed container, for all its followers.

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

/// The number of open files that are not for logs: the listening socket, connections of clients, connections for other requests.
const OTHER_FILES: usize = 512;

/// The end of a log, which is read as long as it has a follower.
pub struct Tail {
    pub ring: Arc<Ring>,
    _reading: AbortOnDrop,
    _stream: OwnedSemaphorePermit,
}

/// All followed logs, and the limit of open streams.
pub struct Tails {
    tails: Shared<(Uid, i32), Tail>,
    streams: Arc<Semaphore>,
    /// The limit of open streams.
    pub max_streams: usize,
    /// The limit of reads by viewers that do not follow.
    reads: Arc<Semaphore>,
    /// The limit of reads by shared streams. It is separate, so that slow viewers do not block them.
    own_reads: Arc<Semaphore>,
}

impl Tails {
    /// Derives the limits from the number of files that the process may open.
    pub fn new() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::within(usize::try_from(files).unwrap_or(usize::MAX))
    }

    /// The limits for this number of open files.
    fn within(files: usize) -> Self {
        let files = files.min(Semaphore::MAX_PERMITS);
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

    /// The limit of one viewer's concurrent reads: a quarter of all, since a viewer may be slow.
    pub fn reads(&self) -> Reads {
        let most = (self.max_streams / 16).max(1);
        Reads {
            own: Arc::new(Semaphore::new(most)),
            all: self.reads.clone(),
        }
    }

    /// The shared stream of a container, started at `point` if there is none yet; none if too many logs are followed.
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
                    // A ring never refuses an entry.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_leave_open_files_for_other_requests() {
        for files in [1024, 4096, 65536, usize::MAX] {
            let tails = Tails::within(files);
            let reads = tails.reads.available_permits() + tails.own_reads.available_permits();
            assert!(tails.max_streams + reads <= files - OTHER_FILES, "{files}");
        }
    }
}
