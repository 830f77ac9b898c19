//! Tests of following the log of a task.

mod pods;
mod records;
mod viewers;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::harness::{World, is_real_cluster, wait_for, wait_until};

#[test]
fn a_line_is_shown_while_the_task_runs() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: |\n  trap 'exit 0' TERM\n  echo first\n  sleep 1000 & wait");
    let logs = ada.start(["jobs", "logs", &id]);
    // The task does not end, so the line was not shown because of its end.
    logs.wait_for_output("first\n");
    ada.run(["jobs", "stop", &id]).success();
    logs.finish().code(103);
}

#[test]
fn a_prompt_is_shown_before_its_line_ends() {
    // containerd keeps a line until it is whole or 16 KiB long. CRI-O and the sandbox do not.
    if is_real_cluster() {
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: |\n  trap 'exit 0' TERM\n  printf 'name? '\n  sleep 1000 & wait");
    let logs = ada.start(["jobs", "logs", &id]);
    logs.wait_for_output("name? ");
    ada.run(["jobs", "stop", &id]).success();
    logs.finish().code(103).stdout("name? \n");
}

#[test]
fn an_unfinished_line_does_not_delay_lines_of_other_nodes() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(
        "num_nodes: 2\nrun: |\n  if [ $NODE_RANK = 0 ]; then printf 10%; sleep 1000; fi\n  \
         for i in {1..10000}; do echo \"line $i\"; sleep 0.05; done",
    );
    let logs = ada.start(["jobs", "logs", &id]);
    logs.wait_for_output("node-1 | line 40\n");
    ada.run(["jobs", "stop", &id]).success();
    logs.finish().code(103);
}

#[test]
fn a_terminal_shows_a_prompt_while_other_nodes_print() {
    if is_real_cluster() {
        return; // containerd, as above.
    }
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(
        "num_nodes: 2\nrun: |\n  if [ $NODE_RANK = 0 ]; then printf 'name? '; sleep 1000; fi\n  \
         while echo line; do sleep 0.02; done",
    );
    let logs = ada.start_at_terminal(&format!("NO_COLOR=1 k8s-cli jobs logs {id}"));
    logs.wait_for_output("node-0 | name? \r\nnode-1 | line\r\n");
    ada.run(["jobs", "stop", &id]).success();
    logs.finish().code(103);
}

#[test]
fn a_late_viewer_gets_the_log_from_its_first_line() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: for i in $(seq 1000); do echo line $i; done");
    ada.wait_for_status(&id, "completed");
    let expected: String = (1..=1000).map(|i| format!("line {i}\n")).collect();
    ada.run(["jobs", "logs", &id]).success().stdout(&expected);
    ada.run(["jobs", "logs", &id, "--tail", "2"])
        .success()
        .stdout("line 999\nline 1000\n");
    ada.run(["jobs", "logs", &id, "--no-follow", "--tail", "1"])
        .success()
        .stdout("line 1000\n");
}

#[test]
fn bytes_of_a_log_are_unchanged() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(r"run: printf 'a\xff\x00\x1b[1m\rb\n\nlast'");
    ada.wait_for_status(&id, "completed");
    let output = ada
        .command(["jobs", "logs", &id])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"a\xff\x00\x1b[1m\rb\n\nlast\n");
}

#[test]
fn prefixes_timestamps_and_nodes_can_be_chosen() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit_without_barrier("num_nodes: 3\nrun: echo I am $NODE_RANK");
    ada.wait_for_status(&id, "completed");
    ada.run(["jobs", "logs", &id, "--node", "2"])
        .success()
        .stdout("node-2 | I am 2\n");
    ada.run(["jobs", "logs", &id, "--node", "1", "--prefix", "never"])
        .success()
        .stdout("I am 1\n");
    ada.run(["jobs", "logs", &id, "--node", "3"])
        .code(1)
        .says("has no node 3, only 0 to 2");
    let outcome = ada
        .run(["jobs", "logs", &id, "--node", "0", "--timestamps"])
        .success();
    let (prefix, rest) = outcome.stdout.split_once(" | ").unwrap();
    let (time, text) = rest.split_once(' ').unwrap();
    assert_eq!((prefix, text), ("node-0", "I am 0\n"));
    assert!(time.starts_with("20") && time.contains('T'), "{time}");
}

#[test]
fn a_closed_pipe_ends_the_command_without_an_error() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: seq 10000");
    ada.wait_for_status(&id, "completed");
    let script = ada.home.join("head.sh");
    fs::write(
        &script,
        "set -o pipefail\n\"$1\" jobs logs \"$2\" | head -n 1",
    )
    .unwrap();
    let mut bash = std::process::Command::new("bash");
    bash.arg(&script)
        .args([env!("CARGO_BIN_EXE_k8s-cli"), &id])
        .env("HOME", &ada.home)
        .env("K8S_CLI_API_URL", &world.url);
    crate::harness::Running::start(bash, "")
        .finish()
        .success()
        .stdout("1\n")
        .stderr("");
}

#[test]
fn a_command_that_follows_a_quiet_log_ends_when_stdout_is_closed() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: |\n  echo ready\n  sleep 1000");
    for args in [
        &["jobs", "logs", &id][..],
        &["jobs", "logs", &id, "-o", "json"],
    ] {
        let mut command = ada.command(args);
        let mut logs = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(logs.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "the log ended");
        }
        drop(out);
        // The log has no more lines, so the command does not write.
        let end = wait_for("the end of the command", || logs.try_wait().unwrap());
        assert_eq!(end.code(), Some(101));
    }
    assert_eq!(ada.status(&id)["status"], "running");
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn a_log_waits_for_a_pending_task() {
    let world = World::new();
    let ada = world.login("ada");
    // No node has so many CPUs, so the task stays pending until it is stopped.
    let id = ada.submit("resources: {cpus: 1000}\nrun: echo never");
    let logs = ada.start(["jobs", "logs", &id, "--wait", "1s"]);
    let outcome = logs
        .finish()
        .code(101)
        .says("node-0: pending, Unschedulable: 0/1 nodes are available")
        .says("did not start within 1 s")
        .says(&format!("hint: the task goes on; `k8s-cli jobs logs {id}`"));
    assert_eq!(
        outcome.stderr.matches("node-0: pending").count(),
        1,
        "{}",
        outcome.stderr
    );
    let logs = ada.start(["jobs", "logs", &id]);
    wait_until("the log is being followed", || {
        world.log().matches(&format!("/tasks/{id}/logs")).count() == 2
    });
    ada.run(["jobs", "stop", &id]).success();
    logs.finish().code(103).stdout("");
}

#[test]
fn a_long_line_is_one_line() {
    let world = World::new();
    let ada = world.login("ada");
    // Container runtimes cut lines every 16 KiB.
    let id = ada.submit("run: |\n  head -c 300000 /dev/zero | tr '\\0' x\n  echo; echo end");
    let expected = format!("{}\nend\n", "x".repeat(300_000));
    for _ in 0..2 {
        let outcome = ada.run(["jobs", "logs", &id]).success();
        assert!(outcome.stdout == expected, "{} bytes", outcome.stdout.len());
    }
}
