//! Tests of `POST /tasks/submit` without our client: forms, upgrades and the line ends of Windows.

use std::{io::Write, net::TcpStream, time::Duration};

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::{
    harness::World,
    http::{ADA, JSON, agent, read_until, refused, request},
};

/// A body of `multipart/form-data` with these parts.
fn form(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut form = String::new();
    for (name, content) in parts {
        form.push_str(&format!(
            "--here\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n"
        ));
    }
    form.push_str("--here--\r\n");
    form.into_bytes()
}

#[test]
fn a_task_can_be_submitted_as_a_form() {
    let world = World::new();
    let kind = ("Content-Type", "multipart/form-data; boundary=here");
    let submit = |parts: &[(&str, &str)]| {
        let body = form(parts);
        request(&world.url, "POST", "/tasks/submit", &[ADA, kind], &body)
    };
    let task = ("task", r#"{"run": "true"}"#);
    let (status, answer) = submit(&[("dry_run", "true"), task]);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["manifests"][0]["kind"], "Job");
    assert!(world.names::<Job>().is_empty());
    let (status, answer) = submit(&[task, ("fail_fast", "false")]);
    assert_eq!(
        (status, &answer["status"]),
        (200, &"submitted".into()),
        "{answer}"
    );

    let cut = b"--here\r\nContent-Disposition: form-data; name=\"task\"\r\n\r\n{";
    let answer = request(&world.url, "POST", "/tasks/submit", &[ADA, kind], cut);
    refused(answer, 400, "BadRequest", "is not a form of several parts");
    refused(submit(&[]), 422, "Invalid", "task: is required");
    refused(
        submit(&[("dry_run", "true")]),
        422,
        "Invalid",
        "task: is required",
    );
    refused(
        submit(&[task, task]),
        422,
        "Invalid",
        "task: is given more than once",
    );
    for flag in ["fail_fast", "barrier", "dry_run", "check"] {
        let twice = submit(&[(flag, "true"), (flag, "false"), task]);
        let problem = format!("{flag}: is given more than once");
        refused(twice, 422, "Invalid", &problem);
    }
    refused(
        submit(&[task, ("dry_run", "maybe")]),
        422,
        "Invalid",
        "dry_run",
    );
    refused(
        submit(&[task, ("other", "1")]),
        422,
        "Invalid",
        "other: is not a part of the form",
    );
    refused(
        submit(&[("task", "{")]),
        400,
        "BadRequest",
        "the part `task` is not JSON",
    );
    refused(
        submit(&[("task", "{}")]),
        422,
        "Invalid",
        "run: is required",
    );
    let large = "x".repeat(3 * 1024 * 1024);
    refused(
        submit(&[("task", &large)]),
        413,
        "RequestEntityTooLarge",
        "larger than 2048 KiB",
    );
}

#[test]
fn a_request_for_an_upgrade_is_answered_at_once() {
    let world = World::new();
    let body = r#"{"run": "true"}"#;
    for (length, expected) in [
        (format!("Content-Length: {}\r\n", body.len()), "200 OK"),
        (String::new(), "400 Bad Request"),
    ] {
        let mut stream = TcpStream::connect(world.url.strip_prefix("http://").unwrap()).unwrap();
        write!(
            stream,
            "POST /tasks/submit HTTP/1.1\r\nHost: localhost\r\nX-User: ada\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Content-Type: application/json\r\n{length}\r\n{body}"
        )
        .unwrap();
        // The server ends the connection, before it would stop to wait for a body.
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let answer = read_until(&mut stream, None);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{answer}"
        );
    }
}

#[test]
fn commands_with_the_line_ends_of_windows_run() {
    let world = World::new();
    let ada = world.login("ada");
    let body = json!({"setup": "true\r\n", "run": "if true; then\r\n  echo yes\r\nfi\r\n"});
    let body = body.to_string();
    let (_, answer) = request(
        &world.url,
        "POST",
        "/tasks/submit",
        &[ADA, JSON],
        body.as_bytes(),
    );
    let id = answer["task_id"].as_str().unwrap();
    ada.run(["jobs", "logs", id]).success().stdout("yes\n");
}

#[test]
fn many_large_dry_runs_at_once_are_answered_in_little_memory() {
    let world = World::new();
    let large = || {
        let url = format!("{}/tasks/submit?dry_run=true", world.url);
        let request = agent().post(url).header("X-User", "ada");
        let mut answer = request
            .content_type("application/json")
            .send(r#"{"num_nodes": 8000, "run": "true"}"#)
            .unwrap();
        let body = answer.body_mut().with_config().limit(32 << 20);
        let body: Value = serde_json::from_slice(&body.read_to_vec().unwrap()).unwrap();
        // The Jobs, their Service, and the Secret with the names of the nodes.
        assert_eq!(body["manifests"].as_array().unwrap().len(), 8_002);
    };
    large();
    let before = world.peak_memory();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(large);
        }
    });
    // One answer is over 10 MB of text, and several times that as values.
    let more = world.peak_memory() - before;
    assert!(more < 20_000, "{more} KiB");
}
