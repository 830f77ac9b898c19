//! `job_recovery` and `--recover`: a task that fails, or whose node is lost, is started again.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Secret, Service},
};

use crate::harness::{TempDir, World, wait_until};

#[test]
fn a_task_that_fails_is_started_again() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(
        "name: train\nresources: {job_recovery: {max_restarts_on_errors: 3}}\n\
         run: |\n  echo \"restart $SKYPILOT_NUM_RESTARTS of $SKYPILOT_TASK_ID\"; test $SKYPILOT_NUM_RESTARTS = 2",
    );
    let run = ada.run(["jobs", "submit", &file]).success();
    let (id, log) = run.stdout.split_once('\n').unwrap();
    let line = |restart| format!("restart {restart} of {id}\n");
    assert_eq!(log, line(0) + &line(1) + &line(2));
    for says in ["attempt 2 of 4: exit code 1", "attempt 3 of 4: exit code 1"] {
        assert!(run.stderr.contains(says), "{}", run.stderr);
    }
    // A viewer that comes late sees the same.
    let late = ada.run(["jobs", "logs", id]).success();
    assert_eq!(late.stdout, log);
    // The task is one, in the state of its last attempt.
    let listed = ada.run(["jobs", "list"]).success().stdout;
    assert_eq!(listed.lines().count(), 1);
    assert!(listed.contains("\tcompleted\t"), "{listed}");
    let status = ada.status(id);
    assert_eq!(status["metadata"]["job_name"], format!("train-{id}"));
    assert_eq!(
        status["metadata"]["node_jobs"][0],
        format!("train-{id}-try3")
    );
    assert_eq!(status["metadata"]["succeeded_nodes"], 1);
    let mut jobs = world.names::<Job>();
    jobs.sort();
    let name = |suffix| format!("train-{id}{suffix}");
    assert_eq!(jobs, ["", "-try2", "-try3"].map(name));
    ada.run(["jobs", "delete", id]).success();
    wait_until("all attempts to be deleted", || {
        world.names::<Job>().is_empty()
    });
}

#[test]
fn a_task_fails_after_its_last_restart() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(
        "resources: {job_recovery: {max_restarts_on_errors: 1, recover_on_exit_codes: [33]}}\n\
         run: test $SKYPILOT_NUM_RESTARTS = 0 && exit 33; exit 4",
    );
    let run = ada.run(["jobs", "submit", &file]).code(100);
    let id = run.stdout.trim();
    // The first restart does not count.
    let reason = "exit code 4 (attempt 3 of 3)";
    assert_eq!(ada.status(id)["reason"], reason);
    let row = ada.run(["jobs", "list"]).success().stdout;
    assert!(row.contains(&format!("\t{reason}\t")), "{row}");
    ada.run(["jobs", "wait", id]).code(100);
    assert_eq!(world.names::<Job>().len(), 3);
    // A user may ask for recovery of lost nodes. An error is none.
    let file = ada.file("run: exit 3");
    let run = ada.run(["jobs", "submit", "--recover", &file]).code(100);
    let status = ada.status(run.stdout.trim());
    assert_eq!(status["reason"], "exit code 3");
}

#[test]
fn a_row_names_the_attempt_and_a_stop_ends_it() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(
        "resources: {job_recovery: {max_restarts_on_errors: 2}}\n\
         run: |\n  test $SKYPILOT_NUM_RESTARTS = 1 || exit 5\n  trap 'exit 7' TERM; sleep 1000 & wait",
    );
    let attempt = "attempt 2 of 3: exit code 5";
    wait_until("the second attempt to run", || {
        let task = ada.status(&id);
        task["status"] == "running" && task["reason"] == attempt
    });
    let row = ada.run(["jobs", "list"]).success().stdout;
    assert!(
        row.contains("\trunning\t1\t") && row.contains(attempt),
        "{row}"
    );
    ada.run(["jobs", "stop", &id]).success();
    ada.run(["jobs", "status", &id]).code(1);
    wait_until("all Jobs to be gone", || world.names::<Job>().is_empty());
}

#[test]
fn the_policy_is_shown_before_it_counts_and_kept_for_a_rerun() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: 'true'");
    let shown = |args: &[&str]| {
        let objects = ada.run([&["jobs", "submit", "--dry-run"], args].concat());
        objects.success().stdout
    };
    assert!(!shown(&[&file]).contains("k8s-cli/recovery"));
    let recovery = "k8s-cli/recovery: '{\"max_restarts_on_errors\":0}'";
    let objects = shown(&["--recover", &file]);
    assert!(objects.contains(recovery), "{objects}");
    let id = ada
        .run(["jobs", "submit", "-d", "--recover", &file])
        .success()
        .stdout;
    let again = ada
        .run(["jobs", "rerun", "--dry-run", id.trim()])
        .success()
        .stdout;
    assert!(again.contains(recovery), "{again}");
    let file = ada.file("resources: {job_recovery: failover}\nrun: 'true'");
    let run = ada.run(["jobs", "submit", "--dry-run", &file]).success();
    assert!(
        run.stdout.contains(recovery) && !run.stderr.contains("ignored"),
        "{}",
        run.stderr
    );
}

/// The lines of a log of several nodes that one of them wrote.
fn of_node(log: &str, rank: u32) -> Vec<&str> {
    let prefix = format!("node-{rank} | ");
    log.lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect()
}

#[test]
fn several_nodes_are_started_again_together() {
    let world = World::new();
    let ada = world.login("ada");
    // The first node has ended when another one fails.
    let file = ada.file(
        "name: train\nnum_nodes: 3\nresources: {job_recovery: {max_restarts_on_errors: 1}}\n\
         run: |\n  echo \"restart $SKYPILOT_NUM_RESTARTS\"\n  echo $SKYPILOT_NODE_IPS\n  echo $MASTER_ADDR\n  \
         test $SKYPILOT_NUM_RESTARTS = 1 && exit\n  case $NODE_RANK in 0) ;; 1) sleep 1; exit 3;; 2) sleep 1000;; esac",
    );
    let run = ada.run(["jobs", "submit", &file]).success();
    let (id, log) = run.stdout.split_once('\n').unwrap();
    assert!(!run.stderr.contains("cannot be resolved"), "{}", run.stderr);
    let domain = format!("task-{id}");
    let services = world.names_of::<Service>(id);
    let nonce = |service: &&String| !service.contains("-try");
    let domain = services.iter().find(nonce).unwrap_or(&domain).clone();
    for rank in 0..3 {
        let names = |domain: &str| {
            let names: Vec<_> = (0..3).map(|rank| format!("node-{rank}.{domain}")).collect();
            names.join(" ")
        };
        let again = format!("{domain}-try2");
        let expected = [
            "restart 0".to_owned(),
            names(&domain),
            format!("node-0.{domain}"),
            "restart 1".to_owned(),
            names(&again),
            format!("node-0.{again}"),
        ];
        assert_eq!(of_node(log, rank), expected);
    }
    let attempt = "attempt 2 of 2: node-1: exit code 3";
    assert!(run.stderr.contains(attempt), "{}", run.stderr);
    let task = ada.status(id);
    assert_eq!(task["metadata"]["succeeded_nodes"], 3);
    assert_eq!(task["metadata"]["job_name"], format!("train-{id}"));
    let node_jobs = (0..3).map(|rank| format!("train-{id}-node-{rank}-try2"));
    let node_jobs: Vec<_> = node_jobs.collect();
    assert_eq!(task["metadata"]["node_jobs"], serde_json::json!(node_jobs));
    assert_eq!(world.names::<Job>().len(), 6);
    ada.run(["jobs", "delete", id]).success();
    wait_until("all objects to be deleted", || {
        world.names::<Job>().is_empty() && world.names_of::<Service>(id).is_empty()
    });
}

#[test]
fn nodes_that_fail_again_fail_the_task() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(
        "num_nodes: 2\nresources: {job_recovery: {max_restarts_on_errors: 1}}\n\
         run: test $NODE_RANK = 0 || exit 7; sleep 1000",
    );
    let task = ada.wait_for_status(&id, "failed");
    assert_eq!(task["reason"], "node-1: exit code 7 (attempt 2 of 2)");
    let log = ada.run(["jobs", "logs", &id]).code(100);
    let end = format!("task {id} failed: node-1 failed: exit code 7\n");
    assert!(log.stderr.ends_with(&end), "{}", log.stderr);
}

#[test]
fn a_task_keeps_its_script_and_its_files_for_each_attempt() {
    let world = World::new();
    let ada = world.login("ada");
    let dir = TempDir::new();
    std::fs::write(dir.path().join("data.txt"), "data\n").unwrap();
    // A Secret holds the long script, and with it the names of the nodes.
    let filler = "x".repeat(140_000);
    let file = ada.file(&format!(
        "num_nodes: 2\nworkdir: {}\nresources: {{job_recovery: {{max_restarts_on_errors: 1}}}}\n\
         run: |\n  cat data.txt\n  echo $SKYPILOT_NODE_IPS\n  test $SKYPILOT_NUM_RESTARTS = 1 && exit\n  \
         exit 9\n  # {filler}",
        dir.path().display()
    ));
    let run = ada.run(["jobs", "submit", &file]).success();
    let (id, log) = run.stdout.split_once('\n').unwrap();
    assert!(!run.stderr.contains("cannot be resolved"), "{}", run.stderr);
    for rank in 0..2 {
        let lines = of_node(log, rank);
        let last = lines.last().unwrap();
        assert!(
            last.ends_with("-try2") && last.matches("-try2").count() == 2,
            "{last}"
        );
        assert_eq!(lines.iter().filter(|line| **line == "data").count(), 2);
    }
    wait_until("the files to be deleted", || {
        let secrets = world.names_of::<Secret>(id);
        !secrets.iter().any(|name| name.contains("-files-"))
    });
}

#[test]
fn the_tasks_of_a_group_are_started_again_one_by_one() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(
        "resources: {job_recovery: {max_restarts_on_errors: 1}}\nrun: test $SKYPILOT_NUM_RESTARTS = 1",
    );
    let submit = [
        "jobs",
        "submit",
        "-d",
        "--array",
        "3",
        "--max-running",
        "1",
        &file,
    ];
    let group = ada.run(submit).success().stdout;
    let listed = || {
        ada.run(["jobs", "list", "--group", group.trim()])
            .success()
            .stdout
    };
    wait_until("all tasks to complete", || {
        listed().matches("\tcompleted\t").count() == 3
    });
    assert_eq!(world.names::<Job>().len(), 6);
}
