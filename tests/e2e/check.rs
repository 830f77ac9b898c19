//! `serve --check`: which rights the server has.

use std::{fs, process::Command};

use crate::harness::{Outcome, Running, TempDir, World, is_real_cluster, k8s_cli, wait_until};

fn check(world: &World, options: &[&str]) -> Outcome {
    let mut command: Command = k8s_cli();
    command
        .args(["serve", "--check", "--namespace", &world.namespace])
        .args(options)
        .env("KUBECONFIG", world.server_kubeconfig());
    Running::start(command, "").finish()
}

#[test]
fn each_right_is_shown_with_what_fails_without_it() {
    let dir = TempDir::new();
    let users = dir.path().join("users");
    let few =
        r#"{"name": "sandbox-admin", "rights": ["create jobs", "list jobs", "get pods/log"]}"#;
    fs::write(&users, "").unwrap();
    let world = match is_real_cluster() {
        true => World::new(),
        false => World::with(&["--sandbox-users", users.to_str().unwrap()]),
    };
    let run = check(&world, &[]).success();
    assert!(
        run.stdout.starts_with("yes  Kubernetes v1."),
        "{}",
        run.stdout
    );
    for line in [
        "yes  create jobs.batch\n",
        "yes  get pods/log\n",
        "yes  delete secrets\n",
    ] {
        assert!(run.stdout.contains(line), "{}", run.stdout);
    }
    assert!(!run.stdout.contains("tokenreviews"), "{}", run.stdout);
    if is_real_cluster() {
        // Its Role has no right outside of its namespace.
        let lacks = "no   create tokenreviews.authentication.k8s.io: no user is known\n";
        check(&world, &["--auth", "kubernetes"])
            .code(1)
            .has_output(lacks);
        return;
    }
    fs::write(&users, few).unwrap();
    let run = check(&world, &[]).code(1);
    for line in [
        "yes  create jobs.batch\n",
        "no   create secrets: tasks with secrets, or with files, fail\n",
        "no   list nodes (optional): ",
    ] {
        assert!(run.stdout.contains(line), "{}", run.stdout);
    }
    // A server that starts warns of the same.
    let second = world.second_server(&TempDir::new());
    wait_until("the server warns of a missing right", || {
        second
            .log()
            .contains("the server may not create secrets: tasks with secrets")
    });
    assert!(
        !second.log().contains("may not create jobs.batch"),
        "{}",
        second.log()
    );
    assert!(
        !second.log().contains("may not list nodes"),
        "{}",
        second.log()
    );
}
