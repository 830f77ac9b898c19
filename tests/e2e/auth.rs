//! Tests of logging in and out, and of commands without a login.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Running, World};

#[test]
fn a_user_logs_in_and_out() {
    let world = World::new();
    let ada = world.anonymous();
    ada.run(["auth", "whoami"])
        .code(1)
        .stdout("")
        .says("k8s-cli: not logged in");
    ada.run(["auth", "login", "ada@example.com"]).success();
    ada.run(["auth", "whoami"])
        .success()
        .stdout("ada@example.com\n")
        .stderr(&format!(
            "server {}: known by the name that you state\n",
            world.url
        ));
    ada.start_at("http://127.0.0.1:9", ["auth", "whoami"])
        .finish()
        .success()
        .stdout("ada@example.com\n")
        .says("server http://127.0.0.1:9: it does not answer");

    let file = ada.home.join(".config/k8s-cli/user.json");
    let login: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(login, serde_json::json!({"username": "ada@example.com"}));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    ada.run(["auth", "logout"]).success();
    ada.run(["auth", "whoami"]).code(1);
    ada.run(["auth", "logout"]).success();
}

#[test]
fn every_command_needs_a_login() {
    let world = World::new();
    let anonymous = world.anonymous();
    let file = anonymous.file("run: 'true'");
    let commands: [&[&str]; 10] = [
        &["jobs", "submit", &file],
        &["jobs", "list"],
        &["jobs", "status", "ab12cd34"],
        &["jobs", "stop", "ab12cd34"],
        &["jobs", "stop", "--all"],
        &["jobs", "logs", "ab12cd34"],
        &["volumes", "create", "data", "1Gi"],
        &["volumes", "list"],
        &["volumes", "status", "ab12cd34"],
        &["volumes", "delete", "ab12cd34", "--force"],
    ];
    for command in commands {
        let outcome = anonymous.run(command).code(1).stdout("");
        let hint = "k8s-cli: not logged in\nhint: log in with `k8s-cli auth login <user>`, or with a token by `k8s-cli auth login --token-stdin`\n";
        outcome.stderr(hint);
    }
}

#[test]
fn an_invalid_name_is_refused() {
    let world = World::new();
    let anonymous = world.anonymous();
    anonymous
        .run(["auth", "login", " "])
        .code(2)
        .stdout("")
        .says("must not be blank");
    anonymous
        .run(["auth", "login", "a\nb"])
        .code(2)
        .stdout("")
        .says("control characters");
    anonymous.run(["auth", "whoami"]).code(1);
}

#[test]
fn a_flag_and_a_variable_name_another_user() {
    let world = World::new();
    let ada = world.login("ada");
    ada.submit("run: 'true'");
    let run = |args: &[&str], variable: &str| {
        let mut command = ada.command(args);
        command.env("K8S_CLI_USER", variable);
        Running::start(command, "").finish()
    };
    run(&["auth", "whoami"], "grace")
        .success()
        .stdout("grace\n");
    run(&["auth", "whoami"], "").success().stdout("ada\n");
    run(&["jobs", "list"], "grace").success().stdout("");
    let listed = run(&["jobs", "list", "-o", "name", "--as", "ada"], "grace").success();
    assert_eq!(listed.stdout.lines().count(), 1, "{}", listed.stdout);
    run(&["jobs", "list", "--as", " "], "")
        .code(2)
        .says("k8s-cli: --as: ");
    run(&["jobs", "list"], "a\nb")
        .code(2)
        .says("k8s-cli: K8S_CLI_USER: ");
    // No login is needed.
    let mut command = world
        .anonymous()
        .command(["jobs", "list", "--as", "ada", "-o", "name"]);
    command.env_remove("K8S_CLI_USER");
    Running::start(command, "")
        .finish()
        .success()
        .stdout(&listed.stdout);
}
