//! The table of Jobs: in the sandbox and on a real cluster they come to the same end.
//!
//! `compare_api/jobs.jsonl` has one Job a line, in the form of the table of requests, with the script of its container, the changes
//! of its spec that follow (each when the Job has come to rest), and the state of the Job and its pods on a real Kubernetes 1.20 at
//! last. Where the sandbox comes to another state, the line has that too, and why. With `newer`, it is that of Kubernetes 1.36.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    compare_api::body,
    harness::{World, is_real_cluster},
};

const JOBS: &str = include_str!("compare_api/jobs.jsonl");
const IMAGE: &str = "python:3.13-slim";

/// The time in which all Jobs come to their ends. A failed pod is replaced after ten seconds.
const LIMIT: Duration = Duration::from_secs(80);

/// The fields of a status that 1.20 does not have. The other tests of the sandbox compare them with a recording of 1.36.
const NEWER_FIELDS: [&str; 3] = ["ready", "terminating", "uncountedTerminatedPods"];
/// The conditions by which a Job of 1.36 says that it is about to end. 1.20 does not have them.
const INTERIM: [&str; 2] = ["FailureTarget", "SuccessCriteriaMet"];

#[test]
fn jobs_of_the_sandbox_end_as_those_of_a_cluster() {
    let world = World::new();
    let rows: Vec<Value> = JOBS
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(rows.len() >= 22);
    let created = world.ask(
        rows.iter()
            .enumerate()
            .map(|(number, row)| request("POST", &jobs(&world, ""), &job(row, number))),
    );
    for (row, (status, body)) in rows.iter().zip(created) {
        assert_eq!(status, 201, "{}: {body}", row["name"]);
    }
    let is_newer = !is_real_cluster() || world.minor_version() != 20;
    let mut steps = vec![0; rows.len()];
    let mut done = vec![false; rows.len()];
    let start = Instant::now();
    while done.contains(&false) {
        let states = states(&world, rows.len());
        let mut faults = Vec::new();
        for (number, (row, state)) in rows.iter().zip(&states).enumerate() {
            assert_eq!(
                row["sandbox"].is_null(),
                row["why"].is_null(),
                "{}",
                row["name"]
            );
            let own = !row["sandbox"].is_null()
                && (!is_real_cluster() || is_newer && row["newer"] == true);
            let expected = if own { &row["sandbox"] } else { &row["answer"] };
            let patch = row["patches"].get(steps[number]);
            if let Some(patch) = patch.filter(|patch| is_ready_for(patch, state, is_newer)) {
                steps[number] += 1;
                let path = jobs(&world, &format!("/job-{number}"));
                world.ask([request("PATCH", &path, &json!({ "spec": patch }))].into_iter());
            }
            // 1.20 comes to one of two states in some races.
            let is_met =
                || state == expected || expected.as_array().is_some_and(|all| all.contains(state));
            done[number] |= patch.is_none() && is_met();
            if !done[number] {
                faults.push(format!(
                    "{}\n  expected {expected}\n  got      {state}",
                    row["name"]
                ));
            }
        }
        assert!(start.elapsed() < LIMIT, "{}", faults.join("\n"));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether a Job has come to rest before the change. One of 1.20 is not suspended.
fn is_ready_for(patch: &Value, state: &Value, is_newer: bool) -> bool {
    match patch["suspend"] == false && is_newer {
        true => state["pods"] == json!([]),
        false => state.to_string().contains("running"),
    }
}

fn jobs(world: &World, rest: &str) -> String {
    format!("/apis/batch/v1/namespaces/{}/jobs{rest}", world.namespace)
}

fn request(method: &str, path: &str, object: &Value) -> ureq::http::Request<Vec<u8>> {
    let merges = if method == "PATCH" {
        "merge-patch+"
    } else {
        ""
    };
    ureq::http::Request::builder()
        .method(method)
        .uri(path)
        .header("Content-Type", format!("application/{merges}json"))
        .body(object.to_string().into_bytes())
        .unwrap()
}

fn job(row: &Value, number: usize) -> Value {
    let mut written = row["body"].clone();
    written["meta"]["name"] = json!(format!("job-{number}"));
    written["template"]["terminationGracePeriodSeconds"] = json!(1);
    let container = &mut written["container"];
    if container["image"].is_null() {
        container["image"] = json!(IMAGE);
    }
    container["command"] = json!(["/bin/bash", "-c", row["run"]]);
    serde_json::from_str(&body(&written).1).unwrap()
}

/// The states of the Jobs, in the order of the table.
fn states(world: &World, count: usize) -> Vec<Value> {
    let pods = format!("/api/v1/namespaces/{}/pods", world.namespace);
    let lists = [jobs(world, ""), pods].map(|path| request("GET", &path, &Value::Null));
    let lists = world.ask(lists.into_iter());
    let [jobs, pods] = [0, 1].map(|list| serde_json::from_str::<Value>(&lists[list].1).unwrap());
    let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    let (jobs, pods) = (items(&jobs), items(&pods));
    (0..count)
        .map(|number| {
            let name = json!(format!("job-{number}"));
            let own = pods
                .iter()
                .filter(|pod| pod["metadata"]["labels"]["job-name"] == name);
            let mut own: Vec<String> = own.map(pod_state).collect();
            own.sort();
            match jobs.iter().find(|job| job["metadata"]["name"] == name) {
                Some(job) => job_state(job, &own),
                None => json!({ "gone": true, "pods": own }),
            }
        })
        .collect()
}

fn job_state(job: &Value, pods: &[String]) -> Value {
    let status = &job["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let conditions: Vec<String> = conditions
        .filter(|one| !INTERIM.iter().any(|kind| one["type"] == *kind))
        .map(|one| {
            // 1.20 does not say why a Job is complete.
            let says_why = one["type"] != "Complete";
            let fields = if says_why {
                &["type", "status", "reason", "message"][..]
            } else {
                &["type", "status"]
            };
            let text = fields
                .iter()
                .map(|field| word(&one[field]))
                .collect::<Vec<_>>()
                .join(" ");
            // The names of pods are random.
            let words = text.split(' ').map(|word| {
                if word.contains("/job-") {
                    "<pod>"
                } else {
                    word
                }
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let mut state = json!({ "conditions": conditions, "pods": pods });
    for (field, value) in status.as_object().into_iter().flatten() {
        let is_time = field.ends_with("Time");
        if field != "conditions" && !NEWER_FIELDS.contains(&field.as_str()) {
            state[field] = if is_time { json!("") } else { value.clone() };
        }
    }
    state
}

/// Phase and reason of a pod, and the states of its containers.
fn pod_state(pod: &Value) -> String {
    let status = &pod["status"];
    let is_leaving = !pod["metadata"]["deletionTimestamp"].is_null();
    let mut words = vec![
        word(&status["phase"]).to_owned(),
        word(&status["reason"]).to_owned(),
    ];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    words.extend(
        conditions
            .filter(|one| one["reason"] == "Unschedulable")
            .map(|_| "Unschedulable".to_owned()),
    );
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array().into_iter().flatten() {
            let (kind, state) = container["state"]
                .as_object()
                .unwrap()
                .iter()
                .next()
                .unwrap();
            let code = state["exitCode"]
                .as_i64()
                .map(|code| code.to_string())
                .unwrap_or_default();
            let restarts = container["restartCount"].as_i64().unwrap();
            words.push(format!(
                "{kind} {} {code} restarts {restarts}",
                word(&state["reason"])
            ));
        }
    }
    words.extend(is_leaving.then(|| "leaving".to_owned()));
    words
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
