//! Tests of startup probes.

use serde_json::{Value, json};

use super::{Cluster, job};

const PODS: &str = "/api/v1/namespaces/default/pods";
const EVENTS: &str = "/api/v1/namespaces/default/events";

/// Creates a pod that creates the file `/no/such/volume/up` on SIGUSR1 to its first process, and has a startup probe.
fn create(cluster: &Cluster, name: &str, probe: &str, threshold: i64) {
    let script = "trap 'touch /no/such/volume/up' USR1; while :; do sleep 0.1; done";
    let mut spec = job(name, script)["spec"]["template"]["spec"].clone();
    spec["terminationGracePeriodSeconds"] = json!(0);
    spec["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    let container = &mut spec["containers"][0];
    container["volumeMounts"] = json!([{ "name": "data", "mountPath": "/no/such/volume" }]);
    container["startupProbe"] = json!({
        "exec": { "command": ["sh", "-c", probe] }, "periodSeconds": 1, "failureThreshold": threshold,
    });
    let created = cluster.make(PODS, &json!({ "metadata": { "name": name }, "spec": spec }));
    let probe = &created["spec"]["containers"][0]["startupProbe"];
    assert_eq!(
        (&probe["timeoutSeconds"], &probe["successThreshold"]),
        (&json!(1), &json!(1))
    );
}

/// Waits for an event about a pod, and returns its message.
fn wait_event(cluster: &Cluster, pod: &str, reason: &str) -> String {
    let find = |list: &Value| {
        let items = list["items"].as_array().into_iter().flatten();
        let mut found = items
            .filter(|event| event["reason"] == reason && event["involvedObject"]["name"] == pod);
        found
            .next()
            .map(|event| event["message"].as_str().unwrap_or("").to_owned())
    };
    find(&cluster.wait(EVENTS, |list| find(list).is_some())).unwrap()
}

#[test]
fn a_container_has_started_when_its_probe_succeeds() {
    let cluster = Cluster::start();
    // The probe runs in the container: it sees the volume, the variables and the processes.
    let probe = "[ -e up ] || [ -e /no/such/volume/up ] || { echo not $NODE_RANK; echo yet >&2; kill -USR1 1; exit 1; }";
    create(&cluster, "slow", probe, 1000);
    let path = format!("{PODS}/slow");
    let started = |pod: &Value| pod["status"]["containerStatuses"][0]["started"].clone();
    assert_eq!(
        wait_event(&cluster, "slow", "Unhealthy"),
        "Startup probe failed: not 0\nyet\n"
    );
    let pod = cluster.wait(&path, |pod| started(pod) == true);
    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
}

#[test]
fn a_container_is_killed_when_its_probe_fails_too_often() {
    let cluster = Cluster::start();
    create(&cluster, "never", "sleep 1000", 2);
    let path = format!("{PODS}/never");
    let pod = cluster.wait(&path, |pod| pod["status"]["phase"] == "Running");
    assert_eq!(pod["status"]["containerStatuses"][0]["started"], false);
    let ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions.into_iter().find(|one| one["type"] == "Ready")
    };
    assert_eq!(ready(&pod).unwrap()["reason"], "ContainersNotReady");
    let pod = cluster.wait(&path, |pod| pod["status"]["phase"] == "Failed");
    let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&state["exitCode"], &state["reason"]),
        (&json!(137), &json!("Error"))
    );
    assert_eq!(
        wait_event(&cluster, "never", "Unhealthy"),
        "Startup probe failed: command timed out: \"sh -c sleep 1000\" timed out after 1s"
    );
    assert_eq!(
        wait_event(&cluster, "never", "Killing"),
        "Container task failed startup probe"
    );
}
