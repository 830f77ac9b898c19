//! Tests of the signals that the processes of a task get, and of the exit code and the last lines that they leave.

use std::{
    env,
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};

use crate::harness::{Session, TempDir, World, wait_until};

/// A program that saves its state on SIGTERM, which takes a moment, and reports it. Its stderr is closed, because bash reports there
/// that its `sleep` was terminated.
const PROGRAM: &str = "bash -c 'exec 2>&-; trap \"echo saving; sleep 0.3; echo saved; exit 0\" TERM; echo ready; while :; do sleep 0.1; done'";

/// Stops tasks that have printed `ready`; returns the rest of the log of each, and what the command said.
#[track_caller]
fn all_stopped(ada: &Session<'_>, runs: &[String]) -> Vec<(String, String)> {
    let ids: Vec<_> = (runs.iter())
        .map(|run| ada.submit(&format!("run: |\n  {run}")))
        .collect();
    let logs: Vec<_> = (ids.iter())
        .map(|id| ada.start(["jobs", "logs", id]))
        .collect();
    logs.iter().for_each(|logs| logs.wait_for_output("ready\n"));
    let stop = ["jobs", "stop"].into_iter();
    ada.run(stop.chain(ids.iter().map(String::as_str)))
        .success();
    let rest = logs.into_iter().map(|logs| {
        let outcome = logs.finish().code(103);
        let rest = outcome.stdout.strip_prefix("ready\n").map(str::to_owned);
        (rest.unwrap_or(outcome.stdout), outcome.stderr)
    });
    rest.collect()
}

/// The same for one task, without what the command said.
#[track_caller]
fn stopped(ada: &Session<'_>, run: &str) -> String {
    all_stopped(ada, &[run.to_owned()]).remove(0).0
}

/// The log of a task, and the exit code that its status shows.
#[track_caller]
fn ended(ada: &Session<'_>, run: &str, status: &str) -> (String, Option<i64>) {
    let id = ada.submit(&format!("run: |\n  {run}"));
    let task = ada.wait_for_status(&id, status);
    let log = ada.run(["jobs", "logs", &id]).stdout;
    (log, task["metadata"]["nodes"][0]["exit_code"].as_i64())
}

#[test]
fn a_stop_reaches_the_program_wherever_it_stands_in_the_script() {
    let world = World::new();
    let ada = world.login("ada");
    let runs = [
        PROGRAM.to_owned(),
        format!("{PROGRAM}; echo after"),
        format!("{PROGRAM} | tee /dev/null"),
        format!("{PROGRAM} 2>&1 | cat | tee /dev/null"),
        format!("exec > >(tee /dev/null); {PROGRAM}; echo after"),
        format!("{PROGRAM} & wait"),
        // Every part of a pipe prints what the part before it says.
        format!("{PROGRAM} | while read -r line; do echo $line; done"),
        format!(
            "{PROGRAM} | python3 -uc 'import sys; [print(line, end=str()) for line in sys.stdin]'"
        ),
        format!("{PROGRAM} | stdbuf -oL uniq | stdbuf -oL head -n 9"),
        format!("{PROGRAM} | tee >(cat >&2) > /dev/null"),
        format!("exec 3> >(while read -r line; do echo $line; done); {PROGRAM} >&3"),
        // A program in the middle is told when nothing feeds it.
        format!("echo yes | {PROGRAM} | tee /dev/null"),
        format!("yes | {PROGRAM} | tee /dev/null"),
        format!("{PROGRAM} <<< yes | tee /dev/null"),
        format!("exec > >(tee /dev/null); {PROGRAM} < <(yes)"),
        format!("sleep 1000 | sleep 1000 | {PROGRAM} | tee /dev/null"),
        format!("trap : TERM; yes | {PROGRAM} | tee /dev/null"),
        // The shell that waits for the output of a program is told after it.
        format!("out=$({PROGRAM} | tee /dev/stderr)"),
        format!("f() {{ local out; out=$({PROGRAM} | tee /dev/stderr); }}; f | cat"),
        format!("read -r line <<< $({PROGRAM} | tee /dev/stderr)"),
    ];
    // A machine runs some of them at a time.
    for runs in runs.chunks(6) {
        for (run, (log, said)) in runs.iter().zip(all_stopped(&ada, runs)) {
            assert_eq!(log, "saving\nsaved\n", "{run}: {said}");
        }
    }
}

#[test]
fn what_timeout_runs_is_told_by_it_alone() {
    let world = World::new();
    let program = r#"python3 -uc 'import signal, time; signal.signal(15, lambda *_: print("told")); print("ready"); signal.pause(); time.sleep(1); print("end")'"#;
    // The kernel makes one signal of two that come at once.
    let late = r#"d=$(mktemp -d); printf '%s\n' '#!/bin/bash' 'trap "sleep 0.3; kill \$!" TERM; "$@" & wait; wait' > $d/timeout; chmod +x $d/timeout; $d/timeout"#;
    let runs = [
        format!("{late} {program}"),
        format!("timeout 1000 {program}"),
        format!("timeout --foreground 1000 {program}"),
        format!("timeout 1000 {program} | tee /dev/null"),
    ];
    for (run, (log, said)) in runs.iter().zip(all_stopped(&world.login("ada"), &runs)) {
        assert_eq!(log, "told\nend\n", "{run}: {said}");
    }
}

#[test]
fn a_trap_of_the_script_runs_on_a_stop() {
    let world = World::new();
    let ada = world.login("ada");
    let trap = "exec 2>&-; trap 'echo trapped; exit 7' TERM; echo ready; sleep 1000 & wait";
    assert_eq!(stopped(&ada, trap), "trapped\n");
    let trap = "exec 2>&-; trap 'echo trapped; exit 7' TERM; echo ready; sleep 1000";
    assert_eq!(stopped(&ada, trap), "trapped\n");
}

/// A pipe that a trap starts is not told: the trap waits for it.
#[test]
fn what_a_trap_starts_ends_by_itself() {
    let world = World::new();
    let ada = world.login("ada");
    let late = "while read -r line; do last=$line; done; sleep 2; echo saved $last";
    let trap = format!(
        "exec 2>&-; trap '(echo a; echo b) | ({late}); exit 7' TERM; echo ready; sleep 1000 & wait"
    );
    assert_eq!(stopped(&ada, &trap), "saved b\n");
}

#[test]
fn a_signal_that_a_task_sends_to_itself_ends_it() {
    let world = World::new();
    let ada = world.login("ada");
    for (run, log, code) in [
        ("echo a; kill -TERM $$; sleep 1; echo still", "a\n", 143),
        ("echo a; bash -c 'kill -ABRT $$'", "a\n", 134),
        ("echo a; kill -INT $$; sleep 1; echo still", "a\n", 130),
        ("echo a; kill -KILL $$; sleep 1; echo still", "a\n", 137),
    ] {
        assert_eq!(
            ended(&ada, run, "failed"),
            (log.to_owned(), Some(code)),
            "{run}"
        );
    }
}

#[test]
fn the_last_lines_of_a_script_are_not_lost() {
    let world = World::new();
    let ada = world.login("ada");
    let run = "exec > >(tee /dev/null | sed s/error/ERROR/) 2>&1; echo begin; seq 200; echo the error; exit 3";
    let numbers: String = (1..=200).map(|number| format!("{number}\n")).collect();
    let expected = format!("begin\n{numbers}the ERROR\n");
    assert_eq!(ended(&ada, run, "failed"), (expected, Some(3)));
}

#[test]
fn a_silent_process_in_the_background_does_not_keep_a_task_running() {
    let world = World::new();
    let ada = world.login("ada");
    let run = "nohup sleep 1000 & echo done";
    assert_eq!(ended(&ada, run, "completed").0, "done\n");
}

#[test]
fn a_path_of_the_task_does_not_stop_bash_from_starting() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("envs: {PATH: /nowhere}\nsetup: echo setup\nrun: echo $PATH");
    ada.wait_for_status(&id, "completed");
    let log = ada.run(["jobs", "logs", &id]).success().stdout;
    assert_eq!(log, "setup\n/nowhere\n");
}

/// The Jobs of a large task do not repeat its commands: a Secret hands them over.
#[test]
fn commands_from_a_secret_run_like_those_in_a_job() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(&format!(
        "num_nodes: 4\nsetup: echo setup\nrun: |\n  # {}\n  echo \"run $0 $# $(echo sub)\"\n  \
         trap 'echo trapped; exit 7' TERM; sleep 1000 & wait",
        "x".repeat(880 * 1024)
    ));
    let logs = ada.start(["jobs", "logs", &id, "--node", "2"]);
    logs.wait_for_output("node-2 | setup\n");
    logs.wait_for_output("node-2 | run /bin/bash 0 sub\n");
    let jobs = serde_json::to_string(&world.objects::<Job>()).unwrap();
    assert!(jobs.len() < 90_000, "{} bytes", jobs.len());
    let secrets = world.names_of::<Secret>(&id);
    assert!(secrets[0].ends_with("-shared"), "{secrets:?}");
    ada.run(["jobs", "stop", &id]).success();
    let log = logs.finish().code(103).stdout;
    assert!(log.ends_with("node-2 | trapped\n"), "{log}");
}

/// There the init is not process 1, and other processes may be strangers.
#[test]
fn a_filter_is_told_last_in_a_shared_process_namespace() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit(&format!(
        "config: {{kubernetes: {{pod_config: {{spec: {{shareProcessNamespace: true}}}}}}}}\nrun: |\n  {PROGRAM} | tee /dev/null"
    ));
    let logs = ada.start(["jobs", "logs", &id]);
    logs.wait_for_output("ready\n");
    ada.run(["jobs", "stop", &id]).success();
    logs.finish().code(103).stdout("ready\nsaving\nsaved\n");
}

/// Where nobody can make namespaces, tasks run without them, and a message says what differs.
#[test]
fn a_sandbox_without_namespaces_runs_tasks() {
    let programs = TempDir::new();
    let unshare = programs.path().join("unshare");
    fs::write(&unshare, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&unshare, Permissions::from_mode(0o755)).unwrap();
    let path = [programs.path().as_os_str(), &env::var_os("PATH").unwrap()].join(OsStr::new(":"));
    let world = World::sandbox_in(&[], &[("PATH", &path)]);
    wait_until("the sandbox says what differs", || {
        world.log().contains("have no namespaces")
    });
    let ada = world.login("ada");
    assert_eq!(
        stopped(&ada, &format!("{PROGRAM} | tee /dev/null")),
        "saving\nsaved\n"
    );
    assert_eq!(
        ended(&ada, "kill -TERM $$; sleep 1; echo still", "failed").1,
        Some(143)
    );
}
