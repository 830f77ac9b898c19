//! Lists tasks. The status of a task is computed only when a caller asks for it.

use crate::{
    api::{TaskStatus, User},
    executor::{
        error::Result,
        view::{Listed, LiveView},
    },
};

/// Tasks at one moment, newest first.
pub struct TaskList {
    tasks: Listed,
    user: Option<User>,
    namespace: String,
}

/// The tasks of `user`, or of all users.
///
/// # Errors
/// When the view is not fresh and Kubernetes does not answer.
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

    /// The status of the task at an index below [`TaskList::len`]; none if no Job of it is the user's.
    pub fn status(&self, index: usize) -> Option<TaskStatus> {
        let (id, task) = &self.tasks[index];
        task.status(*id, self.user.as_ref(), &self.namespace)
    }
}

#[cfg(test)]
impl TaskList {
    /// The list of the tasks of these Jobs.
    pub fn of(jobs: impl Iterator<Item = serde_json::Value>) -> Self {
        use crate::executor::{
            observed::JobRow,
            view::{Table, View},
        };

        let view = View::default();
        for job in jobs {
            let row: JobRow = serde_json::from_value(job).unwrap();
            view.change::<JobRow, _>(|table| table.merge(row));
        }
        Self {
            tasks: view.list(None),
            user: None,
            namespace: "default".to_owned(),
        }
    }
}
