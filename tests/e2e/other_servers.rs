//! Tests of the client with other programs at the server's address.

use crate::harness::{World, scripted::serve};

/// Starts a server that answers every request with this head and a page; returns its URL.
fn answering(head: &'static str) -> String {
    answering_with(head, "<html>log in</html>")
}

fn answering_with(head: &'static str, body: &'static str) -> String {
    serve(move |_, _| format!("{head}\r\n\r\n{body}"))
}

#[test]
fn no_command_follows_a_redirect() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: 'true'");
    for head in [
        "301 Moved Permanently\r\nLocation: https://jump/tasks",
        "302 Found\r\nLocation: https://jump/tasks",
        "308 Permanent Redirect\r\nLocation: https://jump/tasks",
    ] {
        let url = answering(head);
        for args in [
            &["jobs", "list"][..],
            &["jobs", "submit", "--detach", &file],
            &["jobs", "stop", "ab12cd34"],
            &["jobs", "logs", "ab12cd34"],
            &["volumes", "delete", "ab12cd34", "--force"],
        ] {
            ada.start_at(&url, args)
                .finish()
                .code(1)
                .stdout("")
                .stderr(&format!(
                    "k8s-cli: the server at {url} redirects to https://jump/tasks\n\
                     hint: --api-url or K8S_CLI_API_URL set the URL of the server\n"
                ));
        }
    }
}

#[test]
fn an_html_page_is_not_printed_as_a_log() {
    let world = World::new();
    let ada = world.login("ada");
    let url = answering("200 OK\r\nContent-Type: text/html");
    ada.start_at(&url, ["jobs", "logs", "ab12cd34"])
        .finish()
        .code(1)
        .stdout("")
        .says("did not answer as a k8s-cli server (200 OK, text/html)");
}

#[test]
fn the_page_of_another_program_is_said_in_one_sentence() {
    let world = World::new();
    let ada = world.login("ada");
    for (head, expected) in [
        (
            "502 Bad Gateway\r\nServer: nginx/1.25\r\nContent-Type: text/html; charset=utf-8",
            "a proxy answered instead of the server at URL (502 Bad Gateway, text/html, from nginx/1.25)\n",
        ),
        (
            "503 Service Unavailable",
            "a proxy answered instead of the server at URL (503 Service Unavailable)\n",
        ),
        (
            "401 Unauthorized\r\nContent-Type: text/html",
            "the server at URL did not answer as a k8s-cli server (401 Unauthorized, text/html: a proxy in between may ask for \
             a login)\nhint: --api-url or K8S_CLI_API_URL set the URL of the server\n",
        ),
        (
            "404 Not Found\r\nContent-Type: text/html\r\nServer: Apache",
            "the server at URL did not answer as a k8s-cli server (404 Not Found, text/html, from Apache)\n\
             hint: --api-url or K8S_CLI_API_URL set the URL of the server\n",
        ),
        (
            "200 OK\r\nContent-Type: text/html",
            "the server at URL did not answer as a k8s-cli server (200 OK, text/html)\n\
             hint: --api-url or K8S_CLI_API_URL set the URL of the server\n",
        ),
    ] {
        let url = answering(head);
        for args in [
            &["jobs", "list"][..],
            &["jobs", "status", "ab12cd34"],
            &["volumes", "list"],
        ] {
            let expected = format!("k8s-cli: {}", expected.replace("URL", &url));
            // The name of the variable in the hint.
            let expected = expected.replace(
                &format!("K8S_CLI_API_{url} set the {url}"),
                "K8S_CLI_API_URL set the URL",
            );
            ada.start_at(&url, args)
                .finish()
                .code(1)
                .stdout("")
                .stderr(&expected);
        }
    }
    // No task is missing where no server of tasks is.
    let url = answering("404 Not Found\r\nContent-Type: text/html");
    ada.start_at(&url, ["jobs", "logs", "ab12cd34"])
        .finish()
        .code(1);
}

#[test]
fn a_path_in_the_url_that_the_server_does_not_know_is_named() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: 'true'");
    for path in ["tasks", "volumes"] {
        for args in [
            &["jobs", "list"][..],
            &["jobs", "status", "ab12cd34"],
            &["volumes", "list"],
            &["volumes", "status", "ab12cd34"],
        ] {
            ada.start_at(&format!("{}/{path}", world.url), args)
                .finish()
                .code(1)
                .says(&format!("hint: type --api-url {}\n", world.url));
        }
    }
    let apache = answering("404 Not Found\r\nContent-Type: text/html\r\nServer: Apache");
    for right in [&world.url, &apache] {
        for args in [
            &["jobs", "list"][..],
            &["jobs", "submit", "--detach", &file],
            &["jobs", "submit", "--dry-run", &file],
            &["jobs", "status", "ab12cd34"],
            &["jobs", "stop", "ab12cd34"],
            &["jobs", "logs", "ab12cd34"],
            &["volumes", "list"],
        ] {
            ada.start_at(&format!("{right}/api/v1/"), args)
                .finish()
                .code(1)
                .stdout("")
                .stderr(&format!(
                    "k8s-cli: the server at {right} does not know the path `/api/v1` of the URL {right}/api/v1\n\
                     hint: type --api-url {right}\n"
                ));
        }
    }
}

#[test]
fn a_url_with_the_wrong_scheme_is_answered_with_the_right_one() {
    let world = World::new();
    let ada = world.login("ada");
    let place = world.url.strip_prefix("http://").unwrap();
    ada.start_at(&format!("https://{place}"), ["jobs", "list"])
        .finish()
        .code(1)
        .stderr(&format!(
            "k8s-cli: the server at https://{place} does not speak https\nhint: type --api-url http://{place}\n"
        ));
    let nginx = answering_with(
        "400 Bad Request\r\nContent-Type: text/html",
        "<center>The plain HTTP request was sent to HTTPS port</center>",
    );
    ada.start_at(&nginx, ["jobs", "list"])
        .finish()
        .code(1)
        .stderr(&format!(
            "k8s-cli: the server at {nginx} does not speak plain http\nhint: type --api-url {}\n",
            nginx.replace("http", "https")
        ));
    ada.start_at(place, ["jobs", "list"])
        .finish()
        .code(2)
        .stderr(&format!(
            "k8s-cli: `{place}` (from K8S_CLI_API_URL) is not the URL of a server: it does not begin with http://, \
             https://, ssh:// or unix://\nhint: type http://{place}\n"
        ));
    for (typed, hint) in [
        ("8000", "type http://localhost:8000"),
        (":8000", "type http://localhost:8000"),
        ("http//jump:8000", "type http://jump:8000"),
        ("/run/k8s.sock", "type unix:///run/k8s.sock"),
        (
            "jump:port",
            "a URL looks like http://localhost:8000, ssh://jump-box or unix:///run/k8s-cli/k8s-cli.sock",
        ),
    ] {
        let outcome = ada.start_at(typed, ["jobs", "list"]).finish().code(2);
        outcome.says(&format!("\nhint: {hint}\n"));
    }
}

#[test]
fn ages_count_by_the_clock_of_the_server() {
    let world = World::new();
    let ada = world.login("ada");
    let url = answering_with(
        "200 OK\r\nContent-Type: application/json\r\nDate: Sun, 05 Oct 2025 12:05:00 GMT",
        r#"{"volumes":[{"volume_id":"ab12cd34","name":"data","size":"1Gi","storage_class":null,
            "access_modes":["ReadWriteOnce"],"status":"Bound","created_at":"2025-10-05T12:00:00.000000",
            "username":"ada","metadata":{"pvc_name":"data-ab12cd34","namespace":"default"}}]}"#,
    );
    ada.start_at(&url, ["volumes", "list", "-o", "table"])
        .finish()
        .success()
        .has_output("5m ago");
}

#[test]
fn a_cursor_that_cannot_be_sent_back_ends_the_log() {
    let world = World::new();
    let ada = world.login("ada");
    let head = "200 OK\r\nContent-Type: application/x-ndjson";
    let body = concat!(
        r#"{"type":"start","num_nodes":1}"#,
        "\n",
        r#"{"type":"line","node":0,"text":"hi","cursor":"a b"}"#,
        "\n"
    );
    ada.start_at(&answering_with(head, body), ["jobs", "logs", "ab12cd34"])
        .finish()
        .code(1)
        .says("the cursor \"a b\" in its log cannot be sent back");
}

#[test]
fn a_log_that_is_resumed_begins_once() {
    let world = World::new();
    let ada = world.login("ada");
    let start = r#"{"type":"start","num_nodes":1}"#;
    let line = r#"{"type":"line","node":0,"text":"hi","cursor":"0-a"}"#;
    let end = r#"{"type":"end","status":"completed"}"#;
    let url = serve(move |request, _| {
        let rest = match request.contains("after=0-a") {
            true => end,
            false => line,
        };
        format!("200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{start}\n{rest}\n")
    });
    let log = ada.start_at(&url, ["jobs", "logs", "ab12cd34", "-o", "json"]);
    let log = log.finish().success().stdout;
    let starts = log.lines().filter(|record| *record == start).count();
    assert_eq!(starts, 1, "{log}");
    assert!(log.starts_with(&format!("{start}\n{line}\n")), "{log}");
    assert!(log.ends_with(&format!("{end}\n")), "{log}");
}

/// A server answers so to a request that came too slowly to be read.
#[test]
fn a_request_that_was_too_slow_is_made_again() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: 'true'");
    for (args, expected) in [
        (&["jobs", "list", "-o", "name"][..], ""),
        (&["jobs", "submit", "--detach", &file], "ab12cd34\n"),
        (&["volumes", "delete", "ab12cd34", "--force"], "done\n"),
    ] {
        let mut is_slow = true;
        let url = serve(move |request, _| {
            if request != "GET /" && std::mem::take(&mut is_slow) {
                return "408 Request Timeout\r\n\r\n".to_owned();
            }
            let head = "200 OK\r\nContent-Type: application/json\r\nIdempotency-Key: known";
            let body = match request {
                "GET /" => r#"{"message":"","status":"running"}"#,
                "GET /tasks" => r#"{"tasks":[],"total":0}"#,
                request if request.starts_with("DELETE") => {
                    r#"{"volume_id":"ab12cd34","status":"deleted","message":"done"}"#
                }
                _ => r#"{"task_id":"ab12cd34","status":"submitted","message":""}"#,
            };
            format!("{head}\r\n\r\n{body}")
        });
        ada.start_at(&url, args).finish().success().stdout(expected);
    }
}
