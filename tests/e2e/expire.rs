//! `serve --ttl-after-finished`: finished tasks are deleted by themselves.

use crate::harness::{World, wait_until};

#[test]
fn finished_tasks_are_deleted_after_their_time() {
    let world = World::with(&["--ttl-after-finished", "1s"]);
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let running = ada.submit("run: sleep 1000");
    ada.submit("run: 'true'");
    bob.submit("num_nodes: 2\nrun: exit 3");
    ada.wait_for_status(&running, "running");
    wait_until("the finished tasks are gone", || {
        let list = ada.run(["jobs", "list", "--all-users", "-o", "name"]);
        list.success().stdout.trim() == running
    });
    assert_eq!(world.names::<k8s_openapi::api::batch::v1::Job>().len(), 1);
    ada.run(["jobs", "stop", &running]).success();
}
