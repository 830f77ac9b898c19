//! The barrier between `setup` and `run` of a task with several nodes, and the names of its nodes.

use k8s_openapi::api::core::v1::Pod;

use crate::harness::{TempDir, World, is_real_cluster, wait_for, wait_until};

/// The lines of a log in the order of their times, with the time in front.
fn times(log: &str, word: &str) -> Vec<f64> {
    let lines = log
        .lines()
        .filter_map(|line| line.split_once(&format!("{word} ")));
    lines
        .map(|(_, time)| time.trim().parse().unwrap())
        .collect()
}

const SETUP: &str =
    "setup: sleep $SKYPILOT_SETUP_NODE_RANK; echo set $(date +%s.%N)\nrun: echo ran $(date +%s.%N)";

#[test]
fn no_node_begins_run_before_the_setup_of_all_has_ended() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(&format!("num_nodes: 4\n{SETUP}"));
    let log = ada.run(["jobs", "submit", &file]).success().stdout;
    let (set, ran) = (times(&log, "set"), times(&log, "ran"));
    assert_eq!((set.len(), ran.len()), (4, 4), "{log}");
    let last = set.into_iter().fold(0.0, f64::max);
    assert!(ran.iter().all(|time| *time >= last), "{log}");

    let log = ada
        .run(["jobs", "submit", "--no-barrier", &file])
        .success()
        .stdout;
    let (set, ran) = (times(&log, "set"), times(&log, "ran"));
    let last = set.into_iter().fold(0.0, f64::max);
    assert!(ran.iter().any(|time| *time < last), "{log}");
}

/// A kubelet may lose the first change of a pod that lets it begin `run`.
#[test]
fn nodes_are_let_pass_twice() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("num_nodes: 2\nrun: echo ran; sleep 1000");
    let logs = ada.start(["jobs", "logs", &id]);
    for rank in 0..2 {
        logs.wait_for_output(&format!("node-{rank} | ran"));
    }
    wait_until("both pods are changed again", || {
        let pods = world.objects::<Pod>();
        let is_changed = |pod: &Pod| {
            let annotations = pod.metadata.annotations.as_ref();
            annotations.is_some_and(|it| it.contains_key("k8s-cli/start-repeated"))
        };
        pods.len() == 2 && pods.iter().all(is_changed)
    });
    ada.run(["jobs", "stop", &id]).success();
    logs.finish().code(103);
}

#[test]
fn every_node_finds_every_other_one_in_its_first_command() {
    let world = World::new();
    let ada = world.login("ada");
    // The name of a node that has ended is gone, so none ends by itself.
    let id = ada.submit(
        "num_nodes: 3\nsetup: getent hosts $MASTER_ADDR > /dev/null || echo lacks the first\nrun: for name in $MASTER_ADDR \
         $SKYPILOT_NODE_IPS; do getent hosts $name > /dev/null || echo lacks $name; done; echo looked; sleep 1000",
    );
    let logs = ada.start(["jobs", "logs", &id]);
    for rank in 0..3 {
        logs.wait_for_output(&format!("node-{rank} | looked"));
    }
    ada.run(["jobs", "stop", &id]).success();
    let log = logs.finish().stdout;
    // A busy cluster may publish names late; then the node has waited, and says so.
    let is_late = is_real_cluster() && log.contains("cannot be resolved after 30 s");
    assert!(is_late || !log.contains("lacks"), "{log}");
}

#[test]
fn a_failed_setup_keeps_all_nodes_from_run() {
    let world = World::new();
    let ada = world.login("ada");
    let task = "num_nodes: 3\nsetup: '[ $SKYPILOT_SETUP_NODE_RANK != 1 ] || { sleep 1; exit 7; }'\nrun: echo ran";
    let file = ada.file(task);
    let run = ada
        .run(["jobs", "submit", &file])
        .code(100)
        .says("setup on node-1 exited with 7");
    assert!(!run.stdout.contains("ran"), "{}", run.stdout);
    // The others go on without it, and say so.
    let run = ada
        .run(["jobs", "submit", "--no-fail-fast", &file])
        .code(100);
    assert_eq!(run.stdout.matches("| ran").count(), 2, "{}", run.stdout);
    let line = "node-1 has failed, and the other nodes go on without it";
    assert_eq!(run.stdout.matches(line).count(), 2, "{}", run.stdout);
}

#[test]
fn a_node_that_waits_says_for_whom() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(
        "num_nodes: 3\nsetup: '[ $SKYPILOT_SETUP_NODE_RANK = 0 ] || sleep 1000'\nrun: 'true'",
    );
    let reason = "waiting for the setup of 2 of 3 nodes: node-1, node-2";
    let status = wait_for("node-0 waits", || {
        Some(ada.status(&id)).filter(|status| status["reason"] == reason)
    });
    assert_eq!(
        status["metadata"]["nodes"][1]["reason"], "setting up",
        "{status}"
    );
    let logs = ada.start(["jobs", "logs", &id]);
    logs.wait_for_error(reason);
    ada.run(["jobs", "stop", &id]).success();
    logs.finish();
    let id = ada.submit("setup: sleep 1000\nrun: 'true'");
    wait_until("a single node runs", || {
        ada.status(&id)["status"] == "running"
    });
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn two_servers_release_the_nodes_once() {
    let world = World::new();
    let ada = world.login("ada");
    let dir = TempDir::new();
    let second = world.second_server(&dir);
    let file = ada.file(&format!("num_nodes: 3\n{SETUP}"));
    let submit = ada.start_at(&second.url, ["jobs", "submit", &file]);
    let log = submit.finish().success().stdout;
    assert_eq!(times(&log, "ran").len(), 3, "{log}");
}

#[test]
fn a_server_that_starts_finishes_the_release() {
    let mut world = World::new();
    if !is_real_cluster() {
        eprintln!("the sandbox ends with its server, so no other one can go on");
        return;
    }
    let ada = world.login("ada");
    let id = ada.submit(&format!("num_nodes: 3\n{SETUP}"));
    drop(ada);
    world.end("KILL");
    let dir = TempDir::new();
    let second = world.second_server(&dir);
    let ada = world.anonymous();
    let logs = ada.start_at(&second.url, ["jobs", "logs", &id, "--as", "ada"]);
    let log = logs.finish().success().stdout;
    assert_eq!(times(&log, "ran").len(), 3, "{log}");
}
