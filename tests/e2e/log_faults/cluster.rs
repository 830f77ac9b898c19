//! Tests of faults that only a real cluster has: its components restart, and long logs are rotated.
//!
//! These tests disturb every other test on the cluster, so they are ignored by default and run alone:
//!
//! ```text
//! K8S_CLI_E2E=cluster K8S_CLI_E2E_RESTART=.../restart \
//!     cargo test --test e2e log_faults::cluster -- --ignored --test-threads 1
//! ```
//!
//! `K8S_CLI_E2E_RESTART` is a program that restarts a component of the cluster:
//! `restart apiserver|kubelet [--kill] [--away SECONDS]`. The cluster rotates logs at 1 MiB.

use std::{env, fmt::Write as _, ops::Range, process::Command, time::Duration};

use kube::api::LogParams;

use super::{
    compare::{by_node, compare, lines},
    run::pods,
    viewer::{Seen, Viewer},
};
use crate::harness::{World, is_real_cluster, wait_for};

/// The limit for more lines after the log has begun, including restarts.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "restarts components of the cluster: needs K8S_CLI_E2E=cluster and K8S_CLI_E2E_RESTART"]
fn a_log_continues_when_the_apiserver_and_the_kubelet_are_restarted() {
    const LINES: usize = 1200;
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit_without_barrier(&format!(
        "num_nodes: 2\nrun: |\n  for i in {{1..{LINES}}}; do echo \"$NODE_RANK line $i\"; sleep 0.02; done"
    ));
    let mut viewer = Viewer::start(&ada, &world.url, &id, &[]);
    // The log continues for some lines before the next component fails.
    viewer.wait_for_bytes(2_000, PATIENCE);
    restart(&["apiserver", "--kill", "--away", "2"]);
    viewer.wait_for_bytes(viewer.bytes() + 2_000, PATIENCE);
    restart(&["kubelet"]);
    viewer.wait_for_bytes(viewer.bytes() + 2_000, PATIENCE);
    restart(&["kubelet", "--kill"]);
    let seen = viewer.finish();
    let printed = by_node(&seen.out).unwrap();
    for rank in 0..2 {
        let expected: Vec<String> = (1..=LINES).map(|i| format!("{rank} line {i}")).collect();
        let expected: Vec<&[u8]> = expected.iter().map(String::as_bytes).collect();
        let printed = printed.get(&rank).map_or(&[][..], Vec::as_slice);
        if let Err(why) = compare(printed, &expected, true) {
            panic!("node {rank}, {why}\n--- stderr ---\n{}", seen.err);
        }
    }
    assert_eq!(seen.code, Some(0), "--- stderr ---\n{}", seen.err);
}

#[test]
#[ignore = "takes a minute and a cluster that rotates logs at 1 MiB: needs K8S_CLI_E2E=cluster"]
fn a_rotated_log_is_complete_or_reports_a_gap() {
    const LINES: usize = 5_120;
    assert!(is_real_cluster(), "the sandbox rotates no logs");
    let world = World::new();
    let ada = world.login("ada");
    // A kubelet checks the size of a log every ten seconds, so the task writes for about a minute.
    let batches = LINES / 10;
    let mut task = format!("run: |\n  for i in {{0..{}}}; do\n", batches - 1);
    writeln!(
        task,
        "    for j in {{1..10}}; do n=$((i * 10 + j)); printf 'line %d %01000d\\n' $n $n; done\n    sleep 0.1\n  done"
    )
    .unwrap();
    let id = ada.submit(&task);
    let options = ["--prefix=always".to_owned()];
    let seen = Viewer::start(&ada, &world.url, &id, &options).finish();
    ada.wait_for_status(&id, "completed");
    let left = &world.pod_logs(&pods(&ada, &id), &LogParams::default())[0];
    let left = lines(left).len();
    assert!(left < LINES, "the cluster has not rotated the log");
    let gaps = gaps(&seen, LINES);
    eprintln!("missing of {LINES} lines: {gaps:?}; Kubernetes still has {left} of them");
    let is_reported = seen
        .err
        .lines()
        .any(|line| line.contains("node-0: ") && line.contains("missing"));
    assert!(
        gaps.is_empty() || is_reported,
        "lines {gaps:?} are missing, and stderr does not report it\n--- stderr ---\n{}",
        seen.err
    );
    assert_eq!(seen.code, Some(0), "--- stderr ---\n{}", seen.err);
}

#[test]
#[ignore = "restarts components of the cluster: needs K8S_CLI_E2E=cluster and K8S_CLI_E2E_RESTART"]
fn a_finished_log_is_complete_when_the_kubelet_is_killed_while_it_is_read() {
    const LINES: usize = 150_000;
    let world = World::new();
    let ada = world.login("ada");
    let task = format!("run: seq -f '%079.0f' {LINES}");
    // Usually the log is written before the kubelet checks its size.
    let id = wait_for("a log that was not rotated", || {
        let id = ada.submit(&task);
        ada.wait_for_status(&id, "completed");
        let log = &world.pod_logs(&pods(&ada, &id), &LogParams::default())[0];
        (lines(log).len() == LINES).then_some(id)
    });
    let mut viewer = Viewer::start(&ada, &world.url, &id, &[]);
    viewer.wait_for_bytes(1_000_000, PATIENCE);
    restart(&["kubelet", "--kill"]);
    let seen = viewer.finish();
    let expected: String = (1..=LINES)
        .map(|number| format!("{number:079}\n"))
        .collect();
    let count = lines(&seen.out).len();
    let is_whole = seen.out == expected.as_bytes();
    assert!(
        is_whole,
        "{count} of {LINES} lines\n--- stderr ---\n{}",
        seen.err
    );
    assert_eq!(seen.code, Some(0), "--- stderr ---\n{}", seen.err);
}

/// Checks that each line was written by the task and that the lines are in order; returns the missing ones.
fn gaps(seen: &Seen, count: usize) -> Vec<Range<usize>> {
    let printed = by_node(&seen.out).unwrap();
    let mut next = 1;
    let mut gaps = Vec::new();
    for line in printed.get(&0).map_or(&[][..], Vec::as_slice) {
        let text = std::str::from_utf8(line).unwrap();
        let number: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(text, format!("line {number} {number:01000}"));
        assert!(
            number >= next,
            "line {number} where line {next} was expected\n--- stderr ---\n{}",
            seen.err
        );
        gaps.push(next..number);
        next = number + 1;
    }
    gaps.push(next..count + 1);
    gaps.retain(|gap| !gap.is_empty());
    gaps
}

fn restart(args: &[&str]) {
    let program = env::var_os("K8S_CLI_E2E_RESTART")
        .expect("K8S_CLI_E2E_RESTART names a program that restarts components of the cluster");
    assert!(is_real_cluster(), "the sandbox has no components");
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "restart {args:?}: {status}");
}
