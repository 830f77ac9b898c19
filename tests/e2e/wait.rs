//! `jobs wait`, and `jobs submit --wait-for`.

use crate::harness::World;

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
