//! Running commands and their outcomes.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{LIMIT, STEP, send_signal};

/// A running command.
pub struct Running {
    line: String,
    child: Child,
    pub stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Running {
    pub fn start(mut command: Command, input: &str) -> Self {
        let line = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The command may end without reading its input.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = [
            gather(child.stdout.take().unwrap(), Arc::clone(&stdout)),
            gather(child.stderr.take().unwrap(), Arc::clone(&stderr)),
        ];
        Self {
            line,
            child,
            stdout,
            stderr,
            readers,
        }
    }

    /// Waits until stdout contains a text.
    #[track_caller]
    pub fn wait_for_output(&self, part: &str) {
        self.wait_for_text(&self.stdout, part);
    }

    /// Waits until stderr contains a text.
    #[track_caller]
    pub fn wait_for_error(&self, part: &str) {
        self.wait_for_text(&self.stderr, part);
    }

    #[track_caller]
    fn wait_for_text(&self, stream: &Mutex<String>, part: &str) {
        let start = Instant::now();
        while !stream.lock().unwrap().contains(part) {
            if start.elapsed() > LIMIT {
                self.fail(&format!("does not print {part:?}"));
            }
            thread::sleep(STEP);
        }
    }

    /// Fails with what the command has printed so far.
    #[track_caller]
    fn fail(&self, problem: &str) -> ! {
        let (stdout, stderr) = (self.stdout.lock().unwrap(), self.stderr.lock().unwrap());
        panic!(
            "{} {problem}\n--- stdout ---\n{stdout}\n--- stderr ---\n{stderr}",
            self.line
        );
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn interrupt(&self) {
        send_signal(self.child.id(), "INT");
    }

    #[track_caller]
    pub fn finish(mut self) -> Outcome {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > LIMIT {
                drop(self.child.kill());
                self.fail("does not end");
            }
            thread::sleep(STEP);
        };
        self.readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
        Outcome {
            line: self.line,
            code: status.code(),
            stdout: self.stdout.lock().unwrap().clone(),
            stderr: self.stderr.lock().unwrap().clone(),
        }
    }
}

/// The exit code and the output of a command that has ended.
pub struct Outcome {
    line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        if self.code != Some(expected) {
            self.fail(&format!("exit code {expected}"));
        }
        self
    }

    #[track_caller]
    pub fn stdout(self, expected: &str) -> Self {
        if self.stdout != expected {
            self.fail(&format!("on stdout {expected:?}"));
        }
        self
    }

    /// Expects stdout to contain a text.
    #[track_caller]
    pub fn has_output(self, expected: &str) -> Self {
        if !self.stdout.contains(expected) {
            self.fail(&format!("somewhere on stdout {expected:?}"));
        }
        self
    }

    #[track_caller]
    pub fn stderr(self, expected: &str) -> Self {
        if self.stderr != expected {
            self.fail(&format!("on stderr {expected:?}"));
        }
        self
    }

    /// Expects stderr to contain a text.
    #[track_caller]
    pub fn says(self, expected: &str) -> Self {
        if !self.stderr.contains(expected) {
            self.fail(&format!("somewhere on stderr {expected:?}"));
        }
        self
    }

    #[track_caller]
    fn fail(&self, expected: &str) -> ! {
        let Self {
            line,
            code,
            stdout,
            stderr,
        } = self;
        panic!(
            "{line}\nexpected {expected}\ngot exit code {code:?}\n--- stdout ---\n{stdout}\n--- stderr ---\n{stderr}"
        );
    }
}

/// Reads everything into a shared text, on a thread of its own.
pub fn gather(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    })
}
