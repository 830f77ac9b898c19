//! Tests of the life cycle of Jobs, change by change, against recordings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Cluster, job, recording};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[test]
fn a_job_is_created_runs_and_is_deleted_as_recorded() {
    let cluster = Cluster::start();
    let jobs = cluster.watch(&format!("{JOBS}?watch=true&resourceVersion=0"));
    let pods = cluster.watch(&format!("{PODS}?watch=true&resourceVersion=0"));
    let script = "trap 'exit 0' TERM; echo ready; sleep 1000 & wait";
    cluster.make(JOBS, &job("todelete", script));
    let pod = cluster.wait(PODS, |list| {
        list["items"][0]["status"]["phase"] == "Running"
    });
    let name = pod["items"][0]["metadata"]["name"].as_str().unwrap();
    let log = format!("{PODS}/{name}/log");
    // When the log has the word, the trap is set.
    cluster.wait_log(&log, "ready\n");
    let path = format!("{JOBS}/todelete?propagationPolicy=Background");
    let deleted = cluster
        .send("DELETE", &path, "", Some(&cluster.token))
        .json();
    assert_eq!(deleted["status"], "Success", "{deleted}");
    assert_eq!(deleted["details"]["kind"], "jobs");
    // The recorded Job was deleted before its number of ready pods was written. Here that may have come first.
    let is_ready =
        |event: &Value| event["type"] == "MODIFIED" && event["object"]["status"]["ready"] == 1;
    let jobs = until_deleted(jobs);
    let jobs = jobs.into_iter().filter(|event| !is_ready(event));
    assert_same(
        &recording("watch-job-created-run-deleted.jsonl"),
        &jobs.collect::<Vec<_>>(),
    );
    assert_same(
        &recording("watch-pod-created-run-deleted.jsonl"),
        &until_deleted(pods),
    );
}

#[test]
fn a_lowered_deadline_ends_a_running_pod_as_recorded() {
    let cluster = Cluster::start();
    cluster.make(JOBS, &job("running", "echo started; sleep 3600"));
    let list = cluster.wait(PODS, |list| {
        list["items"][0]["status"]["phase"] == "Running"
    });
    let name = list["items"][0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let pods = cluster.watch(&format!(
        "{PODS}?watch=true&resourceVersion={}",
        list["metadata"]["resourceVersion"].as_str().unwrap()
    ));
    let path = format!("{PODS}/{name}");
    cluster.patch(&path, &json!({ "spec": { "activeDeadlineSeconds": 1 } }));
    let released = |event: &Value| event["object"]["metadata"].get("finalizers").is_none();
    let mut events = Vec::new();
    for event in pods {
        let last = released(&event);
        events.push(event);
        if last {
            break;
        }
    }
    let last = events.last().unwrap()["object"]["status"].clone();
    let recorded =
        recording("watch-pod-deadline-patched.jsonl").pop().unwrap()["object"]["status"].clone();
    for field in ["phase", "reason", "message"] {
        assert_eq!(last[field], recorded[field]);
    }
    assert_eq!(reasons(&last), reasons(&recorded));
    let job = cluster.wait(&format!("{JOBS}/running"), |job| {
        job["status"]["failed"] == 1
    });
    let recorded = recording("watch-job-deadline-patched.jsonl").pop().unwrap();
    assert_eq!(
        conditions(&job["status"]),
        conditions(&recorded["object"]["status"])
    );
    assert_eq!(
        cluster
            .send("GET", &format!("{path}/log"), "", Some(&cluster.token))
            .body,
        "started\n"
    );
}

#[test]
fn finished_jobs_have_the_recorded_status() {
    let cluster = Cluster::start();
    let mut deadline = job("deadline", "sleep 1000");
    deadline["spec"]["activeDeadlineSeconds"] = json!(1);
    let mut suspended = job("suspended", "true");
    suspended["spec"]["suspend"] = json!(true);
    let jobs = [
        job("succeeded", "true"),
        job("exit3", "exit 3"),
        deadline,
        suspended,
    ];
    let text = std::fs::read_to_string("fixtures/recorded/jobs.json").unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    for job in jobs {
        cluster.make(JOBS, &job);
        let name = job["metadata"]["name"].as_str().unwrap();
        let all = recorded["items"].as_array().unwrap();
        let recorded = all
            .iter()
            .find(|job| {
                job["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .starts_with(&format!("{name}-"))
            })
            .unwrap();
        let wanted = conditions(&recorded["status"]);
        let present = cluster.wait(&format!("{JOBS}/{name}"), |job| {
            conditions(&job["status"]).len() == wanted.len()
        });
        assert_eq!(conditions(&present["status"]), wanted, "{name}");
        assert_eq!(
            keys(&present["status"]),
            keys(&recorded["status"]),
            "{name}"
        );
    }
}

#[test]
fn a_suspended_job_loses_its_pods_without_a_failure_and_resumes_as_recorded() {
    let cluster = Cluster::start();
    let jobs = cluster.watch(&format!("{JOBS}?watch=true&resourceVersion=0"));
    cluster.make(JOBS, &job("queued", "sleep 1000"));
    let path = format!("{JOBS}/queued");
    let suspend = |suspend: bool| {
        cluster.wait(&path, |job| job["status"]["ready"] == u8::from(suspend));
        cluster.wait(&path, |job| job["status"]["terminating"] == 0);
        cluster.patch(&path, &json!({ "spec": { "suspend": suspend } }));
    };
    suspend(true);
    suspend(false);
    let is_job = |event: &Value| event["object"]["kind"] == "Job";
    let recorded = recording("lives/suspended-later.jsonl")
        .into_iter()
        .filter(is_job);
    // The number of ready pods is written late, and was recorded more often.
    let summary = |event: Value| {
        let status = &event["object"]["status"];
        let counts = ["active", "terminating", "failed"].map(|field| status[field].to_string());
        let started = !status["startTime"].is_null();
        format!(
            "{} {counts:?} {started} {:?}",
            event["type"],
            conditions(status)
        )
    };
    let mut recorded: Vec<String> = recorded.map(summary).collect();
    recorded.dedup();
    let mut present: Vec<String> = Vec::new();
    for event in jobs {
        present.push(summary(event));
        present.dedup();
        if present.len() == recorded.len() {
            break;
        }
    }
    assert_eq!(present, recorded);
    let events =
        cluster.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind=Job");
    let events = events["items"].as_array().unwrap().iter();
    let mut reasons: Vec<&str> = events
        .map(|event| event["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    let expected = [
        "Resumed",
        "SuccessfulCreate",
        "SuccessfulCreate",
        "SuccessfulDelete",
        "Suspended",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn a_pod_whose_job_is_gone_is_not_held() {
    let cluster = Cluster::start();
    let template = job("gone", "sleep 1000")["spec"]["template"].clone();
    let owner = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": "gone", "uid": "11111111-1111-4111-8111-111111111111" });
    let metadata = json!({
        "name": "left", "finalizers": ["batch.kubernetes.io/job-tracking"], "ownerReferences": [owner],
    });
    let pod = json!({ "metadata": metadata, "spec": template["spec"] });
    cluster.make(PODS, &pod);
    cluster.wait(PODS, |list| list["items"] == json!([]));
}

/// The keys of a value and of all values in it.
pub fn keys(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), keys(value)))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect(),
        Value::Array(list) => list.first().map_or(json!([]), |first| json!([keys(first)])),
        _ => Value::Null,
    }
}

fn until_deleted(events: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut seen = Vec::new();
    for event in events {
        let last = event["type"] == "DELETED";
        seen.push(event);
        if last {
            break;
        }
    }
    seen
}

#[track_caller]
fn assert_same(recorded: &[Value], present: &[Value]) {
    let summary = |events: &[Value]| -> Vec<String> {
        events
            .iter()
            .map(|event| {
                let (metadata, status) = (&event["object"]["metadata"], &event["object"]["status"]);
                format!(
                    "{} generation {} observed {} grace {} held {} {} {:?} {}",
                    event["type"],
                    metadata["generation"],
                    status["observedGeneration"],
                    metadata["deletionGracePeriodSeconds"],
                    metadata.get("finalizers").is_some(),
                    status["phase"],
                    reasons(status),
                    keys(&event["object"]),
                )
            })
            .collect()
    };
    let (recorded, present) = (summary(recorded), summary(present));
    for (index, (recorded, present)) in recorded.iter().zip(&present).enumerate() {
        assert_eq!(recorded, present, "event {index}");
    }
    assert_eq!(recorded.len(), present.len(), "{:#?}", present.last());
}

/// Type, status and reason of the conditions of a pod.
fn reasons(status: &Value) -> Vec<String> {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions
        .iter()
        .map(|one| format!("{} {} {}", one["type"], one["status"], one["reason"]))
        .collect()
}

fn conditions(status: &Value) -> Vec<String> {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let text = |one: &Value| {
        format!(
            "{} {} {} {}",
            one["type"], one["status"], one["reason"], one["message"]
        )
    };
    conditions.iter().map(text).collect()
}
