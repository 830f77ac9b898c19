//! Tests of the client with a server in the manner of the program's Python predecessor: it sends logs as text, gives no reasons, and
//! knows neither forms nor dry runs.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{World, scripted::serve};

const TEXT: &str = "text/plain; charset=utf-8";

fn answer(status: u16, kind: &str, body: &str) -> String {
    format!("{status} -\r\nContent-Type: {kind}\r\n\r\n{body}")
}

fn ok(body: &Value) -> String {
    answer(200, "application/json", &body.to_string())
}

fn refused(status: u16, detail: &Value) -> String {
    let body = json!({"detail": detail}).to_string();
    answer(status, "application/json", &body)
}

fn task(id: &str, status: &str, created_at: &str) -> Value {
    json!({
        "task_id": id, "name": "old", "status": status, "created_at": created_at, "updated_at": created_at,
        "username": "ada", "metadata": {
            "job_name": format!("old-{id}"), "namespace": "default", "num_nodes": 1, "node_jobs": [format!("old-{id}")],
            "succeeded_nodes": 0, "failed_nodes": 0, "running_nodes": 0, "pending_nodes": 1,
        },
    })
}

#[test]
fn a_dry_run_starts_no_task_on_a_server_that_does_not_know_it() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: 'true'");
    let missing =
        json!([{"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}]);
    let json_only = json!("the body must be JSON, with `Content-Type: application/json`");
    for (status, detail) in [(422, missing), (415, json_only)] {
        let url = serve(move |_, body| {
            // Neither server finds a definition in the form.
            assert!(serde_json::from_str::<Value>(body).is_err());
            refused(status, &detail)
        });
        ada.start_at(&url, ["jobs", "submit", "--dry-run", &file])
            .finish()
            .code(1)
            .stdout("")
            .stderr(&format!("k8s-cli: the server at {url} has no dry run\n"));
    }
    let url =
        serve(|_, _| ok(&json!({"task_id": "ab12cd34", "status": "submitted", "message": ""})));
    ada.start_at(&url, ["jobs", "submit", "--dry-run", &file])
        .finish()
        .code(1)
        .stdout("")
        .stderr(&format!(
            "k8s-cli: the server at {url} has no dry run, and started task ab12cd34\n\
             hint: stop it with `k8s-cli jobs stop ab12cd34`\n"
        ));
}

#[test]
fn amounts_are_sent_in_the_form_of_kubernetes() {
    let world = World::new();
    let ada = world.login("ada");
    let sent = Arc::new(Mutex::new(String::new()));
    let into = sent.clone();
    let url = serve(move |_, body| {
        // FastAPI finds no definition in a form.
        if body.starts_with("--") {
            let detail = json!([{"type": "missing", "loc": ["body"], "msg": "Field required"}]);
            let body = json!({"detail": detail});
            return format!("422 -\r\nContent-Type: application/json\r\n\r\n{body}");
        }
        *into.lock().unwrap() = body.to_owned();
        ok(&json!({"task_id": "ab12cd34", "status": "submitted", "message": ""}))
    });
    let file = ada.file("resources: {memory: 4, accelerators: {V100: 1}}\nrun: 'true'");
    ada.start_at(&url, ["jobs", "submit", "--detach", &file])
        .finish()
        .success();
    let sent: Value = serde_json::from_str(&sent.lock().unwrap()).unwrap();
    assert_eq!(sent["resources"]["memory"], "4G");
    assert_eq!(sent["resources"]["accelerators"], "V100:1");
}

#[test]
fn a_log_that_ends_before_the_pod_can_be_read_is_requested_again() {
    let world = World::new();
    let ada = world.login("ada");
    let mut logs = 0;
    let url = serve(move |request, _| match request {
        "POST /tasks/submit" => {
            ok(&json!({"task_id": "ab12cd34", "status": "submitted", "message": ""}))
        }
        "GET /tasks/ab12cd34" if logs < 3 => {
            ok(&task("ab12cd34", "pending", "2025-10-05T12:00:00"))
        }
        "GET /tasks/ab12cd34" => ok(&task("ab12cd34", "completed", "2025-10-05T12:00:00")),
        _ => {
            logs += 1;
            let text = if logs < 3 { "" } else { "hello\n" };
            answer(200, TEXT, text)
        }
    });
    let file = ada.file("run: echo hello");
    ada.start_at(&url, ["jobs", "submit", &file])
        .finish()
        .success()
        .stdout("ab12cd34\nhello\n");
}

#[test]
fn options_that_a_log_of_text_ignores_are_errors() {
    let world = World::new();
    let ada = world.login("ada");
    let url = serve(|request, _| match request {
        "GET /tasks/ab12cd34" => ok(&task("ab12cd34", "completed", "2025-10-05T12:00:00")),
        _ => answer(200, TEXT, "hello\n"),
    });
    for options in [
        &["--tail", "1"][..],
        &["--since", "1m"],
        &["--no-follow"],
        &["--timestamps"],
        &["--node", "0"],
        &["--attempt", "2"],
        &["--prefix", "always"],
    ] {
        let args = [&["jobs", "logs", "ab12cd34"], options].concat();
        let outcome = ada.start_at(&url, args).finish().code(1).stdout("");
        outcome.says(&format!(
            "(its logs are text, and it ignores {})",
            options[0]
        ));
    }
    ada.start_at(&url, ["jobs", "logs", "ab12cd34"])
        .finish()
        .success()
        .stdout("hello\n");
}

#[test]
fn a_task_that_does_not_exist_is_not_one_that_was_stopped() {
    let world = World::new();
    let ada = world.login("ada");
    let url = serve(|request, _| match request {
        "GET /tasks/ab12cd34" => refused(404, &json!("Task ab12cd34 not found")),
        _ => answer(200, TEXT, "Error: task not found\n"),
    });
    ada.start_at(&url, ["jobs", "logs", "ab12cd34"])
        .finish()
        .code(102)
        .stdout("")
        .stderr("k8s-cli: Task ab12cd34 not found\n");
}

#[test]
fn lists_are_sorted() {
    let world = World::new();
    let ada = world.login("ada");
    let url = serve(|_, _| {
        ok(&json!({"tasks": [
            task("aaaaaaaa", "completed", "2025-10-05T12:00:01"),
            task("bbbbbbbb", "completed", "2025-10-05T12:00:03"),
            task("cccccccc", "completed", "2025-10-05T12:00:02"),
        ]}))
    });
    ada.start_at(&url, ["jobs", "list", "-o", "name"])
        .finish()
        .success()
        .stdout("bbbbbbbb\ncccccccc\naaaaaaaa\n");
}

#[test]
fn a_server_that_cannot_wait_is_asked_again_and_again() {
    let world = World::new();
    let ada = world.login("ada");
    let mut looks = 0;
    let url = serve(move |request, _| match request {
        "GET /tasks/ab12cd34" => {
            looks += 1;
            let status = if looks < 4 { "running" } else { "failed" };
            match looks {
                3 => refused(503, &json!("starting")),
                _ => ok(&task("ab12cd34", status, "2025-10-05T12:00:00")),
            }
        }
        // It takes `wait` for an id.
        _ => refused(404, &json!("Task wait not found")),
    });
    ada.start_at(&url, ["jobs", "wait", "ab12cd34"])
        .finish()
        .code(100)
        .stderr("starting; trying again\nthe server is back\n");
    ada.start_at(&url, ["jobs", "wait", "ef56gh78"])
        .finish()
        .code(102);
}

#[test]
fn a_list_shows_no_tasks_of_others_if_one_user_is_asked_for() {
    let world = World::new();
    let ada = world.login("ada");
    let url =
        serve(|_, _| ok(&json!({"tasks": [task("aaaaaaaa", "completed", "2025-10-05T12:00:01")]})));
    for (user, listed) in [("bob", ""), ("ada", "aaaaaaaa\n")] {
        ada.start_at(&url, ["jobs", "list", "--user", user, "-o", "name"])
            .finish()
            .success()
            .stdout(listed);
    }
}

#[test]
fn a_sweep_that_becomes_one_task_is_named() {
    let world = World::new();
    let ada = world.login("ada");
    let url =
        serve(|_, _| ok(&json!({"task_id": "ab12cd34", "status": "submitted", "message": ""})));
    let file = ada.file("run: 'true'");
    ada.start_at(&url, ["jobs", "submit", "--detach", "--array", "3", &file])
        .finish()
        .code(1)
        .stderr(&format!(
            "k8s-cli: the server at {url} has no sweeps, and started task ab12cd34\n\
             hint: stop it with `k8s-cli jobs stop ab12cd34`\n"
        ));
}

#[test]
fn what_the_server_would_ignore_is_an_error() {
    let world = World::new();
    let ada = world.login("ada");
    let plain = ada.file("run: 'true'");
    let limited = ada.file("run: 'true'\nmax_duration: 1h");
    let missing = json!([{"type": "missing", "loc": ["body"], "msg": "Field required"}]);
    let url = serve(move |_, body| {
        if body.starts_with("--") {
            return refused(422, &missing);
        }
        ok(&json!({"task_id": "ab12cd34", "status": "submitted", "message": ""}))
    });
    for (args, what) in [
        (&["--recover", &plain][..], "recovery"),
        (&["--time-limit", "1h", &plain], "time limits"),
        (&[&limited], "time limits"),
        (&["--secret", "TOKEN=x", &plain], "secrets"),
        (&["--idempotency-key", "k", &plain], "idempotency keys"),
    ] {
        let submit = [&["jobs", "submit", "--detach"], args].concat();
        ada.start_at(&url, submit)
            .finish()
            .code(1)
            .stdout("")
            .stderr(&format!("k8s-cli: the server at {url} has no {what}\n"));
    }
    // Without fail-fast and barrier is what this server does.
    let args = [
        "jobs",
        "submit",
        "--detach",
        "--no-fail-fast",
        "--no-barrier",
    ];
    let submit = [&args[..], &[&plain]].concat();
    ada.start_at(&url, submit)
        .finish()
        .success()
        .stdout("ab12cd34\n");
}

#[test]
fn what_the_server_has_not_is_named() {
    let world = World::new();
    let ada = world.login("ada");
    let url = serve(move |line, _| {
        let words: Vec<_> = line.split(' ').collect();
        let path = words[1].split('?').next().unwrap();
        match (words[0], path) {
            ("GET", "/tasks") => ok(&json!({"tasks": []})),
            ("GET", "/tasks/wait") => refused(404, &json!("Task wait not found")),
            ("GET", "/tasks/nosuch11") => refused(404, &json!("Task nosuch11 not found")),
            ("GET", "/tasks/ab12cd34") => {
                ok(&task("ab12cd34", "completed", "2026-01-01T00:00:00Z"))
            }
            ("DELETE", _) => refused(405, &json!("Method Not Allowed")),
            _ => refused(404, &json!("Not Found")),
        }
    });
    for (args, what) in [
        (&["jobs", "show", "ab12cd34"][..], "definitions of tasks"),
        (&["jobs", "rerun", "ab12cd34"], "definitions of tasks"),
        (&["jobs", "delete", "ab12cd34"], "deletion of tasks"),
        (&["jobs", "list", "--watch"], "watch of tasks"),
        (&["nodes"], "list of machines"),
    ] {
        ada.start_at(&url, args)
            .finish()
            .code(1)
            .stdout("")
            .stderr(&format!("k8s-cli: the server at {url} has no {what}\n"));
    }
    ada.start_at(&url, ["jobs", "wait", "ab12cd34", "nosuch11"])
        .finish()
        .code(102)
        .stderr("k8s-cli: Task nosuch11 not found\n");
}
