//! Tests of logs that a client reads while a container writes them.

use std::fs;

use super::{Cluster, job};
use crate::sandbox::state_dir::StateDir;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Runs a script in a pod, waits for its log and returns the path of the log.
fn run(cluster: &Cluster, script: &str) -> String {
    cluster.make(JOBS, &job("writer", script));
    let list = cluster.wait(PODS, |list| {
        let phase = &list["items"][0]["status"]["phase"];
        ["Running", "Succeeded"].iter().any(|known| phase == known)
    });
    let name = list["items"][0]["metadata"]["name"].as_str().unwrap();
    format!("{PODS}/{name}/log")
}

#[test]
fn a_prompt_is_seen_before_it_is_answered() {
    let cluster = Cluster::start();
    let directory = StateDir::create().unwrap();
    let answer = directory.path().join("answer");
    let script = format!(
        "printf 'user: '; until [ -e {0} ]; do sleep 0.01; done; cat {0}; printf 'no end'",
        answer.display()
    );
    let log = run(&cluster, &script);
    let mut chunks = cluster.stream(&format!("{log}?follow=true"));
    assert_eq!(chunks.next().unwrap(), "user: ");
    cluster.wait_log(&log, "user: ");
    // The file must appear together with its content.
    let draft = directory.path().join("draft");
    fs::write(&draft, "ada\n").unwrap();
    fs::rename(&draft, &answer).unwrap();
    assert_eq!(chunks.collect::<String>(), "ada\nno end");
    let stamped = cluster.send(
        "GET",
        &format!("{log}?timestamps=true"),
        "",
        Some(&cluster.token),
    );
    let stamps: Vec<&str> = stamped
        .body
        .lines()
        .map(|line| line.split_at(31).1)
        .collect();
    assert_eq!(stamps, ["user: ada", "no end"]);
    // A line break after a piece is a record of its own.
    cluster.wait_log(&format!("{log}?tailLines=2"), "ada\nno end");
}

#[test]
fn a_rotated_log_begins_with_the_newest_file() {
    // A record with six letters has 47 bytes.
    let cluster = Cluster::start_with_log_max_size(Some("0.05k"));
    let directory = StateDir::create().unwrap();
    let go = directory.path().join("go");
    let script = format!(
        "echo before; until [ -e {} ]; do sleep 0.01; done; echo behind",
        go.display()
    );
    let log = run(&cluster, &script);
    let mut chunks = cluster.stream(&format!("{log}?follow=true"));
    assert_eq!(chunks.next().unwrap(), "before\n");
    fs::write(&go, "").unwrap();
    assert_eq!(chunks.collect::<String>(), "behind\n");
    cluster.wait_log(&log, "behind\n");
}
