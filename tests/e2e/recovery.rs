//! `job_recovery` and `--recover`: a task that fails, or whose node is lost, is started again.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret, Service},
};
use serde_json::json;

use crate::harness::{TempDir, World, is_real_cluster, wait_until};

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
    let only = |attempt: &str| ada.run(["jobs", "logs", "--attempt", attempt, id]);
    only("2").code(100).stdout(&line(1)).says("exit code 1");
    only("3").success().stdout(&line(2));
    only("4").code(1).says("has had 3 so far, not 4");
    only("0").code(1).says("attempts are counted from 1");
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
    assert_eq!(run.stderr.matches(attempt).count(), 1, "{}", run.stderr);
    let task = ada.status(id);
    assert_eq!(task["metadata"]["succeeded_nodes"], 3);
    assert_eq!(task["metadata"]["job_name"], format!("train-{id}"));
    let node_jobs = (0..3).map(|rank| format!("train-{id}-node-{rank}-try2"));
    let node_jobs: Vec<_> = node_jobs.collect();
    assert_eq!(task["metadata"]["node_jobs"], serde_json::json!(node_jobs));
    assert_eq!(world.names::<Job>().len(), 6);
    // Who comes later is told which lines are the second attempt's, even if nothing is left of the first one.
    for pod in world.names::<Pod>() {
        if !pod.contains("-try2") {
            world.delete_pod(&pod);
        }
    }
    let late = ada.run(["jobs", "logs", id]).success();
    assert_eq!(late.stderr.matches(attempt).count(), 1, "{}", late.stderr);
    let gone = "the pod of attempt 1 is gone";
    assert_eq!(late.stderr.matches(gone).count(), 3, "{}", late.stderr);
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
         run: |\n  echo $SKYPILOT_NUM_RESTARTS $(cat data.txt)\n  echo $SKYPILOT_NODE_IPS\n  \
         test $SKYPILOT_NUM_RESTARTS = 1 && exit\n  test $NODE_RANK = 0 || exit 9\n  sleep 1000\n  # {filler}",
        dir.path().display()
    ));
    let run = ada.run(["jobs", "submit", &file]).success();
    let (id, log) = run.stdout.split_once('\n').unwrap();
    assert!(!run.stderr.contains("cannot be resolved"), "{}", run.stderr);
    for rank in 0..2 {
        let lines = of_node(log, rank);
        assert!(lines.contains(&"1 data"), "{log}");
        let last = lines.last().unwrap();
        let count = last.matches("-try2").count();
        assert!(last.ends_with("-try2") && count == 2, "{last}");
    }
    assert_eq!(of_node(log, 1)[0], "0 data");
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

/// Removes a pod as a cluster does that needs its place, with the mark that clusters before 1.26 do not make.
fn evict(world: &World, pod: &str) {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}", world.namespace);
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
    });
    let mark = json!({"status": {"conditions": [condition]}});
    let request = |method: &str, path: &str, body: &serde_json::Value| {
        let request = ureq::http::Request::builder().method(method).uri(path);
        let kind = match method {
            "PATCH" => "application/strategic-merge-patch+json",
            _ => "application/json",
        };
        let request = request.header("content-type", kind);
        request.body(serde_json::to_vec(body).unwrap()).unwrap()
    };
    let requests = [
        request("PATCH", &format!("{path}/status"), &mark),
        request("DELETE", &path, &json!({})),
    ];
    for (status, answer) in world.ask(requests.into_iter()) {
        assert_eq!(status, 200, "{answer}");
    }
}

/// Runs until it is told to stop, and then fails; the second attempt succeeds at once.
const ONCE: &str = "run: |\n  echo \"restart $SKYPILOT_NUM_RESTARTS\"\n  test $SKYPILOT_NUM_RESTARTS = 0 || exit 0\n  \
                    trap 'exit 1' TERM; sleep 1000 & wait";

#[test]
fn a_lost_pod_is_started_again_where_the_user_says_so() {
    let world = World::new();
    let ada = world.login("ada");
    let pod_of = |id: &str| {
        let pods = world.names::<Pod>();
        pods.into_iter().find(|pod| pod.contains(id)).unwrap()
    };
    let file = ada.file(ONCE);
    let start = |options: &[&str]| {
        let submit = [
            &["jobs", "submit", "--wait-for", "running"],
            options,
            &[&file],
        ]
        .concat();
        ada.run(submit).success().stdout.trim().to_owned()
    };
    let id = start(&["--recover"]);
    evict(&world, &pod_of(&id));
    if world.minor_version() < 26 {
        // Kubernetes itself makes another pod, in the same Job.
        assert_eq!(world.names::<Job>().len(), 1);
        return;
    }
    ada.run(["jobs", "wait", &id]).success();
    let log = ada.run(["jobs", "logs", &id]).success();
    assert_eq!(log.stdout, "restart 1\n");
    // The log of the lost pod is gone with it.
    let gap = "node-0: lines may be missing: the pod of attempt 1 is gone\n";
    assert!(log.stderr.contains(gap), "{}", log.stderr);
    // Without it nothing runs twice.
    let id = start(&[]);
    evict(&world, &pod_of(&id));
    ada.run(["jobs", "wait", &id]).code(100);
    // A pod that was deleted by hand is not lost.
    let id = start(&["--recover"]);
    world.delete_pod(&pod_of(&id));
    ada.run(["jobs", "wait", &id]).code(100);
    assert_eq!(world.names::<Job>().len(), 4);
}

#[test]
fn all_nodes_are_started_again_when_one_is_lost() {
    let world = World::new();
    if world.minor_version() < 26 {
        // Kubernetes itself makes another pod, in the same Job.
        return;
    }
    let ada = world.login("ada");
    let id = ada.submit(&format!(
        "num_nodes: 2\nresources: {{job_recovery: failover}}\n{ONCE}"
    ));
    wait_until("both nodes to run", || {
        ada.status(&id)["metadata"]["running_nodes"] == 2
    });
    let pods = world.names::<Pod>();
    let second = pods.iter().find(|pod| pod.contains("-node-1-")).unwrap();
    evict(&world, second);
    ada.run(["jobs", "wait", &id]).success();
    let status = ada.status(&id);
    assert_eq!(status["metadata"]["succeeded_nodes"], 2);
    let log = ada.run(["jobs", "logs", "--attempt", "2", &id]).success();
    assert_eq!(of_node(&log.stdout, 0), ["restart 1"]);
}

#[test]
fn several_servers_make_each_attempt_once() {
    let mut world = World::new();
    let dirs = [TempDir::new(), TempDir::new()];
    let start = |world: &World| dirs.each_ref().map(|dir| world.second_server(dir));
    let file = "resources: {job_recovery: {max_restarts_on_errors: 3}}\n\
                run: echo \"restart $SKYPILOT_NUM_RESTARTS\"; sleep 1; test $SKYPILOT_NUM_RESTARTS = 3";
    // The sandbox ends with its server.
    let early = (!is_real_cluster()).then(|| start(&world));
    // Without a server no node would pass the barrier.
    let submit = |file: &str| world.login("ada").submit_without_barrier(file);
    let ids = [submit(file), submit(&format!("num_nodes: 2\n{file}"))];
    let servers = match early {
        Some(servers) => servers,
        None => {
            // The first attempts end while no server runs.
            world.end("KILL");
            wait_until("the first attempts to end", || {
                let jobs = world.objects::<Job>();
                let failed = |job: &&Job| job.status.as_ref().and_then(|it| it.failed) > Some(0);
                jobs.iter().filter(failed).count() == 3
            });
            start(&world)
        }
    };
    let ada = world.login("ada");
    for id in &ids {
        ada.start_at(&servers[0].url, ["jobs", "wait", id])
            .finish()
            .success();
        let log = ada.start_at(&servers[1].url, ["jobs", "logs", "--node", "0", id]);
        let log = log.finish().success().stdout;
        let lines = log.lines().map(|line| line.trim_start_matches("node-0 | "));
        let expected = ["restart 0", "restart 1", "restart 2", "restart 3"];
        assert_eq!(Vec::from_iter(lines), expected);
    }
    assert_eq!(world.names::<Job>().len(), 4 + 8);
}
