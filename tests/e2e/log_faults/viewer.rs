//! A running `jobs logs`, with its output in files.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::harness::Session;

/// The limit of a viewer: six faults on each side, with the pauses of the client and the server between them.
const LIMIT: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(10);

/// A running `jobs logs`.
pub struct Viewer {
    number: usize,
    line: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// The output of a viewer.
pub struct Seen {
    pub number: usize,
    pub line: String,
    pub out: Vec<u8>,
    pub err: String,
    /// `None` if it did not end.
    pub code: Option<i32>,
}

impl Viewer {
    /// Starts a viewer with the server at `url`.
    pub fn start(user: &Session<'_>, url: &str, id: &str, options: &[String]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = |name| user.home.join(format!("{name}-{number}"));
        let (out, err) = (file("out"), file("err"));
        let args = ["jobs", "logs", id].into_iter();
        let mut command = user.command(args.chain(options.iter().map(String::as_str)));
        command
            .env("K8S_CLI_API_URL", url)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap());
        Self {
            number,
            line: format!("k8s-cli jobs logs {id} {}", options.join(" ")),
            child: command.spawn().unwrap(),
            out,
            err,
        }
    }

    /// The number of printed bytes.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.out).unwrap().len()
    }

    /// Waits until this many bytes are printed, the viewer has ended, or `patience` is over. `patience` starts with the first byte.
    pub fn wait_for_bytes(&mut self, bytes: u64, patience: Duration) {
        let mut start = Instant::now();
        let mut limit = LIMIT;
        loop {
            let length = self.bytes();
            if length > 0 && limit == LIMIT {
                (start, limit) = (Instant::now(), patience);
            }
            let has_ended = self.child.try_wait().unwrap().is_some();
            if length >= bytes || has_ended || start.elapsed() > limit {
                return;
            }
            thread::sleep(STEP);
        }
    }

    /// Waits for the end of the viewer.
    pub fn finish(mut self) -> Seen {
        let start = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            if start.elapsed() > LIMIT {
                break None;
            }
            thread::sleep(STEP);
        };
        Seen {
            number: self.number,
            line: self.line.clone(),
            out: fs::read(&self.out).unwrap(),
            err: fs::read_to_string(&self.err).unwrap(),
            code,
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
