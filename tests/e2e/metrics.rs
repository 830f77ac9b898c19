//! `GET /metrics`.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use crate::{
    harness::{TempDir, World, is_real_cluster, wait_until},
    http::{ADA, agent, request},
};

fn metrics(url: &str) -> String {
    let mut answer = agent().get(format!("{url}/metrics")).call().unwrap();
    assert_eq!(answer.status(), 200);
    answer.body_mut().read_to_string().unwrap()
}

/// The values by name and labels.
fn values(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[test]
fn requests_tasks_and_calls_are_counted() {
    let world = World::with(&["--metrics-per-user"]);
    let ada = world.login("ada");
    let done = ada.submit("num_nodes: 2\nrun: echo hello");
    ada.wait_for_status(&done, "completed");
    let running = ada.submit("run: sleep 1000");
    ada.wait_for_status(&running, "running");
    ada.run(["jobs", "logs", &done]).success();
    for odd in ["/tasks/zzzzzzzz", "/tasks/yyyyyyyy", "/a", "/b"] {
        request(&world.url, "GET", odd, &[ADA], b"");
    }
    for method in ["BREW", "MAKE"] {
        let host = world.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(host).unwrap();
        let head = format!(
            "{method} /tasks HTTP/1.1\r\nHost: {host}\r\nX-User: ada\r\nConnection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
    let text = metrics(&world.url);
    let values = values(&text);
    for (name, expected) in [
        ("k8s_cli_tasks{state=\"completed\"}", 1.0),
        ("k8s_cli_tasks{state=\"running\"}", 1.0),
        ("k8s_cli_task_nodes{state=\"completed\"}", 2.0),
        ("k8s_cli_task_nodes{state=\"running\"}", 1.0),
        ("k8s_cli_unfinished_tasks{user=\"ada\"}", 1.0),
        ("k8s_cli_panics_total", 0.0),
        ("k8s_cli_log_streams", 0.0),
        (
            "k8s_cli_http_request_duration_seconds_count{method=\"POST\",route=\"/tasks/submit\",status=\"200\"}",
            2.0,
        ),
        (
            "k8s_cli_http_request_duration_seconds_count{method=\"GET\",route=\"/tasks/{task_id}\",status=\"404\"}",
            2.0,
        ),
        (
            "k8s_cli_http_request_duration_seconds_count{method=\"GET\",route=\"other\",status=\"404\"}",
            2.0,
        ),
        (
            "k8s_cli_http_request_duration_seconds_count{method=\"other\",route=\"/tasks\",status=\"405\"}",
            2.0,
        ),
        (
            "k8s_cli_kubernetes_request_duration_seconds_count{resource=\"jobs\",status=\"201\",verb=\"create\"}",
            3.0,
        ),
    ] {
        let value = values.get(name).copied();
        // A server tries at its start whether the namespace of a cluster exists.
        let is_trial = name.contains("verb=\"create\"") && value == Some(expected + 1.0);
        assert!(
            value == Some(expected) || is_trial,
            "{name}: {value:?}\n{text}"
        );
    }
    for name in [
        "k8s_cli_log_bytes_total",
        "process_resident_memory_bytes",
        "process_threads",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(values[name] > 0.0, "{name}");
    }
    let age = values["k8s_cli_view_age_seconds"];
    assert!((0.0..60.0).contains(&age), "{age}");
    assert!(
        !text.contains("zzzzzzzz") && !text.contains("BREW"),
        "{text}"
    );
    ada.run(["jobs", "stop", &running]).success();
    wait_until("the task is not counted any more", || {
        metrics(&world.url).contains("k8s_cli_tasks{state=\"running\"} 0\n")
    });
    check("metrics", &text);
}

#[test]
fn metrics_may_have_an_address_of_their_own() {
    if is_real_cluster() {
        return;
    }
    let world = World::with(&["--metrics-address", "127.0.0.1:0"]);
    let (status, _) = request(&world.url, "GET", "/metrics", &[ADA], b"");
    assert_eq!(status, 404);
    let log = world.log();
    let place = log
        .split("metrics on ")
        .nth(1)
        .expect("the log names the address");
    let url = place.split_whitespace().next().unwrap();
    let text = metrics(url);
    assert!(text.contains("k8s_cli_build_info"), "{text}");
    assert!(!text.contains("user="), "{text}");
    let other = agent().get(format!("{url}/tasks")).call().unwrap();
    assert_eq!(other.status(), 404);
    let metrics = format!("{url}/metrics");
    assert_eq!(agent().post(&metrics).send_empty().unwrap().status(), 405);
    assert_eq!(agent().head(&metrics).call().unwrap().status(), 200);
    let (_, document) = request(&world.url, "GET", "/openapi.json", &[], b"");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/tasks") && !paths.contains_key("/metrics"));
}

#[test]
fn the_alerts_of_the_manual_are_valid() {
    let topic = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/topics/metrics.md");
    let topic = fs::read_to_string(topic).unwrap();
    let rules = topic.split("```yaml\n").nth(1).unwrap();
    let rules = rules.split("```").next().unwrap();
    assert_eq!(rules.matches("- alert: ").count(), 5);
    check("rules", rules);
}

/// Lets Prometheus' own tool check a text, if it is installed.
fn check(what: &str, text: &str) {
    let dir = TempDir::new();
    let file = dir.path().join("text");
    fs::write(&file, text).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", what]);
    if what == "rules" {
        promtool.arg(&file);
    }
    let started = promtool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        eprintln!("promtool is not installed, so the {what} are not checked");
        return;
    };
    let mut input = promtool.stdin.take().unwrap();
    if what == "metrics" {
        input.write_all(text.as_bytes()).unwrap();
    }
    drop(input);
    let checked = promtool.wait_with_output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(checked.status.success(), "{said}");
}
