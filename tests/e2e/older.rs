//! A server of this version beside one of an older version, whose program `K8S_CLI_E2E_OLDER` names. `make e2e` runs this if it is set.

use std::{env, path::PathBuf};

use crate::harness::{Server, Session, World, wait_until};

const WAITING: &str = "run: |\n  echo ready\n  sleep 1000\nresources: {cpus: 1m}";

/// A world, and a server of the older version on its cluster.
fn beside() -> (World, Server) {
    let world = World::new();
    let program = env::var_os("K8S_CLI_E2E_OLDER").map(PathBuf::from);
    let program = program.expect("K8S_CLI_E2E_OLDER names a program");
    let args = ["--host", "127.0.0.1", "--namespace", &world.namespace];
    let env = [("KUBECONFIG", world.server_kubeconfig().as_os_str())];
    let home = world.anonymous().home;
    let older = Server::start_program(&program, &args, &home, &env);
    (world, older)
}

/// Submits at a server; returns the id.
#[track_caller]
fn submit(ada: &Session<'_>, url: &str, task: &str) -> String {
    let file = ada.file(task);
    let submitted = ada.start_at(url, ["jobs", "submit", "--detach", &file]);
    submitted.finish().success().stdout.trim().to_owned()
}

#[test]
#[ignore = "it needs a program of an older version"]
fn each_server_follows_and_stops_what_the_other_made() {
    let (world, older) = beside();
    let ada = world.login("ada");
    for (made_by, other) in [(&older.url, &world.url), (&world.url, &older.url)] {
        let id = submit(&ada, made_by, &format!("num_nodes: 2\n{WAITING}"));
        let logs = ada.start_at(other, ["jobs", "logs", &id]);
        logs.wait_for_output("node-0 | ready\n");
        logs.wait_for_output("node-1 | ready\n");
        for url in [made_by, other] {
            let listed = ada.start_at(url, ["jobs", "list", "-o", "name"]).finish();
            assert!(listed.success().stdout.contains(&id), "{url}");
            let status = ada.start_at(url, ["jobs", "status", &id]).finish();
            assert!(status.success().stdout.contains("running"), "{url}");
        }
        ada.start_at(other, ["jobs", "stop", &id])
            .finish()
            .success();
        logs.finish().code(103);
        wait_until("the task is gone at both", || {
            [made_by, other].iter().all(|url| {
                let status = ada.start_at(url, ["jobs", "status", &id]).finish();
                status.code == Some(1) && status.stderr.contains("not found")
            })
        });
    }
}

#[test]
#[ignore = "it needs a program of an older version"]
fn what_a_killed_older_server_began_is_finished() {
    let (world, mut older) = beside();
    let ada = world.login("ada");
    let task = "num_nodes: 2\nresources: {cpus: 1m}\nrun: |\n  [ $NODE_RANK = 0 ] || sleep 1000\n  sleep 5\n  echo the end; exit 3";
    let id = submit(&ada, &older.url, task);
    older.end("KILL");
    // Fail-fast is of this server now.
    let logs = ada.run(["jobs", "logs", &id]).code(100);
    logs.has_output("node-0 | the end\n")
        .says("node-0 failed: exit code 3");
    let status = ada.status(&id);
    assert_eq!(
        status["metadata"]["nodes"][1]["stopped_after"], 0,
        "{status}"
    );
    ada.run(["jobs", "delete", &id]).success();
    ada.run(["jobs", "status", &id]).code(1).says("not found");
}

#[test]
#[ignore = "it needs a program of an older version"]
fn two_servers_do_each_thing_once() {
    let (world, older) = beside();
    let ada = world.login("ada");
    let failing =
        "num_nodes: 3\nresources: {cpus: 1m}\nrun: |\n  [ $NODE_RANK = 1 ] || sleep 1000\n  exit 4";
    for url in [&older.url, &world.url] {
        let id = submit(&ada, url, failing);
        let task = ada.wait_for_status(&id, "failed");
        let nodes = task["metadata"]["nodes"].as_array().unwrap();
        let first = nodes.iter().filter(|node| node["exit_code"] == 4);
        assert_eq!(first.count(), 1, "{task}");
        wait_until("the others were stopped because of it", || {
            let task = ada.status(&id);
            let nodes = task["metadata"]["nodes"].as_array().unwrap();
            let stopped = nodes.iter().filter(|node| node["stopped_after"] == 1);
            stopped.count() == 2
        });
    }
}
