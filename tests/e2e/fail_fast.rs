//! Tests of fail-fast: the first failed node stops the others, and their logs are kept.

use std::fs;

use k8s_openapi::api::batch::v1::Job;

use crate::harness::{Server, World, is_real_cluster, wait_until};

/// Two nodes that wait, and one that fails after two seconds.
const TASK: &str = r#"num_nodes: 3
run: |
  echo "node $NODE_RANK is here"
  if [ "$NODE_RANK" = 1 ]; then sleep 2; exit 3; fi
  trap 'echo "node $NODE_RANK is told to stop"; exit 0' TERM
  sleep 1000 & wait
"#;

#[test]
fn the_other_nodes_are_stopped_and_their_logs_are_kept() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(TASK);
    let followed = ada.run(["jobs", "logs", &id]).code(100);
    assert!(
        followed.stderr.contains("node-1 failed: exit code 3"),
        "{}",
        followed.stderr
    );
    let task = ada.wait_for_status(&id, "failed");
    assert_eq!(task["reason"], "node-1: exit code 3");
    for rank in [0, 2] {
        let node = &task["metadata"]["nodes"][rank];
        assert_eq!(node["status"], "failed", "{node}");
        assert_eq!(node["reason"], "stopped: node-1 failed first");
        assert_eq!(node["stopped_after"], 1);
    }
    let again = ada.run(["jobs", "logs", &id]).code(100);
    for rank in 0..3 {
        let line = format!("node-{rank} | node {rank} is here\n");
        assert!(again.stdout.contains(&line), "{}", again.stdout);
    }
    assert!(
        again.stderr.contains("2 other nodes were stopped\n"),
        "{}",
        again.stderr
    );
    assert!(again.stderr.contains("node-1 failed: exit code 3"));
}

#[test]
fn a_node_that_has_not_started_is_stopped_too() {
    let world = World::new();
    let ada = world.login("ada");
    // On a cluster of any size, only one of two such nodes can be scheduled.
    let file = ada.file(&format!(
        "num_nodes: 2\nresources: {{cpus: {}+}}\nrun: sleep 2; exit 4",
        world.most_cpus()
    ));
    let submit = ["jobs", "submit", "--no-barrier", "--detach", &file];
    let id = ada.run(submit).success().stdout.trim().to_owned();
    let task = ada.wait_for_status(&id, "failed");
    wait_until("both nodes have ended", || {
        ada.status(&id)["metadata"]["failed_nodes"] == 2
    });
    let reason = task["reason"].as_str().unwrap();
    assert!(reason.ends_with("exit code 4"), "{reason}");
}

#[test]
fn without_fail_fast_the_other_nodes_continue() {
    let world = World::new();
    let ada = world.login("ada");
    let file =
        ada.file("num_nodes: 2\nrun: if [ $NODE_RANK = 0 ]; then exit 3; fi; sleep 5; echo done");
    ada.run(["jobs", "submit", "--no-fail-fast", &file])
        .code(100)
        .says("failed: node-0 failed: exit code 3")
        .has_output("node-1 | done\n");
}

#[test]
fn a_new_server_stops_the_nodes_of_a_task_that_failed_before() {
    // A file that the test creates lets the task fail, so both need the same file system.
    if is_real_cluster() {
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    // The world's own server uses another namespace.
    let start = || {
        let args = ["--host", "127.0.0.1", "--namespace", "kube-system"];
        let env = [("KUBECONFIG", world.kubeconfig.as_os_str())];
        Server::start(&args, &ada.home, &env)
    };
    let mut first = start();
    let go = ada.home.join("go");
    let file = ada.file(&format!(
        "num_nodes: 2\nrun: |\n  until [ -e '{}' ]; do sleep 0.05; done\n  if [ $NODE_RANK = 0 ]; then exit 3; fi\n  sleep 1000",
        go.display()
    ));
    let id = ada
        .start_at(
            &first.url,
            ["jobs", "submit", "--no-barrier", "--detach", &file],
        )
        .finish()
        .success()
        .stdout;
    first.end("KILL");
    fs::write(&go, "").unwrap();
    wait_until("node 0 has failed", || {
        let jobs = world.objects_in::<Job>("kube-system");
        let failed = jobs.iter().filter_map(|job| job.status.as_ref()?.failed);
        failed.sum::<i32>() == 1
    });
    let second = start();
    let status = ["jobs", "status", id.trim(), "-o", "json"];
    wait_until("node 1 was stopped", || {
        let task = ada.start_at(&second.url, status).finish().success().stdout;
        let task: serde_json::Value = serde_json::from_str(&task).unwrap();
        task["metadata"]["nodes"][1]["stopped_after"] == 0 && task["metadata"]["failed_nodes"] == 2
    });
}
