//! The limits of open streams: logs, watched lists, and requests that wait for tasks.
//!
//! A stream may last for days, and its connection is an open file. So one user may not hold all of them, streams together leave files
//! for other requests, and all connections together leave files for those to Kubernetes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::IntCounter;
use rustix::process::{Resource, getrlimit};

use crate::{
    api::{Reason, User},
    executor::Error,
};

/// The most open streams of one user.
const MOST_OF_USER: usize = 64;
/// The most open streams of all users.
const MOST: usize = 4096;

const STREAMS: &str = "logs, watched lists and waits";

/// The open streams, shared by all workers.
#[derive(Clone)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    most: usize,
    /// The bytes that were sent.
    pub sent: IntCounter,
}

#[derive(Default)]
struct Open {
    count: usize,
    of_users: HashMap<User, usize>,
}

impl Streams {
    /// Derives the limit from the number of files that the process may open.
    pub fn new() -> Self {
        Self::with_files(max_files())
    }

    fn with_files(files: usize) -> Self {
        Self {
            open: Arc::default(),
            most: most(files),
            sent: IntCounter::new("k8s_cli_log_bytes_total", "Bytes of logs that were sent.")
                .expect("the name is valid"),
        }
    }

    /// The number of open streams.
    pub fn count(&self) -> usize {
        lock(&self.open).count
    }

    /// Begins a stream, which ends when the returned value is dropped.
    ///
    /// # Errors
    /// When too many streams are open.
    pub fn begin(&self, user: &User) -> Result<OpenStream, Error> {
        let mut open = lock(&self.open);
        let of_user = open.of_users.get(user).copied().unwrap_or_default();
        let refused = if of_user >= MOST_OF_USER {
            format!("you have {of_user} open {STREAMS}, the most for one user")
        } else if open.count >= self.most {
            let most = self.most;
            format!("the server has {most} open {STREAMS}, the most that it serves at once")
        } else {
            open.of_users.insert(user.clone(), of_user + 1);
            open.count += 1;
            return Ok(OpenStream {
                open: self.open.clone(),
                user: user.clone(),
                sent: self.sent.clone(),
            });
        };
        let message = format!("{refused}: end some of them, or try again later");
        Err(Error::new(Reason::TooManyRequests, message))
    }
}

/// The most connections of clients.
pub fn max_connections() -> usize {
    connections(max_files())
}

fn max_files() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// The most streams of a process that may open this many files.
fn most(files: usize) -> usize {
    (free(files) / 2).clamp(1, MOST)
}

fn connections(files: usize) -> usize {
    (free(files) / 4 * 3).max(16)
}

/// The files that are free of streams from Kubernetes: the executor leaves at least 512, and a twelfth of the further ones.
fn free(files: usize) -> usize {
    const KEPT: usize = 512;
    files.min(KEPT) + files.saturating_sub(KEPT) / 12
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One open stream.
pub struct OpenStream {
    open: Arc<Mutex<Open>>,
    user: User,
    /// The bytes that were sent on all streams.
    pub sent: IntCounter,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.count -= 1;
        let left = open.of_users.get_mut(&self.user).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            open.of_users.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> User {
        name.parse().unwrap()
    }

    #[test]
    fn a_user_has_at_most_64_streams() {
        let streams = Streams::with_files(100_000);
        let mut open: Vec<_> = (0..MOST_OF_USER)
            .map(|_| streams.begin(&user("ada")).unwrap())
            .collect();
        let error = streams.begin(&user("ada")).err().unwrap();
        assert_eq!(error.reason(), Reason::TooManyRequests);
        let expected = "you have 64 open logs, watched lists and waits, the most for one user: end some of them, or try again later";
        assert_eq!(error.to_string(), expected);
        assert!(streams.begin(&user("bob")).is_ok());
        open.pop();
        assert!(streams.begin(&user("ada")).is_ok());
        drop(open);
        assert_eq!(lock(&streams.open).count, 0);
        assert!(lock(&streams.open).of_users.is_empty());
    }

    #[test]
    fn all_users_together_leave_files_for_other_requests() {
        let streams = Streams::with_files(700);
        let begin = |number: usize| streams.begin(&user(&format!("user-{number}"))).ok();
        let open: Vec<_> = (0..700).map_while(begin).collect();
        assert_eq!(open.len(), 263);
        let error = streams.begin(&user("ada")).err().unwrap();
        assert!(error.to_string().starts_with("the server has 263 open"));
    }

    #[test]
    fn the_limit_follows_that_of_open_files() {
        let limits = [0, 256, 1024, 20_000, 1 << 20, usize::MAX].map(most);
        assert_eq!(limits, [1, 128, 277, 1068, 4096, 4096]);
        let limits = [0, 256, 700, 1024, 1 << 20].map(connections);
        assert_eq!(limits, [16, 192, 393, 414, 65_886]);
    }
}
