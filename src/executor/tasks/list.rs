//! Lists of tasks, as they were at one moment.

use std::sync::Arc;

use crate::{
    api::{TaskId, TaskStatus, User},
    executor::{
        Result,
        observed::Observed,
        view::{Listed, LiveView},
    },
};

/// Tasks as they were at one moment, newest first. The status of a task is computed when it is asked for.
pub struct TaskList {
    tasks: Listed,
    user: Option<User>,
    namespace: String,
}

/// The state of a task at one moment. It does not change.
pub struct Snapshot(Arc<Observed>);

/// The tasks of `user`, or of all.
///
/// # Errors
/// When Kubernetes has to be asked and does not answer.
pub async fn list(live: &LiveView, user: Option<&User>) -> Result<TaskList> {
    Ok(TaskList {
        tasks: live.list(user).await?,
        user: user.cloned(),
        namespace: live.cluster.namespace.clone(),
    })
}

impl TaskList {
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// The id of the task at an index below [`TaskList::len`].
    pub fn id(&self, index: usize) -> TaskId {
        self.tasks[index].0
    }

    /// The state of the task at an index, to be compared later.
    pub fn snapshot(&self, index: usize) -> Snapshot {
        Snapshot(self.tasks[index].1.clone())
    }

    /// Whether the task at an index has not changed since a snapshot was taken.
    pub fn is_unchanged(&self, index: usize, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&self.tasks[index].1, &snapshot.0)
    }

    /// The status of the task at an index; none if no Job of it is the user's.
    pub fn status(&self, index: usize) -> Option<TaskStatus> {
        let (id, task) = &self.tasks[index];
        task.status(*id, self.user.as_ref(), &self.namespace)
    }
}

#[cfg(test)]
impl TaskList {
    /// The list after each of these batches of Jobs has been put into a view.
    pub fn after(batches: &[Vec<serde_json::Value>]) -> Vec<Self> {
        use crate::executor::{
            observed::JobRow,
            view::{Table, View},
        };

        let view = View::default();
        let lists = batches.iter().map(|batch| {
            for job in batch {
                let row: JobRow = serde_json::from_value(job.clone()).unwrap();
                view.change::<JobRow, _>(|table| table.tell(row));
            }
            Self {
                tasks: view.list(None),
                user: None,
                namespace: "default".to_owned(),
            }
        });
        lists.collect()
    }
}
