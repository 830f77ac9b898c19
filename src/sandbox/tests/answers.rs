//! Tests of the answers to all recorded requests.

use serde_json::{Value, json};

use super::{Cluster, job, recording};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Requests with other answers than the recorded ones, for a reason:
///
/// - `forbidden`: the token gives all rights;
/// - `watch with timeoutSeconds=1 ends`: the recorded error is about the storage behind that server (no `RequestWatchProgress`).
const SKIPPED: [&str; 2] = ["forbidden", "watch with timeoutSeconds=1 ends"];

#[test]
fn recorded_requests_get_the_recorded_answers() {
    let cluster = Cluster::start();
    let pods = seed(&cluster);
    let mut failures = Vec::new();
    let mut checked = 0;
    for record in recording("answers.jsonl") {
        let name = record["name"].as_str().unwrap();
        if SKIPPED.contains(&name) {
            continue;
        }
        checked += 1;
        let mut expected = record.to_string();
        for (recorded, present) in &pods {
            expected = expected.replace(recorded, present);
        }
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let token = (!matches!(name, "unauthorized" | "anonymous version"))
            .then_some(cluster.token.as_str());
        let body = request_body(name, &cluster.token);
        let path = expected["path"].as_str().unwrap();
        let answer = cluster.send(expected["method"].as_str().unwrap(), path, &body, token);
        let present = if answer.content_type.contains("json") {
            answer.json()
        } else {
            json!(answer.body)
        };
        let (wanted, present_shape) = (shape(name, &expected["body"]), shape(name, &present));
        if json!(answer.code) != expected["status"]
            || answer.content_type != expected["content_type"].as_str().unwrap()
            || wanted != present_shape
        {
            failures.push(format!(
                "{name}: {} {}\n  wanted {wanted}\n  got    {present_shape}",
                answer.code, answer.content_type
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked > 30);
}

/// Creates the objects that the recorded requests name, and returns the recorded and the present names of pods.
fn seed(cluster: &Cluster) -> Vec<(String, String)> {
    let with = |name: &str, field: &str, value: Value| {
        let mut job = job(name, "echo err >&2; echo out");
        job["spec"]["template"]["spec"]["containers"][0][field] = value;
        job
    };
    let objects = [
        with("succeeded-succeede", "name", json!("task")),
        with(
            "bigcpu-bigcpu00",
            "resources",
            json!({ "limits": { "cpu": "100" } }),
        ),
        with("noimage-noimage0", "image", json!("no-such-image:1")),
        with("badimage-badimage", "image", json!("Bad:Image:Name")),
        with("nobash-nobash00", "command", json!(["/no/such/bash"])),
    ];
    let recorded = ["th46z", "x6gls", "96hnp", "l87d8", "gkgg8"];
    let mut names = Vec::new();
    for (object, suffix) in objects.iter().zip(recorded) {
        cluster.make(JOBS, object);
        let name = object["metadata"]["name"].as_str().unwrap();
        let path = format!("{PODS}?labelSelector=job-name%3D{name}");
        let settled = |list: &Value| {
            let pod = &list["items"][0];
            let waiting =
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str();
            matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            ) || pod["status"]["conditions"][0]["reason"] == "Unschedulable"
                || waiting.is_some_and(|reason| reason != "ContainerCreating")
        };
        let list = cluster.wait(&path, settled);
        let pod = list["items"][0]["metadata"]["name"].as_str().unwrap();
        names.push((format!("{name}-{suffix}"), pod.to_owned()));
    }
    names
}

/// The bodies of the requests, which the recording does not have.
fn request_body(name: &str, token: &str) -> String {
    let with = |pointer: &str, value: Value| {
        let mut job = job("q", "true");
        *job.pointer_mut(pointer).unwrap() = value;
        job
    };
    let claim = |spec: Value| json!({ "metadata": { "name": "x" }, "spec": spec });
    let storage = |size: &str| json!({ "requests": { "storage": size } });
    let body = match name {
        "create a job that exists" => job("succeeded-succeede", "true"),
        "create with an invalid name" => job("Bad_Name", "true"),
        "create with a bad quantity" => with("/spec/template/spec/containers/0/env", json!([]))
            .pointer("")
            .cloned()
            .map(|mut job| {
                job["spec"]["template"]["spec"]["containers"][0]["resources"] =
                    json!({ "limits": { "cpu": "lots" } });
                job
            })
            .unwrap(),
        "create with a label value of 70 characters" => {
            with("/metadata/labels/username", json!("a".repeat(70)))
        }
        "create with a job name of 70 characters" => {
            let mut long = job("q", "true");
            long["metadata"]["name"] = json!("a".repeat(70));
            long
        }
        "create with the same volume mounted twice under one name" => {
            let mut job = job("q", "true");
            let volume = json!({ "name": "v", "emptyDir": {} });
            job["spec"]["template"]["spec"]["volumes"] = json!([volume, volume]);
            job
        }
        "create with limit below request" => {
            let mut job = job("q", "true");
            job["spec"]["template"]["spec"]["containers"][0]["resources"] =
                json!({ "limits": { "cpu": "1" }, "requests": { "cpu": "2" } });
            job
        }
        "create that is not JSON" => return "{".to_owned(),
        "create in a namespace that does not exist" => job("q", "true"),
        "dry run" => job("dry", "echo out; echo err >&2"),
        "claim with a bad size" => {
            claim(json!({ "accessModes": ["ReadWriteOnce"], "resources": storage("big") }))
        }
        "claim with a bad access mode" => {
            claim(json!({ "accessModes": ["Sometimes"], "resources": storage("1Gi") }))
        }
        "claim without size" => claim(json!({ "accessModes": ["ReadWriteOnce"] })),
        "token review, good token" => json!({ "spec": { "token": token } }),
        "token review, bad token" => json!({ "spec": { "token": "nonsense" } }),
        "subject access review, denied" => json!({ "spec": {
            "resourceAttributes": { "namespace": "default", "verb": "create", "group": "batch", "resource": "jobs" },
            "user": "system:serviceaccount:default:weak",
        } }),
        "subject access review, allowed" => json!({ "spec": {
            "resourceAttributes": { "namespace": "default", "verb": "create", "group": "batch", "resource": "jobs" },
            "user": "admin", "groups": ["system:masters"],
        } }),
        _ => return String::new(),
    };
    body.to_string()
}

/// The part of an answer that must be equal.
fn shape(name: &str, body: &Value) -> Value {
    let mut body = body.clone();
    match name {
        "log of a finished pod with timestamps" => {
            let lines = body.as_str().unwrap().lines();
            return lines
                .map(|line| {
                    line.split_once(' ')
                        .map(|(stamp, text)| json!([stamp.len(), text]))
                })
                .collect();
        }
        "list nothing" | "list page 1" | "dry run" => return super::life::keys(&body),
        "anonymous version" => return super::life::keys(&body),
        "token review, good token" => return body["status"]["authenticated"].clone(),
        "watch from a resourceVersion that is gone" => {
            let message = body["object"]["message"]
                .as_str()
                .unwrap()
                .split('(')
                .next()
                .unwrap()
                .to_owned();
            body["object"]["message"] = json!(message);
        }
        _ => (),
    }
    body
}
