//! `jobs status`: why, where and since when.

use crate::harness::{World, is_real_cluster, wait_for};

#[test]
fn a_node_tells_its_signal_its_machine_and_its_times() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: kill -9 $$");
    let task = ada.wait_for_status(&id, "failed");
    let node = &task["metadata"]["nodes"][0];
    assert_eq!(
        (&node["exit_code"], &node["signal"]),
        (&137.into(), &"SIGKILL".into())
    );
    let text = |key: &str| node[key].as_str().unwrap().to_owned();
    assert!(!text("host").is_empty() && text("pod").starts_with("task-"));
    assert!(text("started_at") <= text("finished_at"));
    assert!(task.get("events").is_none());
    // In a pipe times are UTC, and a line has no more than a node.
    let lines = ada.run(["jobs", "status", &id]).success().stdout;
    let started = format!("started\t{}\n", text("started_at"));
    assert!(lines.contains(&started), "{lines}");
    let line = lines
        .lines()
        .find(|line| line.starts_with("node-0\t"))
        .unwrap();
    assert_eq!(line.split('\t').nth(2), Some(&*text("pod")));
    assert!(line.ends_with("\t0\tSIGKILL"), "{line}");
    // On a terminal they are local.
    let line = format!("TZ=Asia/Tokyo exec k8s-cli jobs status {id}");
    let block = ada.start_at_terminal(&line).finish().success().stdout;
    for part in ["killed by SIGKILL", " JST (", "events:", "Job/", "Pod/"] {
        assert!(block.contains(part), "{part} is not in {block}");
    }
}

#[test]
fn equal_nodes_share_a_line_on_a_terminal_only() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("num_nodes: 4\nresources: {cpus: 0.1}\nrun: |\n  test $SKYPILOT_NODE_RANK != 2 || exit 3\n  sleep 1000");
    let lines = wait_for("the other nodes to be stopped", || {
        ada.wait_for_status(&id, "failed");
        let lines = ada.run(["jobs", "status", &id]).success().stdout;
        (lines.matches("node-2 failed first").count() == 3).then_some(lines)
    });
    assert_eq!(lines.matches("\nnode-").count(), 4, "{lines}");
    let line = format!("exec k8s-cli jobs status {id}");
    let block = ada.start_at_terminal(&line).finish().success().stdout;
    assert!(
        block.contains("3 nodes:    failed: stopped after node-2 failed"),
        "{block}"
    );
    assert!(block.contains("node-2:     failed after "), "{block}");
}

#[test]
fn events_are_those_of_the_task() {
    // A cluster adds events in its own time.
    if is_real_cluster() {
        return;
    }
    let world = World::sandbox(&[]);
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let hers = ada.submit("run: 'true'");
    let his = bob.submit("run: 'true'");
    ada.wait_for_status(&hers, "completed");
    bob.wait_for_status(&his, "completed");
    let url = format!("{}/tasks/{hers}?events=true", world.url);
    let task = crate::http::request(&url, "GET", "", &[crate::http::ADA], b"").1;
    let events = task["events"].as_array().unwrap();
    assert!((2..=10).contains(&events.len()), "{task}");
    for event in events {
        assert!(event["object"].as_str().unwrap().contains(&hers), "{event}");
    }
}
