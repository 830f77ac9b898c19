//! Tests of bodies that are no objects, and of numbers beyond all times.

use serde_json::{Value, json};

use super::{Cluster, job};

const PODS: &str = "/api/v1/namespaces/default/pods";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

#[test]
fn a_body_that_is_no_object_is_a_bad_request() {
    let cluster = Cluster::start();
    cluster.make(JOBS, &job("one", "true"));
    let paths = "pods secrets configmaps services persistentvolumeclaims events".split(' ');
    let paths = paths.map(|plural| format!("/api/v1/namespaces/default/{plural}"));
    let paths: Vec<String> = paths
        .chain([JOBS.to_owned(), "/api/v1/namespaces".to_owned()])
        .collect();
    let bodies = [
        "[]",
        "1",
        "\"x\"",
        "null",
        "true",
        "{\"metadata\": []}",
        "{\"metadata\": 1}",
    ];
    let specs = [
        "[]",
        "1",
        "{\"template\": []}",
        "{\"template\": {\"spec\": 1}}",
    ];
    let check = |method: &str, path: &str, body: &str| {
        let answer = cluster.send(method, path, body, Some(&cluster.token));
        assert_eq!(answer.code, 400, "{method} {path} {body}: {}", answer.body);
        assert_eq!(answer.json()["reason"], "BadRequest");
    };
    for query in ["", "?fieldValidation=Strict", "?dryRun=All"] {
        for path in &paths {
            for body in bodies {
                check("POST", &format!("{path}{query}"), body);
            }
        }
        for spec in specs {
            let job = format!("{{\"metadata\": {{\"name\": \"x\"}}, \"spec\": {spec}}}");
            check("POST", &format!("{JOBS}{query}"), &job);
        }
    }
    let one = format!("{JOBS}/one");
    for body in ["[]", "1"] {
        check("PUT", &one, body);
        check("DELETE", &one, body);
    }
    assert_eq!(cluster.get(&one)["metadata"]["name"], "one");
}

#[test]
fn a_number_beyond_all_times_ends_no_loop() {
    let cluster = Cluster::start();
    let large = [1_000_000_000_000_i64, i64::MAX];
    for (index, seconds) in large.into_iter().enumerate() {
        let mut job = job(&format!("large-{index}"), "exec sleep 1000");
        job["spec"]["activeDeadlineSeconds"] = json!(seconds);
        job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
        cluster.make(JOBS, &job);
    }
    let running = |list: &Value| {
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        pods.len() == large.len() && pods.iter().all(|pod| pod["status"]["phase"] == "Running")
    };
    for pod in cluster.wait(PODS, running)["items"].as_array().unwrap() {
        let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
        let deleted = cluster.send("DELETE", &path, "", Some(&cluster.token));
        assert_eq!(deleted.code, 200, "{}", deleted.body);
    }
    let mut watch = cluster.watch(&format!("{PODS}?watch=true&timeoutSeconds={}", i64::MAX));
    assert!(watch.next().is_some());
    // Everybody else is served.
    cluster.make(JOBS, &job("next", "true"));
    cluster.wait(&format!("{JOBS}/next"), |job| {
        job["status"]["succeeded"] == 1
    });
}
