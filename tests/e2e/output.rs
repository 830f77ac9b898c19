//! What the commands print, for people and for programs.

use crate::harness::World;

#[test]
fn a_list_in_a_pipe_is_tab_separated_and_bare() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("name: hello\nrun: 'true'");
    let task = ada.wait_for_status(&id, "completed");
    let created_at = task["created_at"].as_str().unwrap();
    let namespace = &world.namespace;
    let row = format!("{id}\thello\tcompleted\t1\t{created_at}\tada\thello-{id}\t{namespace}\t\n");
    ada.run(["jobs", "list"]).success().stdout(&row).stderr("");
    ada.run(["jobs", "list", "--details"])
        .success()
        .stdout(&row);
}

#[test]
fn a_document_is_the_servers() {
    let world = World::new();
    let ada = world.login("ada");
    let outcome = ada.run(["jobs", "list", "-o", "json"]).success().stderr("");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap(),
        serde_json::json!({"tasks": []})
    );
    let id = ada.submit("run: 'true'");
    let listed: serde_json::Value =
        serde_yaml::from_str(&ada.run(["jobs", "list", "-o", "yaml"]).success().stdout).unwrap();
    assert_eq!(listed["tasks"][0]["task_id"], id);
    assert_eq!(listed["tasks"][0]["metadata"]["num_nodes"], 1);
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    let world = World::new();
    let ada = world.login("ada");
    for args in [
        &["jobs"][..],
        &["jobs", "lsit"],
        &["jobs", "stop"],
        &["jobs", "stop", "ab12cd34", "--all"],
        &["jobs", "stop", "ab12cd34", "--all-users"],
        &["jobs", "status", "NOT-AN-ID"],
        &["jobs", "list", "-o", "xml"],
        &["jobs", "logs", "ab12cd34", "--tail", "x"],
    ] {
        let outcome = ada.run(args).code(2).stdout("");
        assert!(!outcome.stderr.is_empty(), "{args:?}");
    }
    let version = ada.run(["--version"]).success().stderr("");
    assert_eq!(version.stdout, "k8s-cli 1.0.0\n");
}
