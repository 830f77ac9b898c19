//! Starts the tasks of a group when it is their turn, and deletes the files of a group that has ended.
//!
//! A task that waits has Jobs of parallelism 0, so all state is in the cluster. The next one is always that of the lowest rank, and its
//! first Job is changed only in the version that the decision has seen. So of two servers with different views one changes it, and the
//! other one is refused and looks again: together they start no more tasks than one server would.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    api::{Reason, TaskId},
    executor::{
        cluster::CONCURRENCY,
        error::Result,
        files::Files,
        identity::Version,
        objects::{KeptFiles, labels},
        observed::{JobRow, Observed},
        view::LiveView,
    },
};

/// The shortest time between two looks at the groups. A busy view changes many times a second.
const PACE: Duration = Duration::from_millis(100);
/// The longest one, after a failure of Kubernetes.
const INTERVAL: Duration = Duration::from_secs(10);

/// A change of an object of a group.
#[derive(Debug, PartialEq)]
enum Step {
    /// Marks a task as complete, since others of its group are: they were marked when all existed.
    Complete { job: Box<str> },
    /// Starts a task, with its first Job in this version.
    Begin { job: Box<str>, version: Version },
    /// Starts another node of a task that has started.
    Follow { job: Box<str> },
}

/// Looks at the groups whenever tasks have changed. Never returns.
pub async fn keep_going(live: &LiveView, files: &Files) {
    let mut changes = live.view.changes();
    loop {
        changes.mark_unchanged();
        // A view that is behind may not show that a task has ended, but not more room than there is.
        if live.view.is_fresh() {
            for group in live.view.busy_groups() {
                if let Err(error) = settle(live, files, &group).await {
                    log::warn!("cannot go on with a group of tasks: {error}");
                }
            }
        }
        sleep(PACE).await;
        // The view never goes away, so an error is one of the time.
        let _ = timeout(INTERVAL, changes.changed()).await;
    }
}

async fn settle(live: &LiveView, files: &Files, group: &[(TaskId, Arc<Observed>)]) -> Result<()> {
    let steps = stream::iter(plan(group)).map(|step| apply(live, step));
    let steps: Vec<Result<()>> = steps.buffer_unordered(CONCURRENCY).collect().await;
    steps.into_iter().collect::<Result<()>>()?;
    if let Some(kept) = files_to_delete(group) {
        let marks: Vec<_> = group
            .iter()
            .filter_map(|(_, task)| task.jobs.first())
            .filter(|job| job.files.is_some() && !job.has_deleted_files)
            .map(|job| job.name.clone())
            .collect();
        if let Some((id, _)) = group.first()
            && !files.delete(&live.cluster, *id, &kept).await?
        {
            return Ok(());
        }
        let patch = json!({ "metadata": { "annotations": { labels::FILES_DELETED: "true" } } });
        let marks = stream::iter(marks).map(|job| {
            let patch = patch.clone();
            async move { live.patch::<JobRow>("Job", &job, patch).await.map(drop) }
        });
        let marks: Vec<Result<()>> = marks.buffer_unordered(CONCURRENCY).collect().await;
        marks.into_iter().collect::<Result<()>>()?;
    }
    Ok(())
}

async fn apply(live: &LiveView, step: Step) -> Result<()> {
    let (job, patch) = match step {
        Step::Complete { job } => {
            let annotations = json!({ labels::COMPLETE: "true" });
            (job, json!({ "metadata": { "annotations": annotations } }))
        }
        Step::Begin { job, version } => {
            let metadata = json!({ "resourceVersion": version.to_string() });
            let patch = json!({ "metadata": metadata, "spec": { "parallelism": 1 } });
            log::info!("a task of a group begins job={job}");
            (job, patch)
        }
        Step::Follow { job } => (job, json!({ "spec": { "parallelism": 1 } })),
    };
    match live.patch::<JobRow>("Job", &job, patch).await {
        // Another server was first, or the Job has changed: the view shows it soon.
        Err(error) if error.reason() == Reason::Conflict => Ok(()),
        patched => patched.map(drop),
    }
}

/// The steps that a group of one owner requires.
fn plan(group: &[(TaskId, Arc<Observed>)]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut queued: BTreeMap<u32, &JobRow> = BTreeMap::new();
    let mut active = 0_usize;
    let firsts = || {
        group
            .iter()
            .filter_map(|(_, task)| Some((task, task.jobs.first()?)))
    };
    // A further attempt of a task is not that of its group: see `recovery`.
    let is_begun = |first: &JobRow| first.is_begun() && first.attempt == 1;
    let is_whole = firsts().any(|(_, first)| first.is_complete);
    for (task, first) in firsts() {
        if first.is_queued() {
            let rank = first.group.as_ref().map_or(0, |group| group.rank);
            queued.insert(rank, first);
        } else if is_begun(first) {
            let job = first.name.clone();
            steps.extend(is_whole.then_some(Step::Complete { job }));
        } else if !first.is_waiting_in_group() {
            let held = task.jobs.iter().filter(|job| job.is_waiting_in_group());
            let held = held.filter(|_| !task.is_stopping());
            steps.extend(held.map(|job| Step::Follow {
                job: job.name.clone(),
            }));
            active += usize::from(!task.has_ended());
        }
    }
    if firsts().any(|(_, first)| is_begun(first)) {
        // Its server is marking the tasks, and starts the first ones.
        return steps;
    }
    let most = firsts().find_map(|(_, first)| first.group.as_ref()?.max_running);
    let most = most.map_or(usize::MAX, |most| most as usize);
    let room = most.saturating_sub(active);
    steps.extend(queued.into_values().take(room).map(|first| Step::Begin {
        job: first.name.clone(),
        version: first.version,
    }));
    steps
}

/// The files of a group whose tasks have all ended.
fn files_to_delete(group: &[(TaskId, Arc<Observed>)]) -> Option<Arc<KeptFiles>> {
    let jobs = || group.iter().flat_map(|(_, task)| &task.jobs);
    let mut kept = jobs().filter(|job| !job.has_deleted_files);
    let files = kept.find_map(|job| job.files.clone())?;
    let has_ended = group.iter().all(|(_, task)| task.has_ended());
    has_ended.then_some(files)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value};

    use super::*;

    /// The first Job of a task of a group of five, of which two run at a time.
    fn job(rank: u32, state: &str) -> Value {
        let (is_held, complete) = match state {
            "begun" => (true, "false"),
            "queued" => (true, "true"),
            _ => (false, "true"),
        };
        let end = match state {
            "done" => json!([{"type": "Complete", "status": "True"}]),
            "failed" => json!([{"type": "Failed", "status": "True"}]),
            _ => json!([]),
        };
        json!({
            "metadata": {
                "name": format!("job-{rank}"), "uid": format!("uid-{rank}"), "resourceVersion": format!("{}", 10 + rank),
                "labels": {"task-id": format!("task000{rank}"), "k8s-cli/group": "gr00up00"},
                "annotations": {
                    "num-nodes": "1", "k8s-cli/complete": complete, "k8s-cli/job-rank": rank.to_string(),
                    "k8s-cli/num-jobs": "5", "k8s-cli/max-running": "2", "k8s-cli/parameters": "{}",
                },
            },
            "spec": {"parallelism": u32::from(!is_held)},
            "status": {"conditions": end},
        })
    }

    fn group(jobs: Vec<Vec<Value>>) -> Vec<(TaskId, Arc<Observed>)> {
        let tasks = jobs.into_iter().enumerate().map(|(index, jobs)| {
            let jobs = jobs
                .into_iter()
                .map(|job| Arc::new(from_value(job).unwrap()));
            let task = Observed {
                jobs: jobs.collect(),
                ..Observed::default()
            };
            (format!("task000{index}").parse().unwrap(), Arc::new(task))
        });
        tasks.collect()
    }

    fn planned(states: [&str; 5]) -> Vec<String> {
        let jobs = (0..5)
            .zip(states)
            .map(|(rank, state)| vec![job(rank, state)]);
        let steps = plan(&group(jobs.collect())).into_iter();
        let names = steps.map(|step| match step {
            Step::Complete { job } => format!("complete {job}"),
            Step::Begin { job, version } => format!("begin {job} {version}"),
            Step::Follow { job } => format!("follow {job}"),
        });
        names.collect()
    }

    #[test]
    fn the_first_tasks_that_wait_start_where_there_is_room() {
        for (states, expected) in [
            (["queued"; 5], &["begin job-0 10", "begin job-1 11"][..]),
            (["running", "queued", "running", "queued", "queued"], &[]),
            (["running", "running", "running", "queued", "queued"], &[]),
            (
                ["done", "running", "queued", "queued", "queued"],
                &["begin job-2 12"],
            ),
            (
                ["failed", "done", "queued", "done", "queued"],
                &["begin job-2 12", "begin job-4 14"],
            ),
            (["done"; 5], &[]),
            // The group is being created, or its creation was cut off.
            (["begun"; 5], &[]),
            (
                ["running", "begun", "begun", "running", "queued"],
                &["complete job-1", "complete job-2"],
            ),
            (
                ["running", "begun", "queued", "queued", "queued"],
                &["complete job-1"],
            ),
        ] {
            assert_eq!(planned(states), expected, "{states:?}");
        }
    }

    #[test]
    fn the_other_nodes_of_a_task_start_with_the_first() {
        let mut second = job(0, "queued");
        second["metadata"]["name"] = "job-0-node-1".into();
        second["metadata"]["labels"]["node-idx"] = "1".into();
        let of = |state| plan(&group(vec![vec![job(0, state), second.clone()]]));
        assert_eq!(
            of("running"),
            [Step::Follow {
                job: "job-0-node-1".into()
            }]
        );
        assert!(matches!(&of("queued")[..], [Step::Begin { .. }]));
        assert_eq!(of("begun"), []);
    }

    #[test]
    fn files_are_kept_until_the_whole_group_has_ended() {
        let with_files = |state: &str| {
            let mut job = job(0, state);
            let files = r#"{"size":1,"sha256":"ab","secrets":1,"holder":"task0000"}"#;
            job["metadata"]["annotations"]["k8s-cli/files"] = files.into();
            job
        };
        let due = |states: [&str; 2]| {
            let jobs = states.map(|state| vec![with_files(state)]);
            files_to_delete(&group(jobs.into())).is_some()
        };
        assert!(due(["done", "failed"]));
        assert!(!due(["done", "running"]) && !due(["queued", "done"]));
    }
}
