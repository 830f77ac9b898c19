//! When a node of a task fails, the others are stopped at once: they would wait for it for as long as they are let.
//!
//! What they have printed stays readable, so their Jobs are not deleted: a pod that has started is given a deadline that has
//! passed already, which its kubelet enforces. A pod that has not started never would notice; there the Job is given
//! the deadline. Both say in an annotation whose failure it was. Nothing is remembered that the cluster does not know: a server
//! that starts finds what another one has left to do.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
};

use futures::StreamExt;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    api::TaskId,
    backoff::Backoff,
    executor::{
        cluster::{CONCURRENCY, call},
        error::Result,
        objects::labels,
        observed::{JobRow, JobState, Observed, stopped_after},
        view::LiveView,
    },
};

/// Stops the other nodes of each task of which a node fails, for ever.
pub async fn run(live: &LiveView) {
    let mut backoffs: HashMap<TaskId, Backoff> = HashMap::new();
    let mut told = String::new();
    loop {
        let id = live.view.next_endangered().await;
        let Err(error) = stop_others(live, id).await else {
            backoffs.remove(&id);
            continue;
        };
        let error = error.to_string();
        if error != told {
            log::warn!("the other nodes of tasks that fail are not stopped for now: {error}");
            told = error;
        }
        // The other tasks need not wait for it.
        let pause = backoffs.entry(id).or_default().next(rand::random());
        let view = live.view.clone();
        view.postpone(id);
        tokio::spawn(async move {
            sleep(pause).await;
            view.try_again(id);
        });
    }
}

/// Stops the nodes that still run of a task of which a node has failed.
async fn stop_others(live: &LiveView, id: TaskId) -> Result<()> {
    let (jobs, pods) = (live.cluster.api::<Job>(), live.cluster.api::<Pod>());
    // Whether a pod has started is decided by its current state.
    live.refresh_task(id).await?;
    let observed = live.view.task(id).unwrap_or_default();
    let Some(plan) = plan(&observed) else {
        return Ok(());
    };
    let Plan { first, victims } = plan;
    if !victims.is_empty() {
        log::info!(
            "task stopped after a failure task_id={id} failed_node={first} stopped_nodes={}",
            victims.len()
        );
    }
    let stops = victims.into_iter().map(|victim| async {
        match victim {
            Victim::Pod(name) => stop(&pods, "pod", &name, first).await,
            Victim::Job(name) => stop(&jobs, "Job", &name, first).await,
        }
    });
    let results: Vec<_> = futures::stream::iter(stops)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    results.into_iter().collect()
}

/// What is to be done about a failure.
#[derive(Debug, PartialEq)]
struct Plan {
    /// The rank of the node that failed first.
    first: u32,
    victims: Vec<Victim>,
}

/// Who is to have no time left.
#[derive(Debug, PartialEq)]
enum Victim {
    Pod(String),
    Job(String),
}

/// Whom to stop of a task; none if no node has failed.
fn plan(observed: &Observed) -> Option<Plan> {
    let pods = observed.newest_pods();
    let pod_of = |job: &JobRow| pods.get(&job.uid).copied();
    let jobs = || observed.jobs.iter().filter(|job| job.fails_fast);
    let failures = jobs().filter_map(|job| match &job.state {
        // Those that were stopped have failed too.
        JobState::Failed { at, .. } if stopped_after(job, pod_of(job)).is_none() => {
            Some((*at, job.rank))
        }
        _ => None,
    });
    let (_, first) = failures.min()?;
    let victims = jobs().filter_map(|job| {
        let pod = pod_of(job);
        if job.state.has_ended() || stopped_after(job, pod).is_some() {
            return None;
        }
        Some(match pod.filter(|pod| pod.has_started) {
            Some(pod) => Victim::Pod(pod.name.to_string()),
            None => Victim::Job(job.name.to_string()),
        })
    });
    Some(Plan {
        first,
        victims: victims.collect(),
    })
}

/// Gives a pod or a Job a deadline that has passed already, or passes in a second. It may be gone, too.
async fn stop<K>(api: &Api<K>, kind: &str, name: &str, first: u32) -> Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let annotations = BTreeMap::from([(labels::STOPPED_AFTER, first.to_string())]);
    let patch = Patch::Merge(json!({
        "metadata": { "annotations": annotations },
        "spec": { "activeDeadlineSeconds": 1 },
    }));
    let patched = async {
        match api.patch(name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            answer => answer.map(drop),
        }
    };
    call(format!("stop {kind} `{name}`"), patched).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, from_value};

    use super::*;

    fn job(rank: u32, end: Option<(&str, &str)>, annotations: &Value) -> Value {
        let conditions: Vec<Value> = end
            .iter()
            .map(|(kind, time)| {
                json!({ "type": kind, "status": "True", "lastTransitionTime": format!("2026-01-02T03:04:{time}Z") })
            })
            .collect();
        let mut job = json!({
            "metadata": {
                "name": format!("job-{rank}"),
                "uid": format!("uid-{rank}"),
                "labels": { "task-id": "ab12cd34", "node-idx": rank.to_string() },
                "annotations": { "num-nodes": "4" },
            },
            "status": { "conditions": conditions },
        });
        let own = job["metadata"]["annotations"].as_object_mut().unwrap();
        own.extend(annotations.as_object().unwrap().clone());
        job
    }

    fn pod(rank: u32, start: Option<&str>, annotations: &Value) -> Value {
        json!({
            "metadata": {
                "name": format!("pod-{rank}"),
                "uid": format!("pod-uid-{rank}"),
                "labels": { "task-id": "ab12cd34", "node-idx": rank.to_string() },
                "annotations": annotations,
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": format!("uid-{rank}"), "controller": true,
                }],
            },
            "status": { "startTime": start },
        })
    }

    /// Four nodes, of which two have failed; `marks` are annotations of single objects.
    fn four(marks: &[(&str, Value)]) -> Observed {
        let mark = |name: &str| {
            let found = marks.iter().find(|(marked, _)| *marked == name);
            found.map_or_else(|| json!({}), |(_, annotations)| annotations.clone())
        };
        let job = |rank, end| job(rank, end, &mark(&format!("job-{rank}")));
        let pod = |rank, start| pod(rank, start, &mark(&format!("pod-{rank}")));
        let jobs = [
            job(0, None),
            job(1, Some(("Failed", "07"))),
            job(2, Some(("Failed", "06"))),
            job(3, None),
        ];
        let pods = [pod(0, Some("2026-01-02T03:04:05Z")), pod(3, None)];
        Observed {
            jobs: jobs.map(|job| Arc::new(from_value(job).unwrap())).into(),
            pods: pods.map(|pod| Arc::new(from_value(pod).unwrap())).into(),
            failures: HashMap::new(),
        }
    }

    #[test]
    fn what_goes_on_is_stopped_after_the_first_that_failed() {
        let victims = vec![
            Victim::Pod("pod-0".to_owned()),
            Victim::Job("job-3".to_owned()),
        ];
        assert_eq!(plan(&four(&[])), Some(Plan { first: 2, victims }));
    }

    #[test]
    fn what_was_stopped_is_not_stopped_again_and_has_not_failed_first() {
        let mark = json!({ labels::STOPPED_AFTER: "1" });
        let marks = ["pod-0", "job-2", "job-3"].map(|name| (name, mark.clone()));
        let observed = four(&marks);
        assert_eq!(
            plan(&observed),
            Some(Plan {
                first: 1,
                victims: vec![]
            })
        );
    }

    #[test]
    fn nothing_is_stopped_without_a_failure_or_when_the_user_says_so() {
        let mut observed = four(&[]);
        observed.jobs.retain(|job| !job.state.has_ended());
        assert_eq!(plan(&observed), None);
        let kept = json!({ labels::FAIL_FAST: "false" });
        let kept = ["job-0", "job-1", "job-2", "job-3"].map(|name| (name, kept.clone()));
        assert_eq!(plan(&four(&kept)), None);
    }
}
