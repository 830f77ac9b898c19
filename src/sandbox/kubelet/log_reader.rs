//! A reader of a container's log, which selects and renders the records.
//!
//! It follows Kubernetes, `staging/src/k8s.io/cri-client/pkg/logs/logs.go` (`ReadLogs`), v1.36: each record is left out or rendered,
//! and the pieces of one line are joined. Of a rotated log, only the newest file is read. A reader that follows reads its file to
//! the end and continues with the newest, so the files in between are lost without notice.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use actix_web::web::Bytes;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;

use super::logs::{LogFile, Progress, Record};
use crate::sandbox::objects::clock;

/// The size of one read: large enough for few system calls, and small enough for the processor's cache.
const BLOCK: usize = 256 << 10;

/// The part of a log that a client asks for.
#[derive(Debug, Default)]
pub struct Options {
    pub follow: bool,
    pub timestamps: bool,
    pub since: Option<Timestamp>,
    pub tail: Option<usize>,
    pub limit: Option<usize>,
}

/// Reads whole records and renders the wanted ones.
pub struct LogReader {
    path: PathBuf,
    file: File,
    /// The number of the file in the log.
    rotations: u64,
    progress: watch::Receiver<Progress>,
    position: u64,
    /// The buffer for blocks of the file; empty while there is nothing to read.
    block: Vec<u8>,
    renderer: Renderer,
    follow: bool,
    limit: Option<usize>,
    sent: usize,
}

/// Renders records for a client.
struct Renderer {
    timestamps: bool,
    /// The stamp of the oldest record to render.
    since: Option<String>,
    at_line_start: bool,
}

impl LogReader {
    pub fn open(log: &LogFile, options: &Options) -> io::Result<Self> {
        let progress = log.subscribe();
        let (file, at) = open_newest(log.path(), &progress)?;
        let position = match options.tail {
            Some(lines) => tail_position(&file, at.written, lines)?,
            None => 0,
        };
        Ok(Self {
            path: log.path().to_owned(),
            file,
            rotations: at.rotations,
            progress,
            position,
            block: Vec::new(),
            renderer: Renderer::new(options),
            follow: options.follow,
            limit: options.limit,
            sent: 0,
        })
    }

    /// Waits for more of the log; the result is none at its end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.limit.is_some_and(|limit| self.sent >= limit) {
                return None;
            }
            let progress = *self.progress.borrow_and_update();
            match self.available(&progress) {
                Ok(end) if self.position < end => match self.read(end) {
                    Ok(chunk) if chunk.is_empty() => {
                        // A long log without any record to render must not block other requests.
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Ok(chunk) => return Some(Ok(Bytes::from(chunk))),
                    Err(error) => return Some(Err(error)),
                },
                Ok(_) => (),
                Err(error) => return Some(Err(error)),
            }
            if self.follow && progress.rotations != self.rotations {
                match self.go_on() {
                    Ok(()) => continue,
                    // The pod and its files are gone.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                    Err(error) => return Some(Err(error)),
                }
            }
            if progress.ended || !self.follow {
                return None;
            }
            self.block = Vec::new();
            // The sender is dropped with the log, so the log of a deleted pod ends here.
            self.progress.changed().await.ok()?;
        }
    }

    /// The end of the whole records in the open file.
    fn available(&self, progress: &Progress) -> io::Result<u64> {
        if progress.rotations == self.rotations {
            return Ok(progress.written);
        }
        // A rotated file does not grow.
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Opens the newest file.
    fn go_on(&mut self) -> io::Result<()> {
        let (file, at) = open_newest(&self.path, &self.progress)?;
        self.file = file;
        self.rotations = at.rotations;
        self.position = 0;
        Ok(())
    }

    fn read(&mut self, end: u64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(end - self.position)
            .unwrap_or(BLOCK)
            .min(BLOCK);
        if self.block.len() < size {
            self.block.resize(size, 0);
        }
        let block = &mut self.block[..size];
        self.file.read_exact_at(block, self.position)?;
        // A record has at most 16 KiB and its head, so a block contains the end of at least one.
        let end = block
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(block.len(), |index| index + 1);
        self.position += end as u64;
        let mut chunk = Vec::with_capacity(end);
        self.renderer.render(&mut chunk, &block[..end]);
        if let Some(limit) = self.limit {
            chunk.truncate(limit - self.sent);
        }
        self.sent += chunk.len();
        Ok(chunk)
    }
}

impl Renderer {
    fn new(options: &Options) -> Self {
        Self {
            timestamps: options.timestamps,
            since: options.since.map(clock::nanos),
            at_line_start: true,
        }
    }

    /// Renders the records that are new enough.
    ///
    /// Each record is checked, since the clock may have been set back. Only the first piece of a line gets a stamp. If that piece is
    /// too old, the rest of the line comes without one.
    fn render(&mut self, chunk: &mut Vec<u8>, mut records: &[u8]) {
        while let Some((Record { stamp, text }, rest)) = Record::split_first(records) {
            records = rest;
            let needs_stamp = self.timestamps && self.at_line_start;
            self.at_line_start = text.last().is_none_or(|last| *last == b'\n');
            // Stamps sort as text.
            if self
                .since
                .as_ref()
                .is_some_and(|since| stamp < since.as_bytes())
            {
                continue;
            }
            if needs_stamp {
                chunk.extend_from_slice(stamp);
                chunk.push(b' ');
            }
            chunk.extend_from_slice(text);
        }
    }
}

/// Opens the present file, and returns the progress of its writer.
fn open_newest(path: &Path, progress: &watch::Receiver<Progress>) -> io::Result<(File, Progress)> {
    // NB: the writer cannot rotate the file while the progress is borrowed.
    let progress = progress.borrow();
    Ok((File::open(path)?, *progress))
}

/// The offset of the last `lines` records.
fn tail_position(file: &File, written: u64, lines: usize) -> io::Result<u64> {
    if lines == 0 {
        return Ok(written);
    }
    let mut missing = lines + 1;
    let mut end = written;
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK)];
        file.read_exact_at(part, start)?;
        for (index, _) in part
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            missing -= 1;
            if missing == 0 {
                return Ok(start + index as u64 + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use actix_web::rt::System;

    use super::*;
    use crate::sandbox::{kubelet::logs::Logs, state_dir::StateDir};

    const SPLIT: [&str; 5] = [
        "2026-11-22T02:11:01.000000000Z stdout F whole\n",
        "2026-11-22T02:11:02.000000000Z stdout P first, \n",
        "2026-11-22T02:11:03.000000000Z stdout P second\n",
        "2026-11-22T02:11:04.000000000Z stdout F \n",
        "2026-11-22T02:11:05.000000000Z stdout F next\n",
    ];

    #[track_caller]
    fn check(timestamps: bool, since: Option<&str>, expected: &str) {
        let mut renderer = Renderer::new(&Options {
            timestamps,
            since: since.map(|since| clock::parse(since).unwrap()),
            ..Options::default()
        });
        let mut chunk = Vec::new();
        renderer.render(&mut chunk, SPLIT.concat().as_bytes());
        assert_eq!(String::from_utf8(chunk).unwrap(), expected);
    }

    #[test]
    fn pieces_become_the_line_they_were() {
        check(false, None, "whole\nfirst, second\nnext\n");
        let stamped = "2026-11-22T02:11:01.000000000Z whole\n2026-11-22T02:11:02.000000000Z first, second\n\
                       2026-11-22T02:11:05.000000000Z next\n";
        check(true, None, stamped);
    }

    #[test]
    fn a_line_whose_beginning_is_too_old_has_no_stamp() {
        let rest = "second\n2026-11-22T02:11:05.000000000Z next\n";
        check(true, Some("2026-11-22T02:11:02.5Z"), rest);
        let end = "\n2026-11-22T02:11:05.000000000Z next\n";
        check(true, Some("2026-11-22T03:11:04+01:00"), end);
        check(
            false,
            Some("2026-11-22T02:11:02.000000001Z"),
            "second\nnext\n",
        );
    }

    fn read_to_end(reader: &mut LogReader) -> String {
        let mut text = Vec::new();
        System::new().block_on(async {
            while let Some(chunk) = reader.next().await {
                text.extend_from_slice(&chunk.unwrap());
            }
        });
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_rotated_file_is_lost_unless_a_reader_has_it_open() {
        let directory = StateDir::create().unwrap();
        // There is room for two records.
        let logs = Logs::new(Some(100));
        let mut writer = logs.start(directory.path(), "uid", "task", 0).unwrap();
        let log = logs.find("uid", "task", false).unwrap();
        let follow = Options {
            follow: true,
            ..Options::default()
        };
        let mut early = LogReader::open(&log, &follow).unwrap();
        let mut early_once = LogReader::open(&log, &Options::default()).unwrap();
        writer.write(b"one\n").unwrap();
        writer.write(b"two\n").unwrap();
        writer.write(b"three\n").unwrap();
        let mut late = LogReader::open(&log, &follow).unwrap();
        writer.write(b"four\n").unwrap();
        writer.write(b"five\n").unwrap();
        assert_eq!(read_to_end(&mut early_once), "one\ntwo\n");
        let mut once = LogReader::open(&log, &Options::default()).unwrap();
        assert_eq!(read_to_end(&mut once), "five\n");
        writer.end();
        assert_eq!(read_to_end(&mut early), "one\ntwo\nfive\n");
        assert_eq!(read_to_end(&mut late), "three\nfour\nfive\n");
        let mut files: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("task"))
            .collect();
        files.sort();
        assert_eq!(files, ["task-0.log", "task-0.log.1"]);
    }
}
