//! Tests of bodies that are no objects, and of numbers beyond all times.

use serde_json::{Value, json};

use super::{Cluster, job};

const PODS: &str = "/api/v1/namespaces/default/pods";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

#[test]
fn a_body_that_is_no_object_is_a_bad_request() {
    let cluster = Cluster::start();
    assert_eq!(cluster.create(JOBS, &job("one", "true")).code, 201);
    let plurals = [
        "pods",
        "secrets",
        "configmaps",
        "services",
        "persistentvolumeclaims",
        "events",
    ];
    let core = plurals.map(|plural| format!("/api/v1/namespaces/default/{plural}"));
    let bodies = [
        json!([]),
        json!(1),
        json!("x"),
        json!(null),
        json!(true),
        json!({ "metadata": [] }),
        json!({ "metadata": 1 }),
    ];
    let specs = [
        json!([]),
        json!(1),
        json!({ "template": [] }),
        json!({ "template": { "spec": 1 } }),
    ];
    for query in ["", "?fieldValidation=Strict", "?dryRun=All"] {
        for path in core
            .iter()
            .map(String::as_str)
            .chain([JOBS, "/api/v1/namespaces"])
        {
            for body in &bodies {
                let answer = cluster.create(&format!("{path}{query}"), body);
                assert_eq!(answer.code, 400, "{path}{query} {body}: {}", answer.body);
                assert_eq!(answer.json()["reason"], "BadRequest");
            }
        }
        for spec in &specs {
            let body = json!({ "metadata": { "name": "x" }, "spec": spec });
            let answer = cluster.create(&format!("{JOBS}{query}"), &body);
            assert_eq!(answer.code, 400, "{query} {spec}: {}", answer.body);
        }
    }
    for (method, body) in [
        ("PUT", "[]"),
        ("PUT", "1"),
        ("DELETE", "[]"),
        ("DELETE", "1"),
    ] {
        let answer = cluster.send(method, &format!("{JOBS}/one"), body, Some(&cluster.token));
        assert_eq!(answer.code, 400, "{method} {body}: {}", answer.body);
    }
    assert_eq!(
        cluster.get(&format!("{JOBS}/one"))["metadata"]["name"],
        "one"
    );
}

#[test]
fn a_number_beyond_all_times_ends_no_loop() {
    let cluster = Cluster::start();
    let large = [1_000_000_000_000_i64, i64::MAX];
    for (index, seconds) in large.into_iter().enumerate() {
        let mut job = job(&format!("large-{index}"), "exec sleep 1000");
        job["spec"]["activeDeadlineSeconds"] = json!(seconds);
        job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(seconds);
        let created = cluster.create(JOBS, &job);
        assert_eq!(created.code, 201, "{}", created.body);
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
    assert_eq!(cluster.create(JOBS, &job("next", "true")).code, 201);
    cluster.wait(&format!("{JOBS}/next"), |job| {
        job["status"]["succeeded"] == 1
    });
}
