//! Who may do what: the header of a trusted proxy, administrators, and the record of changes.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::{
    harness::{TempDir, World, wait_until},
    http::{ADA, JSON, refused, request},
};

#[test]
fn only_a_trusted_proxy_names_the_user() {
    let world = World::with(&[
        "--user-header",
        "X-Auth-User",
        "--trusted-proxy",
        "127.0.0.1",
    ]);
    let ada = ("X-Auth-User", "ada");
    assert_eq!(request(&world.url, "GET", "/tasks", &[ada], b"").0, 200);
    refused(
        request(&world.url, "GET", "/tasks", &[ADA], b""),
        401,
        "Unauthorized",
        "the header x-auth-user is missing",
    );
    // The client of ada behind the proxy's login of bob.
    refused(
        request(
            &world.url,
            "GET",
            "/tasks",
            &[ADA, ("X-Auth-User", "bob")],
            b"",
        ),
        401,
        "Unauthorized",
        "you are \"bob\" to the proxy, and cannot act as \"ada\"",
    );
    assert_eq!(
        request(&world.url, "GET", "/tasks", &[ADA, ada], b"").0,
        200
    );
    let world = World::with(&[
        "--trusted-proxy",
        "10.0.0.0/8",
        "--trusted-proxy",
        "192.0.2.1",
    ]);
    for headers in [
        &[ADA][..],
        &[ADA, ("X-Forwarded-For", "10.0.0.1")],
        &[ADA, ("Forwarded", "for=10.0.0.1")],
    ] {
        refused(
            request(&world.url, "GET", "/tasks", headers, b""),
            401,
            "Unauthorized",
            "through a proxy only",
        );
    }
    assert_eq!(request(&world.url, "GET", "/healthz", &[], b"").0, 200);
}

#[test]
fn only_administrators_act_for_all_users() {
    let world = World::with(&["--admin", "root", "--admin", "ops@example.com"]);
    let (ada, root) = (world.login("ada"), world.login("root"));
    let id = ada.submit("run: sleep 1000");
    for args in [
        &["jobs", "list", "--all-users"][..],
        &["volumes", "list", "--all-users"],
        &["jobs", "stop", "--all", "--all-users", "--yes"],
    ] {
        let run = ada.run(args).code(1);
        assert!(run.stderr.contains("--admin"), "{}", run.stderr);
    }
    for query in [
        "all_users=true",
        "all_users=1",
        "all_users=True",
        "all_users=false&all_users=true",
    ] {
        let answer = request(&world.url, "GET", &format!("/tasks?{query}"), &[ADA], b"");
        refused(answer, 403, "Forbidden", "--admin");
    }
    assert_eq!(
        ada.run(["jobs", "list"]).success().stdout.lines().count(),
        1
    );
    assert!(
        root.run(["jobs", "list", "--all-users"])
            .success()
            .stdout
            .contains(&id)
    );
    root.run(["jobs", "stop", "--all", "--all-users", "--yes"])
        .success();
}

#[test]
fn each_change_is_recorded() {
    let dir = TempDir::new();
    let file = dir.path().join("audit");
    let world = World::with(&["--admin", "root", "--audit-log", file.to_str().unwrap()]);
    let ada = world.login("ada");
    let id = ada.submit("envs: {A: visible}\nsecrets: {S: s3cret}\nrun: sleep 1000");
    let task = ada.file("run: 'true'");
    ada.run(["jobs", "submit", "--dry-run", &task]).success();
    ada.run(["jobs", "list"]).success();
    ada.run(["jobs", "stop", "zzzzzzzz"]).code(1);
    let forged = [ADA, JSON, ("X-Forwarded-For", "6.6.6.6")];
    request(
        &world.url,
        "POST",
        "/tasks/stop?all_users=true",
        &forged,
        b"",
    );
    request(
        &world.url,
        "POST",
        "/tasks/stop",
        &[("X-User", "a\u{e9} outcome=ok")],
        b"",
    );
    let other = "/tasks/zzzzzzzz?all_users=true";
    let refused = request(&world.url, "DELETE", other, &[ADA], b"");
    assert_eq!(refused.0, 403);
    let hidden = [("X-User", "a\u{202e}b")];
    request(&world.url, "POST", "/tasks/stop", &hidden, b"");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
    fs::rename(&file, dir.path().join("audit.1")).unwrap();
    world.signal("HUP");
    wait_until("the record is a new file", || {
        ada.run(["jobs", "stop", &id, "--no-wait"]);
        file.metadata().is_ok_and(|file| file.len() > 0)
    });
    let new = fs::read_to_string(&file).unwrap();
    assert!(new.contains(&format!("\"ids\":\"{id}\"")), "{new}");
    let old = fs::read_to_string(dir.path().join("audit.1")).unwrap();
    let lines: Vec<Value> = old
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen = |line: &Value| {
        let texts = ["action", "user", "how", "peer", "ids", "outcome"]
            .map(|key| line[key].as_str().unwrap().to_owned());
        texts.join(" ")
    };
    let seen: Vec<_> = lines.iter().take(6).map(seen).collect();
    assert_eq!(
        seen,
        [
            format!("submit tasks ada header 127.0.0.1 {id} ok"),
            "stop tasks ada header 127.0.0.1 zzzzzzzz 404".to_owned(),
            "stop tasks ada header 127.0.0.1  403".to_owned(),
            "stop tasks a\u{e9} outcome=ok header 127.0.0.1  ok".to_owned(),
            "delete tasks ada header 127.0.0.1 zzzzzzzz 403".to_owned(),
            "stop tasks a\u{202e}b header 127.0.0.1  ok".to_owned(),
        ]
    );
    assert!(
        old.contains("a\\u202eb") && !old.contains('\u{202e}'),
        "{old}"
    );
    let about_all: Vec<_> = lines
        .iter()
        .take(6)
        .map(|line| &line["all_users"])
        .collect();
    assert_eq!(about_all, [false, false, true, false, true, false]);
    let log = world.log();
    assert!(
        log.contains("event=audit action=\"submit tasks\" user=\"ada\" how=header peer=127.0.0.1"),
        "{log}"
    );
    for secret in ["s3cret", "visible"] {
        assert!(!log.contains(secret) && !old.contains(secret));
    }
}

#[test]
fn limits_of_users_and_tasks_are_sentences() {
    let world = World::with(&[
        "--max-body",
        "1Mi",
        "--max-nodes",
        "2",
        "--max-tasks",
        "2",
        "--max-envs",
        "1",
    ]);
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let refuse = |status, reason, body: &str, detail: &str| {
        let answer = request(
            &world.url,
            "POST",
            "/tasks/submit",
            &[ADA, JSON],
            body.as_bytes(),
        );
        refused(answer, status, reason, detail);
    };
    let long = format!(r#"{{"run": "{}"}}"#, "x".repeat(1 << 20));
    refuse(
        413,
        "RequestEntityTooLarge",
        &long,
        "the body is larger than 1024 KiB",
    );
    let nodes = r#"{"run": "true", "num_nodes": 3}"#;
    refuse(
        422,
        "Invalid",
        nodes,
        "num_nodes: this server allows at most 2",
    );
    let envs = r#"{"run": "true", "envs": {"A": "b", "C": "d"}}"#;
    refuse(422, "Invalid", envs, "envs: 2 variables");
    let file = ada.file("run: sleep 1000");
    // Also when they are submitted at the same time.
    let started: Vec<_> = (0..4)
        .map(|_| ada.start(["jobs", "submit", "--detach", &file]))
        .collect();
    let ends: Vec<_> = started.into_iter().map(|run| run.finish()).collect();
    let accepted = ends.iter().filter(|end| end.code == Some(0)).count();
    assert_eq!(accepted, 2);
    let refusal = "you have 2 unfinished tasks, and this server allows 2";
    assert_eq!(
        ends.iter()
            .filter(|end| end.stderr.contains(refusal))
            .count(),
        2
    );
    bob.submit("run: 'true'");
    // A kubelet takes long to remove a pod that is deleted while it starts.
    for end in ends.iter().filter(|end| end.code == Some(0)) {
        ada.wait_for_status(end.stdout.trim(), "running");
    }
    ada.run(["jobs", "stop", "--all"]).success();
    ada.submit("run: 'true'");

    let world = World::with(&["--max-submits", "1", "--max-tasks", "1"]);
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let file = ada.file("run: sleep 1000");
    // What is repeated makes nothing new.
    let submit = [
        "jobs",
        "submit",
        "--detach",
        "--idempotency-key",
        "k",
        &file,
    ];
    let id = ada.run(submit).success().stdout;
    ada.run(submit).success().stdout(&id);
    ada.run(["jobs", "stop", id.trim(), "--no-wait"]).success();
    let file = ada.file("run: 'true'");
    ada.run(["jobs", "submit", "--dry-run", &file]).success();
    ada.run(["jobs", "submit", &file])
        .code(1)
        .says("you may submit 1 tasks a minute");
    bob.submit("run: 'true'");
}
