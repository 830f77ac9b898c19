//! Users with tokens of the cluster: who they are, and what they may do.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;

use crate::{
    harness::{Front, MEMBER, Running, Team, Verdict, World, wait_until, with_headers},
    http::{ADA, JSON, refused, request},
};

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_token_names_the_user_and_their_rights() {
    let team = Team::with(&[]);
    let url = &team.world.url;
    let ada = bearer(&team.add("ada", MEMBER));
    let watcher = bearer(&team.add("watcher", &["list tasks", "get all-users"]));
    let ask = |method, path: &str, token: &str| {
        let headers = [("Authorization", token), JSON];
        request(url, method, path, &headers, br#"{"run": "true"}"#)
    };
    wait_until("the rights to count", || {
        ask("GET", "/tasks", &watcher).0 == 200
    });
    let full = team.name("ada");
    assert_eq!(
        ask("GET", "/whoami", &ada),
        (200, json!({"username": full, "how": "token"}))
    );
    let (status, task) = ask("POST", "/tasks/submit", &ada);
    assert_eq!(status, 200, "{task}");
    let id = task["task_id"].as_str().unwrap();
    let (_, shown) = ask("GET", &format!("/tasks/{id}"), &ada);
    let short = format!("{}-ada-", team.world.namespace);
    assert!(
        shown["username"]
            .as_str()
            .unwrap()
            .starts_with(&short[..20.min(short.len())]),
        "{shown}"
    );

    for (method, path, right) in [
        ("POST", "/tasks/submit", "create tasks"),
        ("GET", "/tasks/ab12cd34", "get tasks"),
        ("POST", "/tasks/stop", "delete tasks"),
        ("POST", "/tasks/ab12cd34/stop", "delete tasks"),
        ("GET", "/tasks/ab12cd34/logs", "get tasks/log"),
        ("POST", "/tasks/ab12cd34/logs", "get tasks/log"),
        ("POST", "/volumes/create", "create volumes"),
        ("GET", "/volumes", "list volumes"),
        ("GET", "/volumes/ab12cd34", "get volumes"),
        ("DELETE", "/volumes/ab12cd34", "delete volumes"),
    ] {
        let expected = format!("{} may not {right} here", team.name("watcher"));
        refused(ask(method, path, &watcher), 403, "Forbidden", &expected);
    }
    refused(
        ask("GET", "/tasks?all_users=true", &ada),
        403,
        "Forbidden",
        "may not get all-users",
    );
    refused(
        ask("POST", "/tasks/stop?all_users=1", &ada),
        403,
        "Forbidden",
        "may not delete all-users",
    );
    let (_, all) = ask("GET", "/tasks?all_users=true", &watcher);
    assert_eq!(all["tasks"][0]["task_id"], id, "{all}");
    assert_eq!(ask("GET", "/tasks", &watcher).1, json!({"tasks": []}));
}

#[test]
fn only_a_valid_token_for_this_server_counts() {
    let team = Team::with(&[]);
    let url = &team.world.url;
    let ada = team.add("ada", MEMBER);
    let ask = |headers: &[(&str, &str)]| request(url, "GET", "/tasks", headers, b"");
    let valid = bearer(&ada);
    wait_until("the rights to count", || {
        ask(&[("Authorization", &valid)]).0 == 200
    });
    for headers in [
        &[("X-K8s-Cli-Token", ada.as_str())][..],
        &[("X-K8s-Cli-Token", &ada), ("Authorization", "Basic eDp5")],
        &[("Authorization", &valid), ("X-User", &team.name("ada"))],
    ] {
        assert_eq!(ask(headers).0, 200, "{headers:?}");
    }
    let of_cluster = bearer(&team.token("ada", ""));
    let elsewhere = bearer(&team.token("ada", "elsewhere"));
    for (headers, detail) in [
        (&[ADA][..], "a token is required"),
        (
            &[("Authorization", &*valid), ADA],
            "who cannot act as \"ada\"",
        ),
        (&[("Authorization", "Bearer wrong")], "the token is wrong"),
        (&[("Authorization", &of_cluster)], "another audience"),
        (&[("Authorization", &elsewhere)], "another audience"),
        (
            &[("X-K8s-Cli-Token", "wrong"), ("Authorization", &valid)],
            "the token is wrong",
        ),
    ] {
        refused(ask(headers), 401, "Unauthorized", detail);
    }
    team.remove("ada");
    wait_until("the token of a deleted account is worth nothing", || {
        ask(&[("Authorization", &valid)]).0 == 401
    });
    let log = team.world.log();
    for secret in [&ada, "eDp5"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn an_open_answer_ends_when_its_token_is_worth_nothing() {
    let team = Team::with(&[]);
    let token = team.add("ada", MEMBER);
    let ada = team.world.anonymous();
    fs::write(ada.home.join("token"), &token).unwrap();
    let with_token = ["--token-command", "cat token"];
    let start = |args: &[&str]| {
        let mut command = ada.command(args);
        command.env("K8S_CLI_TOKEN", &token);
        Running::start(command, "")
    };
    wait_until("the rights to count", || {
        start(&["jobs", "list"]).finish().code == Some(0)
    });
    let file = ada.file("run: echo begun; sleep 300");
    let submitted = start(&["jobs", "submit", "--detach", "--quiet", &file]).finish();
    let id = submitted.success().stdout;
    let id = id.trim();
    let log = start(&["jobs", "logs", id]);
    let watch = start(&["jobs", "list", "--watch"]);
    let renewed = start(&[&["jobs", "logs", id][..], &with_token].concat());
    for open in [&log, &renewed] {
        open.wait_for_output("begun");
    }
    watch.wait_for_output(id);
    fs::write(ada.home.join("token"), team.renew("ada")).unwrap();
    for open in [log, watch] {
        open.finish()
            .code(1)
            .says("the token is wrong or has expired");
    }
    let stop = start(&[&["jobs", "stop", id][..], &with_token].concat());
    stop.finish().success();
    // It went on with the new token, and heard of the end.
    let renewed = renewed.finish().code(103);
    assert_eq!(renewed.stdout, "begun\n");
}

#[test]
fn a_client_finds_its_token_and_keeps_it_secret() {
    let team = Team::with(&[]);
    let token = team.add("ada", MEMBER);
    let ada = team.world.anonymous();
    let run = |args: &[&str], env: &[(&str, &str)], input: &str| {
        let mut command = ada.command(args);
        command.envs(env.iter().copied());
        let outcome = Running::start(command, input).finish();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains(&token), "{args:?}: {said}");
        outcome
    };
    wait_until("the rights to count", || {
        run(&["jobs", "list"], &[("K8S_CLI_TOKEN", &token)], "").code == Some(0)
    });
    run(&["jobs", "list"], &[], "")
        .code(1)
        .says("not logged in");
    run(&["auth", "login", "--token-stdin"], &[], "a b\n")
        .code(2)
        .says("no token");
    run(&["auth", "login"], &[], "")
        .code(2)
        .says("--token-stdin");
    run(
        &["auth", "login", "--token-stdin"],
        &[],
        &format!("{token}\n"),
    )
    .success();
    let known = run(&["auth", "whoami"], &[], "").success();
    assert_eq!(known.stdout.trim(), team.name("ada"));
    assert!(
        known.stderr.contains("known by a token"),
        "{}",
        known.stderr
    );
    let file = ada.file("run: echo with a token");
    let submitted = run(&["jobs", "submit", &file], &[], "").success();
    assert!(
        submitted.stdout.ends_with("with a token\n"),
        "{}",
        submitted.stdout
    );
    run(&["jobs", "list", "--as", "grace"], &[], "")
        .code(1)
        .says("cannot act as \"grace\"");
    // A variable wins over the login, and an option over the variable.
    run(&["jobs", "list"], &[("K8S_CLI_TOKEN", "wrong")], "")
        .code(1)
        .says("the token is wrong");

    // The command is run again after a refusal, and each request uses what it has printed.
    fs::write(ada.home.join("token"), &token).unwrap();
    let script = "echo >> runs; [ $(wc -l < runs) = 1 ] && echo wrong || cat token";
    let wrong = [("K8S_CLI_TOKEN", "wrong")];
    run(
        &["jobs", "submit", "--token-command", script, &file],
        &wrong,
        "",
    )
    .success();
    assert_eq!(fs::read_to_string(ada.home.join("runs")).unwrap(), "\n\n");
    let plugin = r#"printf '{"kind":"ExecCredential","status":{"token":"%s"}}' $(cat token)"#;
    run(&["jobs", "list"], &[("K8S_CLI_TOKEN_COMMAND", plugin)], "").success();
    for (script, problem) in [
        (
            "cat token; exit 3",
            "--token-command: the command failed, exit status: 3",
        ),
        (
            "cat token; echo; cat token",
            "--token-command: expected a token",
        ),
        ("true", "--token-command: expected a token"),
        (
            "echo '{\"kind\":\"ExecCredential\",\"status\":{}}'",
            "--token-command: expected a token",
        ),
        (
            "echo '{\"access_token\":\"abc\"}'",
            "--token-command: expected a token",
        ),
    ] {
        run(&["jobs", "list", "--token-command", script], &[], "")
            .code(1)
            .says(problem);
    }

    // Others must not read it on its way.
    let far = [
        ("K8S_CLI_API_URL", "http://jump.test:1"),
        ("K8S_CLI_TOKEN", &*token),
    ];
    run(&["jobs", "list"], &far, "")
        .code(2)
        .says("without encryption: use https://, or --insecure-http");
    let header = format!("X-K8s-Cli-Token: {token}");
    run(&["jobs", "list", "--header", &header], &far[..1], "")
        .code(2)
        .says("without encryption: use https://, or --insecure-http");
    run(&["jobs", "list", "--insecure-http"], &far, "")
        .code(1)
        .says("cannot reach the server");
    run(&["auth", "logout"], &[], "").success();
    run(&["jobs", "list"], &[], "")
        .code(1)
        .says("not logged in");
    assert!(!team.world.log().contains(&token));
}

#[test]
fn a_redirect_gets_no_token() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let elsewhere = Front::start("127.0.0.1:9".parse().unwrap(), None, move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Verdict::Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned())
    });
    let target = format!("http://localhost:{}", elsewhere.address.port());
    let front = Front::start("127.0.0.1:9".parse().unwrap(), None, move |_| {
        Verdict::Answer(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {target}/?token=s3cret\r\nContent-Length: 0\r\n\r\n"
        ))
    });
    let world = World::new();
    let mut command = world.anonymous().command(["jobs", "list"]);
    command
        .env("K8S_CLI_API_URL", format!("http://{}", front.address))
        .env("K8S_CLI_TOKEN", "s3cret");
    let outcome = Running::start(command, "")
        .finish()
        .code(1)
        .says("redirects to");
    assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    assert_eq!(requests.load(Ordering::Relaxed), 0);
}

#[test]
fn headers_for_a_proxy_come_from_options_variables_and_a_command() {
    let world = World::with(&[
        "--user-header",
        "X-Auth-User",
        "--trusted-proxy",
        "127.0.0.1",
    ]);
    let target = world.url.strip_prefix("http://").unwrap().parse().unwrap();
    let login = "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
    // A proxy that knows a user by a cookie and a second header.
    let front = Front::start(target, None, move |head| {
        let shown = head.to_lowercase();
        match shown.contains("cookie: s3cret") && shown.contains("x-team: a") {
            true => Verdict::Forward(with_headers(head, &[("X-Auth-User", "ada")])),
            false => Verdict::Answer(login.to_owned()),
        }
    });
    let ada = world.anonymous();
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = ada.command([&["auth", "whoami"], args].concat());
        command
            .env("K8S_CLI_API_URL", format!("http://{}", front.address))
            .envs(env.iter().copied());
        let outcome = Running::start(command, "").finish();
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
        outcome
    };
    let both = ("K8S_CLI_HEADERS", "Cookie: s3cret\nX-Team: a\n");
    let once =
        "echo >> runs; [ $(wc -l < runs) = 1 ] && echo 'Cookie: old' || echo 'Cookie: s3cret'";
    for (args, env) in [
        (
            &["--header", "Cookie: s3cret", "--header", "x-team:a"][..],
            &[][..],
        ),
        (&[], &[both]),
        (
            &[
                "--header",
                "X-Team: a",
                "--header-command",
                "echo Cookie: s3cret",
            ],
            &[],
        ),
        (
            &["--header", "X-Team: a"],
            &[("K8S_CLI_HEADER_COMMAND", once)],
        ),
    ] {
        run(args, env)
            .success()
            .stdout("ada\n")
            .says("known by a proxy");
    }
    run(&["--header", "X-Team: a"], &[])
        .code(1)
        .says("redirects to /login");
    run(&["--header", "s3cret"], &[])
        .code(2)
        .says("--header: expected headers");
    run(&[], &[("K8S_CLI_HEADERS", "a\nb")])
        .code(2)
        .says("K8S_CLI_HEADERS: expected headers");
}
