//! Stops the other nodes of a task when one node fails: they would wait for it as long as they may. Pure.
//!
//! An annotation on each stopped object names the rank of the failed node.

use super::{Change, Target};
use crate::{
    api::TaskState,
    executor::observed::{JobRow, JobState, Observed, PodRow, node_status, stopped_after},
};

/// The stops that a failure of a node requires, for the Jobs of one owner.
pub fn plan(task: &Observed) -> Vec<Change> {
    let pods = task.newest_pods();
    let pod_of = |job: &JobRow| pods.get(&job.uid).copied();
    let jobs = || task.jobs.iter().filter(|job| job.fails_fast);
    let failures = jobs().filter_map(|job| {
        let node = node_status(job, pod_of(job), task);
        // A stopped node has failed too, but not first.
        let is_own = node.status == TaskState::Failed && node.stopped_after.is_none();
        let at = match job.state {
            JobState::Failed { at, .. } => at,
            _ => None,
        };
        is_own.then_some((at.is_none(), at, job.rank))
    });
    let missing = task
        .nodes_without_job()
        .into_iter()
        .filter(|node| node.status == TaskState::Failed && node.stopped_after.is_none());
    let missing = missing.map(|node| (true, None, node.rank));
    let Some((.., first)) = failures.chain(missing).min() else {
        return Vec::new();
    };
    let targets = jobs().filter_map(|job| {
        let pod = pod_of(job);
        // A pod that has ended by itself keeps its own reason, although Kubernetes has not ended its Job yet.
        let is_over = job.state.has_ended() || pod.is_some_and(PodRow::has_ended);
        if is_over || stopped_after(job, pod).is_some() {
            return None;
        }
        Some(match pod.filter(|pod| pod.has_started) {
            Some(pod) => Target::Pod(pod.name.to_string()),
            None => Target::Job(job.name.to_string()),
        })
    });
    let stop = |target| Change::Stop {
        target,
        after: Some(first),
    };
    targets.map(stop).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::executor::objects::labels;

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
            ..Observed::default()
        }
    }

    fn stop(target: Target, first: u32) -> Change {
        Change::Stop {
            target,
            after: Some(first),
        }
    }

    #[test]
    fn running_nodes_are_stopped_after_the_first_failure() {
        let targets = [
            Target::Pod("pod-0".to_owned()),
            Target::Job("job-3".to_owned()),
        ];
        let stops = targets.map(|target| stop(target, 2));
        assert_eq!(plan(&four(&[])), stops);
    }

    #[test]
    fn a_stopped_node_is_not_stopped_again_and_is_not_the_first_failure() {
        let mark = json!({ labels::STOPPED_AFTER: "1" });
        let marks = ["pod-0", "job-2"].map(|name| (name, mark.clone()));
        let observed = four(&marks);
        let stop = stop(Target::Job("job-3".to_owned()), 1);
        assert_eq!(plan(&observed), [stop]);
    }

    #[test]
    fn a_pod_that_has_ended_keeps_its_own_reason() {
        let mut task = four(&[]);
        let mut ended = pod(0, Some("2026-01-02T03:04:05Z"), &json!({}));
        ended["status"]["phase"] = "Failed".into();
        task.pods[0] = Arc::new(from_value(ended).unwrap());
        assert_eq!(plan(&task), [stop(Target::Job("job-3".to_owned()), 2)]);
    }

    #[test]
    fn no_node_is_stopped_without_a_failure_or_without_fail_fast() {
        let mut observed = four(&[]);
        observed.jobs.retain(|job| !job.state.has_ended());
        assert_eq!(plan(&observed), []);
        let kept = json!({ labels::FAIL_FAST: "false" });
        let kept = ["job-0", "job-1", "job-2", "job-3"].map(|name| (name, kept.clone()));
        assert_eq!(plan(&four(&kept)), []);
    }
}
