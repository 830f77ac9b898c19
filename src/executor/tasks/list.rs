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
    use serde_json::{Value, json};

    use super::*;
    use crate::executor::{
        observed::{JobRow, PodRow},
        view::{Table, View},
    };

    /// The users and Jobs or pods of the tasks of some objects.
    fn tasks_of(jobs: &[Value], pods: &[Value]) -> Vec<(String, u32, u32)> {
        let view = View::default();
        for job in jobs {
            let row: JobRow = serde_json::from_value(job.clone()).unwrap();
            view.change::<JobRow, _>(|table| table.merge(row));
        }
        for pod in pods {
            let row: PodRow = serde_json::from_value(pod.clone()).unwrap();
            view.change::<PodRow, _>(|table| table.merge(row));
        }
        let list = TaskList {
            tasks: view.list(None),
            user: None,
            namespace: "default".to_owned(),
        };
        let tasks = (0..list.len()).map(|index| list.status(index).unwrap());
        let mut tasks: Vec<_> = tasks
            .map(|task| {
                (
                    task.username,
                    task.metadata.num_nodes,
                    task.metadata.running_nodes,
                )
            })
            .collect();
        tasks.sort();
        tasks
    }

    fn object(kind: &str, rank: u32, user: &str, exact: Option<&str>) -> Value {
        let mut object = json!({
            "metadata": {
                "name": format!("{kind}-{user}-{rank}"), "uid": format!("{kind}-{user}-{rank}"), "resourceVersion": "1",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"skypilot-task": "true", "task-id": "ab12cd34", "task-name": "t", "username": user, "node-idx": rank.to_string()},
                "annotations": {"num-nodes": "2", "created-at": "2026-01-02T03:04:05.000000"},
            },
        });
        if let Some(exact) = exact {
            object["metadata"]["annotations"]["k8s-cli/user"] = exact.into();
        }
        object
    }

    fn pod(rank: u32, user: &str, exact: Option<&str>, job: Option<&str>) -> Value {
        let mut pod = object("pod", rank, user, exact);
        let owner = job.map(|uid| json!({"kind": "Job", "uid": uid, "controller": true}));
        pod["metadata"]["ownerReferences"] = Vec::from_iter(owner).into();
        pod["status"] = json!({"phase": "Running"});
        pod
    }

    #[test]
    fn objects_of_another_user_with_the_id_of_a_task_are_a_task_of_their_own() {
        let [first, second] = [0, 1].map(|rank| object("job", rank, "ada", Some("ada")));
        // Its pods are of an older version, and have no annotation with the name of the user.
        let pods = [0, 1].map(|rank| pod(rank, "ada", None, Some(&format!("job-ada-{rank}"))));
        let ada = ("ada".to_owned(), 2, 2);
        let jobs = [first, second];
        assert_eq!(tasks_of(&jobs, &pods), std::slice::from_ref(&ada));
        let job = object("job", 7, "bob", Some("bob"));
        let with_job = tasks_of(&[&jobs[..], &[job]].concat(), &pods);
        assert_eq!(
            (with_job.len(), &with_job[0], &*with_job[1].0),
            (2, &ada, "bob")
        );
        let alone = pod(5, "eve", Some("eve"), None);
        let with_pod = tasks_of(&jobs, &[&pods[..], &[alone]].concat());
        assert_eq!(
            (with_pod.len(), &with_pod[0], &*with_pod[1].0),
            (2, &ada, "eve")
        );
    }
}
