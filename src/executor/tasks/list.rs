//! Lists tasks. The status of a task is computed only when a caller asks for it.

use std::sync::Arc;

use crate::{
    api::{ListPlace, ListQuery, Sort, TaskId, TaskStatus, Timestamp, User},
    executor::{
        error::Result,
        observed::Observed,
        view::{Listed, LiveView},
    },
};

/// How many tasks are looked at before other requests have their turn.
const TURN: usize = 500;

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

    /// The tasks that a query asks for, and the place of the last one if there are more. `now` is the time of the request.
    pub async fn page(&self, query: &ListQuery, now: Timestamp) -> Page {
        let limit = query.limit.unwrap_or(usize::MAX);
        let is_in_order = query.sort == Sort::default();
        let mut found = Vec::new();
        for index in 0..self.len() {
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            if !self.is_of(index, query) {
                continue;
            }
            let Some(task) = self.status(index) else {
                continue;
            };
            let place = query.sort.place(&task);
            let is_behind = query.after.as_ref().is_none_or(|after| place > *after);
            if is_behind && query.matches(&task, now) {
                found.push((place, task));
            }
            // One more than the limit tells that there are more.
            if is_in_order && found.len() > limit {
                break;
            }
        }
        if !is_in_order {
            found.sort_by(|(place, _), (other, _)| place.cmp(other));
        }
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| has_more);
        Page {
            next: last.map(|(place, _)| place.clone()),
            tasks: found.into_iter().map(|(_, task)| task).collect(),
        }
    }

    /// The task at an index below [`TaskList::len`].
    pub fn observed(&self, index: usize) -> (TaskId, &Arc<Observed>) {
        let (id, task) = &self.tasks[index];
        (*id, task)
    }

    /// Whether the task at an index is of the user that a query asks for.
    pub fn is_of(&self, index: usize, query: &ListQuery) -> bool {
        let (_, task) = &self.tasks[index];
        query
            .user
            .as_ref()
            .is_none_or(|user| task.is_shown_as(user))
    }

    /// The status of the task at an index below [`TaskList::len`]; none if no Job of it is the user's.
    pub fn status(&self, index: usize) -> Option<TaskStatus> {
        let (id, task) = &self.tasks[index];
        task.status(*id, self.user.as_ref(), &self.namespace)
    }
}

/// A part of a list.
pub struct Page {
    pub tasks: Vec<TaskStatus>,
    /// The place of the last task, if there are more behind it.
    pub next: Option<ListPlace>,
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
    fn a_user_is_found_by_each_name_that_is_shown() {
        let account = "system:serviceaccount:team:ci";
        let list = TaskList::of([object("job", 0, "team-ci-7077", Some(account))].into_iter());
        for (name, expected) in [
            (account, true),
            ("team:ci", true),
            ("team-ci-7077", true),
            ("ci", false),
            ("team:c", false),
        ] {
            let query = ListQuery {
                user: Some(name.to_owned()),
                ..ListQuery::default()
            };
            assert_eq!(list.is_of(0, &query), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn pages_together_are_the_list_in_each_order() {
        let jobs = (0..7).map(|number| {
            let mut job = object("job", 0, "ada", None);
            let metadata = &mut job["metadata"];
            metadata["name"] = format!("job-{number}").into();
            metadata["uid"] = format!("uid-{number}").into();
            metadata["labels"]["task-id"] = format!("ab12cd3{number}").into();
            metadata["labels"]["task-name"] = format!("t{}", number % 3).into();
            metadata["labels"]["username"] = ["ada", "bob"][number % 2].into();
            metadata["annotations"]["num-nodes"] = "1".into();
            metadata["annotations"]["created-at"] =
                format!("2026-01-02T03:04:0{}.000000", number / 2).into();
            job
        });
        let list = TaskList::of(jobs);
        let now = "2026-01-02T03:04:06".parse().unwrap();
        let ids = |tasks: &[TaskStatus]| -> String {
            let ids = tasks
                .iter()
                .map(|task| task.task_id.as_str()[7..].to_owned());
            ids.collect()
        };
        for (sort, whole) in [
            (Sort::Created, "6452301"),
            (Sort::Name, "6304152"),
            (Sort::User, "6420531"),
            (Sort::Status, "6452301"),
        ] {
            for limit in 1..8 {
                let mut query = ListQuery {
                    sort,
                    limit: Some(limit),
                    ..ListQuery::default()
                };
                let mut found = String::new();
                loop {
                    let page = list.page(&query, now).await;
                    assert!(page.tasks.len() == limit || page.next.is_none());
                    found += &ids(&page.tasks);
                    let Some(next) = page.next else { break };
                    query.after = Some(next);
                }
                assert_eq!(found, whole, "{sort} {limit}");
            }
        }
        let query = ListQuery {
            user: Some("bob".to_owned()),
            name: Some("t[12]".to_owned()),
            ..ListQuery::default()
        };
        assert_eq!(ids(&list.page(&query, now).await.tasks), "");
        let query = ListQuery {
            name: Some("t2".to_owned()),
            ..query
        };
        assert_eq!(ids(&list.page(&query, now).await.tasks), "5");
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
