//! Lets the nodes of a task begin `run` when the `setup` of all has ended. Pure.
//!
//! The annotation of each pod says whether it may begin, so a server that starts finishes what another one has begun.

use super::Change;
use crate::executor::{
    objects::labels,
    observed::{Barrier, Observed},
};

/// The releases that a task requires, for the Jobs of one owner.
pub fn plan(task: &Observed) -> Vec<Change> {
    let Some(barrier) = Barrier::of(task).filter(Barrier::opens) else {
        return Vec::new();
    };
    let annotation = match barrier.notice() {
        Some(notice) => format!("{} {notice}", labels::START_NOW),
        None => labels::START_NOW.to_owned(),
    };
    let release = |pod: Box<str>| Change::Release {
        pod: pod.into(),
        annotation: annotation.clone(),
    };
    barrier.held.into_iter().map(release).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, from_value, json};

    use super::*;

    fn job(rank: u32, fail_fast: bool) -> Value {
        json!({
            "metadata": {
                "name": format!("job-{rank}"),
                "uid": format!("uid-{rank}"),
                "labels": { "task-id": "ab12cd34", "node-idx": rank.to_string() },
                "annotations": { "num-nodes": "3", labels::FAIL_FAST: fail_fast.to_string() },
            },
            "status": {},
        })
    }

    /// The pod of a node; `start` is its annotation, and `state` that of its container.
    fn pod(rank: u32, start: Option<&str>, state: &str) -> Value {
        let (phase, container) = match state {
            "absent" => (
                "Pending",
                json!({ "waiting": { "reason": "ContainerCreating" } }),
            ),
            "setup" | "ready" => ("Running", json!({ "running": {} })),
            "done" => ("Succeeded", json!({ "terminated": { "exitCode": 0 } })),
            _ => ("Failed", json!({ "terminated": { "exitCode": 3 } })),
        };
        json!({
            "metadata": {
                "name": format!("pod-{rank}"),
                "uid": format!("pod-uid-{rank}"),
                "labels": { "task-id": "ab12cd34", "node-idx": rank.to_string() },
                "annotations": start.map(|start| json!({ labels::START: start })),
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": format!("uid-{rank}"), "controller": true,
                }],
            },
            "status": { "phase": phase, "containerStatuses": [{ "name": "task", "started": state == "ready", "state": container }] },
        })
    }

    fn observed(jobs: Vec<Value>, pods: Vec<Value>) -> Observed {
        Observed {
            jobs: jobs
                .into_iter()
                .map(|job| from_value(job).unwrap())
                .map(Arc::new)
                .collect(),
            pods: pods
                .into_iter()
                .map(|pod| from_value(pod).unwrap())
                .map(Arc::new)
                .collect(),
            ..Observed::default()
        }
    }

    /// Three nodes whose containers are in these states, those that are not empty.
    fn three(fail_fast: bool, start: Option<&str>, states: [&str; 3]) -> Observed {
        let ranks = (0..3).zip(states).filter(|(_, state)| !state.is_empty());
        let pods = ranks.map(|(rank, state)| pod(rank, start, state)).collect();
        observed((0..3).map(|rank| job(rank, fail_fast)).collect(), pods)
    }

    const HELD: Option<&str> = Some(labels::START_HELD);

    /// The pods that are released, and their annotation.
    #[track_caller]
    fn check(task: &Observed, pods: &[u32], expected: &str) {
        let releases = pods.iter().map(|rank| Change::Release {
            pod: format!("pod-{rank}"),
            annotation: expected.to_owned(),
        });
        assert_eq!(plan(task), Vec::from_iter(releases));
    }

    #[test]
    fn all_nodes_are_released_when_the_setup_of_the_last_has_ended() {
        check(&three(true, HELD, ["ready"; 3]), &[0, 1, 2], "now");
        for last in ["", "absent", "setup"] {
            check(&three(true, HELD, ["ready", last, "ready"]), &[], "");
        }
        // A script can end itself in its setup.
        check(
            &three(true, HELD, ["ready", "done", "ready"]),
            &[0, 2],
            "now",
        );
    }

    #[test]
    fn a_node_without_a_job_is_waited_for_until_it_is_known_to_be_gone() {
        let mut task = three(true, HELD, ["ready"; 3]);
        task.jobs.pop();
        task.pods.pop();
        check(&task, &[], "");
        let mut jobs: Vec<_> = (0..2).map(|rank| job(rank, false)).collect();
        jobs[0]["metadata"]["annotations"][labels::COMPLETE] = json!("true");
        let pods = (0..2).map(|rank| pod(rank, HELD, "ready")).collect();
        let task = observed(jobs, pods);
        check(
            &task,
            &[0, 1],
            "now node-2 has failed, and the other nodes go on without it",
        );
    }

    #[test]
    fn a_failed_setup_keeps_the_others_from_run_unless_they_go_on_without_it() {
        let states = ["ready", "failed", "ready"];
        check(&three(true, HELD, states), &[], "");
        let line = "now node-1 has failed, and the other nodes go on without it";
        check(&three(false, HELD, states), &[0, 2], line);
        // The others are still waited for.
        check(&three(false, HELD, ["ready", "failed", "setup"]), &[], "");
    }

    #[test]
    fn a_release_that_has_begun_is_finished() {
        let mut task = three(true, HELD, ["ready", "done", "setup"]);
        task.pods[1] = Arc::new(from_value(pod(1, Some("now"), "done")).unwrap());
        check(&task, &[0, 2], "now");
    }

    #[test]
    fn pods_that_do_not_wait_or_have_been_released_stay_as_they_are() {
        for start in [None, Some("now"), Some("now node-1 has failed")] {
            check(&three(true, start, ["ready"; 3]), &[], "");
        }
        // A pod of an older version is not waited for.
        let mut task = three(true, HELD, ["ready"; 3]);
        task.pods[1] = Arc::new(from_value(pod(1, None, "setup")).unwrap());
        check(&task, &[0, 2], "now");
    }

    #[test]
    fn a_reason_names_the_nodes_that_the_others_wait_for() {
        let reasons = |task: &Observed| {
            let status = task
                .status("ab12cd34".parse().unwrap(), None, "default")
                .unwrap();
            let nodes = status.metadata.nodes.into_iter().map(|node| node.reason);
            (status.reason, Vec::from_iter(nodes))
        };
        let text = |text: &str| Some(text.to_owned());
        let waiting = text("waiting for the setup of 2 of 3 nodes: node-1, node-2");
        assert_eq!(
            reasons(&three(true, HELD, ["ready", "setup", "setup"])),
            (
                waiting.clone(),
                vec![waiting, text("setting up"), text("setting up")]
            )
        );
        let setting_up = text("setting up");
        assert_eq!(
            reasons(&three(true, HELD, ["setup"; 3])),
            (setting_up.clone(), vec![setting_up; 3])
        );
        for (start, states) in [(HELD, ["ready"; 3]), (None, ["setup"; 3])] {
            assert_eq!(reasons(&three(true, start, states)), (None, vec![None; 3]));
        }
    }
}
