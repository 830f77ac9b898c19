//! Tests of the HTTP contract without our client: status codes and error bodies.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::harness::{World, wait_until};

/// A client that does not turn status codes into errors.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into()
}

/// Sends a request; returns the status code and the decoded body.
pub fn request(
    url: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, Value) {
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{url}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent().run(request.body(body).unwrap()).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(content_type, "application/json", "{method} {path}: {text}");
    assert!(
        response.headers().contains_key("x-request-id"),
        "{method} {path}"
    );
    (
        response.status().as_u16(),
        serde_json::from_str(&text).unwrap(),
    )
}

pub const ADA: (&str, &str) = ("X-User", "ada");
pub const JSON: (&str, &str) = ("Content-Type", "application/json");

#[track_caller]
pub fn refused(answer: (u16, Value), status: u16, reason: &str, detail: &str) {
    let (got, body) = answer;
    assert_eq!((got, &body["reason"]), (status, &reason.into()), "{body}");
    let said = body["detail"].as_str().unwrap();
    assert!(said.contains(detail), "{detail:?} is missing in {said:?}");
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
}

#[test]
fn no_foreign_host_is_answered_over_loopback() {
    // The name of an attacker's page may resolve to the server's address.
    let options = ["--allowed-host", "jobs.example"];
    let everywhere = [&["--host", "0.0.0.0"], &options[..]].concat();
    for world in [World::with(&options), World::sandbox(&everywhere)] {
        let ask = |host| {
            request(
                &world.url,
                "GET",
                "/tasks?all_users=true",
                &[ADA, ("Host", host)],
                b"",
            )
        };
        refused(
            ask("evil.example:8000"),
            403,
            "Forbidden",
            "does not know the host",
        );
        for host in ["localhost:8000", "127.0.0.1", "jobs.example"] {
            assert_eq!(ask(host).0, 200, "{host}");
        }
    }
}

#[test]
fn health_needs_no_user() {
    let world = World::new();
    wait_until("the server has listed the cluster's objects", || {
        request(&world.url, "GET", "/readyz", &[], b"").0 == 200
    });
    for path in ["/", "/healthz", "/readyz"] {
        let answer = request(&world.url, "GET", path, &[], b"");
        assert_eq!(
            answer,
            (200, json!({"status": "ok", "service": "k8s-cli-api"}))
        );
    }
}

#[test]
fn the_description_of_the_api_needs_no_user() {
    let world = World::new();
    let (status, document) = request(&world.url, "GET", "/openapi.json", &[], b"");
    assert_eq!(status, 200);
    let golden = include_str!("../../fixtures/wire/openapi.json");
    assert!(document == serde_json::from_str::<Value>(golden).unwrap());
}

#[test]
fn a_head_is_answered_as_a_get_without_its_body() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: echo hello; sleep 1000");
    ada.wait_for_status(&id, "running");
    // All requests use one connection, so an unexpected body would be read as the next answer.
    let agent = agent();
    let task = format!("/tasks/{id}");
    // The log does not end, but its head does.
    let log = format!("{task}/logs");
    for (path, status) in [
        ("/", 200),
        (task.as_str(), 200),
        (&log, 200),
        ("/tasks/zzzzzzzz", 404),
        ("/tasks/submit", 405),
        ("/", 200),
    ] {
        let url = format!("{}{path}", world.url);
        let mut response = agent.head(url).header(ADA.0, ADA.1).call().unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(response.headers().contains_key("content-type"), "{path}");
        assert_eq!(response.body_mut().read_to_string().unwrap(), "");
    }
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn every_refusal_has_a_detail_and_a_reason() {
    let world = World::new();
    let ask = |method, path, headers: &[_], body: &str| {
        request(&world.url, method, path, headers, body.as_bytes())
    };

    refused(
        ask("GET", "/tasks", &[], ""),
        401,
        "Unauthorized",
        "X-User is missing",
    );
    refused(
        ask("GET", "/tasks", &[("X-User", " ")], ""),
        401,
        "Unauthorized",
        "must not be blank",
    );
    refused(
        ask("GET", "/tasks", &[ADA, ("X-User", "bob")], ""),
        401,
        "Unauthorized",
        "more than once",
    );
    refused(
        ask("POST", "/tasks/stop", &[ADA, ("Origin", &world.url)], ""),
        403,
        "Forbidden",
        "pages in browsers",
    );

    refused(
        ask("GET", "/nope", &[ADA], ""),
        404,
        "NotFound",
        "no such path: \"/nope\"",
    );
    refused(
        ask("GET", "/tasks/zzzzzzzz", &[ADA], ""),
        404,
        "NotFound",
        "task `zzzzzzzz` not found",
    );
    refused(
        ask("GET", "/tasks/zzzzzzzz/logs", &[ADA], ""),
        404,
        "NotFound",
        "task `zzzzzzzz` not found",
    );
    refused(
        ask("POST", "/tasks/zzzzzzzz/stop", &[ADA], ""),
        404,
        "NotFound",
        "task `zzzzzzzz` not found",
    );
    refused(
        ask("DELETE", "/volumes/zzzzzzzz", &[ADA], ""),
        404,
        "NotFound",
        "volume `zzzzzzzz` not found",
    );

    for path in [
        "/tasks/NOT-AN-ID",
        "/tasks/a%2Fb",
        "/tasks/x%3Fdry_run%3D1",
        "/tasks/ab12cd345",
        "/tasks/..%2F..%2Fx",
    ] {
        refused(
            ask("GET", path, &[ADA], ""),
            400,
            "BadRequest",
            "is not a task id",
        );
    }
    refused(
        ask("GET", "/volumes/x", &[ADA], ""),
        400,
        "BadRequest",
        "is not a volume id",
    );

    refused(
        ask("DELETE", "/tasks", &[ADA], ""),
        405,
        "MethodNotAllowed",
        "expected GET",
    );
    refused(
        ask("GET", "/tasks/submit", &[ADA], ""),
        405,
        "MethodNotAllowed",
        "expected POST",
    );
    refused(
        ask("PUT", "/", &[], ""),
        405,
        "MethodNotAllowed",
        "expected GET",
    );

    refused(
        ask("POST", "/tasks/submit", &[ADA, JSON], "{"),
        400,
        "BadRequest",
        "the body is not JSON",
    );
    refused(
        ask("POST", "/tasks/submit", &[ADA, JSON], ""),
        400,
        "BadRequest",
        "the body is not JSON",
    );
    let text = ("Content-Type", "text/plain");
    refused(
        ask("POST", "/tasks/submit", &[ADA, text], "{}"),
        415,
        "UnsupportedMediaType",
        "application/json",
    );
    let long = format!("{{\"run\": \"{}\"}}", "x".repeat(2 * 1024 * 1024));
    refused(
        ask("POST", "/tasks/submit", &[ADA, JSON], &long),
        413,
        "RequestEntityTooLarge",
        "larger than 2048 KiB",
    );

    refused(
        ask("POST", "/tasks/submit", &[ADA, JSON], "[]"),
        422,
        "Invalid",
        "expected a task",
    );
    let bad = r#"{"num_nodes": 0, "resources": {"cpus": "x"}}"#;
    let answer = ask("POST", "/tasks/submit", &[ADA, JSON], bad);
    for field in ["num_nodes: ", "resources.cpus: ", "run: is required"] {
        refused(answer.clone(), 422, "Invalid", field);
    }
    refused(
        ask("POST", "/volumes/create", &[ADA, JSON], "{}"),
        422,
        "Invalid",
        "name: is required; size: is required",
    );
    refused(
        ask("GET", "/tasks?all_users=maybe", &[ADA], ""),
        422,
        "Invalid",
        "all_users: \"maybe\" is neither",
    );
    refused(
        ask("GET", "/tasks/zzzzzzzz/logs?tail=x", &[ADA], ""),
        422,
        "Invalid",
        "tail: \"x\"",
    );
}

#[test]
fn booleans_of_a_query_have_three_spellings() {
    let world = World::new();
    for value in ["true", "True", "1", "false", "False", "0"] {
        let answer = request(
            &world.url,
            "GET",
            &format!("/tasks?all_users={value}"),
            &[ADA],
            b"",
        );
        assert_eq!(answer, (200, json!({"tasks": []})));
    }
    let answer = request(
        &world.url,
        "POST",
        "/tasks/stop?all_users=true",
        &[ADA],
        b"",
    );
    assert_eq!(
        answer,
        (
            200,
            json!({"count": 0, "status": "stopped", "message": "Stopped 0 tasks for all users"})
        )
    );
}

#[test]
fn answers_about_tasks_and_volumes_follow_the_contract() {
    let world = World::new();
    let ask = |method, path: &str, body: &str| {
        request(&world.url, method, path, &[ADA, JSON], body.as_bytes())
    };
    // The Python client sends this body.
    let body = r#"{"name": "train", "num_nodes": 1, "workdir": null, "resources": {"cpus": "100m", "image_id": null},
                   "envs": {}, "file_mounts": null, "volumes": null, "setup": null, "run": "true"}"#;
    let (status, answer) = ask("POST", "/tasks/submit", body);
    let id = answer["task_id"].as_str().unwrap().to_owned();
    let message = format!("Task submitted successfully with ID: {id}");
    assert_eq!(
        (status, answer),
        (
            200,
            json!({"task_id": id, "status": "submitted", "message": message})
        )
    );

    let (_, task) = ask("GET", &format!("/tasks/{id}"), "");
    for key in [
        "task_id",
        "name",
        "status",
        "created_at",
        "updated_at",
        "username",
        "metadata",
    ] {
        assert!(task.get(key).is_some(), "{key} is missing in {task}");
    }
    let keys = [
        "job_name",
        "namespace",
        "num_nodes",
        "node_jobs",
        "succeeded_nodes",
        "failed_nodes",
        "running_nodes",
        "pending_nodes",
    ];
    for key in keys {
        assert!(
            task["metadata"].get(key).is_some(),
            "{key} is missing in {task}"
        );
    }
    let created_at = task["created_at"].as_str().unwrap();
    assert_eq!(
        (created_at.len(), &created_at[10..11], &created_at[19..20]),
        (26, "T", "."),
        "{created_at}"
    );
    let answer = ask("POST", &format!("/tasks/{id}/stop"), "");
    let message = format!("Task {id} stopped successfully");
    assert_eq!(
        answer,
        (
            200,
            json!({"task_id": id, "status": "stopped", "message": message})
        )
    );

    let (_, answer) = ask(
        "POST",
        "/volumes/create",
        r#"{"name": "data", "size": "1Gi", "storage_class": null}"#,
    );
    let id = answer["volume_id"].as_str().unwrap().to_owned();
    let message = format!("Volume created successfully with ID: {id}");
    assert_eq!(
        answer,
        json!({"volume_id": id, "status": "created", "message": message})
    );
    let (_, volume) = ask("GET", &format!("/volumes/{id}"), "");
    assert_eq!(volume["access_modes"], json!(["ReadWriteOnce"]));
    let again = ask(
        "POST",
        "/volumes/create",
        r#"{"name": "data", "size": "1Gi"}"#,
    );
    refused(
        again,
        409,
        "AlreadyExists",
        "you have a volume `data` already",
    );
    let answer = ask("DELETE", &format!("/volumes/{id}"), "");
    let message = format!("Volume {id} deleted successfully");
    assert_eq!(
        answer,
        (
            200,
            json!({"volume_id": id, "status": "deleted", "message": message})
        )
    );
}

/// Sends a `GET` of ada by hand; returns the connection, from which the answer can be read.
fn get_by_hand(url: &str, path: &str, version: &str, header: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let request = format!("GET {path} {version}\r\nHost: localhost\r\nX-User: ada\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Reads until the answer contains `text`, or without one to the end of the connection.
pub fn read_until(stream: &mut TcpStream, text: Option<&str>) -> String {
    let (mut answer, mut part) = (String::new(), [0; 4096]);
    while text.is_none_or(|text| !answer.contains(text)) {
        let length = stream.read(&mut part).unwrap();
        if length == 0 {
            assert_eq!(text, None, "{answer}");
            break;
        }
        answer.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }
    answer
}

#[test]
fn only_a_complete_log_ends_with_a_last_chunk() {
    const LAST: &str = "\r\n0\r\n\r\n";
    let mut world = World::new();
    let (ended, running, pending) = {
        let ada = world.login("ada");
        let pending = ada.submit("resources: {cpus: 1000}\nrun: echo never");
        let running = ada.submit("run: echo ready; sleep 1000");
        let ended = ada.submit("run: echo ended");
        ada.wait_for_status(&ended, "completed");
        ada.wait_for_status(&running, "running");
        (ended, running, pending)
    };
    let url = world.url.clone();
    let get = |id: &str, query: &str, header: &str| {
        let path = format!("/tasks/{id}/logs{query}");
        let header = format!("Connection: close\r\n{header}");
        get_by_hand(&url, &path, "HTTP/1.1", &header)
    };
    for (id, query) in [
        (&ended, ""),
        (&running, "?follow=false"),
        (&pending, "?follow=false"),
    ] {
        let answer = read_until(&mut get(id, query, ""), None);
        assert!(answer.ends_with(LAST), "{id}{query}: {answer:?}");
    }
    let answer = read_until(&mut get(&pending, "?wait=1s", ""), None);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    assert!(!answer.ends_with(LAST), "{answer:?}");
    let records = "Accept: application/x-ndjson\r\n";
    let answer = read_until(&mut get(&pending, "?wait=1s", records), None);
    assert!(answer.ends_with(LAST), "{answer:?}");

    let mut text = get(&running, "", "");
    read_until(&mut text, Some("ready\n"));
    assert_eq!(world.end("TERM").code(), Some(0));
    let rest = read_until(&mut text, None);
    assert!(!rest.contains("\r\n0\r\n"), "{rest:?}");
    assert!(!world.log().contains("level=error"), "{}", world.log());
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: seq 2");
    ada.wait_for_status(&id, "completed");
    let path = format!("/tasks/{id}/logs");
    for header in ["", "Connection: keep-alive\r\n"] {
        let mut stream = get_by_hand(&world.url, &path, "HTTP/1.0", header);
        let answer = read_until(&mut stream, None);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert!(!head.contains("connection: keep-alive"), "{head}");
        assert_eq!(body, "1\n2\n");
    }
    // An answer of known length may keep the connection.
    let header = "Connection: keep-alive\r\n";
    let mut stream = get_by_hand(&world.url, "/healthz", "HTTP/1.0", header);
    let answer = read_until(&mut stream, Some("k8s-cli-api")).to_ascii_lowercase();
    assert!(answer.contains("\r\ncontent-length: "), "{answer}");
}
