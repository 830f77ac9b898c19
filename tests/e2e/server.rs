//! Tests of the server as a process: starting, stopping and clients without a server.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs},
    process::Command,
    time::Duration,
};

use k8s_openapi::api::batch::v1::Job;

use crate::{
    harness::{
        Running, Server, TempDir, World, is_real_cluster, k8s_cli,
        proxy::{FaultPlan, Proxy},
        wait_for, wait_until,
    },
    http::{ADA, agent, request},
};

#[test]
fn a_signal_stops_the_server_and_its_streams() {
    // `nohup make test`: the server leaves a signal ignored that is.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let signals = ["INT", "TERM", "HUP"];
    let signals = signals
        .iter()
        .filter(|signal| **signal != "HUP" || !has_hangup(&status, "SigIgn:"));
    for signal in signals {
        let mut world = World::new();
        let home = world.login("ada").home.clone();
        let ada = crate::harness::Session {
            world: &world,
            home,
        };
        let id = ada.submit("run: |\n  echo ready\n  sleep 1000");
        let logs = ada.start(["jobs", "logs", &id]);
        logs.wait_for_output("ready");
        assert_eq!(world.end(signal).code(), Some(0));
        // The client waits for another server.
        logs.wait_for_error("resuming the log from here");
        logs.interrupt();
        logs.finish().code(130).stdout("ready\n").says("detached");
    }
}

/// Whether SIGHUP is in a mask of a status in /proc.
fn has_hangup(status: &str, mask: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(mask));
    u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & 1 == 1
}

#[test]
fn a_server_under_nohup_does_not_end_with_its_terminal() {
    let dir = TempDir::new();
    let mut nohup = Command::new("nohup");
    nohup
        .arg(env!("CARGO_BIN_EXE_k8s-cli"))
        .args(["serve", "--sandbox", "--port", "0"])
        .current_dir(dir.path())
        .env("HOME", dir.path());
    let server = Running::start(nohup, "");
    server.wait_for_output("listening on ");
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let (ignored, caught) = (
        has_hangup(&status, "SigIgn:"),
        has_hangup(&status, "SigCgt:"),
    );
    assert!(ignored && !caught, "{status}");
    server.interrupt();
    server.finish().success();
}

#[test]
fn an_error_names_the_url_of_an_absent_server() {
    let world = World::new();
    let ada = world.login("ada");
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let outcome = ada
        .run(["jobs", "list", "--api-url", &url])
        .code(1)
        .stdout("");
    let says = format!("k8s-cli: cannot reach the server at {url}: connection refused");
    outcome.says(&says).says("\nhint: ");
    ada.run(["jobs", "list", "--api-url", "ftp://x"])
        .code(2)
        .says("ftp://x");
    // Another program listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The request is read first: a connection closed with unread data is reset.
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            .unwrap();
    });
    ada.run(["jobs", "list", "--api-url", &url])
        .code(1)
        .stdout("")
        .says("did not answer as a k8s-cli server");
    other.join().unwrap();
}

#[test]
fn a_start_that_fails_prints_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = k8s_cli();
    command.args(["serve", "--sandbox", "--port", &port]);
    let outcome = Running::start(command, "").finish().code(1).stdout("");
    let expected = format!(
        "k8s-cli: cannot listen on 127.0.0.1:{port}: Address already in use (os error 98): choose another port with \
         --port, or 0 for any free one\n"
    );
    outcome.stderr(&expected);

    let dir = crate::harness::TempDir::new();
    let broken = dir.path().join("kubeconfig");
    std::fs::write(&broken, "clusters: 3").unwrap();
    let mut command = k8s_cli();
    command
        .args(["serve", "--host", "127.0.0.1", "--port", "0"])
        .env("KUBECONFIG", &broken);
    let outcome = Running::start(command, "").finish().code(1).stdout("");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    outcome
        .says("k8s-cli: cannot use the kubeconfig")
        .says("`serve --sandbox` needs no cluster");

    // No program listens on the discard port.
    let unreachable = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}"#;
    std::fs::write(&broken, unreachable).unwrap();
    let mut command = k8s_cli();
    command
        .args(["serve", "--host", "127.0.0.1", "--port", "0"])
        .env("KUBECONFIG", &broken);
    command.arg("--check");
    let outcome = Running::start(command, "").finish().code(1).stdout("");
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    outcome.says("Kubernetes cannot be reached: Connection refused");
}

#[test]
fn a_server_that_starts_before_its_cluster_waits_for_it() {
    let world = World::new();
    let dir = TempDir::new();
    // Nothing listens on the discard port.
    let plan = FaultPlan::Seeded(0);
    let proxy = Proxy::start(([127, 0, 0, 1], 9).into(), plan, 0, Duration::ZERO);
    let kubeconfig = std::fs::read_to_string(&world.kubeconfig).unwrap();
    let (_, target) = kubeconfig.split_once("server").unwrap();
    let target = target.trim_start_matches(['"', ':', ' ']);
    let target = target.split(['"', '\n']).next().unwrap();
    let (scheme, rest) = target.split_once("://").unwrap();
    let host = rest.split('/').next().unwrap();
    let redirected = dir.path().join("kubeconfig");
    let moved = kubeconfig.replace(
        &format!("{scheme}://{host}"),
        &format!("{scheme}://{}", proxy.address),
    );
    std::fs::write(&redirected, moved).unwrap();
    let env = [("KUBECONFIG", redirected.as_os_str())];
    let server = Server::start(
        &["--host", "127.0.0.1", "--namespace", &world.namespace],
        dir.path(),
        &env,
    );
    wait_until("the server says that it waits", || {
        server.log().contains(": the server waits for it")
    });
    let status = |path| request(&server.url, "GET", path, &[ADA], b"").0;
    assert_eq!(
        ["/", "/healthz", "/readyz", "/tasks"].map(status),
        [200, 200, 503, 503]
    );
    // What nobody knows is no number: 0 would say that all tasks are gone.
    let counts_tasks = || {
        let answer = agent().get(format!("{}/metrics", server.url)).call();
        let text = answer.unwrap().body_mut().read_to_string().unwrap();
        assert!(text.contains("k8s_cli_view_age_seconds "), "{text}");
        text.contains("k8s_cli_tasks{")
    };
    assert!(!counts_tasks());
    let host = host.to_socket_addrs().unwrap().next().unwrap();
    proxy.set_target(host);
    wait_until("the server is ready", || status("/readyz") == 200);
    assert!(counts_tasks());
    let ada = world.login("ada");
    let id = ada.submit("run: 'true'");
    assert_eq!(
        request(&server.url, "GET", &format!("/tasks/{id}"), &[ADA], b"").0,
        200
    );
}

#[test]
fn the_sandbox_needs_no_proxy() {
    let mut command = k8s_cli();
    command
        .args(["serve", "--sandbox", "--port", "0"])
        .env("HTTPS_PROXY", "http://user:hush@127.0.0.1:9")
        .env("HTTP_PROXY", "http://user:hush@127.0.0.1:9");
    let server = Running::start(command, "");
    server.wait_for_output("listening on http://127.0.0.1:");
    server.interrupt();
    let outcome = server.finish().code(0);
    assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
}

#[test]
fn a_client_that_disconnects_while_submitting_leaves_no_task() {
    let world = World::new();
    let address = world.url.strip_prefix("http://").unwrap();
    let body = r#"{"num_nodes": 500, "resources": {"cpus": 1000}, "run": "true"}"#;
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /tasks/submit HTTP/1.1\r\nHost: localhost\r\nX-User: ada\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    wait_until("the task is being created", || {
        !world.names::<Job>().is_empty()
    });
    drop(stream);
    wait_until("the server has noticed", || {
        world.log().contains("the client went away")
    });
    wait_until("nothing of the task is left", || {
        world.names::<Job>().is_empty()
    });
}

#[test]
fn a_task_that_is_stopped_while_it_is_created_leaves_nothing() {
    let world = World::new();
    let ada = world.login("ada");
    // No node has so many CPUs, so no pod starts.
    let file = ada.file("num_nodes: 200\nresources: {cpus: 1000}\nrun: 'true'");
    let submit = ada.start(["jobs", "submit", "--detach", &file]);
    let id = wait_for("the task is listed", || {
        let listed = ada.run(["jobs", "list", "-o", "name"]).success();
        listed.stdout.lines().next().map(str::to_owned)
    });
    ada.run(["jobs", "stop", &id]).success();
    let outcome = submit.finish();
    // If all Jobs existed before the stop, submit succeeds.
    if outcome.code != Some(0) {
        outcome
            .code(1)
            .stdout("")
            .says("was stopped while it was being created");
    }
    wait_until("nothing of the task is left", || {
        world.names::<Job>().is_empty()
    });
    wait_until("the task is gone", || {
        ada.run(["jobs", "list"]).success().stdout.is_empty()
    });
}

#[test]
fn a_server_that_stops_leaves_no_incomplete_task() {
    let world = World::new();
    let ada = world.login("ada");
    let dir = TempDir::new();
    let mut second = world.second_server(&dir);
    // In the sandbox, more nodes than the server creates while it waits for other requests.
    let num_nodes = if is_real_cluster() { 500 } else { 4000 };
    let file = ada.file(&format!(
        "num_nodes: {num_nodes}\nresources: {{cpus: 1000}}\nrun: 'true'"
    ));
    let submit = ada.start_at(&second.url, ["jobs", "submit", "--detach", &file]);
    wait_until("the task is being created", || {
        !world.names::<Job>().is_empty()
    });
    assert_eq!(second.end("TERM").code(), Some(0));
    let outcome = submit.finish();
    let left = world.names::<Job>().len();
    if outcome.code == Some(0) {
        // All Jobs existed before the stop.
        assert_eq!(left, num_nodes);
    } else {
        outcome
            .code(1)
            .stdout("")
            .says("the task was not created: the server is stopping, submit it again");
        assert_eq!(left, 0);
    }
}

#[test]
fn every_request_and_event_has_one_line_in_the_log() {
    let world = World::new();
    let ada = world.login("ada\u{202e}@example.com");
    let id = ada.submit("run: 'true'");
    let volume = ada
        .run(["volumes", "create", "data", "1Gi"])
        .success()
        .stdout
        .trim()
        .to_owned();
    ada.run(["jobs", "stop", "--no-wait", &id]).success();
    ada.run(["volumes", "delete", &volume, "--force"]).success();
    let log = world.log();
    for event in [
        format!("task submitted task_id={id}"),
        format!("task stopped task_id={id}"),
        format!("volume created volume_id={volume}"),
        format!("volume deleted volume_id={volume}"),
    ] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&event)).collect();
        assert_eq!(lines.len(), 1, "{event:?} in {log}");
        assert!(
            lines[0].starts_with("time=20")
                && lines[0].contains("level=info")
                && lines[0].contains("user="),
            "{}",
            lines[0]
        );
    }
    let requests: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" request method="))
        .collect();
    assert_eq!(requests.len(), 4, "{log}");
    assert!(
        requests[0].contains("method=POST path=\"/tasks/submit\"")
            && requests[0].contains("status=200 ms="),
        "{}",
        requests[0]
    );
    assert!(!log.contains('\u{202e}'), "user names are escaped");
}

/// A path may be a URL with a login, by mistake.
#[test]
fn no_message_about_a_path_prints_a_login() {
    let world = World::sandbox(&[]);
    let session = world.anonymous();
    let url = "https://ada:s3cret@host/file";
    for options in [
        &["--host", url][..],
        &["--metrics-address", url],
        &["--audit-log", url],
        &["--sandbox-users", url],
        &["--sandbox-objects", url],
        &["--socket", url],
        &["--tls-cert", url, "--tls-key", url],
    ] {
        let serve = ["serve", "--sandbox", "--port", "0"];
        let run = session.run([&serve, options].concat()).code(1);
        assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
        assert!(run.stderr.contains("***@host"), "{}", run.stderr);
    }
    let run = session.run(["jobs", "validate", url]).code(1);
    assert!(run.stdout.contains("***@host"), "{}", run.stdout);
}
