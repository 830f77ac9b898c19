//! Sweeps: one submission that becomes many tasks.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};
use serde_json::Value;

use crate::{
    harness::{
        Outcome, Server, Session, TempDir, Verdict, World, is_real_cluster, refusal, wait_until,
        with_headers,
    },
    http::{ADA, JSON, refused, request},
};

/// Submits a sweep; returns the id of its group.
#[track_caller]
fn sweep(ada: &Session<'_>, task: &str, options: &[&str]) -> String {
    let file = ada.file(task);
    let args = [&["jobs", "submit"], options, &[&file]].concat();
    ada.run(args).success().stdout.trim().to_owned()
}

/// The tasks of a group by rank, as the server at `url` lists them.
fn tasks(url: &str, group: &str) -> Vec<Value> {
    let path = format!("/tasks?group={group}");
    let (status, answer) = request(url, "GET", &path, &[ADA], b"");
    assert_eq!(status, 200, "{answer}");
    let mut tasks = answer["tasks"].as_array().unwrap().clone();
    tasks.sort_by_key(|task| task["metadata"]["group"]["rank"].as_u64());
    tasks
}

fn count(tasks: &[Value], status: &str) -> usize {
    tasks.iter().filter(|task| task["status"] == status).count()
}

#[test]
fn each_combination_is_a_task_with_its_values() {
    let world = World::new();
    let ada = world.login("ada");
    let group = sweep(
        &ada,
        "name: train\nenvs: {lr: , other: x}\nrun: echo \"$SKYPILOT_JOB_RANK of $SKYPILOT_NUM_JOBS lr=$lr seed=$seed $other\"",
        &["--sweep", "lr=0.1,0.01", "--sweep", "seed=1..2"],
    );
    let waited = ada.run(["jobs", "wait", &group]).success();
    assert_eq!(waited.stdout.lines().count(), 4, "{}", waited.stdout);
    let logs = ada.run(["jobs", "logs", "--group", &group]).success();
    let expected = "train-0 | 0 of 4 lr=0.1 seed=1 x\ntrain-1 | 1 of 4 lr=0.1 seed=2 x\n\
                    train-2 | 2 of 4 lr=0.01 seed=1 x\ntrain-3 | 3 of 4 lr=0.01 seed=2 x\n";
    assert_eq!(logs.stdout, expected);
    let lines = ada
        .run(["jobs", "list", "--group", &group])
        .success()
        .stdout;
    let last = lines.lines().last().unwrap();
    assert!(
        last.ends_with(&format!("\t{group}\tlr=0.1 seed=1")),
        "{last}"
    );
    let table = ada.run(["jobs", "list", "-o", "table"]).success().stdout;
    let row: Vec<_> = table
        .lines()
        .nth(1)
        .unwrap()
        .split("   ")
        .map(str::trim)
        .collect();
    assert_eq!(
        row[..4],
        [&*group, "train-*", "completed", "4/4 done"],
        "{table}"
    );
    let table = ada
        .run(["jobs", "list", "--group", &group, "-o", "table"])
        .success()
        .stdout;
    assert!(
        table.contains("PARAMETERS") && table.contains("lr=0.01 seed=2"),
        "{table}"
    );
    // One of them can be run again alone.
    let id = tasks(&world.url, &group)[2]["task_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let again = ada.run(["jobs", "rerun", &id]).success().stdout;
    assert!(again.contains("lr=0.01 seed=1 x\n"), "{again}");
    let deleted = ada.run(["jobs", "delete", &group]).success().stdout;
    assert_eq!(deleted.lines().count(), 4, "{deleted}");
    assert_eq!(tasks(&world.url, &group), Vec::<Value>::new());
}

#[test]
fn a_task_of_an_array_keeps_its_place_when_it_runs_again() {
    let world = World::new();
    let ada = world.login("ada");
    let text = "name: ay\nrun: echo $SKYPILOT_JOB_RANK of $SKYPILOT_NUM_JOBS";
    let group = sweep(&ada, text, &["--array", "2", "--name", "az"]);
    ada.run(["jobs", "wait", &group]).success();
    let again = ada.run(["jobs", "rerun", "az-1"]).success().stdout;
    assert!(again.ends_with("1 of 2\n"), "{again}");
    // Now two tasks have that name.
    ada.run(["jobs", "status", "az-1"])
        .code(1)
        .says("`az-1` means several tasks");
    let file = ada.file("name: az\nrun: echo x");
    ada.run(["jobs", "submit", &file]).success();
    for command in ["stop", "delete", "wait"] {
        let refused = ada.run(["jobs", command, "az"]).says("`az` means several");
        assert!(refused.stderr.contains(&group), "{}", refused.stderr);
    }
}

#[test]
fn a_group_is_found_by_its_name_and_by_the_beginning_of_its_id() {
    let world = World::new();
    let ada = world.login("ada");
    let group = sweep(&ada, "name: swf\nrun: echo $a", &["--sweep", "a=x,y"]);
    let beginning = &group[..5];
    for typed in ["swf", beginning] {
        let waited = ada.run(["jobs", "wait", typed]).success();
        assert_eq!(waited.stdout.lines().count(), 2, "{}", waited.stdout);
        let logs = ada.run(["jobs", "logs", "--group", typed]).success();
        assert_eq!(logs.stdout, "swf-0 | x\nswf-1 | y\n");
        let listed = ada.run(["jobs", "list", "--group", typed]).success();
        assert_eq!(listed.stdout.lines().count(), 2, "{}", listed.stdout);
        ada.run(["jobs", "logs", typed])
            .code(1)
            .says(&format!("jobs logs --group {group}"));
    }
    ada.run(["jobs", "list", "--group", "swg"])
        .code(1)
        .says("you have no group with the id or the name `swg`");
    ada.run(["jobs", "logs", "--group", "swg"]).code(102);
    // What takes something away takes the beginning of an id only from a person.
    for command in ["stop", "delete"] {
        ada.run(["jobs", command, beginning])
            .code(2)
            .says("only the beginning of an id");
    }
    let deleted = ada.run(["jobs", "delete", "swf"]).success().stdout;
    assert_eq!(deleted.lines().count(), 2, "{deleted}");
    let group = sweep(&ada, "name: long\nrun: sleep 1000", &["--array", "2"]);
    let stopped = ada.run(["jobs", "stop", "long"]).success().stdout;
    assert_eq!(stopped, "Stopped 2 tasks\n");
    assert_eq!(tasks(&world.url, &group), Vec::<Value>::new());
}

#[test]
fn no_more_tasks_run_than_the_limit() {
    let world = World::new();
    let ada = world.login("ada");
    let options = ["--array", "6", "--max-running", "2"];
    let group = sweep(&ada, "name: a\nrun: sleep 1", &options);
    let mut seen = 0;
    wait_until("all tasks have completed", || {
        let tasks = tasks(&world.url, &group);
        let running = count(&tasks, "running");
        assert!(running <= 2, "{running} tasks run");
        seen = seen.max(running);
        let queued = "queued: at most 2 of its group run at a time";
        for task in tasks.iter().filter(|task| task["status"] == "pending") {
            let reason = task["reason"].as_str().unwrap_or_default();
            let is_known =
                reason == queued || reason == "being created" || !reason.contains("queued");
            assert!(is_known, "{task}");
        }
        count(&tasks, "completed") == 6
    });
    assert!(seen > 0);
}

#[test]
fn a_group_is_stopped_without_starting_what_waits() {
    let world = World::new();
    let ada = world.login("ada");
    let options = ["--array", "5", "--max-running", "2"];
    let group = sweep(&ada, "name: a\nnum_nodes: 2\nrun: sleep 1000", &options);
    wait_until("two tasks run", || {
        count(&tasks(&world.url, &group), "running") == 2
    });
    let stopped = ada.run(["jobs", "stop", &group]).success().stdout;
    assert_eq!(stopped, "Stopped 5 tasks\n");
    assert_eq!(tasks(&world.url, &group), Vec::<Value>::new());
    let log = world.log();
    for rank in 2..5 {
        assert!(!log.contains(&format!("begins job=a-{rank}-")), "{log}");
    }
    assert_eq!(world.objects::<Job>().len(), 0);
}

#[test]
fn a_failed_task_is_one_of_its_group() {
    let world = World::new();
    let ada = world.login("ada");
    let group = sweep(
        &ada,
        "run: exit $code",
        &["--sweep", "code=0,3", "--max-running", "1"],
    );
    let failed = ada.run(["jobs", "wait", &group]).code(100);
    assert!(failed.stdout.contains("exit code 3"), "{}", failed.stdout);
    let table = ada.run(["jobs", "list", "-o", "table"]).success().stdout;
    assert!(table.contains("1/2 done, 1 failed"), "{table}");
    let file = ada.file("run: exit $code");
    let args = [
        "jobs",
        "submit",
        "--wait-for",
        "finished",
        "--sweep",
        "code=0,3",
        &file,
    ];
    ada.run(args).code(100).says("failed: exit code 3");
}

#[test]
fn the_files_of_a_group_are_stored_once_and_deleted_at_its_end() {
    let world = World::new();
    let ada = world.login("ada");
    std::fs::create_dir(ada.home.join("code")).unwrap();
    std::fs::write(ada.home.join("code/hello.txt"), "from a file\n").unwrap();
    let group = sweep(
        &ada,
        "name: f\nworkdir: code\nrun: cat hello.txt; test $SKYPILOT_JOB_RANK = 0 || sleep 1000",
        &["--array", "3", "--max-running", "1"],
    );
    let secrets = || {
        let secrets = world.objects::<Secret>().into_iter();
        let ours = secrets.filter(|secret| {
            secret
                .metadata
                .name
                .as_ref()
                .is_some_and(|name| name.contains("-files-"))
        });
        ours.collect::<Vec<_>>()
    };
    assert_eq!(secrets().len(), 1);
    assert_eq!(
        secrets()[0]
            .metadata
            .owner_references
            .as_ref()
            .unwrap()
            .len(),
        3
    );
    let of = |rank: usize| {
        tasks(&world.url, &group)[rank]["task_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (first, second) = (of(0), of(1));
    ada.wait_for_status(&first, "completed");
    ada.wait_for_status(&second, "running");
    // The others still need them.
    ada.run(["jobs", "delete", &first]).success();
    ada.run(["jobs", "stop", &second]).success();
    let third = of(0);
    ada.wait_for_status(&third, "running");
    let log = ada.run(["jobs", "logs", "--no-follow", &third]).stdout;
    assert_eq!(log, "from a file\n");
    ada.run(["jobs", "stop", &group]).success();
    wait_until("the files are deleted", || secrets().is_empty());
    let done = sweep(&ada, "workdir: code\nrun: cat hello.txt", &["--array", "2"]);
    ada.run(["jobs", "wait", &done]).success();
    wait_until("the files are deleted", || secrets().is_empty());
}

#[test]
fn a_sweep_of_two_hundred_ends() {
    if is_real_cluster() {
        // Its machines have room for fewer pods.
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let options = [
        "--sweep",
        "a=1..20",
        "--sweep",
        "b=1..10",
        "--max-running",
        "8",
    ];
    let group = sweep(&ada, "name: many\nrun: test $((a * b)) -gt 0", &options);
    let waited = ada
        .run(["jobs", "wait", "--timeout", "5m", &group])
        .success();
    let pairs: BTreeSet<_> = waited
        .stdout
        .lines()
        .filter_map(|line| line.split('\t').next_back())
        .collect();
    assert_eq!(pairs.len(), 200);
    let table = ada.run(["jobs", "list", "-o", "table"]).success().stdout;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("200/200 done"), "{table}");
}

#[test]
fn a_group_goes_on_after_its_server_was_killed_and_beside_another() {
    let world = World::new();
    let ada = world.login("ada");
    let namespace = world.namespace.clone();
    let start = || {
        let args = ["--host", "127.0.0.1", "--namespace", &namespace];
        let env = [("KUBECONFIG", world.kubeconfig.as_os_str())];
        Server::start(&args, &ada.home, &env)
    };
    // The server of the world is one of them: in a sandbox it cannot be killed without its cluster.
    let mut other = start();
    let file = ada.file("name: k\nrun: sleep 1");
    let submit = [
        "jobs",
        "submit",
        "--array",
        "8",
        "--max-running",
        "2",
        &file,
    ];
    let group = ada.start_at(&other.url, submit).finish().success().stdout;
    let group = group.trim();
    let mut most = 0;
    let mut is_killed = false;
    wait_until("all tasks have completed", || {
        let tasks = tasks(&world.url, group);
        most = most.max(count(&tasks, "running"));
        if !is_killed && count(&tasks, "completed") >= 2 {
            other.end("KILL");
            is_killed = true;
        }
        count(&tasks, "completed") == 8
    });
    assert!(is_killed && most <= 2, "{most} tasks ran at a time");
}

#[test]
fn a_group_that_kubernetes_refuses_in_part_leaves_nothing() {
    if is_real_cluster() {
        eprintln!("the requests to this cluster are encrypted, so none can be refused for it");
        return;
    }
    let world = World::new();
    let dir = TempDir::new();
    let jobs = AtomicUsize::new(0);
    let server = world.server_behind(&dir, move |head| {
        let is_job = head.starts_with("POST ") && head.contains("/jobs");
        match is_job && jobs.fetch_add(1, Ordering::SeqCst) >= 2 {
            true => refusal(403, "Forbidden", "exceeded quota: few-jobs"),
            false => Verdict::Forward(with_headers(head, &[])),
        }
    });
    let task = br#"{"run": "sleep 1000"}"#;
    let path = "/tasks/submit?array=5";
    let answer = request(&server.url, "POST", path, &[ADA, JSON], task);
    refused(answer, 403, "Forbidden", "exceeded quota: few-jobs");
    wait_until("no Job is left", || world.names::<Job>().is_empty());
    let (_, after) = request(&server.url, "GET", "/tasks", &[ADA], b"");
    assert_eq!(after["tasks"], Value::Array(Vec::new()));
}

#[test]
fn the_same_key_gives_the_same_group() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("name: k\nrun: 'true'");
    let submit = |more: &[&str]| -> Outcome {
        let args = [
            "jobs",
            "submit",
            "--idempotency-key",
            "k1",
            "-o",
            "json",
            "--array",
        ];
        ada.run([&args, more, &[&*file]].concat())
    };
    let first = submit(&["3"]).success().stdout;
    let again = submit(&["3"]).success().stdout;
    assert_eq!(first, again);
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["task_ids"].as_array().unwrap().len(), 3);
    let group = first["group_id"].as_str().unwrap();
    ada.run(["jobs", "wait", group]).success();
    assert_eq!(world.objects::<Job>().len(), 3);
    submit(&["4"]).code(1).says(&format!(
        "has made group `{group}` from another definition: use another key for another group"
    ));
}

#[test]
fn a_sweep_is_shown_before_it_starts_and_a_bad_one_is_refused() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("name: d\nvolumes: {/data: {size: 1Gi}}\nrun: 'true'");
    let args = [
        "jobs",
        "submit",
        "--dry-run",
        "--sweep",
        "A=left,right",
        &file,
    ];
    let objects = ada.run(args).success().stdout;
    assert_eq!(objects.matches("kind: Job\n").count(), 2, "{objects}");
    assert!(
        objects.contains("value: right") && objects.contains("parallelism: 0"),
        "{objects}"
    );
    assert_eq!(world.objects::<Job>().len(), 0);
    for (options, says) in [
        (&["--sweep", "A"][..], "--sweep"),
        (
            &["--sweep", "A=1", "--array", "2"],
            "--array: does not go together with `sweep`",
        ),
        (
            &["--max-running", "2"],
            "--max-running: needs `sweep` or `array`",
        ),
        (
            &["--array", "5000"],
            "--array: makes 5000 tasks: expected 1 to 1000",
        ),
    ] {
        let args = [&["jobs", "submit"], options, &[&*file]].concat();
        ada.run(args).code(2).says(says);
    }
    let file = ada.file("name: d\nvolumes: {\"/data/$A\": {size: 1Gi}}\nrun: 'true'");
    ada.run(["jobs", "submit", "--sweep", "A=x,y", &file])
        .code(1)
        .says("`$A` differs between the tasks of the sweep");
    let body = br#"{"run": "true"}"#;
    let post = |query: &str| {
        request(
            &world.url,
            "POST",
            &format!("/tasks/submit?{query}"),
            &[ADA, JSON],
            body,
        )
    };
    for query in [
        "sweep=A",
        "sweep=A=1&array=2",
        "array=x",
        "array=0",
        "max_running=2",
        "sweep=NODE_RANK=1",
    ] {
        let (status, answer) = post(query);
        assert_eq!(status, 422, "{query}: {answer}");
    }
    let (status, answer) = post("array=2");
    assert_eq!(
        (status, answer["task_ids"].as_array().unwrap().len()),
        (200, 2)
    );
    let group = answer["group_id"].as_str().unwrap();
    let ada = world.login("ada");
    ada.run(["jobs", "status", group])
        .code(1)
        .says("is a group of tasks, not one");
    // Others have no part in it.
    let bob = world.login("bob");
    bob.run(["jobs", "wait", group]).code(102);
    bob.run(["jobs", "stop", group]).code(1);
    bob.run(["jobs", "logs", "--group", group]).code(102);
}
