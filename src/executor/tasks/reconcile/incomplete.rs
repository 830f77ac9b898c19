//! Ends what a server that was killed has left half-made: creations and stops.
//!
//! Nothing is removed because a server starts: another one may just be making it. A creation without progress for [`PATIENCE`], by
//! Kubernetes' clock, has failed. Its first Job stays and says so; its other objects are deleted.

use std::{collections::HashSet, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    api::{Reason, TaskId},
    executor::{
        error::Result,
        files::delete_secrets,
        objects::{Stem, labels},
        observed::{JobRow, KeyedJobRow, Observed},
        tasks::stop,
        view::LiveView,
    },
};

/// The time between two looks at all tasks.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long a creation may make no progress, in seconds. A server gives each request ten seconds, and a few attempts.
const PATIENCE: i64 = 5 * 60;

/// Looks for half-made tasks from time to time. Never returns.
pub async fn keep_ended(live: &LiveView) {
    let mut stopping = HashSet::new();
    loop {
        sleep(INTERVAL).await;
        if live.view.is_fresh()
            && let Err(error) = look(live, &mut stopping).await
        {
            log::warn!("cannot end a half-made task: {error}");
        }
    }
}

/// Looks at all tasks once. `stopping` holds those that were being stopped the last time.
async fn look(live: &LiveView, stopping: &mut HashSet<TaskId>) -> Result<()> {
    let before = std::mem::take(stopping);
    for (id, task) in live.view.list(None) {
        if task.is_stopping() {
            // Longer than a request takes: its server has ended.
            if before.contains(&id) {
                stop::finish(live, id).await?;
                log::info!("a stop was finished that another server had begun task_id={id}");
            }
            stopping.insert(id);
        } else if has_begun(&task) {
            end_creation(live, id).await?;
        }
    }
    Ok(())
}

/// Whether the creation of a task has begun, and has not ended.
fn has_begun(task: &Observed) -> bool {
    // The creation of a further attempt goes on: see `recovery`.
    (task.jobs.first()).is_some_and(|job| job.is_begun() && job.attempt == 1)
}

/// Ends the creation of a task, if it makes no progress.
async fn end_creation(live: &LiveView, id: TaskId) -> Result<()> {
    let known = live.view.task(id);
    let group = known.and_then(|task| task.jobs.first()?.group.clone());
    let selector = match group {
        // Its creation is that of all tasks of its group.
        Some(group) => labels::group_selector(group.group_id),
        None => labels::task_selector(id),
    };
    let selected = ListParams::default().labels(&selector);
    let (jobs, _) = live.cluster.list::<KeyedJobRow>(selected).await?;
    let is_of_task = |job: &&KeyedJobRow| job.job.task == Some(id);
    let mut of_task = jobs.iter().filter(is_of_task);
    let Some(first) = of_task.find(|job| job.job.is_begun()) else {
        return Ok(());
    };
    let together = || jobs.iter().filter(|job| job.job.owner == first.job.owner);
    if together().any(|job| job.job.is_complete) {
        // `groups` completes the rest.
        return Ok(());
    }
    let own = || together().filter(is_of_task);
    let (last, now) = (
        together().filter_map(|job| job.made_at).max(),
        live.cluster.now().await?,
    );
    let since = last.zip(now);
    let Some((_, now)) = since.filter(|(last, now)| last.seconds_until(*now) >= PATIENCE) else {
        return Ok(());
    };
    let count = own().count();
    let patch = json!({ "metadata": {
        // A creation that goes on after all wins.
        "resourceVersion": first.job.version.to_string(),
        "annotations": {
            labels::INCOMPLETE: count.to_string(),
            labels::INCOMPLETE_SINCE: now.to_string(),
        },
    }});
    match live.patch::<JobRow>("Job", &first.job.name, patch).await {
        Err(error) if error.reason() == Reason::Conflict => return Ok(()),
        marked => marked?,
    };
    let others = own().filter(|job| job.job.uid != first.job.uid);
    stop::delete_all(live, others.map(|job| job.job.clone())).await?;
    let nonce = first.keyed.as_ref().map(|keyed| keyed.nonce.as_str());
    let stem = Stem::new(id, nonce);
    let secrets = [stem.secret(), stem.script_secret(), stem.registry_secret()];
    delete_secrets(&live.cluster.api::<Secret>(), secrets.into_iter()).await?;
    log::warn!("a creation was ended that made no progress task_id={id} jobs={count}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::executor::scripted_server;

    fn job(rank: u32, parallelism: u32, annotations: &Value) -> Value {
        let mut own = json!({"num-nodes": "3", "k8s-cli/user": "ada", "k8s-cli/nonce": "x1y2z", "k8s-cli/request": "ab"});
        let more = annotations.as_object().unwrap().clone();
        own.as_object_mut().unwrap().extend(more);
        json!({
            "metadata": {
                "name": format!("t-node-{rank}"), "uid": format!("uid-{rank}"), "resourceVersion": format!("{}", 7 + rank),
                "creationTimestamp": format!("2026-01-02T03:04:0{rank}Z"),
                "labels": {"skypilot-task": "true", "task-id": "ab12cd34", "username": "ada", "node-idx": rank.to_string()},
                "annotations": own,
            },
            "spec": {"parallelism": parallelism},
        })
    }

    /// Looks twice at a cluster with these Jobs at a time of day; returns the requests that change something.
    async fn looked(jobs: Vec<Value>, time: &'static str) -> Vec<String> {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let list = json!({"metadata": {"resourceVersion": "9"}, "items": jobs}).to_string();
        let cluster = scripted_server::cluster(move |request| {
            let (method, name) = scripted_server::method_and_name(request);
            if method != "GET" {
                seen.lock().unwrap().push(format!("{method} {name}"));
            }
            Some(match (method, name) {
                ("GET", "version") => format!(
                    "Date: Fri, 02 Jan 2026 {time} GMT\n\n{}",
                    json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "", "gitTreeState": "",
                        "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
                ),
                ("GET", "jobs") => list.clone(),
                ("GET", _) => json!({"metadata": {"resourceVersion": "9"}, "items": []}).to_string(),
                ("PATCH", _) => {
                    let mut marked = job(0, 0, &json!({"k8s-cli/incomplete": "2"}));
                    marked["metadata"]["resourceVersion"] = "20".into();
                    marked.to_string()
                }
                _ => json!({"kind": "Status", "status": "Success"}).to_string(),
            })
        })
        .await;
        let live = LiveView::new(cluster);
        live.refresh_jobs("ab12cd34".parse().unwrap())
            .await
            .unwrap();
        let mut stopping = HashSet::new();
        for _ in 0..2 {
            look(&live, &mut stopping).await.unwrap();
        }
        let requests = requests.lock().unwrap();
        requests.clone()
    }

    #[actix_rt::test]
    async fn a_creation_without_progress_has_failed() {
        let begun = || vec![job(0, 0, &json!({})), job(1, 1, &json!({}))];
        assert!(looked(begun(), "03:09:00").await.is_empty());
        let expected = [
            "PATCH t-node-0",
            "DELETE t-node-1",
            "DELETE task-ab12cd34-x1y2z",
            "DELETE task-ab12cd34-x1y2z-registry",
            "DELETE task-ab12cd34-x1y2z-shared",
        ];
        let mut requests = looked(begun(), "03:09:01").await;
        requests[2..].sort();
        assert_eq!(requests, expected);
    }

    #[actix_rt::test]
    async fn whole_tasks_and_those_of_others_are_left_alone() {
        for jobs in [
            vec![job(0, 1, &json!({})), job(1, 1, &json!({}))],
            vec![job(0, 0, &json!({"k8s-cli/complete": "true"}))],
            vec![job(0, 0, &json!({"k8s-cli/incomplete": "1"}))],
        ] {
            assert!(looked(jobs, "23:00:00").await.is_empty());
        }
    }

    #[actix_rt::test]
    async fn a_stop_that_another_server_has_begun_is_finished() {
        let stopping = json!({"k8s-cli/stopping": "true"});
        let jobs = vec![job(0, 1, &stopping), job(2, 1, &json!({}))];
        let expected = ["DELETE t-node-2", "DELETE t-node-0"];
        assert_eq!(looked(jobs, "03:04:05").await, expected);
    }
}
