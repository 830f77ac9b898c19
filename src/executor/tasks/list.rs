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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_of_another_user_with_the_id_of_a_task_is_a_task_of_its_own() {
        let job = |rank: u32, user: &str| {
            json!({"metadata": {
                "name": format!("{user}-{rank}"), "uid": format!("uid-{user}-{rank}"), "resourceVersion": "1",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"skypilot-task": "true", "task-id": "ab12cd34", "task-name": "t", "username": user, "node-idx": rank.to_string()},
                "annotations": {"k8s-cli/user": user, "num-nodes": "2", "created-at": "2026-01-02T03:04:05.000000"},
            }})
        };
        let jobs = [job(0, "ada"), job(1, "ada"), job(7, "bob")];
        let list = TaskList::of(jobs.into_iter());
        let tasks = (0..list.len()).map(|index| list.status(index).unwrap());
        let mut tasks: Vec<_> = tasks
            .map(|task| (task.username, task.metadata.node_jobs))
            .collect();
        tasks.sort();
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(tasks[0], ("ada".to_owned(), names(&["ada-0", "ada-1"])));
        assert_eq!(tasks[1].0, "bob");
        assert_eq!(tasks.len(), 2);
    }
}
