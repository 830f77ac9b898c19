//! Counts tasks and nodes by their states.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    api::{TaskId, TaskState, TaskStatus},
    executor::{
        observed::Observed,
        view::{ListVersion, LiveView},
    },
};

/// The numbers of tasks and nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    pub tasks: BTreeMap<&'static str, u64>,
    pub nodes: BTreeMap<&'static str, u64>,
    /// The unfinished tasks of each user, by label.
    pub unfinished: BTreeMap<String, u64>,
}

/// The last count. Only tasks that have changed since are looked at again, and none if nothing has.
#[derive(Default)]
pub struct Census(Mutex<Last>);

#[derive(Default)]
struct Last {
    /// The version of the list that was counted.
    version: Option<ListVersion>,
    tasks: HashMap<TaskId, (Arc<Observed>, Counted)>,
    numbers: Numbers,
}

/// What counts of a task.
#[derive(Clone)]
struct Counted {
    status: TaskState,
    /// Succeeded, failed, running, pending.
    nodes: [u32; 4],
    user: String,
}

const STATES: [TaskState; 5] = [
    TaskState::Pending,
    TaskState::Running,
    TaskState::Stopping,
    TaskState::Failed,
    TaskState::Completed,
];

impl Census {
    /// Counts the tasks of all users.
    pub fn count(&self, live: &LiveView) -> Numbers {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let version = live.view.list_version(None);
        if last.version == Some(version) {
            return last.numbers.clone();
        }
        let mut numbers = Numbers::default();
        for state in STATES {
            numbers.tasks.insert(state.as_str(), 0);
        }
        for state in ["pending", "running", "failed", "completed"] {
            numbers.nodes.insert(state, 0);
        }
        let mut before = std::mem::take(&mut last.tasks);
        for (id, task) in live.view.list(None) {
            let counted = match before.remove(&id) {
                Some((same, counted)) if Arc::ptr_eq(&same, &task) => Some(counted),
                _ => {
                    let status = task.status(id, None, &live.cluster.namespace);
                    status.map(Counted::from)
                }
            };
            let Some(counted) = counted else { continue };
            numbers.add(&counted);
            last.tasks.insert(id, (task, counted));
        }
        last.version = Some(version);
        last.numbers = numbers.clone();
        numbers
    }
}

impl From<TaskStatus> for Counted {
    fn from(task: TaskStatus) -> Self {
        let metadata = &task.metadata;
        Self {
            status: task.status,
            nodes: [
                metadata.succeeded_nodes,
                metadata.failed_nodes,
                metadata.running_nodes,
                metadata.pending_nodes,
            ],
            user: task.username,
        }
    }
}

impl Numbers {
    fn add(&mut self, task: &Counted) {
        *self.tasks.entry(task.status.as_str()).or_default() += 1;
        let states = ["completed", "failed", "running", "pending"];
        for (state, count) in states.into_iter().zip(task.nodes) {
            *self.nodes.entry(state).or_default() += u64::from(count);
        }
        if !task.status.is_terminal() {
            *self.unfinished.entry(task.user.clone()).or_default() += 1;
        }
    }
}
