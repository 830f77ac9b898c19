//! Stops the other nodes of a task when one node fails: they would wait for it as long as they may.
//!
//! The logs of the stopped nodes stay readable, so their Jobs are not deleted. A pod that has started gets a deadline that has
//! passed already, which its kubelet enforces. No kubelet enforces the deadline of a pod that has not started, so in that case the
//! Job gets the deadline. An annotation on either names the rank of the failed node. All state is in the cluster: a server that
//! starts continues the work of another one.

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

/// Stops the other nodes of each task of which a node fails. Never returns.
pub async fn run(live: &LiveView) {
    let mut backoffs: HashMap<TaskId, Backoff> = HashMap::new();
    let mut last_message = String::new();
    loop {
        let id = live.view.next_failing().await;
        let Err(error) = stop_others(live, id).await else {
            backoffs.remove(&id);
            continue;
        };
        let error = error.to_string();
        if error != last_message {
            log::warn!("cannot stop the other nodes of failed tasks: {error}");
            last_message = error;
        }
        // The pause is for this task only.
        let pause = backoffs.entry(id).or_default().next(rand::random());
        let view = live.view.clone();
        view.postpone(id);
        tokio::spawn(async move {
            sleep(pause).await;
            view.try_again(id);
        });
    }
}

/// Stops the running nodes of a task of which a node has failed.
async fn stop_others(live: &LiveView, id: TaskId) -> Result<()> {
    let (jobs, pods) = (live.cluster.api::<Job>(), live.cluster.api::<Pod>());
    // The choice between pod and Job needs the current state of the pod.
    live.refresh_task(id).await?;
    let observed = live.view.task(id).unwrap_or_default();
    let Some(Plan { first, targets }) = plan(&observed) else {
        return Ok(());
    };
    if !targets.is_empty() {
        log::info!(
            "task stopped after a failure task_id={id} failed_node={first} stopped_nodes={}",
            targets.len()
        );
    }
    let stops = targets.into_iter().map(|target| async {
        match target {
            Target::Pod(name) => stop(&pods, "pod", &name, first).await,
            Target::Job(name) => stop(&jobs, "Job", &name, first).await,
        }
    });
    let results: Vec<_> = futures::stream::iter(stops)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    results.into_iter().collect()
}

/// The stops that a failure requires.
#[derive(Debug, PartialEq)]
struct Plan {
    /// The rank of the node that failed first.
    first: u32,
    targets: Vec<Target>,
}

/// An object that gets a deadline that has passed.
#[derive(Debug, PartialEq)]
enum Target {
    Pod(String),
    Job(String),
}

/// The nodes to stop in a task; `None` if no node has failed.
fn plan(observed: &Observed) -> Option<Plan> {
    let pods = observed.newest_pods();
    let pod_of = |job: &JobRow| pods.get(&job.uid).copied();
    let jobs = || observed.jobs.iter().filter(|job| job.fails_fast);
    let failures = jobs().filter_map(|job| match &job.state {
        // A stopped node has failed too, but not first.
        JobState::Failed { at, .. } if stopped_after(job, pod_of(job)).is_none() => {
            Some((*at, job.rank))
        }
        _ => None,
    });
    let (_, first) = failures.min()?;
    let targets = jobs().filter_map(|job| {
        let pod = pod_of(job);
        if job.state.has_ended() || stopped_after(job, pod).is_some() {
            return None;
        }
        Some(match pod.filter(|pod| pod.has_started) {
            Some(pod) => Target::Pod(pod.name.to_string()),
            None => Target::Job(job.name.to_string()),
        })
    });
    Some(Plan {
        first,
        targets: targets.collect(),
    })
}

/// Gives a pod or a Job a deadline that has passed already, or passes in a second. An object that is gone is no error.
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
    fn running_nodes_are_stopped_after_the_first_failure() {
        let targets = vec![
            Target::Pod("pod-0".to_owned()),
            Target::Job("job-3".to_owned()),
        ];
        assert_eq!(plan(&four(&[])), Some(Plan { first: 2, targets }));
    }

    #[test]
    fn a_stopped_node_is_not_stopped_again_and_is_not_the_first_failure() {
        let mark = json!({ labels::STOPPED_AFTER: "1" });
        let marks = ["pod-0", "job-2", "job-3"].map(|name| (name, mark.clone()));
        let observed = four(&marks);
        assert_eq!(
            plan(&observed),
            Some(Plan {
                first: 1,
                targets: vec![]
            })
        );
    }

    #[test]
    fn no_node_is_stopped_without_a_failure_or_without_fail_fast() {
        let mut observed = four(&[]);
        observed.jobs.retain(|job| !job.state.has_ended());
        assert_eq!(plan(&observed), None);
        let kept = json!({ labels::FAIL_FAST: "false" });
        let kept = ["job-0", "job-1", "job-2", "job-3"].map(|name| (name, kept.clone()));
        assert_eq!(plan(&four(&kept)), None);
    }
}
