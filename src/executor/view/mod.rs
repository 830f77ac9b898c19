//! The live view: what Kubernetes holds of tasks and volumes, as rows in memory, so that nobody has to ask it.
//!
//! ```text
//! watches (feed) ───────┐
//! lists of a scope ─────┼──► table + versions ──► tasks, volumes ──► whoever reads
//! answers to our writes ┘                              └─────────► whoever looks at a node (sight)
//! ```
//!
//! # A row of a list, from the watch event to the bytes
//!
//! 1. [`feed`] lists the Jobs once and watches them; the cluster sends an event for each change.
//! 2. `observed` decodes it as a `JobRow`: the few fields that the program uses.
//! 3. `Table::tell_event` asks [`versions`] whether the row is newer than what is known, or of an object that was deleted.
//! 4. [`tasks`] puts it into its task, in the place of its node, and notes that the owner's list has changed.
//! 5. Subscribers of the node get the new state; a failure wakes up the loop that stops the other nodes.
//! 6. `GET /tasks` comes: `server::task_list` compares the version of the user's list with that of the cached answer.
//! 7. If they differ, [`LiveView::list`] takes the tasks, newest first: pointers, not copies.
//! 8. `Observed::status` folds the rows of each task into its status and its reason.
//! 9. The JSON is cached, and sent with an `Age` header.
//! 10. `client::output` renders it as a table, as tab-separated lines, JSON or YAML.
//!
//! What was written through this server is seen by the next who asks it, because the answer to the write is put in as well. What
//! was written by others is seen as soon as the watch tells of it. How old the view may be is for its readers to say: see
//! [`View::is_fresh`].

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
    executor::observed::{ClaimRow, EventRow, JobRow, Observed, PodRow, Row},
};

/// How old what is answered may be. Older than that the watches are broken, and Kubernetes is asked itself.
const MAX_AGE: Duration = Duration::from_secs(10);

/// A kind of rows of which the view has a table.
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

/// All that is known.
#[derive(Default)]
pub struct State {
    tasks: Tasks,
    volumes: Volumes,
    /// Who looks at the nodes of which task.
    subscribers: HashMap<TaskId, Vec<Subscriber>>,
    /// The tasks of which a node has failed while others go on, in the order in which that was told.
    endangered: VecDeque<TaskId>,
    /// Those of them that cannot be stopped for now.
    postponed: HashSet<TaskId>,
}

/// Somebody who looks at the nodes of a task, by rank.
struct Subscriber {
    user: User,
    nodes: Vec<watch::Sender<Observed>>,
}

/// The live view.
#[derive(Default)]
pub struct View {
    state: Mutex<State>,
    danger: Notify,
}

impl View {
    /// How old the news of the tasks is; none while nobody can say.
    pub fn age(&self) -> Option<Duration> {
        let (mut state, now) = (self.state(), Instant::now());
        let jobs = Table::<JobRow>::versions(&mut state.tasks).age(now)?;
        let pods = Table::<PodRow>::versions(&mut state.tasks).age(now)?;
        Some(jobs.max(pods))
    }

    /// Whether what is known of tasks is what Kubernetes would say now, or would have said a moment ago.
    pub fn is_fresh(&self) -> bool {
        self.age().is_some_and(|age| age <= MAX_AGE)
    }

    /// The same of volumes.
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

    /// Whether a Job without a pod, if there is one within a scope, may be so for a reason that is not known.
    pub fn may_lack_reasons(&self, scope: &Scope) -> bool {
        let mut state = self.state();
        let age = Table::<EventRow>::versions(&mut state.tasks).age(Instant::now());
        age.is_none_or(|age| age > MAX_AGE) && state.tasks.misses_pods(scope)
    }

    /// How many tasks are known.
    pub fn len(&self) -> usize {
        self.state().tasks.len()
    }

    /// A task, if it is known.
    pub fn task(&self, id: TaskId) -> Option<Arc<Observed>> {
        self.state().tasks.get(id).cloned()
    }

    /// The tasks of `user`, or all, newest first.
    pub fn list(&self, user: Option<&User>) -> Listed {
        let state = self.state();
        match user {
            Some(user) => state.tasks.list(user),
            None => state.tasks.list_all(),
        }
    }

    /// What the list of `user`'s tasks, or of all, is the same as.
    pub fn list_version(&self, user: Option<&User>) -> ListVersion {
        self.state().tasks.list_version(user)
    }

    /// The claims of the volumes of `user`, or of all.
    pub fn volumes(&self, user: Option<&User>) -> Vec<Arc<ClaimRow>> {
        self.state().volumes.list(user)
    }

    /// Whether a pod of a task runs that mounts a claim.
    pub fn is_mounted(&self, claim: &str) -> bool {
        let state = self.state();
        let mut running = state
            .tasks
            .pods()
            .filter(|pod| pod.has_run() && !pod.has_ended());
        running.any(|pod| pod.claims.iter().any(|mounted| **mounted == *claim))
    }

    /// Changes what is known of one kind, and tells those who look.
    pub fn change<R: ViewRow, T>(&self, change: impl FnOnce(&mut R::Table) -> T) -> T {
        let mut state = self.state();
        let result = change(R::table(&mut state));
        let State {
            tasks,
            subscribers,
            endangered,
            postponed,
            ..
        } = &mut *state;
        for (id, rank) in std::mem::take(&mut tasks.touched) {
            if let Some(all) = subscribers.get_mut(&id) {
                all.retain(Subscriber::is_there);
                let task = tasks.get_or_empty(id);
                all.iter()
                    .for_each(|subscriber| subscriber.show(&task, rank));
                if all.is_empty() {
                    subscribers.remove(&id);
                }
            }
        }
        if !tasks.endangered.is_empty() {
            for id in tasks.endangered.drain(..) {
                if !endangered.contains(&id) && !postponed.contains(&id) {
                    endangered.push_back(id);
                }
            }
            self.danger.notify_one();
        }
        result
    }

    /// Waits for a task of which a node has failed while others go on.
    pub async fn next_endangered(&self) -> TaskId {
        loop {
            if let Some(id) = self.state().endangered.pop_front() {
                return id;
            }
            self.danger.notified().await;
        }
    }

    /// Says that nothing could be done about it, and that it is to wait, whatever becomes of it, until [`View::try_again`].
    pub fn postpone(&self, id: TaskId) {
        self.state().postponed.insert(id);
    }

    /// Says that it is time to try again.
    pub fn try_again(&self, id: TaskId) {
        let mut state = self.state();
        if state.postponed.remove(&id) {
            state.endangered.push_back(id);
            self.danger.notify_one();
        }
    }

    /// Looks at the nodes of a task of `user`, for as long as somebody holds one of the receivers.
    fn subscribe(&self, user: &User, id: TaskId, num_nodes: u32) -> Vec<watch::Receiver<Observed>> {
        let mut state = self.state();
        let task = state.tasks.get_or_empty(id);
        let subscriber = Subscriber {
            user: user.clone(),
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

    fn show(&self, task: &Observed, rank: u32) {
        if let Some(node) = self.nodes.get(rank as usize) {
            node.send_replace(task.node(rank, &self.user));
        }
    }
}
