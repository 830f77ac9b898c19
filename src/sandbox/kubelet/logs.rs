//! Log files of containers. Any number of readers can follow one without polling.
//!
//! The format is that of CRI (`<time> stdout F text`, with `P` for a piece of a line), Kubernetes,
//! `staging/src/k8s.io/cri-client/pkg/logs/logs.go`, v1.36. `log_reader` reads them.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::sandbox::objects::clock;

/// The size of the pieces of a longer line, as in containerd.
const MAX_PIECE: usize = 16 << 10;

/// The length of a record's stamp, as [`clock::nanos`] writes it.
const STAMP: usize = 30;

/// The offsets of a record's tag and text.
const TAG: usize = STAMP + STREAM.len();
const TEXT: usize = TAG + 2;

/// The stream of all records, since standard output and standard error are one pipe.
const STREAM: &[u8] = b" stdout ";

/// The longest wait of the beginning of a line for its end. With it, a line that a program writes in a few steps is one record.
/// CRI-O's conmon does not wait.
const PATIENCE: Duration = Duration::from_millis(50);

/// The progress of the writer of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The number of files before the present one.
    pub rotations: u64,
    /// The bytes of whole records in the present file.
    pub written: u64,
    /// The log is complete.
    pub ended: bool,
}

/// A record, as read from a log file.
#[derive(Debug, PartialEq)]
pub struct Record<'a> {
    pub stamp: &'a [u8],
    /// Ends with a line break unless it is a piece of a line.
    pub text: &'a [u8],
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
    /// The size at which a file is rotated; none for never.
    max_size: Option<u64>,
}

/// Splits a byte stream into records and appends them to a log file.
///
/// The file is open only while output comes, since most of thousands of containers are silent most of the time.
pub struct LogWriter {
    log: Arc<LogFile>,
    file: Option<File>,
    max_size: Option<u64>,
    /// The part of an unfinished line that is not in the file yet.
    line: Vec<u8>,
    /// The time when that line began, or else when the last one ended.
    line_began: Instant,
}

impl Record<'_> {
    /// Splits the first record from whole records; the result is none if there are none.
    ///
    /// NB: this decides how fast a long log is read. The parts have fixed offsets, so only the end has to be searched for, which the
    /// standard library does several bytes at a time.
    pub fn split_first(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
        let mut rest = records.get(TEXT..)?;
        let length = rest.skip_until(b'\n').ok()?;
        let (head, text) = (&records[..TEXT], &records[TEXT..TEXT + length]);
        let text = match head[TAG] {
            b'P' => text.strip_suffix(b"\n").unwrap_or(text),
            _ => text,
        };
        let stamp = &head[..STAMP];
        Some((Record { stamp, text }, rest))
    }
}

impl Logs {
    pub fn new(max_size: Option<u64>) -> Self {
        Self {
            files: Mutex::default(),
            max_size,
        }
    }

    /// The log of the newest run of a container, or of the run before it.
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
        File::create(&path)?;
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
            file: None,
            max_size: self.max_size,
            line: Vec::new(),
            line_began: Instant::now(),
        })
    }

    /// Forgets the logs of a deleted pod. Readers that have one open can read it to the end.
    pub fn forget(&self, uid: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(pod, _), _| pod != uid);
    }
}

impl LogFile {
    /// The path of the present file, which readers see.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

impl LogWriter {
    /// Appends output of a container, up to the end of the last line.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stamp = clock::nanos(clock::now());
        if self.line.is_empty() || bytes.contains(&b'\n') {
            self.line_began = Instant::now();
        }
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

    /// The time to flush unless more output comes before; none if there is nothing to flush.
    pub fn flush_time(&self) -> Option<Instant> {
        let idle = self.line.is_empty() && self.file.is_none();
        (!idle).then(|| self.line_began + PATIENCE)
    }

    /// Appends the beginning of a line as a piece, so that a reader sees a prompt before its answer, and closes the file.
    pub fn flush(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let mut records = Vec::new();
        if !line.is_empty() {
            write_record(&mut records, &clock::nanos(clock::now()), b'P', &line);
        }
        let appended = self.append(&records);
        self.file = None;
        appended
    }

    /// Ends the log. An unfinished last line becomes a piece, so that a reader gets no line break that the container did not write.
    pub fn end(mut self) {
        if let Err(error) = self.flush() {
            log::warn!("log {}: {error}", self.log.path.display());
        }
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let written = self.log.progress.borrow().written;
        let size = written + records.len() as u64;
        if written > 0 && self.max_size.is_some_and(|max_size| size > max_size) {
            self.rotate()?;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => match OpenOptions::new().append(true).open(&self.log.path) {
                Ok(file) => file,
                // A pod that was deleted by force may still write after its files are gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        file.write_all(records)?;
        self.file = Some(file);
        self.log
            .progress
            .send_modify(|progress| progress.written += records.len() as u64);
        Ok(())
    }

    /// Renames the file, over the one that was renamed before, and begins a new one.
    ///
    /// A real kubelet checks the sizes every ten seconds (`pkg/kubelet/logs/container_log_manager.go`, v1.36). Here the write that
    /// would exceed the size rotates the file, as in CRI-O, so that tests know the content of each file.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let path = &self.log.path;
        let mut begun = Ok(());
        // Readers open the file while they hold the progress, so that the two belong together.
        self.log.progress.send_modify(|progress| {
            begun = fs::rename(path, path.with_extension("log.1"))
                .and_then(|()| File::create(path).map(drop));
            if begun.is_ok() {
                progress.rotations += 1;
                progress.written = 0;
            }
        });
        begun
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
    records.extend_from_slice(STREAM);
    records.push(tag);
    records.push(b' ');
    records.extend_from_slice(text);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::state_dir::StateDir;

    #[test]
    fn a_line_without_end_is_written_in_pieces() {
        let directory = StateDir::create().unwrap();
        let logs = Logs::default();
        let mut writer = logs.start(directory.path(), "uid", "task", 0).unwrap();
        writer.write(b"one\nuser: ").unwrap();
        assert!(writer.flush_time().is_some());
        writer.flush().unwrap();
        assert!(writer.flush_time().is_none());
        writer.write(b"ada").unwrap();
        writer.flush().unwrap();
        writer.write(b"\ntwo\nthr").unwrap();
        writer.write(b"ee\nrest").unwrap();
        let path = writer.log.path.clone();
        writer.end();
        let records = fs::read(path).unwrap();
        let stamp = String::from_utf8(records[..STAMP].to_vec()).unwrap();
        assert!(clock::parse(&stamp).is_some(), "{stamp}");
        let mut seen = Vec::new();
        let mut rest = records.as_slice();
        while let Some((record, behind)) = Record::split_first(rest) {
            seen.push(String::from_utf8(record.text.to_vec()).unwrap());
            rest = behind;
        }
        let expected = ["one\n", "user: ", "ada", "\n", "two\n", "three\n", "rest"];
        assert_eq!(seen, expected);
    }
}
