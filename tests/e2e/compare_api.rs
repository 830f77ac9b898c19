//! The table of requests: the sandbox and a real cluster give the same answers.
//!
//! `compare_api/requests.jsonl` has one request a line, with the answer of a real Kubernetes 1.20: status, reason, the causes of a
//! refusal, and the keys of an object. Where the sandbox answers otherwise, the line has that answer too, and why. With `newer`,
//! the answer of the sandbox is also that of Kubernetes 1.36. Requests create nothing (`dryRun=All`) unless they are refused.
//!
//! The bodies of pods and Jobs are written as changes to a small pod of one container.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{World, is_real_cluster};

const REQUESTS: &str = include_str!("compare_api/requests.jsonl");

/// A value that makes an object larger than a cluster stores.
const LARGE: usize = 1_049_000;

#[test]
fn the_sandbox_answers_as_a_cluster_does() {
    let world = World::new();
    let rows: Vec<Value> = REQUESTS
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let compared = rows.iter().filter(|row| row["setup"].is_null());
    assert!(compared.count() >= 170);
    let requests = rows.iter().map(|row| request(row, &world.namespace));
    let answers = world.ask(requests);
    let is_newer = is_real_cluster() && world.minor_version() != 20;
    let mut faults = Vec::new();
    for (row, (status, body)) in rows.iter().zip(answers) {
        let name = row["name"].as_str().unwrap();
        let answer = fold(status, &body);
        if row["setup"] == true {
            assert_eq!(status, 201, "{name}: {body}");
            continue;
        }
        let differs = !row["sandbox"].is_null();
        assert_eq!(differs, row["why"].is_string(), "{name}");
        assert_ne!(row["answer"], row["sandbox"], "{name}");
        let use_own = differs && (!is_real_cluster() || is_newer && row["newer"] == true);
        let expected = if use_own {
            &row["sandbox"]
        } else {
            &row["answer"]
        };
        if answer != *expected {
            faults.push(format!(
                "{name}\n  expected {expected}\n  got      {answer}\n  {body:.300}"
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is compared of an answer.
fn fold(status: u16, body: &str) -> Value {
    let mut folded = json!({ "status": status });
    let Ok(Value::Object(object)) = serde_json::from_str(body) else {
        return folded;
    };
    if object.get("kind") != Some(&json!("Status")) || status < 400 {
        let keys: BTreeSet<&String> = object.keys().collect();
        folded["keys"] = json!(keys);
        return folded;
    }
    folded["reason"] = object.get("reason").cloned().unwrap_or(json!(""));
    let causes = object.get("details").map(|details| &details["causes"]);
    let causes: BTreeSet<String> = causes
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|cause| {
            let word = |field: &str| cause[field].as_str().unwrap_or_default().to_owned();
            format!("{} {}", word("reason"), word("field"))
        })
        .collect();
    if !causes.is_empty() {
        folded["causes"] = json!(causes);
    }
    folded
}

fn request(row: &Value, namespace: &str) -> ureq::http::Request<Vec<u8>> {
    let (method, path) = row["request"].as_str().unwrap().split_once(' ').unwrap();
    let (media_type, body) = body(&row["body"]);
    ureq::http::Request::builder()
        .method(method)
        .uri(path.replace("{ns}", namespace))
        .header("Content-Type", media_type)
        .body(body.into_bytes())
        .unwrap()
}

/// The media type and the text of a body.
pub fn body(written: &Value) -> (&'static str, String) {
    const JSON: &str = "application/json";
    let Some((form, content)) = written.as_object().and_then(|forms| forms.iter().next()) else {
        return (JSON, String::new());
    };
    match form.as_str() {
        "raw" => return (JSON, content.as_str().unwrap().to_owned()),
        "protobuf" => {
            let text = content.as_str().unwrap().to_owned();
            return ("application/vnd.kubernetes.protobuf", text);
        }
        "merge" => return ("application/merge-patch+json", content.to_string()),
        "json" => return ("application/json-patch+json", content.to_string()),
        "object" => {
            let large = "x".repeat(LARGE);
            return (JSON, content.to_string().replace("{large}", &large));
        }
        _ => (),
    }
    let mut container = json!({ "name": "c", "image": "i" });
    merge(&mut container, &written["container"]);
    let mut spec = json!({ "restartPolicy": "Never", "containers": [container] });
    let mut metadata = json!({ "name": "x" });
    merge(&mut metadata, &written["meta"]);
    let object = if written["pod"].is_null() {
        merge(&mut spec, &written["template"]);
        let mut job = json!({ "template": { "spec": spec } });
        merge(&mut job["template"]["metadata"], &written["template_meta"]);
        merge(&mut job, &written["job"]);
        json!({ "kind": "Job", "apiVersion": "batch/v1", "metadata": metadata, "spec": job })
    } else {
        merge(&mut spec, &written["pod"]);
        json!({ "kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec })
    };
    (JSON, object.to_string())
}

/// Adds the fields of `changes`; objects are merged.
fn merge(target: &mut Value, changes: &Value) {
    for (field, change) in changes.as_object().into_iter().flatten() {
        match change {
            Value::Object(_) => merge(&mut target[field], change),
            change => target[field] = change.clone(),
        }
        if target[field].is_null() {
            target[field] = json!({});
        }
    }
}
