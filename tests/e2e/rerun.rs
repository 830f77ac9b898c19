//! `jobs show` and `jobs rerun`: the file of a task.

use std::fs;

use crate::{
    harness::World,
    http::{ADA, JSON, request},
};

#[test]
fn a_file_is_shown_as_it_was_submitted_without_its_secrets() {
    let world = World::new();
    let ada = world.login("ada");
    let text = "# My task.\nname: shown\nsecrets:\n  TOKEN: s3cret   # of ada\nrun: |\n  echo \"$A ${#TOKEN}\"\n";
    let file = ada.file(text);
    let args = ["jobs", "submit", "--detach", "--env", "A=first", &file];
    let id = ada.run(args).success().stdout.trim().to_owned();
    ada.wait_for_status(&id, "completed");
    let shown = ada.run(["jobs", "show", "shown"]).success().stderr("");
    let expected = format!(
        "# submitted with: --env A=first\n{}",
        text.replace("s3cret", "")
    );
    assert_eq!(shown.stdout, expected);
    let jobs = world.objects::<k8s_openapi::api::batch::v1::Job>();
    let jobs = serde_json::to_string(&jobs).unwrap();
    assert!(jobs.contains("k8s-cli/source") && !jobs.contains("s3cret"));
    // It can be edited and submitted again, and run again as it is.
    let again = ada
        .run(["jobs", "rerun", "--secret", "TOKEN=four", &id])
        .success();
    assert!(again.stdout.ends_with("\nfirst 4\n"), "{}", again.stdout);
    let args = [
        "jobs", "rerun", "-e", "A=second", "--secret", "TOKEN=x", &id,
    ];
    let again = ada.run(args).success();
    assert!(again.stdout.ends_with("\nsecond 1\n"), "{}", again.stdout);
    ada.run(["jobs", "rerun", &id])
        .code(2)
        .says("give --secret TOKEN=VALUE");
}

#[test]
fn files_are_packed_again_from_their_directory() {
    let world = World::new();
    let ada = world.login("ada");
    let directory = ada.home.join("project");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("data.txt"), "old\n").unwrap();
    fs::write(
        directory.join("task.yaml"),
        "name: files\nworkdir: .\nrun: cat data.txt\n",
    )
    .unwrap();
    let mut submit = ada.command(["jobs", "submit", "task.yaml"]);
    let first = submit.current_dir(&directory).output().unwrap();
    assert!(String::from_utf8_lossy(&first.stdout).ends_with("old\n"));
    fs::write(directory.join("data.txt"), "new\n").unwrap();
    let again = ada.run(["jobs", "rerun", "files"]).success();
    assert!(again.stdout.ends_with("new\n"), "{}", again.stdout);
    let id = again.stdout.lines().next().unwrap().to_owned();
    fs::remove_dir_all(&directory).unwrap();
    ada.run(["jobs", "rerun", &id])
        .code(1)
        .says("which is not here");
}

#[test]
fn a_task_of_another_client_shows_what_it_asked_for() {
    let world = World::new();
    let ada = world.login("ada");
    let body = br#"{"run": "echo hidden", "num_nodes": 2, "envs": {"A": "b"}}"#;
    let (_, answer) = request(&world.url, "POST", "/tasks/submit", &[ADA, JSON], body);
    let id = answer["task_id"].as_str().unwrap();
    let shown = ada.run(["jobs", "show", id]).success();
    assert!(shown.stdout.contains("num_nodes: 2"), "{}", shown.stdout);
    assert!(!shown.stdout.contains("hidden"), "{}", shown.stdout);
    assert!(shown.stderr.contains("without its scripts"));
    ada.run(["jobs", "rerun", id]).code(1).says("is not kept");
}
