//! `k8s-cli manifest`: the server in a cluster, and under systemd.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::{
    harness::{
        MEMBER, Running, Team, TempDir, World, copy_k8s_cli, is_real_cluster, k8s_cli, wait_for,
        wait_until,
    },
    http::request,
};

#[test]
fn systemd_understands_the_unit() {
    let verify = Command::new("systemd-analyze").arg("--version").output();
    if !verify.is_ok_and(|version| version.status.success()) {
        eprintln!("systemd-analyze is not installed");
        return;
    }
    let unit = k8s_cli().args(["manifest", "--systemd"]).output().unwrap();
    let dir = TempDir::new();
    let file = dir.path().join("k8s-cli.service");
    fs::write(&file, unit.stdout).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&file);
    let outcome = Running::start(verify, "").finish().success();
    let about_unit = outcome
        .stderr
        .lines()
        .filter(|line| line.contains("k8s-cli.service"));
    assert_eq!(about_unit.count(), 0, "{}", outcome.stderr);
}

#[test]
fn no_task_stands_behind_the_service_of_the_server() {
    let print = k8s_cli().arg("manifest").output().unwrap();
    let documents = serde_yaml::Deserializer::from_slice(&print.stdout);
    let objects: Vec<Value> = documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    let world = World::new();
    let ada = world.login("ada");
    let mut count = 0;
    for (kind, place) in [
        ("Service", "/spec/selector"),
        ("Deployment", "/spec/selector/matchLabels"),
    ] {
        let object = objects.iter().find(|object| object["kind"] == kind);
        let selector = object.and_then(|object| object.pointer(place)).unwrap();
        for (key, value) in selector.as_object().unwrap() {
            let labels = json!({ key: value });
            let pod = json!({"kubernetes": {"pod_config": {"metadata": {"labels": labels}}}});
            for task in [
                json!({"run": "true", "resources": {"labels": labels}}),
                json!({"run": "true", "config": pod}),
            ] {
                let file = ada.file(&task.to_string());
                ada.run(["jobs", "submit", &file]).code(1).says(key);
                count += 1;
            }
        }
    }
    assert_eq!(count, 4);
}

/// Runs kubectl with the rights of the tests.
fn kubectl(args: &[&str], input: &str) -> String {
    let mut kubectl = Command::new("kubectl");
    kubectl.args(args).stderr(Stdio::inherit());
    Running::start(kubectl, input).finish().success().stdout
}

#[test]
fn the_server_runs_in_the_cluster_with_these_rights() {
    if !is_real_cluster() {
        return;
    }
    // The server of the team makes the accounts; the one under test stands beside it.
    let team = Team::with(&[]);
    let ada = team.add("ada", MEMBER);
    let namespace = team.world.namespace.as_str();
    let print = k8s_cli()
        .args([
            "manifest",
            "--auth",
            "kubernetes",
            "--image",
            "python:3.13-slim",
        ])
        .args(["--namespace", namespace])
        .output()
        .unwrap();
    assert!(print.status.success());
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = copy_k8s_cli(dir.path());
    kubectl(
        &["apply", "-f", "-"],
        &String::from_utf8(print.stdout).unwrap(),
    );
    // The image of the tests has no k8s-cli, so the node lends it.
    let patch = json!({"spec": {"template": {"spec": {
        "volumes": [{"name": "program", "hostPath": {"path": program, "type": "File"}}],
        "containers": [{"name": "k8s-cli", "volumeMounts": [
            {"name": "program", "mountPath": "/usr/local/bin/k8s-cli", "readOnly": true},
        ]}],
    }}}});
    let of_namespace = ["-n", namespace];
    kubectl(
        &[
            &of_namespace[..],
            &["patch", "deployment", "k8s-cli", "-p", &patch.to_string()],
        ]
        .concat(),
        "",
    );
    let pods = [
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/name=k8s-cli",
        "-o",
        "json",
    ];
    let address = wait_for("the server in the cluster is ready", || {
        let pods: Value =
            serde_json::from_str(&kubectl(&[&of_namespace[..], &pods].concat(), "")).unwrap();
        let ready = pods["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|pod| pod["status"]["containerStatuses"][0]["ready"] == true);
        Some(ready?["status"]["podIP"].as_str()?.to_owned())
    });
    let url = format!("http://{address}:8000");
    let bearer = format!("Bearer {ada}");
    wait_until("the rights of ada count", || {
        request(&url, "GET", "/tasks", &[("Authorization", &bearer)], b"").0 == 200
    });
    let session = team.world.anonymous();
    let file = session.file("run: echo from the cluster\nsecrets: {A: b}\nnum_nodes: 2");
    let run = |args: &[&str]| {
        let mut command = session.command([args, &["--insecure-http"]].concat());
        command
            .env("K8S_CLI_API_URL", &url)
            .env("K8S_CLI_TOKEN", &ada);
        Running::start(command, "").finish().success()
    };
    let outcome = run(&["jobs", "submit", &file]);
    assert_eq!(
        outcome.stdout.matches("from the cluster").count(),
        2,
        "{}",
        outcome.stdout
    );
    run(&["volumes", "create", "data", "1Gi"]);
    run(&[
        "volumes",
        "delete",
        "--force",
        run(&["volumes", "list", "-o", "name"]).stdout.trim(),
    ]);
    run(&[
        "jobs",
        "stop",
        run(&["jobs", "list", "-o", "name"]).stdout.trim(),
    ]);
    let log = kubectl(
        &[&of_namespace[..], &["logs", "deployment/k8s-cli"]].concat(),
        "",
    );
    let binding = format!("k8s-cli-{namespace}");
    kubectl(&["delete", "clusterrolebinding", &binding], "");
    for text in ["the server may not", "forbidden", &ada] {
        assert!(!log.contains(text), "{text}: {log}");
    }
}
