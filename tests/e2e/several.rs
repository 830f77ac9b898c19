//! Tests of commands about several tasks or volumes, and of the questions before them.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::harness::{World, wait_for};

#[test]
fn several_tasks_are_shown_and_stopped() {
    let world = World::new();
    let ada = world.login("ada");
    let (one, two) = (ada.submit("run: sleep 1000"), ada.submit("run: sleep 1000"));
    let shown = ada
        .run(["jobs", "status", &one, "no1such1", &two, "-o", "json"])
        .code(1)
        .stderr("k8s-cli: task `no1such1` not found\n");
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let ids: Vec<_> = (shown.as_array().unwrap().iter())
        .map(|task| task["task_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [one.as_str(), &two]);
    let shown = ada.run(["jobs", "status", &one, &two]).success();
    assert!(
        shown.stdout.contains(&format!("\n\nid\t{two}\n")),
        "{}",
        shown.stdout
    );

    // A stop that waits for processes says so.
    ada.run([
        "jobs",
        "stop",
        "--no-wait",
        "no1such1",
        &one,
        "no2such2",
        &two,
        "-o",
        "name",
    ])
    .code(1)
    .stdout(&format!("{one}\n{two}\n"))
    .stderr("k8s-cli: task `no1such1` not found\nk8s-cli: task `no2such2` not found\n");
}

#[test]
fn several_volumes_are_shown_and_deleted() {
    let world = World::new();
    let ada = world.login("ada");
    let create = |name: &str| {
        let made = ada.run(["volumes", "create", name, "1Gi"]).success();
        made.stdout.trim().to_owned()
    };
    let (one, two) = (create("one"), create("two"));
    ada.run(["volumes", "status", &one, &two, "-o", "name"])
        .success()
        .stdout(&format!("{one}\n{two}\n"));
    wait_for("the volume is bound", || {
        let status = ada.run(["volumes", "status", &one]).success();
        status.stdout.contains("Bound").then_some(())
    });
    // Nobody answers the question.
    let asked = ada
        .start_at_terminal(&format!("k8s-cli volumes delete {one}"))
        .finish()
        .code(1);
    asked
        .has_output(&format!(
            "delete volume {one} (one, 1Gi, Bound, of ada) and all its data? [y/N]"
        ))
        .has_output("nothing was changed");
    ada.run(["volumes", "delete", "--force", &one, &two, "-o", "name"])
        .success()
        .stdout(&format!("{one}\n{two}\n"));
}

#[test]
fn stopping_the_tasks_of_all_users_asks_at_a_terminal() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: sleep 1000");
    ada.wait_for_status(&id, "running");
    let asked = ada
        .start_at_terminal("k8s-cli jobs stop --all --all-users")
        .finish()
        .code(1);
    asked
        .has_output("stop the unfinished tasks of all users? [y/N]")
        .has_output("nothing was changed");
    ada.run(["jobs", "status", &id]).success();
    ada.start_at_terminal("k8s-cli jobs stop --all --all-users --yes")
        .finish()
        .success()
        .has_output("Stopped 1 tasks for all users");
}

#[test]
fn a_closed_pipe_tells_that_the_end_of_a_log_was_not_seen() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: while true; do echo y; sleep 0.01; done");
    let first_line = |args: &[&str]| {
        let mut command = ada.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        (line.trim().to_owned(), child.wait().unwrap().code())
    };
    let (id, code) = first_line(&["jobs", "submit", &file]);
    assert_eq!(code, Some(101));
    assert_eq!(
        first_line(&["jobs", "logs", &id]),
        ("y".to_owned(), Some(101))
    );
    // The end of a list tells nothing about a task.
    let (_, code) = first_line(&["jobs", "list"]);
    assert_eq!(code, Some(0));
    ada.run(["jobs", "stop", &id]).success();
}
