//! `job_recovery` and `--recover`: a task that fails, or whose node is lost, is started again.

use k8s_openapi::api::batch::v1::Job;

use crate::harness::{World, wait_until};

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
        row.contains(&format!("\trunning\t1\t")) && row.contains(attempt),
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
