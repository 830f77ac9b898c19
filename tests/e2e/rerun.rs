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
fn a_file_is_shown_in_a_pipe_with_its_own_characters() {
    let world = World::new();
    let ada = world.login("ada");
    let text = "\u{feff}name: crlf\r\nsecrets:\r\n  KEY: |\r\n    one\r\n    two\r\nrun: |\r\n  echo 👩\u{200d}🔬 \u{2028} \u{202e}x\r\n";
    let file = ada.file(text);
    let args = ["jobs", "submit", "--detach", "-e", "A=b", &file];
    let id = ada.run(args).success().stdout.trim().to_owned();
    let shown = ada.run(["jobs", "show", &id]).success().stdout;
    let blanked = text.replace("|\r\n    one\r\n    two\r\n", "\r\n");
    let (mark, rest) = blanked.split_at(3);
    assert_eq!(shown, format!("{mark}# submitted with: --env A=b\n{rest}"));
    let again = ada.file(&shown);
    ada.run(["jobs", "submit", "--secret", "KEY=x", &again])
        .success()
        .says("completed");
}

#[test]
fn secrets_of_the_command_line_are_named_and_have_to_be_given_again() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("name: named\nrun: echo \"${#NEW} ${#OTHER}\"\n");
    let secrets = ada.home.join("secrets.env");
    fs::write(&secrets, "OTHER=hidden2\n").unwrap();
    let secrets = secrets.to_str().unwrap();
    let first = [
        "jobs",
        "submit",
        "--secret",
        "NEW=hidden1",
        "--secret-file",
        secrets,
        &file,
    ];
    ada.run(first).success();
    let shown = ada.run(["jobs", "show", "named"]).success().stdout;
    let options = "# submitted with: --secret OTHER --secret NEW\n";
    assert!(
        shown.starts_with(options) && !shown.contains("hidden"),
        "{shown}"
    );
    // A variable of the same name is not taken without being asked for.
    let mut rerun = ada.command(["jobs", "rerun", "--secret", "NEW=1", "named"]);
    let output = rerun.env("OTHER", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("give --secret OTHER=VALUE"), "{said}");
    let again = [
        "jobs", "rerun", "--secret", "NEW=1", "--secret", "OTHER=22", "named",
    ];
    let again = ada.run(again).success();
    assert!(again.stdout.ends_with("\n1 2\n"), "{}", again.stdout);
    let id = again.stdout.lines().next().unwrap();
    let shown = ada.run(["jobs", "show", id]).success().stdout;
    assert!(shown.starts_with(options), "{shown}");
}

#[test]
fn a_file_that_is_not_kept_says_why() {
    let world = World::new();
    let ada = world.login("ada");
    let submit = |text: &str, option: &str| {
        let file = ada.file(text);
        let args = ["jobs", "submit", "--detach", "--secret", option, &file];
        ada.run(args).success().stdout.trim().to_owned()
    };
    let why = "is not kept, because the value of a secret stands elsewhere in it";
    for id in [
        submit("secrets:\n  PW: hidden\nrun: echo hidden\n", "A=b"),
        submit("run: echo hidden # $PW\n", "PW=hidden"),
    ] {
        let shown = ada.run(["jobs", "show", &id]).success().says(why);
        assert!(!shown.stdout.contains("hidden"), "{}", shown.stdout);
        ada.run(["jobs", "rerun", &id]).code(1).says(why);
    }
    let form = "secrets: {PW: !!str hidden}\nrun: 'true'\n";
    let shown = ada.run(["jobs", "show", &submit(form, "A=b")]).success();
    shown.says("in it cannot be blanked");
    // Neither short values nor names of users are taken for secrets.
    let text = "secrets:\n  SKYPILOT_DOCKER_USERNAME: grace\n  SKYPILOT_DOCKER_PASSWORD: s3cret\n  \
                SKYPILOT_DOCKER_SERVER: ghcr.io\n  PW: x\nresources:\n  image_id: ghcr.io/grace/train\nrun: echo grace x\n";
    let shown = ada.run(["jobs", "show", &submit(text, "PW=x")]).success();
    let values = ["grace", "s3cret", "ghcr.io", "x"];
    let expected = values.iter().fold(text.to_owned(), |text, value| {
        text.replacen(&format!(": {value}\n"), ": \n", 1)
    });
    let expected = format!("# submitted with: --secret PW\n{expected}");
    assert_eq!(shown.stdout, expected);
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
