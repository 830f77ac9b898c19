//! `jobs delete`.

use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::batch::v1::Job;

use crate::harness::{TempDir, Verdict, World, is_real_cluster, with_headers};

#[test]
fn finished_tasks_are_deleted_with_their_objects() {
    let world = World::new();
    let ada = world.login("ada");
    let [done, failed] = ["echo hello", "exit 3"].map(|run| ada.submit(&format!("run: {run}")));
    let running = ada.submit("run: sleep 1000");
    ada.wait_for_status(&done, "completed");
    ada.wait_for_status(&failed, "failed");
    ada.wait_for_status(&running, "running");
    ada.run(["jobs", "delete", &running])
        .code(1)
        .says(&format!("task `{running}` is running: stop it first"));
    let bob = world.login("bob");
    bob.run(["jobs", "delete", &done])
        .code(1)
        .says(&format!("task `{done}` not found"));
    let run = ada.run(["jobs", "delete", &done]).success();
    assert_eq!(run.stdout, format!("Task {done} deleted successfully\n"));
    ada.run(["jobs", "status", &done]).code(1);
    ada.run(["jobs", "delete", "--finished", "--older-than", "1h"])
        .success()
        .says("no tasks to delete");
    let deleted = ada
        .run(["jobs", "delete", "--finished", "-o", "name"])
        .success();
    assert_eq!(deleted.stdout.trim(), failed);
    ada.run(["jobs", "stop", &running]).success();
    assert!(world.names::<Job>().is_empty());
}

#[test]
fn names_choose_what_is_deleted() {
    let world = World::new();
    let ada = world.login("ada");
    let [first, second] = ["sweep-1", "other"].map(|name| {
        let id = ada.submit(&format!("name: {name}\nrun: 'true'"));
        ada.wait_for_status(&id, "completed");
        id
    });
    let args = [
        "jobs",
        "delete",
        "--finished",
        "--name",
        "sweep-*",
        "-o",
        "name",
    ];
    assert_eq!(ada.run(args).success().stdout.trim(), first);
    ada.status(&second);
    ada.run(["jobs", "delete", "--name", "x", &second]).code(2);
}

#[test]
fn a_deletion_that_was_broken_off_goes_on() {
    if is_real_cluster() {
        eprintln!("the requests to this cluster are encrypted, so none can be refused");
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let dir = TempDir::new();
    let deletions = AtomicUsize::new(0);
    let server = world.server_behind(&dir, move |head| {
        let is_deletion = head.starts_with("DELETE ") && head.contains("/jobs/");
        match is_deletion && deletions.fetch_add(1, Ordering::SeqCst) == 1 {
            true => Verdict::Answer(String::new()),
            false => Verdict::Forward(with_headers(head, &[])),
        }
    });
    let id = ada.submit("num_nodes: 2\nrun: 'true'");
    ada.wait_for_status(&id, "completed");
    let delete = || ada.start_at(&server.url, ["jobs", "delete", &id]).finish();
    delete().code(1).says("Kubernetes cannot be reached");
    assert_eq!(world.names::<Job>().len(), 1);
    assert_eq!(ada.status(&id)["status"], "stopping");
    delete().success();
    assert!(world.names::<Job>().is_empty());
}
