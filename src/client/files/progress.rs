//! A line on the terminal that says how far packing or sending is, once it takes long.

use std::{
    io::{Read, Result, Write},
    time::{Duration, Instant},
};

use crate::api::format_size;

/// The time before the line appears.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time between two changes of the line.
const INTERVAL: Duration = Duration::from_millis(100);

/// The line.
pub struct Progress<'a> {
    /// The terminal; none if there is no terminal.
    to: Option<&'a mut dyn Write>,
    doing: &'static str,
    next: Instant,
    is_shown: bool,
}

impl<'a> Progress<'a> {
    pub fn new(to: Option<&'a mut dyn Write>, doing: &'static str) -> Self {
        Self {
            to,
            doing,
            next: Instant::now() + PATIENCE,
            is_shown: false,
        }
    }

    /// Says that `done` of `all` bytes are done.
    pub fn show(&mut self, done: u64, all: u64) {
        let now = Instant::now();
        let Some(to) = self.to.as_mut().filter(|_| now >= self.next) else {
            return;
        };
        self.next = now + INTERVAL;
        self.is_shown = true;
        let (doing, done, all) = (self.doing, format_size(done), format_size(all));
        drop(write!(to, "\r\x1b[K{doing} files: {done} of {all}"));
        drop(to.flush());
    }

    /// Shows how much of a stream of `all` bytes was read.
    pub fn of<R: Read>(&mut self, stream: R, all: u64) -> Counted<'_, 'a, R> {
        Counted {
            stream,
            done: 0,
            all,
            progress: self,
        }
    }
}

/// Removes the line.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(to) = self.to.as_mut().filter(|_| self.is_shown) {
            drop(to.write_all(b"\r\x1b[K"));
            drop(to.flush());
        }
    }
}

/// A stream whose reading is shown.
pub struct Counted<'p, 'a, R> {
    stream: R,
    done: u64,
    all: u64,
    progress: &'p mut Progress<'a>,
}

impl<R: Read> Read for Counted<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.stream.read(buffer)?;
        self.done += read as u64;
        self.progress.show(self.done, self.all);
        Ok(read)
    }
}
