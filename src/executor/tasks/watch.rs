//! Watches a list of tasks: first all of them, and then each that changes.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::list::list;
use crate::{
    api::{ListQuery, ListRecord, TaskId, TaskStatus, Timestamp, User},
    executor::{
        error::Result,
        observed::Observed,
        view::{ListVersion, LiveView},
    },
};

/// The interval of heartbeats. The shortest idle timeout of common load balancers is 30 s, twice as long.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The shortest time between two looks at the list: a busy list changes many times a second, and nobody reads that fast.
const PACE: Duration = Duration::from_millis(200);

/// A list that is watched.
pub struct ListWatch {
    live: LiveView,
    user: Option<User>,
    query: ListQuery,
    began: Timestamp,
    changes: watch::Receiver<()>,
    /// The version of the list at the last look; none before the first one.
    version: Option<ListVersion>,
    looked: Instant,
    seen: HashMap<Key, Seen>,
}

/// A task of the list. Several owners may have a task of the same id: the number tells them apart.
type Key = (TaskId, u32);

/// A task as it was at the last look.
struct Seen {
    observed: Arc<Observed>,
    /// The hash of the status that was sent; none if the task does not match the query.
    sent: Option<u64>,
}

impl ListWatch {
    /// Watches the tasks of `user`, or of all users. `now` is the time of the request.
    pub fn new(live: &LiveView, user: Option<&User>, query: ListQuery, now: Timestamp) -> Self {
        Self {
            changes: live.view.changes(),
            live: live.clone(),
            user: user.cloned(),
            query,
            began: now,
            version: None,
            looked: Instant::now(),
            seen: HashMap::new(),
        }
    }

    /// The next records: at first all tasks, and then those that have changed, or a heartbeat.
    ///
    /// # Errors
    /// At first only: the view is not fresh, and Kubernetes does not answer.
    pub async fn next(&mut self) -> Result<Vec<ListRecord>> {
        if self.version.is_none() {
            let mut records = self.look().await?;
            records.push(ListRecord::Synced {});
            return Ok(records);
        }
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            // The view never goes away, so an error is one of the time.
            let is_silent = timeout_at(heartbeat, self.changes.changed()).await.is_err();
            if !is_silent {
                sleep_until(self.looked + PACE).await;
            }
            let version = self.live.view.list_version(self.user.as_ref());
            let is_old = !self.live.view.is_fresh();
            let mut records = Vec::new();
            if self.version != Some(version) || is_silent && is_old {
                match self.look().await {
                    Ok(changed) => records = changed,
                    Err(error) => log::debug!("cannot list tasks for a watch: {error}"),
                }
            }
            if records.is_empty() && is_silent {
                records.push(ListRecord::Heartbeat {});
            }
            if !records.is_empty() {
                return Ok(records);
            }
        }
    }

    /// Looks at the list, and returns what has changed since the last look.
    async fn look(&mut self) -> Result<Vec<ListRecord>> {
        self.changes.mark_unchanged();
        let version = self.live.view.list_version(self.user.as_ref());
        let tasks = list(&self.live, self.user.as_ref()).await?;
        (self.version, self.looked) = (Some(version), Instant::now());
        let mut numbers: HashMap<TaskId, u32> = HashMap::new();
        let (mut seen, mut changed, mut gone) = (HashMap::new(), Vec::new(), Vec::new());
        for index in 0..tasks.len() {
            let (id, observed) = tasks.observed(index);
            let number = numbers.entry(id).or_default();
            let key = (id, *number);
            *number += 1;
            let before = self.seen.remove(&key);
            let sent = before.as_ref().and_then(|before| before.sent);
            if let Some(same) = before.filter(|before| Arc::ptr_eq(&before.observed, observed)) {
                seen.insert(key, same);
                continue;
            }
            let Some(status) = tasks.status(index) else {
                continue;
            };
            let is_wanted =
                tasks.is_of(index, &self.query) && self.query.matches(&status, self.began);
            let hash = is_wanted.then(|| hash(&status));
            match hash {
                Some(_) if hash != sent => changed.push(status),
                None if sent.is_some() => gone.push(ListRecord::Gone {
                    task_id: id,
                    task: Some(status),
                }),
                _ => (),
            }
            let (observed, sent) = (observed.clone(), hash);
            seen.insert(key, Seen { observed, sent });
        }
        changed.sort_by_cached_key(|task| self.query.sort.place(task));
        let changed = changed.into_iter().map(|task| ListRecord::Task { task });
        let deleted = std::mem::replace(&mut self.seen, seen).into_iter();
        let deleted = deleted.filter(|(_, task)| task.sent.is_some());
        let deleted = deleted.map(|((task_id, _), _)| ListRecord::Gone {
            task_id,
            task: None,
        });
        Ok(changed.chain(gone).chain(deleted).collect())
    }
}

fn hash(task: &TaskStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    let bytes = serde_json::to_vec(task).expect("a task can be written as JSON");
    bytes.hash(&mut hasher);
    hasher.finish()
}
