//! Tests of secrets, volumes of a task and pod configuration.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod, Secret, Service},
};

use crate::{
    harness::{World, is_real_cluster, wait_until},
    http::request,
};

#[test]
fn only_the_task_sees_its_secrets() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(
        "num_nodes: 2\nsecrets: {TOKEN: hush-hush, BOTH: secret}\nenvs: {BOTH: env}\nrun: echo $TOKEN | wc -c; echo $BOTH",
    );
    // The whole log is compared: names that come late would be a line of it.
    let submitted = ada
        .run(["jobs", "submit", "--no-barrier", "--detach", &file])
        .success();
    let id = submitted.stdout.trim().to_owned();
    let task = ada.wait_for_status(&id, "completed");
    let logs = ada.run(["jobs", "logs", &id, "--node", "1"]).success();
    assert_eq!(logs.stdout, "node-1 | 10\nnode-1 | secret\n");

    let secrets: Vec<Secret> = world.objects();
    let names = world.names_of::<Secret>(&id);
    let secret = secrets
        .iter()
        .find(|secret| secret.metadata.name.as_ref() == names.first())
        .expect("the task has a Secret");
    assert_eq!(secret.data.as_ref().unwrap()["TOKEN"].0, b"hush-hush");
    let seen = [
        serde_json::to_string(&world.objects::<Job>()).unwrap(),
        serde_json::to_string(&world.objects::<Pod>()).unwrap(),
        serde_json::to_string(&world.objects::<Service>()).unwrap(),
        task.to_string(),
        submitted.stderr,
        world.log(),
    ];
    for text in seen {
        // Neither in plain text nor in base64.
        assert!(
            !text.contains("hush-hush") && !text.contains("aHVzaC1odXNo"),
            "{text}"
        );
    }
    ada.run(["jobs", "stop", &id]).success();
    wait_until("the Secret is deleted with the task", || {
        world.names_of::<Secret>(&id).is_empty()
    });
}

#[test]
fn a_task_mounts_a_sub_path_and_a_volume_of_its_own() {
    let world = World::new();
    let ada = world.login("ada");
    ada.run(["volumes", "create", "data", "1Gi"]).success();
    let id = ada.submit(
        "volumes:\n  /part: {name: data, sub_path: a/b}\n  /scratch: {size: 1Gi}\nrun: |\n  echo hello > /part/file\n  echo x > /scratch/x",
    );
    ada.wait_for_status(&id, "completed");
    let claims = world.names_of::<PersistentVolumeClaim>(&id);
    assert!(claims[0].ends_with("-volume-0"), "{claims:?}");
    let listed = ada.run(["volumes", "list"]).success();
    assert!(!listed.stdout.contains(&claims[0]), "{}", listed.stdout);
    let reader = ada.submit("volumes: {/data: data}\nrun: cat /data/a/b/file");
    ada.wait_for_status(&reader, "completed");
    ada.run(["jobs", "logs", &reader])
        .success()
        .stdout("hello\n");
    ada.run(["jobs", "stop", &id]).success();
    wait_until("the claim is deleted with the task", || {
        !world.names::<PersistentVolumeClaim>().contains(&claims[0])
    });
    // A task of several nodes gets a warning about a volume that only one machine can mount.
    let file = ada.file("num_nodes: 2\nvolumes: {/data: data}\nrun: 'true'");
    ada.run(["jobs", "submit", "--detach", &file])
        .success()
        .says("warning: volumes./data: volume `data` can be mounted on one machine at a time");
}

#[test]
fn a_failed_setup_is_the_reason_of_the_task() {
    let world = World::new();
    let ada = world.login("ada");
    let id =
        ada.submit("num_nodes: 2\nsetup: if [ $NODE_RANK = 1 ]; then exit 3; fi\nrun: sleep 1000");
    let task = ada.wait_for_status(&id, "failed");
    assert_eq!(task["reason"], "setup on node-1 exited with 3");
    let outcome = ada.run(["jobs", "logs", &id]).code(100);
    let expected =
        format!("1 other node was stopped\ntask {id} failed: setup on node-1 exited with 3\n");
    assert_eq!(outcome.stderr, expected);
}

#[test]
fn the_pod_config_changes_the_pod() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(
        r#"resources: {labels: {team: search}}
config:
  kubernetes:
    pod_config:
      metadata:
        annotations: {example.com/note: hello}
      spec:
        terminationGracePeriodSeconds: 5
        containers:
          - env:
              - {name: FROM_POD_CONFIG, value: "yes"}
run: echo $FROM_POD_CONFIG $NODE_RANK
"#,
    );
    ada.wait_for_status(&id, "completed");
    ada.run(["jobs", "logs", &id]).success().stdout("yes 0\n");
    let pods: Vec<Pod> = world.objects();
    let pod = &pods[0];
    assert_eq!(pod.metadata.labels.as_ref().unwrap()["team"], "search");
    let annotations = pod.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["example.com/note"], "hello");
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!(spec.termination_grace_period_seconds, Some(5));
}

#[test]
fn a_pod_config_that_reaches_beyond_the_pod_is_refused() {
    let world = World::new();
    let ada = world.login("ada");
    let submit = |spec: &str| {
        let file = ada.file(&format!(
            "config: {{kubernetes: {{pod_config: {{spec: {spec}}}}}}}\nrun: 'true'"
        ));
        ada.run(["jobs", "submit", "--detach", &file])
    };
    submit("{hostNetwork: true}")
        .code(1)
        .says("config.kubernetes.pod_config.spec.hostNetwork: ")
        .says("serve --allow-pod-config");
    submit("{containers: [{securityContext: {privileged: true}}]}")
        .code(1)
        .says("pod_config.spec.containers[0].securityContext.privileged: ");
    submit("{nodeSelctor: {a: b}}")
        .code(1)
        .says("pod_config.spec.nodeSelctor: is an unknown field");
    // A field that only takes rights away is for every user.
    let fewer = "{securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}, containers: [{securityContext: \
         {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}";
    let id = submit(fewer).success().stdout.trim().to_owned();
    ada.wait_for_status(&id, "completed");
    ada.run(["jobs", "stop", &id]).success();
    submit("{containers: [{name: Not a name, image: x}]}")
        .code(1)
        .says("Not a name");
    assert_eq!(world.names::<Job>(), Vec::<String>::new());
    if is_real_cluster() {
        return;
    }
    let world = World::sandbox(&["--allow-pod-config"]);
    let ada = world.login("ada");
    let file = ada.file("config: {kubernetes: {pod_config: {spec: {hostIPC: true}}}}\nrun: 'true'");
    ada.run(["jobs", "submit", "--detach", &file]).success();
}

#[test]
fn a_server_can_make_all_pods_follow_the_restricted_standard() {
    let world = World::with(&["--pod-security", "restricted"]);
    let ada = world.login("ada");
    let file = ada.file("run: id -u");
    let dry = ada.run(["jobs", "submit", "--dry-run", &file]).success();
    assert!(dry.stdout.contains("runAsNonRoot: true"), "{}", dry.stdout);
    assert!(dry.stdout.contains("allowPrivilegeEscalation: false"));
    let id = ada.submit("setup: touch /tmp/x\nrun: id -u; trap 'exit 0' TERM; sleep 0.1");
    ada.wait_for_status(&id, "completed");
    let log = ada.run(["jobs", "logs", &id]).success().stdout;
    // The sandbox runs all pods as its own user.
    assert!(log == "1000\n" || !is_real_cluster(), "{log}");
}

#[test]
fn a_job_that_kubernetes_cannot_store_is_refused_with_its_largest_part() {
    let world = World::new();
    let ada = world.login("ada");
    let envs: String = (0..16)
        .map(|n| format!("  V{n}: {}\n", "x".repeat(90_000)))
        .collect();
    let file = ada.file(&format!("envs:\n{envs}run: 'true'"));
    // The file itself is too long for the client, so that the request comes without it.
    ada.run(["jobs", "submit", "--detach", &file]).code(1);
    let envs = (0..16).map(|n| (format!("V{n}"), "x".repeat(90_000)));
    let envs: serde_json::Map<_, _> = envs.map(|(name, value)| (name, value.into())).collect();
    let task = serde_json::json!({"run": "true", "envs": envs}).to_string();
    let headers = [("X-User", "ada"), ("Content-Type", "application/json")];
    let (code, answer) = request(
        &world.url,
        "POST",
        "/tasks/submit",
        &headers,
        task.as_bytes(),
    );
    assert_eq!(code, 422, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("bytes are from `envs`"), "{detail}");
}

#[test]
fn a_task_that_is_too_large_for_the_cluster_is_refused() {
    let world = World::new();
    let ada = world.login("ada");
    let long = "x".repeat(90_000);
    let file = ada.file(&format!(
        "num_nodes: 10000\nenvs: {{A: {long}}}\nrun: 'true'"
    ));
    let refused = ada.run(["jobs", "submit", "--detach", &file]).code(1);
    assert!(
        refused
            .stderr
            .contains("num_nodes: the Jobs of 10000 nodes"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("a task takes 256 MiB"),
        "{}",
        refused.stderr
    );
    let file = ada.file(&format!(
        "num_nodes: 1000\nenvs: {{A: {long}}}\nrun: 'true'"
    ));
    let refused = ada.run(["jobs", "submit", "--dry-run", &file]).code(1);
    assert!(
        refused.stderr.contains("`dry_run` takes 32 MiB"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.names::<Job>(), Vec::<String>::new());
}

#[test]
fn labels_cannot_make_the_claim_of_a_task_a_volume_of_a_user() {
    let world = World::new();
    let ada = world.login("ada");
    let made = ada
        .run(["volumes", "create", "data", "1Gi", "-o", "name"])
        .success();
    let volume = made.stdout.trim();
    let id = world.login("eve").submit(&format!(
        "volumes: {{/d: {{size: 1Gi, labels: {{skypilot-volume: 'true', volume-id: {volume}, team: x}}}}}}\nrun: 'true'"
    ));
    let claims: Vec<PersistentVolumeClaim> = world.objects();
    let names = world.names_of::<PersistentVolumeClaim>(&id);
    let claim = claims
        .iter()
        .find(|claim| claim.metadata.name.as_ref() == names.first());
    let labels = claim
        .expect("the task has a claim")
        .metadata
        .labels
        .clone()
        .unwrap();
    assert_eq!(labels["team"], "x");
    assert!(
        !labels.contains_key("volume-id") && !labels.contains_key("skypilot-volume"),
        "{labels:?}"
    );
    let listed = ada
        .run(["volumes", "list", "--all-users", "-o", "name"])
        .success();
    assert_eq!(listed.stdout, made.stdout);
}

#[test]
fn a_dry_run_prints_objects_and_creates_nothing() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(
        "name: try\nnum_nodes: 2\nsecrets: {TOKEN: hush-hush}\nresources: {use_spot: true}\nrun: 'true'",
    );
    let outcome = ada
        .run(["jobs", "submit", "--dry-run", &file])
        .success()
        .says("resources.use_spot is ignored");
    let kinds: Vec<&str> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("kind: "))
        .collect();
    assert_eq!(kinds, ["Job", "Job", "Service", "Secret"]);
    assert!(
        !outcome.stdout.contains("aHVzaC1odXNo"),
        "{}",
        outcome.stdout
    );
    assert_eq!(world.names::<Job>(), Vec::<String>::new());
    // A dry run refuses the objects that Kubernetes would refuse.
    let file = ada.file("resources: {labels: {a: '-'}}\nrun: 'true'");
    ada.run(["jobs", "submit", "--dry-run", &file]).code(1);
}

/// A task whose pod has another container or init container.
fn with_container(run: &str, kind: &str, script: &str) -> String {
    let container =
        format!("{{name: side, image: 'python:3.13-slim', command: [/bin/bash, -c, '{script}']}}");
    format!(
        "run: |\n  {run}\nconfig: {{kubernetes: {{pod_config: {{spec: {{terminationGracePeriodSeconds: 2, {kind}: [{{}}, {container}]}}}}}}}}"
    )
}

#[test]
fn the_container_of_the_task_decides_how_it_ends() {
    let world = World::new();
    let ada = world.login("ada");
    let cases = [
        // The other container stays.
        ("echo hi; exit 0", "sleep 1000", "completed", None),
        (
            "echo hi; exit 3",
            "sleep 1000",
            "failed",
            Some("exit code 3"),
        ),
        // It fails before.
        ("sleep 1; echo hi", "exit 7", "completed", None),
        (
            "sleep 1; echo hi; exit 3",
            "exit 7",
            "failed",
            Some("exit code 3"),
        ),
    ];
    let submitted = cases.map(|(run, script, status, reason)| {
        let id = ada.submit(&with_container(run, "containers", script));
        (id, status, reason)
    });
    for (id, status, reason) in submitted {
        let task = ada.wait_for_status(&id, status);
        assert_eq!(task["reason"].as_str(), reason, "{task}");
        // The log ends although the other container runs.
        let log = ada.run(["jobs", "logs", &id]);
        assert_eq!(log.stdout, "hi\n", "{}", log.stderr);
        wait_until("the pod to end", || {
            let pods: Vec<Pod> = world.objects();
            let ended = |pod: &Pod| {
                let phase = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref());
                matches!(phase, Some("Succeeded" | "Failed"))
            };
            let label = Some(&id);
            let of_task = |pod: &&Pod| {
                let labels = pod.metadata.labels.as_ref();
                labels.and_then(|labels| labels.get("task-id")) == label
            };
            pods.iter().filter(of_task).all(ended)
        });
        let task = ada.status(&id);
        assert_eq!(task["status"], status, "{task}");
    }
}

#[test]
fn an_init_container_that_fails_is_the_reason() {
    let world = World::new();
    let ada = world.login("ada");
    let task = with_container("true", "initContainers", "exit 9").replace("[{}, ", "[");
    let id = ada.submit(&task);
    let task = ada.wait_for_status(&id, "failed");
    assert_eq!(task["reason"], "init container `side`: exit code 9");
}
