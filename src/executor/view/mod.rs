//! The live view: the tasks and volumes of the cluster as rows in memory, so that most requests need no call to Kubernetes.
//!
//! ```text
//! watches (feed) ───────┐
//! lists of a scope ─────┼──► table + versions ──► tasks, volumes ──► readers
//! answers to our writes ┘                              └─────────► subscribers of a node (task_watch)
//! ```
//!
//! # A row of a list, from the watch event to the bytes
//!
//! 1. [`feed`] lists the Jobs once and watches them; the cluster sends an event for each change.
//! 2. `observed` decodes it as a `JobRow`: the few fields that the program uses.
//! 3. `Table::merge_event` asks [`versions`] whether the row is newer than the known one, or of an object that was deleted.
//! 4. [`tasks`] puts it into its task, at the rank of its node, and notes that the owner's list has changed.
//! 5. Subscribers of the node get the new state; a failure wakes up `tasks::reconcile`, which stops the other nodes.
//! 6. `GET /tasks` comes: `server::task_list` compares the version of the user's list with that of the cached answer.
//! 7. If they differ, [`LiveView::list`] takes the tasks, newest first: pointers, not copies.
//! 8. `Observed::status` folds the rows of each task into its status and its reason.
//! 9. The JSON is cached, and sent with an `Age` header.
//! 10. `client::output` renders it as a table, as tab-separated lines, JSON or YAML.
//!
//! A write through this server is visible to the next request, because its answer is merged too. A write by others is visible once
//! the watch shows it. Each reader decides how old the view may be: see [`View::is_fresh`]. `volumes`, `tasks`, `logs` and the façade
//! read the view. Nothing here creates, changes or stops a task.

mod by_rank;
mod feed;
mod live;
mod table;
mod task_watch;
mod tasks;
#[cfg(test)]
mod tests;
mod versions;
mod volumes;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

pub use self::{
    live::{LiveView, scope_of},
    table::{Scope, Table},
    task_watch::TaskWatch,
    tasks::{ListVersion, Listed},
};
use self::{tasks::Tasks, volumes::Volumes};
use crate::{
    api::{TaskId, User},
    executor::{
        identity::Version,
        objects::KeptFiles,
        observed::{ClaimRow, EventRow, JobRow, Observed, PodRow, Row},
    },
};

/// The greatest age of a view that answers requests. In an older view the watches are broken, and Kubernetes is asked.
const MAX_AGE: Duration = Duration::from_secs(10);

/// A kind of rows that the view has a table of.
pub trait ViewRow: Row {
    type Table: Table<Self>;

    fn table(state: &mut State) -> &mut Self::Table;
}

impl ViewRow for JobRow {
    type Table = Tasks;

    fn table(state: &mut State) -> &mut Tasks {
        &mut state.tasks
    }
}

impl ViewRow for PodRow {
    type Table = Tasks;

    fn table(state: &mut State) -> &mut Tasks {
        &mut state.tasks
    }
}

impl ViewRow for EventRow {
    type Table = Tasks;

    fn table(state: &mut State) -> &mut Tasks {
        &mut state.tasks
    }
}

impl ViewRow for ClaimRow {
    type Table = Volumes;

    fn table(state: &mut State) -> &mut Volumes {
        &mut state.volumes
    }
}

/// The contents of the view.
#[derive(Default)]
pub struct State {
    tasks: Tasks,
    volumes: Volumes,
    /// The subscribers of the nodes of each task.
    subscribers: HashMap<TaskId, Vec<Subscriber>>,
    /// The tasks whose objects may have to be changed, in the order of the events.
    unsettled: VecDeque<TaskId>,
    /// The tasks that could not be handled, until [`View::try_again`].
    postponed: HashSet<TaskId>,
}

/// A subscriber of the nodes of a task.
struct Subscriber {
    user: User,
    /// The attempt of the task that it is about; none for all of them.
    attempt: Option<u32>,
    nodes: Vec<watch::Sender<Observed>>,
}

/// The live view.
#[derive(Default)]
pub struct View {
    state: Mutex<State>,
    has_unsettled: Notify,
    changes: watch::Sender<()>,
    lists: watch::Sender<()>,
}

impl View {
    /// The age of the view of tasks; none before the first list, and after an error that leaves it unknown.
    pub fn age(&self) -> Option<Duration> {
        let (mut state, now) = (self.state(), Instant::now());
        let jobs = Table::<JobRow>::versions(&mut state.tasks).age(now)?;
        let pods = Table::<PodRow>::versions(&mut state.tasks).age(now)?;
        Some(jobs.max(pods))
    }

    /// The last moment at which the view of pods was complete again, after its watch had been broken.
    pub fn came_back(&self) -> Option<Instant> {
        Table::<PodRow>::versions(&mut self.state().tasks).came_back()
    }

    /// Whether the view of tasks is recent enough to answer requests.
    pub fn is_fresh(&self) -> bool {
        self.age().is_some_and(|age| age <= MAX_AGE)
    }

    /// Whether the view of volumes is recent enough to answer requests.
    pub fn has_fresh_volumes(&self) -> bool {
        let mut state = self.state();
        let age = state.volumes.versions().age(Instant::now());
        age.is_some_and(|age| age <= MAX_AGE)
    }

    /// Whether all tasks were listed at least once.
    pub fn has_loaded(&self) -> bool {
        let mut state = self.state();
        let tasks = &mut state.tasks;
        Table::<JobRow>::versions(tasks).has_loaded()
            && Table::<PodRow>::versions(tasks).has_loaded()
    }

    /// Whether a node within a scope has not started, and the reason may be missing because the watch of events is broken.
    pub fn may_lack_reasons(&self, scope: &Scope) -> bool {
        let mut state = self.state();
        let age = Table::<EventRow>::versions(&mut state.tasks).age(Instant::now());
        age.is_none_or(|age| age > MAX_AGE) && state.tasks.lacks_reasons(scope)
    }

    /// Looks at the files that are kept for tasks.
    pub fn kept_files<T>(&self, look: impl FnOnce(&mut dyn Iterator<Item = &KeptFiles>) -> T) -> T {
        look(&mut self.state().tasks.kept_files())
    }

    /// The number of known tasks.
    pub fn len(&self) -> usize {
        self.state().tasks.len()
    }

    /// A task; none if the view does not know it.
    pub fn task(&self, id: TaskId) -> Option<Arc<Observed>> {
        self.state().tasks.get(id).cloned()
    }

    /// The tasks of `user`, or of all users, newest first.
    pub fn list(&self, user: Option<&User>) -> Listed {
        let state = self.state();
        match user {
            Some(user) => state.tasks.list(user),
            None => state.tasks.list_all(),
        }
    }

    /// The tasks of each group that has work for this program.
    pub fn busy_groups(&self) -> Vec<Listed> {
        self.state().tasks.busy_groups()
    }

    /// The version of the list of `user`'s tasks, or of all tasks.
    pub fn list_version(&self, user: Option<&User>) -> ListVersion {
        self.state().tasks.list_version(user)
    }

    /// The claims of the volumes of `user`, or of all users.
    pub fn volumes(&self, user: Option<&User>) -> Vec<Arc<ClaimRow>> {
        self.state().volumes.list(user)
    }

    /// The unfinished tasks that mount each claim, by its name.
    pub fn users_of_claims(&self) -> HashMap<Box<str>, Vec<TaskId>> {
        let state = self.state();
        let mut users: HashMap<Box<str>, Vec<TaskId>> = HashMap::new();
        for (claim, task) in state.tasks.mounts() {
            let tasks = users.entry(claim.into()).or_default();
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        users.values_mut().for_each(|tasks| tasks.sort_unstable());
        users
    }

    /// Whether a running pod of a task mounts a claim.
    pub fn is_mounted(&self, claim: &str) -> bool {
        let state = self.state();
        let mut running = state
            .tasks
            .pods()
            .filter(|pod| pod.has_run() && !pod.has_ended());
        running.any(|pod| pod.claims.iter().any(|mounted| **mounted == *claim))
    }

    /// Changes the table of one kind, and informs the subscribers.
    pub fn change<R: ViewRow, T>(&self, change: impl FnOnce(&mut R::Table) -> T) -> T {
        let mut state = self.state();
        let result = change(R::table(&mut state));
        let State {
            tasks,
            subscribers,
            unsettled,
            postponed,
            ..
        } = &mut *state;
        for (id, rank) in std::mem::take(&mut tasks.changed_nodes) {
            if let Some(all) = subscribers.get_mut(&id) {
                all.retain(Subscriber::is_there);
                let task = tasks.get_or_empty(id);
                all.iter()
                    .for_each(|subscriber| subscriber.send(&task, rank));
                if all.is_empty() {
                    subscribers.remove(&id);
                }
            }
        }
        if self.changes.receiver_count() > 0 {
            self.changes.send_replace(());
        }
        if !tasks.unsettled.is_empty() {
            for id in tasks.unsettled.drain(..) {
                if !unsettled.contains(&id) && !postponed.contains(&id) {
                    unsettled.push_back(id);
                }
            }
            self.has_unsettled.notify_one();
        }
        result
    }

    /// Notes that the cluster has answered with a whole list.
    pub fn note_list(&self) {
        self.lists.send_replace(());
    }

    /// Waits until the cluster answers with a whole list, which it does when it is back.
    pub async fn next_list(&self) {
        drop(self.lists.subscribe().changed().await);
    }

    /// A channel that tells of each change of tasks and volumes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Waits until the watch of Jobs has shown all changes up to a version.
    pub async fn has_watched_jobs(&self, version: Version) {
        let mut changes = self.changes();
        let watched = || Table::<JobRow>::versions(&mut self.state().tasks).watched();
        while watched().is_none_or(|watched| !version.is_seen_at(watched)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits for a task whose objects may have to be changed.
    pub async fn next_unsettled(&self) -> TaskId {
        loop {
            if let Some(id) = self.state().unsettled.pop_front() {
                return id;
            }
            self.has_unsettled.notified().await;
        }
    }

    /// Keeps a task out of [`View::next_unsettled`] until [`View::try_again`].
    pub fn postpone(&self, id: TaskId) {
        self.state().postponed.insert(id);
    }

    /// Returns a postponed task to [`View::next_unsettled`].
    pub fn try_again(&self, id: TaskId) {
        let mut state = self.state();
        if state.postponed.remove(&id) {
            state.unsettled.push_back(id);
            self.has_unsettled.notify_one();
        }
    }

    /// Subscribes to the nodes of a task of `user`. The subscription ends when all receivers are dropped.
    fn subscribe(
        &self,
        user: &User,
        id: TaskId,
        num_nodes: u32,
        attempt: Option<u32>,
    ) -> Vec<watch::Receiver<Observed>> {
        let mut state = self.state();
        let task = of_attempt(state.tasks.get_or_empty(id), attempt);
        let subscriber = Subscriber {
            user: user.clone(),
            attempt,
            nodes: (0..num_nodes)
                .map(|rank| watch::Sender::new(task.node(rank, user)))
                .collect(),
        };
        let nodes = subscriber
            .nodes
            .iter()
            .map(watch::Sender::subscribe)
            .collect();
        let subscribers = &mut state.subscribers;
        subscribers.retain(|_, all| {
            all.retain(Subscriber::is_there);
            !all.is_empty()
        });
        subscribers.entry(id).or_default().push(subscriber);
        nodes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    fn is_there(&self) -> bool {
        self.nodes.iter().any(|node| !node.is_closed())
    }

    fn send(&self, task: &Observed, rank: u32) {
        let Some(node) = self.nodes.get(rank as usize) else {
            return;
        };
        let part = match self.attempt {
            Some(attempt) => task.of_attempt(attempt).node(rank, &self.user),
            None => task.node(rank, &self.user),
        };
        node.send_replace(part);
    }
}

/// The part of a task about one attempt, or the whole task.
fn of_attempt(task: Arc<Observed>, attempt: Option<u32>) -> Arc<Observed> {
    match attempt {
        Some(attempt) => Arc::new(task.of_attempt(attempt)),
        None => task,
    }
}
