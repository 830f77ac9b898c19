//! Tests of the output of commands, for people and for programs.

use std::fs::File;

use crate::harness::World;

#[test]
fn a_list_in_a_pipe_is_tab_separated_and_has_no_header() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("name: hello\nrun: 'true'");
    let task = ada.wait_for_status(&id, "completed");
    let created_at = task["created_at"].as_str().unwrap();
    let namespace = &world.namespace;
    let row =
        format!("{id}\thello\tcompleted\t1\t{created_at}\tada\thello-{id}\t{namespace}\t\t\t\n");
    ada.run(["jobs", "list"]).success().stdout(&row).stderr("");
    ada.run(["jobs", "list", "--details"])
        .success()
        .stdout(&row);
}

#[test]
fn json_and_yaml_are_the_answer_of_the_server() {
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
    let file = ada.file("run: 'true'");
    for args in [
        &["jobs"][..],
        &["jobs", "lsit"],
        &["jobs", "stop"],
        &["jobs", "stop", "ab12cd34", "--all"],
        &["jobs", "stop", "ab12cd34", "--all-users"],
        &["jobs", "status", "not/an/id"],
        &["jobs", "list", "-o", "xml"],
        &["jobs", "logs", "ab12cd34", "--tail", "x"],
        &["jobs", "list", "--api-url", "localhost:8000"],
        &["jobs", "submit", &file, "--cpus", "four"],
        &["jobs", "submit", &file, "--dry-run", "-o", "tsv"],
        &["serve", "--namespace", "Bad NS"],
    ] {
        let outcome = ada.run(args).code(2).stdout("");
        assert!(!outcome.stderr.is_empty(), "{args:?}");
    }
    let version = ada.run(["--version"]).success().stderr("");
    assert_eq!(version.stdout, "k8s-cli 1.0.0 (no release)\n");
}

#[test]
fn printed_objects_are_quoted_for_yaml_1_1() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("name: 'off'\nenvs: {Y: 'yes', N: '1_000'}\nrun: 'true'");
    let objects = ada.run(["jobs", "submit", "--dry-run", &file]).success();
    for line in [
        "task-name: 'off'",
        "name: 'Y'",
        "value: 'yes'",
        "name: 'N'",
        "value: '1_000'",
    ] {
        assert!(
            objects.stdout.contains(line),
            "{line} is not in {}",
            objects.stdout
        );
    }
    let names = ada
        .run(["jobs", "submit", "--dry-run", &file, "-o", "name"])
        .success();
    assert!(
        names.stdout.starts_with("job.batch/off-"),
        "{}",
        names.stdout
    );
    assert_eq!(names.stdout.lines().count(), 1);
}

#[test]
fn an_error_names_the_created_object_if_stdout_cannot_be_written() {
    let world = World::new();
    let ada = world.login("ada");
    let lost = |args: &[&str]| {
        let full = File::create("/dev/full").unwrap();
        let output = ada.command(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let file = ada.file("run: 'true'");
    for args in [
        &["jobs", "submit", "-d", &file][..],
        &["jobs", "submit", &file],
    ] {
        let said = lost(args);
        let listed = ada.run(["jobs", "list", "-o", "name"]).success().stdout;
        let id = listed.lines().next().unwrap();
        let expected = format!(
            "k8s-cli: task {id} was submitted, but the output cannot be written: no space left on device\n"
        );
        assert_eq!(said, expected);
    }
    let said = lost(&["volumes", "create", "data", "1Gi"]);
    let id = ada.run(["volumes", "list", "-o", "name"]).success().stdout;
    assert!(
        said.contains(&format!("volume {} was created, but", id.trim())),
        "{said}"
    );
    assert!(lost(&["--version"]).contains("no space left on device"));
}

#[test]
fn passwords_in_a_task_file_are_printed_nowhere() {
    let world = World::new();
    let ada = world.login("ada");
    let fetched = ada.file(
        "workdir: {url: 'https://ada:s3cret@127.0.0.1:9/repo'}\n\
         file_mounts: {/a: 'https://s3cret@127.0.0.1:9/a', /b: {source: 'https://b.s3/x?X-Amz-Signature=s3cret&a=1'}}\nrun: 'true'\n",
    );
    let mounted =
        ada.file("file_mounts: {/a: 'https://s3cret@127.0.0.1:9/a?sig=s3cret'}\nrun: 'true'\n");
    let good = ada.file(
        "resources: {image_id: 'docker:ubuntu:22.04'}\n\
         envs: {SKYPILOT_DOCKER_USERNAME: ada, SKYPILOT_DOCKER_PASSWORD: s3cret, SKYPILOT_DOCKER_SERVER: ghcr.io}\n\
         secrets: {HF_TOKEN: s3cret}\n\
         run: curl 'https://a.blob/c?sv=1&sig=s3cret'\n",
    );
    let bad = ada.file(
        "name: 'https://ada:s3cret@host/'\n\
         resources: {image_id: 'https://ada:s3cret@ghcr.io/a', cpus: 'https://x/?token=s3cret'}\n\
         volumes: {/a: 's3://key:s3cret@bucket', 'https://ada:s3cret@host': b}\n\
         run: 'true'\n",
    );
    for (args, code) in [
        (&["jobs", "validate", &good, &fetched, "-o", "json"][..], 0),
        (&["jobs", "validate", &good, &fetched], 0),
        (&["jobs", "submit", "--detach", &fetched], 1),
        (&["jobs", "submit", "--detach", &mounted], 1),
        (&["jobs", "validate", &bad, "-o", "json"], 1),
        (&["jobs", "validate", &bad], 1),
        (&["jobs", "submit", "--detach", &bad], 1),
        (&["jobs", "submit", "--dry-run", "-o", "yaml", &good], 0),
    ] {
        let outcome = ada.run(args).code(code);
        let printed = [outcome.stdout, outcome.stderr].concat();
        assert!(!printed.contains("s3cret"), "{args:?}: {printed}");
    }
}
