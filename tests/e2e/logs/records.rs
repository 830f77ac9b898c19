//! Tests of the log as records, which a program can resume without losing a line.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::{
    harness::{Session, World, is_real_cluster},
    http::agent,
};

/// Requests the log of a task in records.
fn ask(world: &World, path: &str) -> ureq::http::Response<ureq::Body> {
    agent()
        .get(format!("{}{path}", world.url))
        .header("X-User", "ada")
        .header("Accept", "application/x-ndjson")
        .call()
        .unwrap()
}

fn records(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn get(world: &World, path: &str) -> Vec<Value> {
    let mut answer = ask(world, path);
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    records(&answer.body_mut().read_to_string().unwrap())
}

/// The texts of a node's lines.
fn texts(records: &[Value], node: u64) -> Vec<&str> {
    let lines = records
        .iter()
        .filter(|record| record["type"] == "line" && record["node"] == node);
    lines
        .map(|record| record["text"].as_str().unwrap())
        .collect()
}

/// A task of two nodes that has ended, with three lines of each.
fn finished(ada: &Session<'_>) -> String {
    let id = ada
        .submit_without_barrier("num_nodes: 2\nrun: for i in 1 2 3; do echo $NODE_RANK.$i; done");
    ada.wait_for_status(&id, "completed");
    id
}

#[test]
fn a_log_has_records_from_start_to_end() {
    let world = World::new();
    let ada = world.login("ada");
    let id = finished(&ada);
    let all = get(&world, &format!("/tasks/{id}/logs"));
    assert_eq!(all[0]["type"], "start");
    assert_eq!(all[0]["num_nodes"], 2);
    assert_eq!(texts(&all, 0), ["0.1", "0.2", "0.3"]);
    assert_eq!(texts(&all, 1), ["1.1", "1.2", "1.3"]);
    for line in all.iter().filter(|record| record["type"] == "line") {
        let time = line["time"].as_str().unwrap();
        assert!(time.len() > 20 && time.ends_with('Z'), "{line}");
        assert!(line["pod"].as_str().unwrap().contains(&id), "{line}");
    }
    let ends = all.iter().filter(|record| record["type"] == "node_end");
    for end in ends.clone() {
        assert_eq!(
            (&end["status"], &end["exit_code"]),
            (&"completed".into(), &0.into())
        );
    }
    assert_eq!(ends.count(), 2);
    let end = all.last().unwrap();
    assert_eq!(
        (&end["type"], &end["status"]),
        (&"end".into(), &"completed".into())
    );

    let printed = ada.run(["jobs", "logs", &id, "-o", "json"]).success();
    let mut printed = records(&printed.stdout);
    let mut all = all;
    // The nodes are read at the same time, so only the order within each node is fixed.
    for records in [&mut all, &mut printed] {
        records.sort_by_key(|record| record["node"].as_u64());
    }
    assert_eq!(printed, all);
}

#[test]
fn a_log_can_be_resumed_behind_any_cursor() {
    let world = World::new();
    let ada = world.login("ada");
    let id = finished(&ada);
    let path = format!("/tasks/{id}/logs");
    let all = get(&world, &path);
    for node in 0..2 {
        let of_node = |record: &&Value| record["node"] == node && record["type"] == "line";
        let lines: Vec<&Value> = all.iter().filter(of_node).collect();
        for (index, line) in lines.iter().enumerate() {
            let cursor = line["cursor"].as_str().unwrap();
            let rest = get(&world, &format!("{path}?after={cursor}"));
            assert_eq!(texts(&rest, node), texts(&all, node)[index + 1..]);
            assert_eq!(texts(&rest, 1 - node), texts(&all, 1 - node));
            assert_eq!(rest.last(), all.last());
        }
    }
    let cursors: Vec<String> = all
        .iter()
        .filter(|record| record["type"] == "node_end")
        .map(|record| record["cursor"].as_str().unwrap().to_owned())
        .collect();
    let rest = get(
        &world,
        &format!("{path}?after={}&after={}", cursors[0], cursors[1]),
    );
    assert_eq!((texts(&rest, 0), texts(&rest, 1)), (vec![], vec![]));
    assert_eq!(rest.last(), all.last());

    // The cursors of a thousand nodes do not fit into a URL, so a form is accepted.
    let form = ureq::post(format!("{}{path}", world.url))
        .header("X-User", "ada")
        .header("Accept", "application/x-ndjson")
        .send_form([
            ("after", cursors[0].as_str()),
            ("after", cursors[1].as_str()),
        ])
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert_eq!(records(&form), rest);
}

#[test]
fn an_invalid_cursor_is_refused() {
    let world = World::new();
    let ada = world.login("ada");
    let id = finished(&ada);
    for (cursor, why) in [
        ("nonsense", "after: "),
        ("0-abc", "after: "),
        ("2-end", "has no node 2, only 0 to 1"),
    ] {
        let mut answer = ask(&world, &format!("/tasks/{id}/logs?after={cursor}"));
        let body = answer.body_mut().read_to_string().unwrap();
        assert_eq!(answer.status(), 422, "{cursor}: {body}");
        assert!(body.contains(why), "{cursor}: {body}");
    }
}

#[test]
fn a_line_that_is_not_utf8_is_sent_as_latin1() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(r"run: printf 'a\xff\x00\n'");
    let all = get(&world, &format!("/tasks/{id}/logs"));
    let line = all.iter().find(|record| record["type"] == "line").unwrap();
    assert_eq!(line["latin1"], "a\u{ff}\0");
    assert_eq!(line["text"], Value::Null);
}

#[test]
fn a_quiet_log_has_heartbeats() {
    // The server sends it after 15 seconds, without the cluster.
    if is_real_cluster() {
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: sleep 1000");
    let mut answer = ask(&world, &format!("/tasks/{id}/logs"));
    let mut lines = BufReader::new(answer.body_mut().as_reader()).lines();
    let heartbeat = lines.find(|line| line.as_ref().unwrap().contains("heartbeat"));
    let heartbeat: Value = serde_json::from_str(&heartbeat.unwrap().unwrap()).unwrap();
    assert_eq!(heartbeat["type"], "heartbeat");
    ada.run(["jobs", "stop", &id]).success();
    let mut rest = String::new();
    for line in lines {
        rest = line.unwrap();
    }
    assert_eq!(records(&rest)[0]["status"], "stopped");
}
