//! Tests of nodes with several pods or containers, and of logs that Kubernetes has not kept.

use std::fs;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::harness::{FaultyRoute, Session, World, is_real_cluster};

/// Creates a task with a Job that differs from ours, as another program could with the same labels; returns its id.
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
    // The cluster writes the labels that connect pods to their Job.
    let labels = spec["template"]["metadata"]["labels"]
        .as_object_mut()
        .unwrap();
    labels.retain(|key, _| !key.contains("controller-uid") && !key.contains("job-name"));
    // The policy of a task ends its Job with the first failure.
    spec.remove("podFailurePolicy");
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
fn the_log_of_a_second_pod_comes_after_the_first() {
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
fn the_log_of_a_restarted_container_comes_after_the_first() {
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
            // A cluster deletes the log of the first run after the second has ended, so both runs take some time.
            "if [ -e /memory/first ]; then echo second; sleep 5; else touch /memory/first; echo first; sleep 5; exit 3; fi",
        );
    });
    ada.run(["jobs", "logs", &id])
        .code(0)
        .stdout("first\nsecond\n")
        .says("node-0: its container was started again");
}

#[test]
fn the_log_of_a_deleted_pod_is_reported_as_missing() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: echo words");
    ada.wait_for_status(&id, "completed");
    let task = ada.status(&id);
    world.delete_pod(task["metadata"]["nodes"][0]["pod"].as_str().unwrap());
    ada.run(["jobs", "logs", &id])
        .success()
        .stdout("")
        .says("node-0: lines may be missing: its ");
}

#[test]
fn lines_lost_to_rotation_are_reported_as_a_gap() {
    // The sandbox rotates at once; a cluster checks the size every ten seconds.
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
