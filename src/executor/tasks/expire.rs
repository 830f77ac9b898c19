//! Deletes tasks some time after they have finished. Kubernetes has a field for that, which 1.20 drops silently.

use std::time::Duration;

use tokio::time::sleep;

use super::stop::delete_whole;
use crate::{
    api::{TaskStatus, Timestamp},
    executor::{fresh, view::LiveView},
};

/// The longest time between two looks at the tasks.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The shortest one, for tests.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// Deletes each task when `ttl` has passed since its last change. Never returns.
pub async fn run(live: &LiveView, ttl: Duration) {
    loop {
        sleep((ttl / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
        // An old view may not know that a node still runs.
        if !live.view.is_fresh() {
            continue;
        }
        let now = fresh::now();
        for (id, task) in live.view.list(None) {
            let status = task.status(id, None, &live.cluster.namespace);
            if !status.is_some_and(|status| is_due(&status, ttl, now)) {
                continue;
            }
            match delete_whole(live, id, &task).await {
                Ok(()) => log::info!("task expired task_id={id}"),
                Err(error) => log::warn!("cannot delete task {id}, which has expired: {error}"),
            }
        }
    }
}

/// Whether a task has ended, with all its nodes, and its time is over.
fn is_due(task: &TaskStatus, ttl: Duration, now: Timestamp) -> bool {
    let metadata = &task.metadata;
    let has_ended = task.status.is_terminal()
        && metadata.succeeded_nodes + metadata.failed_nodes == metadata.num_nodes;
    let age = task.updated_at.seconds_until(now);
    has_ended && u64::try_from(age).is_ok_and(|age| age >= ttl.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{TaskMetadata, TaskState};

    #[test]
    fn a_task_expires_when_all_its_nodes_have_ended_long_ago() {
        let now: Timestamp = "2026-01-01T01:00:00".parse().unwrap();
        for (status, failed_nodes, updated_at, expected) in [
            (TaskState::Failed, 2, "2026-01-01T00:00:00", true),
            (TaskState::Completed, 2, "2026-01-01T00:00:00", true),
            (TaskState::Completed, 2, "2026-01-01T00:00:01", false),
            // Another node still runs.
            (TaskState::Failed, 1, "2026-01-01T00:00:00", false),
            (TaskState::Running, 0, "2026-01-01T00:00:00", false),
            // The clock of another machine is ahead.
            (TaskState::Failed, 2, "2026-01-01T02:00:00", false),
        ] {
            let task = TaskStatus {
                task_id: "ab12cd34".parse().unwrap(),
                name: String::new(),
                status,
                created_at: Timestamp::EPOCH,
                updated_at: updated_at.parse().unwrap(),
                username: String::new(),
                reason: None,
                metadata: TaskMetadata {
                    num_nodes: 2,
                    failed_nodes,
                    ..TaskMetadata::default()
                },
                events: Vec::new(),
            };
            let due = is_due(&task, Duration::from_secs(3600), now);
            assert_eq!(due, expected, "{status} {failed_nodes} {updated_at}");
        }
    }
}
