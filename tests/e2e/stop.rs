//! Tests of stopping tasks whose processes take their time.

use crate::harness::{Session, TempDir, World, wait_for};

/// A task that ends 2 seconds after SIGTERM.
const SLOW: &str =
    "run: |\n  trap 'sleep 2; exit 0' TERM\n  echo ready\n  while :; do sleep 0.1; done";

/// Submits a task, and waits until it has printed `ready`.
fn started(ada: &Session<'_>, task: &str) -> String {
    let id = ada.submit(task);
    let logs = ada.start(["jobs", "logs", &id]);
    logs.wait_for_output("ready\n");
    id
}

#[test]
fn a_stopped_task_is_stopping_until_its_processes_have_ended() {
    let world = World::new();
    let ada = world.login("ada");
    let id = started(&ada, &format!("name: slow\nnum_nodes: 2\n{SLOW}"));
    ada.run(["jobs", "stop", "--no-wait", &id]).success();
    let task = ada.status(&id);
    assert_eq!(
        (&task["status"], &task["name"], &task["username"]),
        (&"stopping".into(), &"slow".into(), &"ada".into()),
        "{task}"
    );
    let metadata = &task["metadata"];
    assert_eq!(metadata["num_nodes"], 2, "{task}");
    assert_eq!(metadata["pending_nodes"], 0, "{task}");
    let listed = ada.run(["jobs", "list"]).success().stdout;
    assert!(listed.contains("stopping"), "{listed}");
    // A server that has not seen the Jobs knows the task by its pods.
    let dir = TempDir::new();
    let server = world.second_server(&dir);
    let seen = ada.run(["jobs", "list", "--api-url", &server.url]);
    let seen = seen.success().stdout;
    assert!(seen.contains(&id) && seen.contains("stopping"), "{seen}");
    // Another user does not see it.
    let bob = world.login("bob");
    bob.run(["jobs", "status", &id]).code(1);
    bob.run(["jobs", "stop", &id]).code(1);
    // The second stop waits for the first.
    ada.run(["jobs", "stop", &id]).success();
    ada.run(["jobs", "status", &id]).code(1);
    ada.run(["jobs", "list"]).success().stdout("");
}

#[test]
fn a_stop_waits_so_that_the_volume_can_be_deleted() {
    let world = World::new();
    let ada = world.login("ada");
    let created = ada.run(["volumes", "create", "data", "1Gi"]).success();
    let volume = created.stdout.trim().to_owned();
    let id = started(&ada, &format!("volumes: {{/data: data}}\n{SLOW}"));
    let delete = ["volumes", "delete", "--force", &volume];
    ada.run(["jobs", "stop", "--no-wait", &id]).success();
    let refused = ada.run(delete).code(1).stderr;
    assert!(refused.contains("which is being stopped"), "{refused}");
    ada.run(["jobs", "stop", &id]).success();
    ada.run(delete).success();

    // A finished task holds its volume, too.
    let created = ada.run(["volumes", "create", "data", "1Gi"]).success();
    let volume = created.stdout.trim().to_owned();
    let id = ada.submit("volumes: {/data: data}\nrun: 'true'");
    ada.wait_for_status(&id, "completed");
    let delete = ["volumes", "delete", "--force", &volume];
    let refused = ada.run(delete).code(1).stderr;
    assert!(
        refused.contains(&format!("task `{id}`, which has ended")),
        "{refused}"
    );
    ada.run(["jobs", "stop", &id]).success();
    ada.run(delete).success();
}

#[test]
fn a_stop_of_several_tasks_waits_for_all() {
    let world = World::new();
    let ada = world.login("ada");
    let ids = [SLOW, SLOW].map(|task| started(&ada, task));
    let [first, second] = ids.each_ref();
    let stopped = ada.run(["jobs", "stop", first, "zzzzzzzz", second]).code(1);
    let expected =
        format!("Task {first} stopped successfully\nTask {second} stopped successfully\n");
    assert_eq!(stopped.stdout, expected);
    let error = "k8s-cli: task `zzzzzzzz` not found\n";
    assert!(stopped.stderr.ends_with(error), "{}", stopped.stderr);
    for id in ids {
        ada.run(["jobs", "status", &id]).code(1);
    }
    let ids = [SLOW, SLOW].map(|task| started(&ada, task));
    let stopped = ada.run(["jobs", "stop", "--all"]).success();
    assert_eq!(stopped.stdout, "Stopped 2 tasks\n");
    for id in ids {
        ada.run(["jobs", "status", &id]).code(1);
    }
    let id = started(&ada, SLOW);
    ada.run(["jobs", "stop", "--all", "--no-wait"]).success();
    let state = wait_for("a state", || {
        ada.status(&id)["status"].as_str().map(str::to_owned)
    });
    assert_eq!(state, "stopping");
}

#[test]
fn the_log_of_a_stopping_task_is_read_to_its_end() {
    let world = World::new();
    let ada = world.login("ada");
    // After the drain of five seconds of a log whose pod is gone, and before the end of the grace period.
    let run = "trap 'for i in 1 2 3 4 5 6 7; do sleep 1; echo saving $i; done; exit 0' TERM; exec 2>&-; echo ready; sleep 1000 & wait";
    let id = ada.submit(&format!("run: |\n  {run}"));
    let early = ada.start(["jobs", "logs", &id]);
    early.wait_for_output("ready\n");
    ada.run(["jobs", "stop", "--no-wait", &id]).success();
    early.wait_for_output("saving 1\n");
    let late = ada.start(["jobs", "logs", &id]);
    for log in [early, late] {
        let log = log.finish().code(103);
        assert!(
            log.stdout.starts_with("ready\nsaving 1\n"),
            "{}",
            log.stdout
        );
        assert!(
            log.stdout.ends_with("saving 6\nsaving 7\n"),
            "{}",
            log.stdout
        );
        assert!(!log.stderr.contains("cannot be read"), "{}", log.stderr);
    }
}
