//! Nodes whose containers or pods are more than one, and logs that Kubernetes itself has not kept.

use std::fs;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::harness::{FaultyRoute, Session, World, is_real_cluster};

/// A task whose Job is not as we make them: those of other programs with the same labels are ours to show. Returns its id.
fn submit_changed(ada: &Session<'_>, change: impl FnOnce(&mut Value)) -> String {
    let template = ada.submit("run: 'true'");
    ada.wait_for_status(&template, "completed");
    let jobs = ada.world.objects::<Job>();
    let job = jobs
        .iter()
        .find(|job| job.metadata.name.as_ref().unwrap().contains(&template));
    let id = "changed1";
    let text = serde_json::to_string(job.unwrap()).unwrap();
    let mut job: Value = serde_json::from_str(&text.replace(&template, id)).unwrap();
    let metadata = job["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| matches!(key.as_str(), "name" | "labels" | "annotations"));
    let spec = job["spec"].as_object_mut().unwrap();
    spec.remove("selector");
    // What ties pods to their Job is written by the cluster.
    let labels = spec["template"]["metadata"]["labels"]
        .as_object_mut()
        .unwrap();
    labels.retain(|key, _| !key.contains("controller-uid") && !key.contains("job-name"));
    change(&mut job["spec"]);
    job.as_object_mut().unwrap().remove("status");
    ada.world
        .create(&serde_json::from_value::<Job>(job).unwrap());
    id.to_owned()
}

fn set_script(spec: &mut Value, script: &str) {
    let container = &mut spec["template"]["spec"]["containers"][0];
    container["command"] = json!(["/bin/bash", "-c"]);
    container["args"] = json!([script]);
}

#[test]
fn the_log_of_a_second_pod_follows_that_of_the_first() {
    let world = World::new();
    let ada = world.login("ada");
    let id = submit_changed(&ada, |spec| {
        spec["backoffLimit"] = 1.into();
        set_script(spec, "echo one try; exit 3");
    });
    ada.run(["jobs", "logs", &id])
        .code(100)
        .stdout("one try\none try\n")
        .says("node-0: another pod runs it: ")
        .says("exit code 3");
}

#[test]
fn the_log_of_a_container_that_was_started_again_follows_that_of_the_first() {
    let world = World::new();
    let ada = world.login("ada");
    let id = submit_changed(&ada, |spec| {
        spec["backoffLimit"] = 6.into();
        let pod = &mut spec["template"]["spec"];
        pod["restartPolicy"] = "OnFailure".into();
        pod["volumes"] = json!([{"name": "memory", "emptyDir": {}}]);
        pod["containers"][0]["volumeMounts"] = json!([{"name": "memory", "mountPath": "/memory"}]);
        set_script(
            spec,
            // A cluster forgets the log of the first run when the second has ended, so both take a moment.
            "if [ -e /memory/first ]; then echo second; sleep 5; else touch /memory/first; echo first; sleep 5; exit 3; fi",
        );
    });
    ada.run(["jobs", "logs", &id])
        .code(0)
        .stdout("first\nsecond\n")
        .says("node-0: its container was started again");
}

#[test]
fn a_log_that_went_with_its_pod_is_missed() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: echo words");
    ada.wait_for_status(&id, "completed");
    let task = ada.status(&id);
    world.delete_pod(task["metadata"]["nodes"][0]["pod_name"].as_str().unwrap());
    ada.run(["jobs", "logs", &id])
        .success()
        .stdout("")
        .says("node-0: lines may be missing: its ");
}

#[test]
fn a_hole_is_told_where_a_log_was_rotated_away() {
    // The sandbox rotates at once, where a cluster looks every ten seconds.
    if is_real_cluster() {
        return;
    }
    const LINES: usize = 10_000;
    let world = World::sandbox(&["--sandbox-log-max-size", "100k"]);
    let ada = world.login("ada");
    let mut route = FaultyRoute::new(&world, 1);
    let go = ada.home.join("go");
    let id = ada.submit(&format!(
        "run: |\n  echo first\n  until [ -e '{}' ]; do sleep 0.05; done\n  seq -f '%099.0f' {LINES}",
        go.display()
    ));
    let viewers = ["text", "json"]
        .map(|output| ada.start_at(&route.url(), ["jobs", "logs", &id, "-o", output]));
    for viewer in &viewers {
        viewer.wait_for_output("first");
    }
    route.kill_server();
    fs::write(&go, "").unwrap();
    ada.wait_for_status(&id, "completed");
    route.start_server();
    let [text, json] = viewers.map(|viewer| viewer.finish().success());

    let text = text
        .says("node-0: lines after ")
        .says(" may be missing: its log was rotated");
    let printed: Vec<&str> = text.stdout.lines().collect();
    assert_eq!(printed[0], "first");
    let left = printed.len() - 1;
    assert!(left > 0 && left < LINES, "{left} of {LINES} lines are left");
    for (line, number) in printed[1..].iter().zip(LINES - left + 1..) {
        assert_eq!(*line, format!("{number:099}"));
    }

    let records = json
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let gaps: Vec<Value> = records.filter(|record| record["type"] == "gap").collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["node"], 0);
    assert_eq!(gaps[0]["reason"], "its log was rotated");
    assert!(
        text.stderr.contains(gaps[0]["since"].as_str().unwrap()),
        "{}",
        text.stderr
    );
}
