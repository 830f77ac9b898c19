//! `max_duration` and `--time-limit`: a task that runs for too long fails.

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};

use crate::{
    harness::World,
    http::{ADA, JSON, request},
};

#[test]
fn a_task_fails_when_its_time_is_over() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: echo begun; trap 'echo told; exit 0' TERM; sleep 1000 & wait");
    // It has the time to start, also on a busy cluster.
    let submit = ["jobs", "submit", "--time-limit", "20s", &file];
    let run = ada.run(submit).code(100);
    let (id, log) = run.stdout.split_once('\n').unwrap();
    assert_eq!(log, "begun\ntold\n");
    let reason = "time limit of 20s reached";
    let end = format!("task {id} failed: {reason}\n");
    assert!(run.stderr.ends_with(&end), "{}", run.stderr);
    let task = ada.status(id);
    assert_eq!(task["status"], "failed");
    assert_eq!(task["reason"], reason);
    assert_eq!(task["metadata"]["nodes"][0]["reason"], reason);
    let row = ada.run(["jobs", "list"]).success().stdout;
    assert!(row.ends_with(&format!("\t{reason}\t\t\n")), "{row}");
    ada.run(["jobs", "wait", id]).code(100);
    // The Job itself has no deadline: the time without a machine would count, too.
    let jobs = world.objects::<Job>();
    let spec = jobs[0].spec.as_ref().unwrap();
    assert_eq!(spec.active_deadline_seconds, None);
    let template = spec.template.spec.as_ref().unwrap();
    assert_eq!(template.active_deadline_seconds, Some(20));
}

#[test]
fn the_limit_of_a_file_ends_all_nodes() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("num_nodes: 3\nmax_duration: 12s\nrun: sleep 1000");
    let run = ada
        .run(["jobs", "wait", "--for", "completed", &id])
        .code(100);
    let reason = "time limit of 12s reached";
    assert!(
        run.stdout.ends_with(&format!("\t{reason}\t\t\n")),
        "{}",
        run.stdout
    );
    let task = ada.status(&id);
    assert_eq!(task["reason"], reason);
    let nodes = task["metadata"]["nodes"].as_array().unwrap();
    for node in nodes {
        // One whose pod started later was stopped after the first.
        let is_stopped = !node["stopped_after"].is_null() || node["status"] == "running";
        assert!(is_stopped || node["reason"] == reason, "{node}");
    }
    assert!(nodes.iter().any(|node| node["reason"] == reason));
}

#[test]
fn without_fail_fast_each_node_has_its_own_time() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("num_nodes: 2\nmax_duration: 20s\nrun: test $NODE_RANK = 0 || sleep 1000");
    let run = ada
        .run([
            "jobs",
            "submit",
            "--no-fail-fast",
            "--no-barrier",
            "--wait-for",
            "finished",
            &file,
        ])
        .code(100);
    assert!(
        run.stderr.ends_with("failed: time limit of 20s reached\n"),
        "{}",
        run.stderr
    );
    let id = run.stdout.trim();
    let nodes = &ada.status(id)["metadata"]["nodes"];
    assert_eq!(nodes[0]["status"], "completed");
    assert_eq!(nodes[1]["reason"], "time limit of 20s reached");
}

#[test]
fn a_lowered_deadline_of_a_pod_is_not_the_limit_of_the_task() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("max_duration: 2h\nrun: sleep 1000");
    ada.wait_for_status(&id, "running");
    let pod = world.objects::<Pod>().remove(0).metadata.name.unwrap();
    let patch = serde_json::json!({"spec": {"activeDeadlineSeconds": 1}});
    world.patch::<Pod>(&pod, &patch);
    let task = ada.wait_for_status(&id, "failed");
    let reason = task["reason"].as_str().unwrap();
    assert!(reason.starts_with("DeadlineExceeded: "), "{reason}");
}

#[test]
fn a_limit_is_shown_before_it_counts_and_a_bad_one_is_refused() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("max_duration: 1h30m\nrun: 'true'");
    let objects = ada.run(["jobs", "submit", "--dry-run", &file]).success();
    assert!(objects.stdout.contains("activeDeadlineSeconds: 5400\n"));
    let forever = [
        "jobs",
        "submit",
        "--dry-run",
        "--time-limit",
        "forever",
        &file,
    ];
    let objects = ada.run(forever).success();
    assert!(!objects.stdout.contains("activeDeadlineSeconds"));
    // It is kept for a rerun, and can be changed there.
    let id = ada.run(["jobs", "submit", "-d", "--time-limit", "1h", &file]);
    let id = id.success().stdout;
    let again = ["jobs", "rerun", "--dry-run", id.trim()];
    let objects = ada.run(again).success().stdout;
    assert!(
        objects.contains("activeDeadlineSeconds: 3600\n"),
        "{objects}"
    );
    let more = [&again[..], &["--time-limit", "2h"]].concat();
    let objects = ada.run(more).success().stdout;
    assert!(
        objects.contains("activeDeadlineSeconds: 7200\n"),
        "{objects}"
    );
    for (limit, says) in [
        (
            "banana",
            "--time-limit: expected a duration with its unit, such as 90s, 30m, 2h or 1d12h, got \"banana\"",
        ),
        ("90", "--time-limit: expected a duration with its unit"),
        (
            "0s",
            "--time-limit: expected from 1s to 24855d, or forever, got \"0s\"",
        ),
    ] {
        let run = ["jobs", "run", "--time-limit", limit, "--", "true"];
        let refused = ada.run(run).code(2).says(says);
        assert_eq!(refused.stderr.matches("expected").count(), 1);
    }
    let body = br#"{"run": "true", "max_duration": 90}"#;
    let (status, answer) = request(&world.url, "POST", "/tasks/submit", &[ADA, JSON], body);
    assert_eq!(status, 422);
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("max_duration: expected a duration with its unit"),
        "{detail}"
    );
}
