//! The rows of a list in which the tasks of a group share one.

use crate::api::{GroupId, TaskState, TaskStatus, Timestamp};

/// A row of a list.
pub enum Row<'a> {
    Task(&'a TaskStatus),
    Group(Group<'a>),
}

/// The tasks of a group that a list contains, at least one.
pub struct Group<'a> {
    pub id: GroupId,
    tasks: Vec<&'a TaskStatus>,
    num_tasks: usize,
}

/// The rows of tasks in their order. A group stands where its first task stands.
pub fn rows(tasks: &[TaskStatus], folds: bool) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for task in tasks {
        let Some(place) = task.metadata.group.as_ref().filter(|_| folds) else {
            rows.push(Row::Task(task));
            continue;
        };
        // Users may have groups of the same id.
        let group = rows.iter_mut().find_map(|row| match row {
            Row::Group(group)
                if group.id == place.group_id && group.first().username == task.username =>
            {
                Some(group)
            }
            _ => None,
        });
        match group {
            Some(group) => group.tasks.push(task),
            None => rows.push(Row::Group(Group {
                id: place.group_id,
                tasks: vec![task],
                num_tasks: place.num_tasks as usize,
            })),
        }
    }
    rows
}

impl Group<'_> {
    pub fn first(&self) -> &TaskStatus {
        self.tasks[0]
    }

    /// The name that its tasks have in common: `train-*`.
    pub fn name(&self) -> String {
        let first = self.first();
        let group = first.metadata.group.as_ref();
        let name = group.map_or(&*first.name, |group| group.common_name(&first.name));
        format!("{name}-*")
    }

    /// The state of the tasks that have not ended, else whether one has failed.
    pub fn status(&self) -> TaskState {
        let states = [
            TaskState::Stopping,
            TaskState::Running,
            TaskState::Pending,
            TaskState::Failed,
        ];
        let has = |state: &TaskState| self.tasks.iter().any(|task| task.status == *state);
        states.into_iter().find(has).unwrap_or(TaskState::Completed)
    }

    pub fn created_at(&self) -> Timestamp {
        let times = self.tasks.iter().map(|task| task.created_at);
        times.min().unwrap_or(Timestamp::EPOCH)
    }

    pub fn counts(&self) -> String {
        count(self.tasks.iter().copied(), self.num_tasks)
    }
}

/// `12/40 done, 4 running, 1 failed`: how many of the tasks are in which state. Those that are missing were stopped or deleted.
pub fn count<'a>(tasks: impl Iterator<Item = &'a TaskStatus>, all: usize) -> String {
    let (mut present, mut counts) = (0, [0; 5]);
    for task in tasks {
        present += 1;
        counts[task.status as usize] += 1;
    }
    let of = |state: TaskState| counts[state as usize];
    let mut text = format!("{}/{all} done", of(TaskState::Completed));
    for (number, word) in [
        (of(TaskState::Running), "running"),
        (of(TaskState::Stopping), "stopping"),
        (of(TaskState::Failed), "failed"),
        (all.saturating_sub(present), "removed"),
    ] {
        if number > 0 {
            text += &format!(", {number} {word}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{TaskGroup, TaskMetadata};

    fn task(rank: u32, status: TaskState, user: &str, group: Option<&str>) -> TaskStatus {
        TaskStatus {
            task_id: format!("task000{rank}").parse().unwrap(),
            name: format!("train-{rank}"),
            status,
            created_at: format!("2026-01-01T00:00:0{rank}").parse().unwrap(),
            updated_at: Timestamp::EPOCH,
            username: user.to_owned(),
            reason: None,
            metadata: TaskMetadata {
                group: group.map(|id| TaskGroup {
                    group_id: id.parse().unwrap(),
                    rank,
                    num_tasks: 5,
                    max_running: None,
                    parameters: Default::default(),
                }),
                ..TaskMetadata::default()
            },
            events: Vec::new(),
        }
    }

    #[test]
    fn the_tasks_of_a_group_share_a_row() {
        let group = Some("gr00up00");
        let tasks = [
            task(9, TaskState::Pending, "ada", None),
            task(4, TaskState::Pending, "ada", group),
            task(3, TaskState::Running, "ada", group),
            task(2, TaskState::Failed, "ada", group),
            task(0, TaskState::Completed, "ada", group),
            task(1, TaskState::Completed, "bob", group),
        ];
        let shown = rows(&tasks, true).into_iter().map(|row| match row {
            Row::Task(task) => task.name.clone(),
            Row::Group(group) => {
                let (name, created) = (group.name(), group.created_at().to_string());
                format!(
                    "{name} {} {} {}",
                    group.status(),
                    group.counts(),
                    &created[17..19]
                )
            }
        });
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                "train-9",
                "train-* running 1/5 done, 1 running, 1 failed, 1 removed 00",
                "train-* completed 1/5 done, 4 removed 01",
            ]
        );
        assert_eq!(rows(&tasks, false).len(), tasks.len());
    }
}
