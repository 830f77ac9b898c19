//! `k8s-cli nodes`: what the cluster has, and what is free.

use crate::harness::{World, is_real_cluster};

#[test]
fn what_a_task_asks_for_is_not_free() {
    // Others use a real cluster at the same time.
    if is_real_cluster() {
        return;
    }
    let world = World::sandbox(&[]);
    let ada = world.login("ada");
    let free = || {
        let nodes = ada.run(["nodes", "-o", "json"]).success().stdout;
        let nodes: serde_json::Value = serde_json::from_str(&nodes).unwrap();
        nodes["nodes"][0]["free"]["cpus"].as_f64().unwrap()
    };
    let before = free();
    let id = ada.submit("resources: {cpus: 2}\nrun: sleep 1000");
    ada.wait_for_status(&id, "running");
    assert_eq!(before - free(), 2.0);
    let line = ada.run(["nodes"]).success().stdout;
    assert_eq!(line.lines().count(), 1);
    assert!(line.starts_with("sandbox\tready\t64\t62\t"), "{line}");
    let large = ada.submit("resources: {cpus: 100}\nrun: 'true'");
    crate::harness::wait_until("the scheduler has looked at it", || {
        let line = format!("exec k8s-cli jobs status {large}");
        let block = ada.start_at_terminal(&line).finish().success().stdout;
        block.contains("needs 100 CPUs a node; the largest node has 64, 62 of them free")
    });
    ada.run(["jobs", "stop", "--all"]).success();
    assert_eq!(free(), before);
}
