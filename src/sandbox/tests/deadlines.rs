//! Tests of deadlines that change while a Job or pod runs.

use serde_json::{Value, json};

use super::{Cluster, job};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// The two types of patches for typed objects.
const WAYS: [&str; 2] = ["merge-patch", "strategic-merge-patch"];

fn stop() -> Value {
    json!({ "metadata": { "annotations": { "stopped": "yes" } }, "spec": { "activeDeadlineSeconds": 1 } })
}

/// Waits until a Job has failed, and returns it and the condition.
#[track_caller]
fn wait_failed(cluster: &Cluster, name: &str) -> (Value, Value) {
    let failed = |job: &Value| {
        let conditions = job["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .find(|one| one["type"] == "Failed")
            .cloned()
    };
    let job = cluster.wait(&format!("{JOBS}/{name}"), |job| failed(job).is_some());
    let condition = failed(&job).unwrap();
    (job, condition)
}

#[test]
fn a_running_pod_is_stopped_by_its_deadline() {
    let cluster = Cluster::start();
    for way in WAYS {
        cluster.make(JOBS, &job(way, "echo started; exec sleep 1000"));
        let list = format!("{PODS}?labelSelector=job-name%3D{way}");
        let running = cluster.wait(&list, |list| {
            list["items"][0]["status"]["phase"] == "Running"
        });
        let path = format!(
            "{PODS}/{}",
            running["items"][0]["metadata"]["name"].as_str().unwrap()
        );
        cluster.wait_log(&format!("{path}/log"), "started\n");
        cluster.patch_as(way, &path, &stop());
        let (_, condition) = wait_failed(&cluster, way);
        assert_eq!(condition["reason"], "BackoffLimitExceeded");
        let pod = cluster.get(&path);
        assert_eq!(pod["status"]["phase"], "Failed");
        assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
        assert_eq!(
            pod["status"]["message"],
            "Pod was active on the node longer than the specified deadline"
        );
        let annotations = json!({ "stopped": "yes" });
        assert_eq!(pod["metadata"]["annotations"], annotations);
        cluster.wait_log(&format!("{path}/log"), "started\n");
    }
}

#[test]
fn a_job_that_waits_is_stopped_by_its_deadline() {
    let cluster = Cluster::start();
    for way in WAYS {
        let mut job = job(way, "true");
        job["spec"]["template"]["spec"]["containers"][0]["resources"] =
            json!({ "limits": { "cpu": "100" } });
        cluster.make(JOBS, &job);
        let list = format!("{PODS}?labelSelector=job-name%3D{way}");
        cluster.wait(&list, |list| {
            list["items"][0]["status"]["conditions"][0]["reason"] == "Unschedulable"
        });
        cluster.patch_as(way, &format!("{JOBS}/{way}"), &stop());
        let (job, condition) = wait_failed(&cluster, way);
        assert_eq!(condition["reason"], "DeadlineExceeded");
        assert_eq!(
            condition["message"],
            "Job was active longer than specified deadline"
        );
        let annotations = &job["metadata"]["annotations"];
        assert_eq!(
            (&annotations["stopped"], &annotations["num-nodes"]),
            (&json!("yes"), &json!("1"))
        );
        cluster.wait(&list, |list| list["items"] == json!([]));
    }
}

#[test]
fn a_deadline_only_comes_nearer() {
    let cluster = Cluster::start();
    let mut pod = json!({ "metadata": { "name": "busy" }, "spec": job("busy", "sleep 1000")["spec"]["template"]["spec"] });
    pod["spec"]["activeDeadlineSeconds"] = json!(1000);
    cluster.make(PODS, &pod);
    for (seconds, why) in [
        (
            json!(1001),
            "1001: must be less than or equal to previous value",
        ),
        (
            Value::Null,
            "null: must not update from a positive integer to nil value",
        ),
    ] {
        let mut changed = cluster.get(&format!("{PODS}/busy"));
        let spec = changed["spec"].as_object_mut().unwrap();
        spec.remove("activeDeadlineSeconds");
        spec.extend((!seconds.is_null()).then(|| ("activeDeadlineSeconds".to_owned(), seconds)));
        changed["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("resourceVersion");
        let refused = cluster.send(
            "PUT",
            &format!("{PODS}/busy"),
            &changed.to_string(),
            Some(&cluster.token),
        );
        assert_eq!(refused.code, 422, "{}", refused.body);
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.ends_with(&format!("spec.activeDeadlineSeconds: Invalid value: {why}")),
            "{message}"
        );
    }
    cluster.patch(&format!("{PODS}/busy"), &stop());
}
