//! `jobs list`: filters, orders, parts of a list, and a list that is watched.

use std::{os::unix::fs::symlink, process::Command};

use serde_json::Value;

use crate::{
    harness::{Running, World, wait_until},
    http::{ADA, request},
};

/// The ids of a list, as the positions of the letters that stand for them.
fn letters(output: &str, ids: &[String]) -> String {
    let letter = |line: &str| {
        let id = line.split('\t').next().unwrap();
        let at = ids.iter().position(|other| other == id).unwrap();
        "abcdefgh".as_bytes()[at] as char
    };
    output.lines().map(letter).collect()
}

#[test]
fn a_list_is_filtered_and_sorted_by_the_server() {
    let world = World::new();
    let (ada, bob) = (world.login("ada@example.com"), world.login("bob"));
    let mut ids = vec![
        ada.submit("name: train-1\nrun: 'true'"),
        ada.submit("name: train-2\nrun: exit 3"),
        ada.submit("name: eval\nrun: sleep 1000"),
    ];
    ids.push(bob.submit("name: train-3\nrun: 'true'"));
    ada.wait_for_status(&ids[0], "completed");
    ada.wait_for_status(&ids[1], "failed");
    ada.wait_for_status(&ids[2], "running");
    for (options, expected) in [
        ("", "cba"),
        ("--status failed,running", "cb"),
        ("-s completed", "a"),
        ("--name train-*", "ba"),
        ("--name ?val", "c"),
        ("--since 1h", "cba"),
        ("--since 2100-01-01T00:00:00Z", ""),
        ("--sort name", "cab"),
        ("--sort status", "cba"),
        ("--limit 2", "cb"),
        ("--name train-* --limit 1", "b"),
        ("--user ada@example.com", "cba"),
        ("--user bob", "d"),
        ("-A --user ada-example.com -s failed", "b"),
        ("-A --sort user", "cbad"),
    ] {
        let args = ["jobs", "list"]
            .into_iter()
            .chain(options.split_whitespace());
        let list = ada.run(args).success().stdout;
        assert_eq!(letters(&list, &ids), expected, "{options}");
    }
    let list = ada
        .run(["jobs", "list", "--headers", "-s", "failed"])
        .success();
    assert!(
        list.stdout
            .starts_with("ID\tNAME\tSTATUS\tNODES\tCREATED\t")
    );
    let table = ada
        .run(["jobs", "list", "-o", "wide", "--no-headers"])
        .success();
    assert!(table.stdout.starts_with(&*ids[2]), "{}", table.stdout);
    ada.run(["jobs", "list", "--watch", "--limit", "1"]).code(2);
    ada.run(["jobs", "stop", &ids[2]]).success();
}

#[test]
fn parts_of_a_list_are_the_whole_list() {
    let world = World::new();
    let ada = world.login("ada");
    let ids: Vec<_> = (0..5)
        .map(|number| ada.submit(&format!("name: t{}\nrun: 'true'", number % 2)))
        .collect();
    let get = |query: &str| {
        let path = format!("/tasks?{query}");
        let (status, answer) = request(&world.url, "GET", &path, &[ADA], b"");
        assert_eq!(status, 200, "{answer}");
        answer
    };
    for (sort, expected) in [("created", "edcba"), ("name", "ecadb")] {
        let (mut found, mut query) = (String::new(), format!("sort={sort}&limit=2"));
        loop {
            let answer = get(&query);
            for task in answer["tasks"].as_array().unwrap() {
                found += &letters(task["task_id"].as_str().unwrap(), &ids);
            }
            let Some(next) = answer["continue"].as_str() else {
                break;
            };
            query = format!("sort={sort}&limit=2&continue={next}");
        }
        assert_eq!(found, expected, "{sort}");
    }
    assert!(get("limit=5").get("continue").is_none());
}

#[test]
fn a_watched_list_goes_on_with_changes() {
    let world = World::new();
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let first = ada.submit("name: first\nrun: 'true'");
    ada.wait_for_status(&first, "completed");
    let watch = ada.start(["jobs", "list", "--watch", "--headers"]);
    watch.wait_for_output(&format!("{first}\tfirst\tcompleted\t"));
    let json = ada.start(["jobs", "list", "-w", "-o", "json", "-s", "running"]);
    bob.submit("run: 'true'");
    let second = ada.submit("name: second\nrun: sleep 1000");
    watch.wait_for_output(&format!("{second}\tsecond\trunning\t"));
    json.wait_for_output(&format!("\"task_id\":\"{second}\""));
    ada.run(["jobs", "stop", &second]).success();
    watch.wait_for_output(&format!("{second}\tsecond\tstopped\t"));
    ada.run(["jobs", "delete", &first]).success();
    watch.wait_for_output(&format!("{first}\tfirst\tdeleted\t"));
    for running in [watch, json] {
        running.interrupt();
        let end = running.finish().code(130).stderr("");
        assert!(!end.stdout.contains("bob"), "{}", end.stdout);
        let lines: Vec<_> = end.stdout.lines().collect();
        assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{lines:?}");
        if end.stdout.starts_with('{') {
            let states = lines.iter().map(|line| {
                let task: Value = serde_json::from_str(line).unwrap();
                task["status"].as_str().unwrap().to_owned()
            });
            let states: Vec<_> = states.collect();
            assert_eq!(states[0], "running", "{states:?}");
        } else {
            assert!(lines[0].starts_with("ID\tNAME\t"), "{lines:?}");
        }
    }
}

#[test]
fn a_watched_list_survives_its_server() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: sleep 1000");
    ada.wait_for_status(&id, "running");
    let dir = crate::harness::TempDir::new();
    let mut server = world.second_server(&dir);
    let url = server.url.clone();
    let watch = ada.start_at(&url, ["jobs", "list", "--watch"]);
    watch.wait_for_output(&format!("{id}\t"));
    server.end("TERM");
    watch.wait_for_error("the list was cut off");
    watch.interrupt();
    let end = watch.finish().code(130);
    assert_eq!(end.stdout.lines().count(), 1, "{}", end.stdout);
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn a_watched_list_is_drawn_again_on_a_terminal() {
    let world = World::new();
    let ada = world.login("ada");
    let watch = ada.start_at_terminal("TERM=xterm COLUMNS=100 LINES=20 exec k8s-cli jobs list -w");
    watch.wait_for_output("\x1b[J");
    let id = ada.submit("name: drawn\nrun: sleep 1000");
    // The status has a colour, and the line before is drawn again.
    watch.wait_for_output(&format!("{id}   drawn   \x1b[36mrunning\x1b[39m"));
    watch.wait_for_output("\x1b[2F\x1b[J");
    ada.run(["jobs", "stop", &id]).success();
    wait_until("the task is gone from the screen", || {
        let shown = watch.stdout.lock().unwrap();
        let last = shown.rsplit("\x1b[J").next().unwrap();
        !last.contains(&id)
    });
    watch.interrupt();
    watch.finish();
    // A pipe has neither codes nor colours, except by --color.
    ada.submit("run: 'true'");
    let plain = ada.run(["jobs", "list", "-o", "table"]).success().stdout;
    assert!(!plain.contains('\x1b'), "{plain}");
    let args = ["jobs", "list", "-o", "table", "--color", "always"];
    assert!(ada.run(args).success().stdout.contains("\x1b["));
}

#[test]
fn a_list_in_the_program_watch_is_a_table() {
    let world = World::new();
    let ada = world.login("ada");
    ada.submit("run: 'true'");
    // A shell of that name, which runs its command in a shell of its own, as that program does.
    let watch = ada.home.join("watch");
    symlink("/bin/bash", &watch).unwrap();
    let bin = env!("CARGO_BIN_EXE_k8s-cli");
    for (line, is_table) in [
        (format!("sh -c '{bin} jobs list; true'; true"), true),
        (format!("{bin} jobs list; true"), true),
        (format!("sh -c '{bin} jobs list | cat'; true"), false),
    ] {
        let mut command = Command::new(&watch);
        command.args(["-c", &line]).env("COLUMNS", "80");
        for (name, value) in ada.command(["jobs"]).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let listed = Running::start(command, "").finish().success().stdout;
        assert_eq!(listed.starts_with("ID "), is_table, "{line}: {listed}");
    }
}
