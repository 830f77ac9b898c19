//! The open files of this process: their limit, and which of them a container gets, which is none.
//!
//! A running pod holds two files open, and a follower of its log three: both ends of the connection, and the log file. The soft limit
//! is often 1,024, for programs that use `select`, which this one does not. Go programs raise their limit in the same way
//! (`src/os/rlimit.go`, 1.26), and give their children the original one.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit before it was raised.
static ORIGINAL: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of this process to the hard one.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => log::debug!(
            "open files: limit raised from {:?} to {:?}",
            limit.current,
            limit.maximum
        ),
        Err(error) => return log::debug!("open files: limit stays {:?}: {error}", limit.current),
    }
    if let Some(original) = limit.current {
        // A second call must not replace it.
        ORIGINAL.get_or_init(|| original);
    }
}

/// Keeps the files that this process inherited open from its children. Its own files are kept from them already.
pub fn keep_from_children() {
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
}

/// The soft limit for containers; none if it is that of this process.
pub fn original_limit() -> Option<u64> {
    ORIGINAL.get().copied()
}
