//! `jobs wait`, and `jobs submit --wait-for`.

use serde_json::{Value, json};

use crate::harness::{World, scripted::serve, wait_until};

#[test]
fn a_wait_ends_with_the_ends_of_all_tasks() {
    let world = World::new();
    let ada = world.login("ada");
    let [first, second] = ["echo hello", "sleep 2"].map(|run| ada.submit(&format!("run: {run}")));
    let lines = ada.run(["jobs", "wait", &first, &second]).success().stdout;
    let states: Vec<_> = lines
        .lines()
        .filter_map(|line| line.split('\t').nth(2))
        .collect();
    assert_eq!(states, ["completed", "completed"], "{lines}");
    // One that has failed decides.
    let failed = ada.submit("run: exit 3");
    let sleeping = ada.submit("run: sleep 1000");
    let args = ["jobs", "wait", "--for", "completed", &sleeping, &failed];
    ada.run(args).code(100);
    let both = [&*sleeping, &*failed];
    let args = ["jobs", "wait", "--any", "-o", "name"];
    let run = ada.run(args.into_iter().chain(both)).code(100);
    assert_eq!(run.stdout.trim(), failed);
    ada.run(["jobs", "wait", "--for", "running", &sleeping])
        .success();
    ada.run(["jobs", "wait", "--timeout", "1s", &sleeping])
        .code(124);
    let wait = ada.start(["jobs", "wait", &sleeping]);
    ada.run(["jobs", "stop", &sleeping]).success();
    wait.finish().code(103);
    // One that was stopped has come to its end.
    let [first, second] = [1000, 1001].map(|time| ada.submit(&format!("run: sleep {time}")));
    let wait = ada.start(["jobs", "wait", "--any", &first, &second]);
    ada.run(["jobs", "stop", &first]).success();
    wait.finish().code(103);
    ada.run(["jobs", "stop", &second]).success();
}

#[test]
fn only_own_tasks_are_waited_for() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: 'true'");
    let bob = world.login("bob");
    for id in [&*id, "no1such1"] {
        bob.run(["jobs", "wait", id])
            .code(102)
            .says(&format!("task `{id}` not found"));
    }
}

#[test]
fn a_submit_can_wait_without_a_log() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: echo hidden; exit 4");
    let run = ada
        .run(["jobs", "submit", "--wait-for", "finished", &file])
        .code(100)
        .says("failed: exit code 4");
    assert!(!run.stdout.contains("hidden"), "{}", run.stdout);
}

#[test]
fn a_submit_waits_no_longer_than_it_may() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("resources: {cpus: 1000}\nrun: echo never");
    let submit = ["jobs", "submit", "--wait-for", "running"];
    let with = |more: &[&str]| ada.run([&submit[..], more, &[&*file]].concat());
    let late = with(&["--timeout", "1s"]).code(124);
    assert!(
        late.stderr.contains("not running within 1s"),
        "{}",
        late.stderr
    );
    ada.run(["jobs", "wait", "--timeout", "0s", late.stdout.trim()])
        .code(124)
        .says("not finished within 0s");
    with(&["--wait", "1s"]).code(2).says("give --timeout");
    ada.run(["jobs", "submit", "--timeout", "1s", &file])
        .code(2)
        .says("--timeout needs --wait-for");
}

#[test]
fn a_wait_goes_on_when_the_server_is_back() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("run: 'true'");
    let task = ada.run(["jobs", "status", &id, "-o", "json"]).success();
    let task: Value = serde_json::from_str(&task.stdout).unwrap();
    let mut requests = 0;
    let url = serve(move |_, _| {
        requests += 1;
        match requests {
            1 => {
                let body = json!({"detail": "the server is about to stop", "reason": "ServiceUnavailable"});
                format!("503 -\r\nContent-Type: application/json\r\n\r\n{body}")
            }
            _ => {
                let body = json!({"tasks": [task], "done": true});
                format!("200 -\r\nContent-Type: application/json\r\n\r\n{body}")
            }
        }
    });
    let wait = ada.start_at(&url, ["jobs", "wait", "--for", "running", &id]);
    wait.finish()
        .success()
        .stderr("the server is about to stop; trying again\nthe server is back\n");
}

#[test]
fn a_task_has_not_finished_while_one_of_its_nodes_runs() {
    let world = World::new();
    let ada = world.login("ada");
    let text = "num_nodes: 2\nrun: |\n  [ $NODE_RANK = 0 ] && exit 3\n  sleep 1000";
    let file = ada.file(text);
    let args = [
        "jobs",
        "submit",
        "--detach",
        "--quiet",
        "--no-fail-fast",
        "--no-barrier",
        &file,
    ];
    let id = ada.run(args).success().stdout;
    let id = id.trim();
    wait_until("node-1 runs while node-0 has failed", || {
        let task = ada.status(id);
        task["status"] == "failed" && task["metadata"]["running_nodes"] == 1
    });
    ada.run(["jobs", "wait", "--timeout", "1s", id]).code(124);
    ada.run(["jobs", "wait", "--for", "completed", id])
        .code(100);
    ada.run(["jobs", "delete", id])
        .code(1)
        .says("is failed, and other nodes of it still run: stop it first");
    let wait = ada.start(["jobs", "wait", id]);
    let stopped = ada.run(["jobs", "stop", "--all", "-o", "name"]).success();
    assert_eq!(stopped.stdout.trim(), id);
    wait.finish().code(103);
}
