//! Log files of containers: written once, followed by any number of readers without polling.
//!
//! The format is that of CRI (`<time> stdout F text`, pieces of long lines marked `P`), Kubernetes,
//! `pkg/kubelet/kuberuntime/logs/logs.go`, v1.36. Bytes are kept as they are. What a client gets to see is in `pod_logs`.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::super::clock;

/// Longer lines are cut into pieces of this size, as containerd does.
const MAX_PIECE: usize = 16 << 10;

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Whole records, in bytes.
    pub written: u64,
    /// No more will come.
    pub ended: bool,
}

/// The log of one run of one container.
pub struct LogFile {
    path: PathBuf,
    progress: watch::Sender<Progress>,
}

/// The logs of the runs of one container, oldest first.
type Runs = Vec<Arc<LogFile>>;

/// All logs, by pod uid and container; the last element is the newest run.
#[derive(Default)]
pub struct Logs {
    files: Mutex<HashMap<(String, String), Runs>>,
}

/// Splits a byte stream into records and appends them to a log file.
pub struct LogWriter {
    log: Arc<LogFile>,
    file: File,
    line: Vec<u8>,
}

impl Logs {
    /// Returns the log of the newest run of a container, or of the run before it.
    pub fn find(&self, uid: &str, container: &str, previous: bool) -> Option<Arc<LogFile>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = files.get(&(uid.to_owned(), container.to_owned()))?;
        let skip = usize::from(previous);
        runs.iter().rev().nth(skip).cloned()
    }

    /// Starts the log of a new run in `directory`.
    pub fn start(
        &self,
        directory: &Path,
        uid: &str,
        container: &str,
        run: usize,
    ) -> io::Result<LogWriter> {
        let path = directory.join(format!("{container}-{run}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let log = Arc::new(LogFile {
            path,
            progress: watch::Sender::new(Progress::default()),
        });
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files
            .entry((uid.to_owned(), container.to_owned()))
            .or_default()
            .push(log.clone());
        Ok(LogWriter {
            log,
            file,
            line: Vec::new(),
        })
    }

    /// Forgets the logs of a pod that is gone; readers that have one open finish it.
    pub fn forget(&self, uid: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(pod, _), _| pod != uid);
    }
}

impl LogFile {
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    pub fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

impl LogWriter {
    /// Appends what a container wrote.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stamp = clock::nanos(clock::now());
        let mut records = Vec::with_capacity(bytes.len() + 64);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            let complete = self.line.last() == Some(&b'\n');
            if complete {
                self.line.pop();
            }
            while self.line.len() > MAX_PIECE {
                let rest = self.line.split_off(MAX_PIECE);
                write_record(&mut records, &stamp, b'P', &self.line);
                self.line = rest;
            }
            if complete {
                write_record(&mut records, &stamp, b'F', &self.line);
                self.line.clear();
            }
        }
        self.append(&records)
    }

    /// Ends the log; an unfinished last line is kept as a piece, so that a reader gets no line break that was not written.
    pub fn end(mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            let mut records = Vec::new();
            write_record(&mut records, &clock::nanos(clock::now()), b'P', &line);
            if let Err(error) = self.append(&records) {
                log::warn!("log {}: {error}", self.log.path.display());
            }
        }
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.file.write_all(records)?;
        self.log
            .progress
            .send_modify(|progress| progress.written += records.len() as u64);
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.log
            .progress
            .send_modify(|progress| progress.ended = true);
    }
}

fn write_record(records: &mut Vec<u8>, stamp: &str, tag: u8, text: &[u8]) {
    records.extend_from_slice(stamp.as_bytes());
    records.extend_from_slice(b" stdout ");
    records.push(tag);
    records.push(b' ');
    records.extend_from_slice(text);
    records.push(b'\n');
}
