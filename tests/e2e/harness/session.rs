//! The session of a user: a home folder and the commands that run in it.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Outcome, Running, World, k8s_cli, wait_for};

/// The session of a user.
#[must_use]
pub struct Session<'a> {
    pub world: &'a World,
    pub home: PathBuf,
}

impl Session<'_> {
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = k8s_cli();
        command
            .args(args)
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env("K8S_CLI_API_URL", &self.world.url);
        command
    }

    /// Runs a command to its end, with its output in pipes.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        self.start(args).finish()
    }

    /// Starts a command, and does not wait for it.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        Running::start(self.command(args), "")
    }

    /// Starts a command line in a terminal. The text on the terminal is its output.
    pub fn start_at_terminal(&self, line: &str) -> Running {
        let bin = Path::new(env!("CARGO_BIN_EXE_k8s-cli")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
        let mut script = Command::new("script");
        script
            .args(["-qec", line, "/dev/null"])
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.home)
            .env("TERM", "dumb")
            .env("TZ", "UTC")
            .env("SHELL", "/bin/bash")
            .env("K8S_CLI_API_URL", &self.world.url);
        Running::start(script, "")
    }

    /// Starts a command with another URL of the server.
    pub fn start_at<S: AsRef<OsStr>>(
        &self,
        url: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Running {
        let mut command = self.command(args);
        command.env("K8S_CLI_API_URL", url);
        Running::start(command, "")
    }

    /// Writes a task file into the home folder; returns its name.
    pub fn file(&self, content: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("task-{}.yaml", COUNT.fetch_add(1, Ordering::Relaxed));
        fs::write(self.home.join(&name), content).unwrap();
        name
    }

    /// Submits a task; returns its id.
    #[track_caller]
    pub fn submit(&self, task: &str) -> String {
        let file = self.file(task);
        self.run(["jobs", "submit", "--detach", &file])
            .success()
            .stdout
            .trim()
            .to_owned()
    }

    /// Submits a task whose whole log is compared; returns its id. On a busy cluster the names of nodes come late, and the barrier of
    /// nodes says so in the log.
    pub fn submit_without_barrier(&self, task: &str) -> String {
        let file = self.file(task);
        self.run(["jobs", "submit", "--no-barrier", "--detach", &file])
            .success()
            .stdout
            .trim()
            .to_owned()
    }

    /// The server's answer to `jobs status`.
    #[track_caller]
    pub fn status(&self, id: &str) -> serde_json::Value {
        serde_json::from_str(
            &self
                .run(["jobs", "status", id, "-o", "json"])
                .success()
                .stdout,
        )
        .unwrap()
    }

    #[track_caller]
    pub fn wait_for_status(&self, id: &str, wanted: &str) -> serde_json::Value {
        wait_for(&format!("task {id} is {wanted}"), || {
            Some(self.status(id)).filter(|task| task["status"] == wanted)
        })
    }
}
