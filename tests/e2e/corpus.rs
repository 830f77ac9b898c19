//! Real task files, run on a real cluster to their end, or to the failure that their own content causes.
//!
//! Nobody knows what they do, so the sandbox, whose pods are processes of this machine, does not run them.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Session, World, is_real_cluster, wait_for};

/// So many are run, of those that need no GPU and no volume.
const WANTED: usize = 10;
/// What is run in: the images that the files name are large, or cannot be had.
const IMAGE: &str = "python:3.13-slim";
/// Who has run for so long is a server, as a rule, and does not end.
const LONG: Duration = Duration::from_secs(45);

/// Where the files are, if they are at hand: beside the project, or where `K8S_CLI_CORPUS` says.
fn tasks() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/skypilot");
    let corpus = env::var_os("K8S_CLI_CORPUS").map_or_else(beside, PathBuf::from);
    Some(corpus.join("tasks")).filter(|tasks| tasks.is_dir())
}

/// Whether a file is a task that any cluster can run: as `jobs validate -o json` shows it.
fn is_modest(checked: &Value) -> bool {
    let task = &checked["task"];
    checked["valid"] == true
        && task["resources"]["accelerators"].is_null()
        && task["volumes"].as_object().is_none_or(|all| all.is_empty())
        // One of them fills the disk of its node.
        && !task["run"].as_str().is_some_and(|run| run.contains("dd if="))
}

#[test]
fn real_task_files_run_to_their_ends() {
    let Some(tasks) = tasks().filter(|_| is_real_cluster()) else {
        eprintln!("no cluster, or no task files to run");
        return;
    };
    let world = World::new();
    let ada = world.login("ada");
    let mut files: Vec<PathBuf> = fs::read_dir(tasks)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files.retain(|file| {
        let file = file.to_str().unwrap();
        let checked = ada.run(["jobs", "validate", "-o", "json", file]).stdout;
        is_modest(&serde_json::from_str::<Value>(&checked).unwrap()[0])
    });
    assert!(files.len() >= WANTED, "only {} can be run", files.len());
    let started: Vec<_> = files
        .iter()
        .map(|file| (file, submit(&ada, file.to_str().unwrap()), Instant::now()))
        .collect();
    for (file, id, start) in started {
        let file = file.file_name().unwrap().to_str().unwrap();
        let end = wait_for_end(&ada, &id, start);
        eprintln!("{file}: {end}");
        assert!(is_its_own(&end), "{file}: {end}");
        ada.run(["jobs", "stop", &id]).success();
    }
}

fn submit(ada: &Session<'_>, file: &str) -> String {
    let args = ["jobs", "submit", "--detach", file];
    let small = ["--cpus", "100m", "--memory", "256Mi", "--image-id", IMAGE];
    let submitted = ada.run(args.iter().chain(&small)).success();
    submitted.stdout.trim().to_owned()
}

/// How a task ended, or that it has run for long.
fn wait_for_end(ada: &Session<'_>, id: &str, start: Instant) -> String {
    wait_for(&format!("task {id} has ended or runs"), || {
        let task = ada.status(id);
        let status = task["status"].as_str().unwrap();
        let reason = task["reason"].as_str().unwrap_or_default();
        let is_over = matches!(status, "completed" | "failed");
        let is_long = status == "running" && start.elapsed() > LONG;
        (is_over || is_long).then(|| format!("{status} {reason}"))
    })
}

/// Whether that is what the commands of a task have done.
fn is_its_own(end: &str) -> bool {
    !end.starts_with("failed") || end.contains("exit code") || end.contains("setup")
}
