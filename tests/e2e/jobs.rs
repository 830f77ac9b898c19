//! Tests of the lifecycle of a task.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Service},
};

use crate::{
    files::own_directory,
    harness::{World, is_real_cluster, wait_until},
};

#[test]
fn a_task_of_one_node_completes() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("name: hello\nrun: echo hello; echo world >&2");
    // On a busy cluster the names of nodes come late, and the barrier says so in the log.
    let outcome = ada.run(["jobs", "submit", "--no-barrier", &file]).success();
    let (id, log) = outcome.stdout.split_once('\n').unwrap();
    // A real container has a pipe for each of its two streams, so only the sandbox keeps their order.
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["hello", "world"]);

    let task = ada.status(id);
    assert_eq!(
        (&task["task_id"], &task["name"], &task["status"]),
        (&id.into(), &"hello".into(), &"completed".into())
    );
    assert_eq!(task["metadata"]["job_name"], format!("hello-{id}"));
    assert_eq!(
        task["metadata"]["node_jobs"],
        serde_json::json!([format!("hello-{id}")])
    );
    assert_eq!(task["metadata"]["succeeded_nodes"], 1);
    assert_eq!(world.names::<Job>(), [format!("hello-{id}")]);
    assert_eq!(
        world
            .names::<Service>()
            .iter()
            .filter(|name| name.starts_with("task-"))
            .count(),
        0
    );

    // The log of a finished task can be read.
    ada.run(["jobs", "logs", id]).success().stdout(log);
}

#[test]
fn four_nodes_know_their_ranks_and_each_other() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(
        "name: quartet\nnum_nodes: 4\nrun: |\n  echo rank $NODE_RANK/$SKYPILOT_NODE_RANK of $NUM_NODES/$SKYPILOT_NUM_NODES\n  \
         wc -l <<< \"$SKYPILOT_NODE_IPS\"\n  head -n1 <<< \"$SKYPILOT_NODE_IPS\"\n",
    );
    let outcome = ada.run(["jobs", "submit", "--no-barrier", &file]).success();
    let (id, log) = outcome.stdout.split_once('\n').unwrap();
    let service = world.names_of::<Service>(id).remove(0);
    for rank in 0..4 {
        let prefix = format!("node-{rank} | ");
        let lines: Vec<_> = log
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect();
        assert_eq!(
            lines,
            [
                format!("rank {rank}/{rank} of 4/4"),
                "4".to_owned(),
                format!("node-0.{service}")
            ],
            "{log}"
        );
    }
    let task = ada.status(id);
    let jobs: Vec<_> = (0..4)
        .map(|rank| format!("quartet-{id}-node-{rank}"))
        .collect();
    assert_eq!(task["metadata"]["node_jobs"], serde_json::json!(jobs));
    assert_eq!(
        (
            &task["metadata"]["num_nodes"],
            &task["metadata"]["succeeded_nodes"]
        ),
        (&4.into(), &4.into())
    );
}

#[test]
fn a_failing_node_fails_the_task() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("num_nodes: 3\nrun: '[ $NODE_RANK != 1 ] || exit 3'");
    let outcome = ada.run(["jobs", "submit", &file]).code(100);
    let id = outcome.stdout.lines().next().unwrap();
    assert_eq!(
        outcome.stderr.lines().last(),
        Some(format!("task {id} failed: node-1 failed: exit code 3").as_str()),
        "{}",
        outcome.stderr
    );

    let task = ada.wait_for_status(id, "failed");
    assert_eq!(task["reason"], "node-1: exit code 3");
    assert_eq!(task["metadata"]["nodes"][1]["exit_code"], 3);
    ada.run(["jobs", "logs", id])
        .code(100)
        .says("node-1 failed: exit code 3");
}

#[test]
fn the_exit_code_tells_how_a_task_ended() {
    let world = World::new();
    let ada = world.login("ada");
    for (run, code, last) in [
        ("'true'", 0, "completed"),
        ("exit 7", 100, "failed: exit code 7"),
        (
            "|\n  bash -c 'kill -s SEGV $$'\n  exit $?",
            100,
            "failed: exit code 139",
        ),
    ] {
        let file = ada.file(&format!("run: {run}"));
        let outcome = ada.run(["jobs", "submit", &file]).code(code);
        let id = outcome.stdout.lines().next().unwrap();
        let last = format!("task {id} {last}");
        assert_eq!(outcome.stderr.lines().last(), Some(last.as_str()));
    }
    let id = ada.submit("run: sleep 1000");
    ada.wait_for_status(&id, "running");
    ada.run(["jobs", "logs", &id, "--no-follow"]).code(101);
    ada.run(["jobs", "logs", "zzzzzzzz"])
        .code(102)
        .stdout("")
        .says("task `zzzzzzzz` not found");
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn setup_and_run_get_the_workdir_and_variables() {
    let world = World::new();
    let ada = world.login("ada");
    // This machine has no such directory, but the container has.
    let config = own_directory("/own", "");
    let file = ada.file(&format!(
        "workdir: /own\nenvs:\n  GREETING: it's $$ and $(x)\n  NODE_RANK: 9\n  N: 3\nsetup: |\n  sudo echo \"setup of $SKYPILOT_SETUP_NODE_RANK in $(pwd)\"\n  exit 0\n\
         run: |\n  echo \"$GREETING, $NODE_RANK, $N, $(pwd)\"\n{config}\n",
    ));
    let outcome = ada
        .run(["jobs", "submit", &file])
        .success()
        .says(&format!("warning: {file}:4: envs.NODE_RANK is ignored"));
    let (_, log) = outcome.stdout.split_once('\n').unwrap();
    assert_eq!(log, "setup of 0 in /own\nit's $$ and $(x), 0, 3, /own\n");

    // As in SkyPilot, the last command decides whether setup failed. After a failed setup, run is not executed.
    let file = ada.file("setup: 'false; exit 4'\nrun: echo never");
    let outcome = ada
        .run(["jobs", "submit", &file])
        .code(100)
        .says("setup on node-0 exited with 4");
    assert!(!outcome.stdout.contains("never"));
}

#[test]
fn a_running_task_is_stopped() {
    let world = World::new();
    let ada = world.login("ada");
    let id =
        ada.submit("num_nodes: 2\nrun: |\n  trap 'exit 0' TERM\n  echo ready\n  sleep 1000 & wait");
    let logs = ada.start(["jobs", "logs", &id]);
    logs.wait_for_output("node-0 | ready");
    logs.wait_for_output("node-1 | ready");
    assert_eq!(ada.status(&id)["status"], "running");

    let outcome = ada.run(["jobs", "stop", &id]).success();
    assert!(outcome.stdout.contains(&id) || outcome.stderr.contains(&id));
    logs.finish()
        .code(103)
        .says(&format!("task {id} was stopped"));
    ada.run(["jobs", "status", &id])
        .code(1)
        .says(&format!("task `{id}` not found"));
    ada.run(["jobs", "stop", &id])
        .code(1)
        .says(&format!("task `{id}` not found"));
    wait_until("Jobs, pods and the Service are gone", || {
        world.names::<Job>().is_empty()
            && world.names::<Pod>().is_empty()
            && world.names_of::<Service>(&id).is_empty()
    });
}

#[test]
fn interrupting_the_log_leaves_the_task_running() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: |\n  trap 'exit 0' TERM\n  echo ready\n  sleep 1000 & wait");
    let submit = ada.start(["jobs", "submit", &file]);
    submit.wait_for_output("ready");
    submit.interrupt();
    let outcome = submit.finish().code(130);
    let id = outcome.stdout.lines().next().unwrap();
    assert!(
        outcome.stderr.contains("detached") && outcome.stderr.contains(id),
        "{}",
        outcome.stderr
    );
    assert_eq!(ada.status(id)["status"], "running");
    ada.run(["jobs", "stop", id]).success();
}

#[test]
fn the_list_is_newest_first() {
    let world = World::new();
    let ada = world.login("ada");
    ada.run(["jobs", "list"])
        .success()
        .stdout("")
        .stderr("no tasks\n");
    let mut ids: Vec<_> = (0..3).map(|_| ada.submit("run: 'true'")).collect();
    ids.reverse();
    let listed = ada.run(["jobs", "list", "-o", "name"]).success();
    assert_eq!(listed.stdout.lines().collect::<Vec<_>>(), ids);
}

#[test]
fn unusual_names_are_kept() {
    let world = World::new();
    let ada = world.login("ada");
    let long = "x".repeat(200);
    for name in ["My_Task.v2", "123", "a--b", &long] {
        let id = ada.submit(&format!("name: '{name}'\nnum_nodes: 2\nrun: 'true'"));
        let task = ada.wait_for_status(&id, "completed");
        assert_eq!(task["name"], name);
    }
    let jobs = world.names::<Job>();
    assert_eq!(jobs.len(), 8);
    assert!(
        jobs.iter().any(|name| name.starts_with("my-task-v2-")),
        "{jobs:?}"
    );
}

#[test]
fn a_bad_task_file_is_refused_with_all_its_problems() {
    let world = World::new();
    let ada = world.login("ada");
    for (content, parts) in [
        ("run: [", &["task-", ".yaml:"][..]),
        ("name: x", &["run: is required"]),
        (
            "run: x\nnum_nodes: 0\nsetups: y",
            &["num_nodes: expected", "did you mean `setup`?"],
        ),
        ("", &["empty"]),
        (
            "run: x\nvolumes: {/data: nope}",
            &["volumes./data", "no volume `nope`"],
        ),
    ] {
        let file = ada.file(content);
        let outcome = ada.run(["jobs", "submit", &file]).code(1).stdout("");
        for part in parts {
            assert!(
                outcome.stderr.contains(part),
                "{part:?} is missing in {:?}",
                outcome.stderr
            );
        }
    }
    ada.run(["jobs", "submit", "missing.yaml"])
        .code(1)
        .says("missing.yaml");
    assert_eq!(world.names::<Job>(), Vec::<String>::new());
}

#[test]
fn a_task_that_exceeds_a_quota_leaves_no_objects() {
    // The sandbox has no quotas.
    if !is_real_cluster() {
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let quota: k8s_openapi::api::core::v1::ResourceQuota =
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "few-jobs"}, "spec": {"hard": {"count/jobs.batch": "2"}},
        }))
        .unwrap();
    world.create(&quota);
    wait_until("the quota is in force", || {
        world
            .objects::<k8s_openapi::api::core::v1::ResourceQuota>()
            .iter()
            .any(|quota| {
                quota
                    .status
                    .as_ref()
                    .is_some_and(|status| status.used.is_some())
            })
    });
    let file = ada.file("num_nodes: 4\nrun: sleep 1000");
    ada.run(["jobs", "submit", "--detach", &file])
        .code(1)
        .stdout("")
        .says("exceeded quota");
    wait_until("nothing of the task is left", || {
        world.names::<Job>().is_empty()
    });
    // Pods that had started need a moment to end.
    wait_until("the task is gone", || {
        ada.run(["jobs", "list"]).success().stdout.is_empty()
    });
}
