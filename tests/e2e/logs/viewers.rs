//! Tests of several viewers of one log.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::harness::{FaultyRoute, World, is_real_cluster, wait_until};

/// The most memory that a viewer may add to the server, in KiB: some blocks in transit, and memory that the allocator keeps.
const GROWTH: usize = 24 * 1024;

#[test]
fn viewers_share_one_stream_that_ends_with_the_last_of_them() {
    // The proxy cannot see the requests in encrypted connections.
    if is_real_cluster() {
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let route = FaultyRoute::new(&world, 1);
    let id = ada.submit(
        "num_nodes: 2\nrun: |\n  trap 'exit 0' TERM\n  echo hello from $NODE_RANK\n  sleep 1000 & wait",
    );
    let viewers: Vec<_> = (0..5)
        .map(|_| ada.start_at(&route.url(), ["jobs", "logs", &id]))
        .collect();
    for viewer in &viewers {
        viewer.wait_for_output("hello from 0");
        viewer.wait_for_output("hello from 1");
    }
    wait_until("there is one stream for each container", || {
        route.upstream.following() == 2
    });
    let mut viewers = viewers.into_iter();
    let last = viewers.next().unwrap();
    for viewer in viewers {
        viewer.interrupt();
        viewer.finish().code(130);
    }
    // The stream still runs for the last viewer.
    let late = ada.start_at(&route.url(), ["jobs", "logs", &id]);
    late.wait_for_output("hello from 1");
    assert_eq!(route.upstream.following(), 2);
    for viewer in [last, late] {
        viewer.interrupt();
        viewer.finish().code(130);
    }
    wait_until("the streams have ended", || route.upstream.following() == 0);
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn a_slow_reader_delays_no_other_and_loses_nothing() {
    // A cluster would rotate a log of this length.
    if is_real_cluster() {
        return;
    }
    const LINES: usize = 600_000;
    let world = World::new();
    let ada = world.login("ada");
    let route = FaultyRoute::new(&world, 1);
    let id = ada.submit(&format!("run: seq -f '%099.0f' {LINES}"));
    let mut slow = ureq::get(format!("{}/tasks/{id}/logs", route.url()))
        .header("X-User", "ada")
        .call()
        .unwrap();
    let memory = route.peak_memory();
    let out = ada.home.join("out");
    let status = ada
        .command(["jobs", "logs", &id])
        .env("K8S_CLI_API_URL", route.url())
        .stdout(File::create(&out).unwrap())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let printed = fs::read(&out).unwrap();
    assert_eq!(printed.len(), LINES * 100);
    let growth = route.peak_memory() - memory;
    assert!(growth < GROWTH, "it grew by {growth} KiB");
    let mut rest = Vec::new();
    slow.body_mut().as_reader().read_to_end(&mut rest).unwrap();
    assert!(
        rest == printed,
        "{} bytes for the slow one, {} for the other",
        rest.len(),
        printed.len()
    );
}

#[test]
fn a_very_long_line_is_not_held_in_memory() {
    if is_real_cluster() {
        return;
    }
    const LENGTH: usize = 50_000_000;
    let world = World::new();
    let ada = world.login("ada");
    let route = FaultyRoute::new(&world, 1);
    let id = ada.submit(&format!(
        "run: head -c {LENGTH} /dev/zero | tr '\\0' x; echo; echo end"
    ));
    ada.wait_for_status(&id, "completed");
    let memory = route.peak_memory();
    let out = ada.home.join("out");
    // The client may use less memory than the length of the line.
    let status = Command::new("bash")
        .args(["-c", "ulimit -d 30000; exec \"$@\"", "bash"])
        .args([env!("CARGO_BIN_EXE_k8s-cli"), "jobs", "logs", &id])
        .env("HOME", &ada.home)
        .env("K8S_CLI_API_URL", route.url())
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    let printed = fs::read(&out).unwrap();
    let (line, end) = printed.split_at(LENGTH.min(printed.len()));
    assert!(line.iter().all(|byte| *byte == b'x'));
    assert_eq!(end, b"\nend\n");
    let growth = route.peak_memory() - memory;
    assert!(growth < GROWTH, "it grew by {growth} KiB");
}

#[test]
fn a_task_that_stops_during_an_interruption_is_reported_as_stopped() {
    let world = World::new();
    let ada = world.login("ada");
    let mut route = FaultyRoute::new(&world, 1);
    let id = ada.submit("run: |\n  trap 'exit 0' TERM\n  echo first\n  sleep 1000 & wait");
    let viewer = ada.start_at(&route.url(), ["jobs", "logs", &id]);
    viewer.wait_for_output("first\n");
    route.kill_server();
    viewer.wait_for_error("resuming");
    ada.run(["jobs", "stop", &id]).success();
    route.start_server();
    viewer.finish().code(103).stdout("first\n");
}

#[test]
fn since_excludes_older_lines_even_on_a_shared_stream() {
    let world = World::new();
    let ada = world.login("ada");
    let tasks = [false, true].map(|has_company| {
        let id = ada.submit("run: echo old; sleep 12; echo new");
        (id, has_company)
    });
    let viewers = tasks.map(|(id, has_company)| {
        wait_until("the first line", || {
            let seen = ada.run(["jobs", "logs", &id, "--no-follow"]);
            seen.stdout.contains("old")
        });
        if has_company {
            ada.start(["jobs", "logs", &id]).wait_for_output("old");
        }
        // Kubernetes has a resolution of a second, so the time must not be in the second of the first line.
        let soon = (Timestamp::now() + SignedDuration::from_secs(2)).to_string();
        let viewer = ada.start(["jobs", "logs", &id, "-o", "json", "--since", &soon]);
        viewer.wait_for_output(r#""type":"pod""#);
        viewer
    });
    for viewer in viewers {
        let seen = viewer.finish().success();
        assert!(!seen.stdout.contains("old"), "{}", seen.stdout);
        assert!(seen.stdout.contains(r#""text":"new""#), "{}", seen.stdout);
    }
}

#[test]
fn a_request_that_came_too_slowly_is_repeated() {
    let world = World::new();
    let ada = world.login("ada");
    let mut route = FaultyRoute::new(&world, 1);
    let id = ada.submit("run: echo words");
    route.kill_server();
    let slow = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    route.downstream.set_target(slow.local_addr().unwrap());
    let viewer = ada.start_at(&route.url(), ["jobs", "logs", &id]);
    let (mut connection, _) = slow.accept().unwrap();
    connection.read_exact(&mut [0; 4]).unwrap();
    let answer = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    connection.write_all(answer).unwrap();
    viewer.wait_for_error("408 Request Timeout; trying again");
    drop((connection, slow));
    route.start_server();
    viewer.finish().success().stdout("words\n");
}

#[test]
fn an_absent_server_is_reported_once_and_its_return_too() {
    let world = World::new();
    let ada = world.login("ada");
    let mut route = FaultyRoute::new(&world, 1);
    let id = ada.submit("run: |\n  trap 'exit 0' TERM\n  echo first\n  sleep 1000 & wait");
    let viewer = ada.start_at(&route.url(), ["jobs", "logs", &id]);
    let records = ada.start_at(&route.url(), ["jobs", "logs", &id, "-o", "json"]);
    viewer.wait_for_output("first\n");
    records.wait_for_output("first");
    route.kill_server();
    const AWAY: &str = "; trying again until it is back\n";
    const BACK: &str = "the server is back; the log continues\n";
    viewer.wait_for_error(AWAY);
    // Several attempts fail.
    let absent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    route.downstream.set_target(absent.local_addr().unwrap());
    for _ in 0..6 {
        drop(absent.accept().unwrap());
    }
    drop(absent);
    route.start_server();
    viewer.wait_for_error(BACK);
    records.wait_for_output(r#""type":"resumed""#);
    ada.run(["jobs", "stop", &id]).success();
    let seen = viewer.finish().code(103).stdout("first\n").stderr;
    assert_eq!(seen.matches(AWAY).count(), 1, "{seen}");
    assert_eq!(seen.matches(BACK).count(), 1, "{seen}");
    let seen = records.finish().code(103).stdout;
    // Records of a node are about its pod: on a cluster the log of a pod that is being deleted may be unreadable for a moment.
    for record in [r#""type":"interrupted","reason""#, r#""type":"resumed"}"#] {
        assert_eq!(seen.matches(record).count(), 1, "{seen}");
    }
}
