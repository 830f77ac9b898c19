//! Tests of the shell that runs `setup` and `run`.

use crate::harness::World;

/// The log of a task that completes.
#[track_caller]
fn log_of(file: &str) -> String {
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file(file);
    let outcome = ada.run(["jobs", "submit", &file]).success();
    let (_, log) = outcome.stdout.split_once('\n').unwrap();
    log.to_owned()
}

#[test]
fn run_sees_what_setup_adds_to_the_bashrc() {
    let file = r#"
envs: {OWN: task}
secrets: {TOKEN: secret}
setup: |
  printf 'case $- in\n  *i*) ;;\n  *) return;;\nesac\n' >>~/.bashrc
  echo "export ADDED=yes OWN=rc TOKEN=rc; alias hi='echo hello'" >>~/.bashrc
run: |
  echo "$ADDED $OWN $TOKEN"
  hi
  bash -c 'echo "$ADDED ${BASH_ENV-none}"'
"#;
    assert_eq!(log_of(file), "yes task secret\nhello\nyes none\n");
}

#[test]
fn setup_and_run_begin_in_the_workdir_of_skypilot_that_they_name() {
    let file = r#"
setup: cd ~/sky_workdir && [ "$PWD" = ~/sky_workdir ] && echo made >here
run: cat here; cat ~/sky_workdir/here
"#;
    assert_eq!(log_of(file), "made\nmade\n");
}

#[test]
fn shared_memory_is_as_large_as_the_memory_of_the_task() {
    let file = r#"
resources: {memory: 256Mi}
run: |
  head -c 100000000 /dev/zero >/dev/shm/large && wc -c </dev/shm/large
"#;
    assert_eq!(log_of(file), "100000000\n");
}

#[test]
fn the_operator_chooses_the_default_image() {
    let world = World::with(&[
        "--default-image",
        "python:3.13-slim",
        "--default-cpus",
        "100m+",
    ]);
    let ada = world.login("ada");
    let file = ada.file("run: conda activate x");
    let shown = ada.run(["jobs", "submit", "--dry-run", &file]).success();
    assert!(shown.stdout.contains("cpu: 100m"), "{}", shown.stdout);
    assert_eq!(shown.stderr, "");
    let world = World::new();
    let ada = world.login("ada");
    let file = ada.file("run: conda activate x");
    let shown = ada.run(["jobs", "submit", "--dry-run", &file]).success();
    assert!(
        shown
            .stderr
            .contains("run: it calls conda, which the image python:3.13-slim does not have"),
        "{}",
        shown.stderr
    );
}
