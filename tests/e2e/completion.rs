//! `k8s-cli completion`: bash completes commands, options and ids.

use std::process::Command;

use crate::harness::{Running, Session, World};

/// What bash offers for the last word of a command line.
fn offered(session: &Session<'_>, line: &str) -> Vec<String> {
    let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <(k8s-cli completion bash); COMP_WORDS=({}); COMP_CWORD={}; _k8s_cli; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1
    );
    let mut bash = Command::new("bash");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_k8s-cli"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    bash.args(["-c", &script])
        .env("PATH", path)
        .env("HOME", &session.home)
        .env("K8S_CLI_API_URL", &session.world.url);
    let output = Running::start(bash, "")
        .finish()
        .success()
        .stderr("")
        .stdout;
    output.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_ids() {
    let world = World::new();
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let finished = ada.submit("run: 'true'");
    let running = ada.submit("run: sleep 1000");
    bob.submit("run: 'true'");
    ada.wait_for_status(&finished, "completed");
    ada.wait_for_status(&running, "running");
    assert_eq!(offered(&ada, "k8s-cli jobs st"), ["status", "stop"]);
    assert_eq!(offered(&ada, "k8s-cli jobs list --stat"), ["--status"]);
    assert_eq!(offered(&ada, "k8s-cli jobs stop "), [running.as_str()]);
    assert_eq!(offered(&ada, "k8s-cli jobs delete "), [finished.as_str()]);
    assert_eq!(offered(&ada, "k8s-cli jobs logs ").len(), 2);
    let start = &finished[..7];
    let line = format!("k8s-cli jobs status {start}");
    assert_eq!(offered(&ada, &line), [finished.as_str()]);
    // Nobody is told that the server cannot be reached.
    let nobody = world.anonymous();
    assert_eq!(offered(&nobody, "k8s-cli jobs stop "), [""]);
    ada.run(["completion", "words", "--", "jobs", "wait", start])
        .success()
        .stdout(&format!("{finished}\ttask-{finished} completed\n"));
    let words = |word: &str| ada.run(["completion", "words", "--", "jobs", "wait", word]);
    words("task-").success().stdout(&format!(
        "task-{running}\t{running} running\ntask-{finished}\t{finished} completed\n"
    ));
    // A name of two tasks would be ambiguous.
    for _ in 0..2 {
        ada.submit("name: twice\nrun: 'true'");
    }
    words("twi").success().stdout("");
    let absent = ["--storage-class", "absent"];
    ada.run([&["volumes", "create", "data", "1Gi"][..], &absent].concat())
        .success();
    assert_eq!(offered(&ada, "k8s-cli volumes delete da"), ["data"]);
    ada.run(["jobs", "stop", &running]).success();
}

#[test]
fn quiet_commands_print_no_messages_but_errors() {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: exit 3");
    ada.run(["jobs", "list", "--quiet"]).success().stderr("");
    let run = ada
        .run(["jobs", "submit", "-q", &file])
        .code(100)
        .stderr("");
    assert_eq!(run.stdout.trim().len(), 8, "{}", run.stdout);
    ada.run(["jobs", "status", "-q", "no1such1"])
        .code(1)
        .stderr("k8s-cli: task `no1such1` not found\n");
}
