//! A running `k8s-cli serve` and its log.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{LIMIT, STEP, command::gather, k8s_cli, send_signal, wait_for};

/// A running server. Dropping it asks it to stop, and kills it if it does not.
#[must_use]
pub struct Server {
    pub url: String,
    child: Child,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
}

/// What a process uses: memory in KiB, and numbers of threads, open files and child processes.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub memory: usize,
    pub threads: usize,
    pub files: usize,
    pub children: usize,
}

impl Server {
    /// Starts a server on a free port, and waits until it listens.
    pub fn start(args: &[&str], home: &Path, env: &[(&str, &OsStr)]) -> Self {
        Self::of_command(k8s_cli(), args, home, env)
    }

    /// The same with another program.
    pub fn start_program(
        program: &Path,
        args: &[&str],
        home: &Path,
        env: &[(&str, &OsStr)],
    ) -> Self {
        Self::of_command(Command::new(program), args, home, env)
    }

    fn of_command(
        mut command: Command,
        args: &[&str],
        home: &Path,
        env: &[(&str, &OsStr)],
    ) -> Self {
        command
            .args(["serve", "--port", "0"])
            .args(args)
            .env("HOME", home)
            .envs(env.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let log_reader = gather(child.stderr.take().unwrap(), log.clone());
        let mut announced = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut announced)
            .unwrap();
        let Some(url) = announced
            .trim()
            .strip_prefix("listening on ")
            .map(str::to_owned)
        else {
            let status = child.wait();
            log_reader.join().unwrap();
            panic!(
                "the server did not start: {announced:?}, {status:?}\n{}",
                log.lock().unwrap()
            );
        };
        Self {
            url,
            child,
            log,
            log_reader: Some(log_reader),
        }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The peak of its memory, in KiB.
    pub fn peak_memory(&self) -> usize {
        self.status("VmHWM")
    }

    /// What it uses now.
    pub fn usage(&self) -> Usage {
        let process = format!("/proc/{}", self.child.id());
        let children = |thread: fs::DirEntry| {
            let children = fs::read_to_string(thread.path().join("children"));
            children.map_or(0, |children| children.split_whitespace().count())
        };
        let threads = fs::read_dir(format!("{process}/task")).unwrap();
        Usage {
            memory: self.status("VmRSS"),
            threads: self.status("Threads"),
            files: fs::read_dir(format!("{process}/fd")).unwrap().count(),
            children: threads.flatten().map(children).sum(),
        }
    }

    /// A number of the kernel about the process; sizes are in KiB.
    fn status(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = |line: &str| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            value.trim().trim_end_matches(" kB").parse().ok()
        };
        status.lines().find_map(value).unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        send_signal(self.child.id(), signal);
    }

    /// Sends a signal, and waits for the end of the server.
    pub fn end(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        wait_for("the server ends", || self.child.try_wait().unwrap())
    }

    /// Stops the server if it runs, and waits for the end of its log.
    pub fn stop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            send_signal(self.child.id(), "TERM");
            let start = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < LIMIT {
                thread::sleep(STEP);
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if let Some(reader) = self.log_reader.take() {
            drop(reader.join());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let log = self.log();
        assert!(
            std::thread::panicking() || !log.contains("panicked at"),
            "{log}"
        );
    }
}
