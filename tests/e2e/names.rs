//! Tasks and volumes by their names, by the beginning of their ids, and as `@latest`.

use crate::harness::World;

#[test]
fn a_task_is_found_by_its_name_and_by_the_beginning_of_its_id() {
    let world = World::new();
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let first = ada.submit("name: first\nrun: echo hello");
    let resnet = ada.submit("name: resnet50\nrun: sleep 1000");
    bob.submit("name: second\nrun: 'true'");
    ada.wait_for_status(&first, "completed");
    ada.wait_for_status(&resnet, "running");
    let status = |typed: &str| {
        let args = ["jobs", "status", typed, "-o", "name"];
        ada.run(args).success().stdout.trim().to_owned()
    };
    assert_eq!(status("first"), first);
    assert_eq!(status("@latest"), resnet);
    // A name of the form of an id.
    assert_eq!(status("resnet50"), resnet);
    if first[..4] != resnet[..4] {
        assert_eq!(status(&first[..4]), first);
    }
    let log = ada.run(["jobs", "logs", "first"]).success();
    assert_eq!(log.stdout, "hello\n");
    ada.run(["jobs", "wait", "first", &first]).success();
    ada.run(["jobs", "wait", "--for", "running", "resnet50"])
        .success();
    // Another user's task has no name here.
    for (command, code) in [("status", 1), ("stop", 1), ("logs", 102), ("wait", 102)] {
        ada.run(["jobs", command, "second"])
            .code(code)
            .says("you have no task with the id or the name `second`");
    }
    let twin = ada.submit("name: first\nrun: 'true'");
    let run = ada.run(["jobs", "status", "first"]).code(1).stdout("");
    assert!(run.stderr.contains("`first` means several tasks:"));
    for id in [&first, &twin] {
        assert!(run.stderr.contains(id.as_str()), "{}", run.stderr);
    }
    ada.run(["jobs", "stop", &resnet[..6]])
        .code(2)
        .says("is only the beginning of an id");
    assert_eq!(ada.status(&resnet)["status"], "running");
    let line = format!("exec k8s-cli jobs stop {}", &resnet[..6]);
    ada.start_at_terminal(&line).finish().success();
    ada.run(["jobs", "status", "resnet50"]).code(1);
}

#[test]
fn a_volume_is_found_by_its_name() {
    let world = World::new();
    let ada = world.login("ada");
    let create = ada.run(["volumes", "create", "data", "1Gi"]).success();
    let id = create.stdout.trim();
    let status = ada.run(["volumes", "status", "data", "-o", "name"]);
    assert_eq!(status.success().stdout.trim(), id);
    ada.run(["volumes", "delete", "--force", &id[..5]])
        .code(2)
        .says("is only the beginning of an id");
    let deleted = ada.run(["volumes", "delete", "--force", "data"]).success();
    assert!(deleted.stdout.contains(id), "{}", deleted.stdout);
}
