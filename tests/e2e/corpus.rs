//! Runs real task files on a real cluster, until they end or fail because of their own content.
//!
//! The sandbox does not run them: its pods are processes of this machine, and the commands of the files are unknown.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{Session, World, is_real_cluster, wait_for};

/// The least number of files without GPUs and volumes.
const WANTED: usize = 10;
/// Replaces the images of the files, which are large or not available.
const IMAGE: &str = "python:3.13-slim";
/// A task that has run for so long is usually a server, which does not end.
const LONG: Duration = Duration::from_secs(45);

/// The folder of the files, if it exists: `K8S_CLI_CORPUS`, or the default beside the project.
fn tasks() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/skypilot");
    let corpus = env::var_os("K8S_CLI_CORPUS").map_or_else(beside, PathBuf::from);
    Some(corpus.join("tasks")).filter(|tasks| tasks.is_dir())
}

/// Whether any cluster can run the task, by the output of `jobs validate -o json`.
fn is_modest(checked: &Value) -> bool {
    let task = &checked["task"];
    checked["valid"] == true
        && task["resources"]["accelerators"].is_null()
        && task["volumes"].as_object().is_none_or(|all| all.is_empty())
        // One file fills the disk of its node.
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
        let report = serde_json::from_str::<Value>(&checked).unwrap();
        is_modest(&report[0]) && has_workdir(&report[0])
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
        assert!(is_expected(&end), "{file}: {end}");
        ada.run(["jobs", "stop", "--no-wait", &id]).success();
    }
}

/// Whether the working directory of a file is here.
fn has_workdir(report: &Value) -> bool {
    let mut warnings = report["warnings"].as_array().unwrap().iter();
    let is_missing = |warning: &Value| {
        let message = warning["message"].as_str().unwrap();
        message.starts_with("workdir: ") && message.ends_with("refuses it")
    };
    !report["task"]["workdir"].is_object() && !warnings.any(is_missing)
}

fn submit(ada: &Session<'_>, file: &str) -> String {
    // What the files mount is not beside them.
    let args = ["jobs", "submit", "--detach", "--ignore-file-mounts", file];
    let small = ["--cpus", "100m", "--memory", "256Mi", "--image-id", IMAGE];
    let submitted = ada.run(args.iter().chain(&small)).success();
    submitted.stdout.trim().to_owned()
}

/// Waits until a task has ended or has run for long; returns its status and reason.
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

/// Whether a task completed, runs, or failed because of its own commands.
fn is_expected(end: &str) -> bool {
    !end.starts_with("failed") || end.contains("exit code") || end.contains("setup")
}
