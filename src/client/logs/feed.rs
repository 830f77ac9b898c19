//! The events of a followed log in one queue: bytes, the end of the stream, Ctrl-C, a closed stdout. Events of an abandoned
//! stream are dropped.
//!
//! One thread reads the stream, because a blocking read cannot be interrupted. A second one waits for signals with tokio, the
//! only dependency that can do so without `unsafe`. A third one waits until stdout is closed. The threads start with the log,
//! so other commands do not pay for them.

use std::{
    io::{self, Read, Write},
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    api::TaskId,
    client::{
        Error, Exit,
        http::{LogStream, describe_body},
    },
};

/// The bytes that the server sends at once.
const CHUNK: usize = 64 * 1024;
/// The most chunks that wait for a slow reader: 1 MiB keeps the network busy and is little memory.
const MAX_CHUNKS: usize = 16;

/// Three times the interval of the server's heartbeats.
const SILENCE: Duration = Duration::from_secs(45);
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum Event {
    /// The server began its answer, in records or in text.
    Begun {
        in_records: bool,
    },
    Bytes(Vec<u8>),
    /// The stream ended.
    Ended,
    /// The stream broke off.
    Broken(io::Error),
    /// The server did not answer, or refused the request.
    Failed(Error),
    Interrupted,
}

impl Event {
    /// The error of a log that this event ended too early.
    pub fn into_error(self, id: &TaskId) -> Error {
        let cause = match self {
            Self::Interrupted => return Error::Detached { id: *id },
            Self::Failed(error) => return error,
            Self::Broken(error) => describe_body(error),
            Self::Ended | Self::Bytes(_) | Self::Begun { .. } => {
                "the server closed the connection".to_owned()
            }
        };
        Error::Cut { id: *id, cause }
    }
}

/// The events of one log, each with the number of its stream.
pub struct LogFeed {
    sender: SyncSender<(u32, Event)>,
    receiver: Receiver<(u32, Event)>,
    is_interrupted: Arc<AtomicBool>,
    stdout_closed: Arc<AtomicBool>,
    stream: u32,
    /// The next event, if [`LogFeed::has_event_within`] has received it.
    peeked: Option<(u32, Event)>,
    spares: Spares,
}

/// Buffers for reuse: allocating a buffer of clean pages takes longer than filling it.
#[derive(Clone, Default)]
struct Spares(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spares {
    fn take(&self) -> Vec<u8> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.pop().unwrap_or_default()
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < MAX_CHUNKS {
            spares.push(buffer);
        }
    }
}

impl LogFeed {
    /// Starts to listen for Ctrl-C and for a closed stdout. The first Ctrl-C becomes an [`Event::Interrupted`], the second one
    /// ends the process at once. A closed stdout is noticed before the next write.
    pub fn listen() -> Self {
        let (sender, receiver) = mpsc::sync_channel(MAX_CHUNKS);
        let is_interrupted = Arc::new(AtomicBool::new(false));
        let stdout_closed = Arc::new(AtomicBool::new(false));
        let feed = Self {
            sender: sender.clone(),
            receiver,
            is_interrupted: is_interrupted.clone(),
            stdout_closed: stdout_closed.clone(),
            stream: 0,
            peeked: None,
            spares: Spares::default(),
        };
        let raise = |flag: Arc<AtomicBool>| {
            let sender = sender.clone();
            move || {
                flag.store(true, Ordering::SeqCst);
                // If the queue is full, the reader checks the flag after the event that it is about to take.
                drop(sender.try_send((0, Event::Interrupted)));
            }
        };
        on_interrupt(raise(is_interrupted));
        on_stdout_closed(raise(stdout_closed));
        feed
    }

    /// Opens a stream, and reads it in the background.
    pub fn start(&mut self, request: impl FnOnce() -> Result<LogStream, Error> + Send + 'static) {
        self.stream += 1;
        let (sender, stream) = (self.sender.clone(), self.stream);
        let send = move |event| sender.send((stream, event)).map_err(drop);
        let spares = self.spares.clone();
        // Sending fails when the feed was dropped; the thread then ends.
        thread::spawn(move || {
            let body = open(&send, request())?;
            pump(&send, body, &spares)
        });
    }

    /// Keeps the buffer of an event for reuse.
    pub fn reuse(&self, bytes: Vec<u8>) {
        self.spares.put(bytes);
    }

    /// Abandons the stream and waits; returns `false` on Ctrl-C.
    ///
    /// # Errors
    /// Stdout was closed.
    pub fn wait(&mut self, pause: Duration) -> io::Result<bool> {
        self.stream += 1;
        self.peeked = None;
        let end = Instant::now() + pause;
        while !self.is_interrupted.load(Ordering::SeqCst) {
            self.check_stdout()?;
            let rest = end.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout) = self.receiver.recv_timeout(rest) {
                return Ok(!self.is_interrupted.load(Ordering::SeqCst));
            }
        }
        Ok(false)
    }

    fn check_stdout(&self) -> io::Result<()> {
        if self.stdout_closed.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Waits for the next event. Flushes `out` before, unless an event is there already: a line is shown at once, and many
    /// lines are written together.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn next(&mut self, out: &mut dyn Write) -> io::Result<Event> {
        self.next_within(out, Duration::MAX)
    }

    /// The same for a stream with heartbeats. The stream counts as broken if no event comes for too long, because a
    /// connection can be lost without notice.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn next_heartbeat(&mut self, out: &mut dyn Write) -> io::Result<Event> {
        self.next_within(out, SILENCE)
    }

    /// Waits for an event, for at most `patience`; returns whether there is one. Flushes `out` as [`LogFeed::next`] does.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn has_event_within(
        &mut self,
        out: &mut dyn Write,
        patience: Duration,
    ) -> io::Result<bool> {
        if self.peeked.is_none() {
            self.peeked = self.receiver.try_recv().ok();
        }
        if self.peeked.is_none() {
            out.flush()?;
            self.peeked = self.receiver.recv_timeout(patience).ok();
        }
        Ok(self.peeked.is_some())
    }

    fn next_within(&mut self, out: &mut dyn Write, patience: Duration) -> io::Result<Event> {
        loop {
            let event = match self
                .peeked
                .take()
                .map_or_else(|| self.receiver.try_recv(), Ok)
            {
                Err(TryRecvError::Empty) => {
                    out.flush()?;
                    // After Ctrl-Z and `fg` the time is over before the reading thread has run, so it gets some more time.
                    let event = self.receiver.recv_timeout(patience);
                    let event = event.or_else(|_| self.receiver.recv_timeout(GRACE));
                    let silent = io::ErrorKind::TimedOut.into();
                    event.unwrap_or((self.stream, Event::Broken(silent)))
                }
                event => event.unwrap_or((self.stream, Event::Ended)),
            };
            if self.is_interrupted.load(Ordering::SeqCst) {
                return Ok(Event::Interrupted);
            }
            self.check_stdout()?;
            let (stream, event) = event;
            if stream == self.stream {
                return Ok(event);
            }
        }
    }
}

/// Sends the event of an answer. On an error the event has been sent and the thread ends.
fn open(
    send: &impl Fn(Event) -> Result<(), ()>,
    answer: Result<LogStream, Error>,
) -> Result<Box<dyn Read + Send>, ()> {
    let (in_records, body) = match answer {
        Ok(LogStream::Records(body)) => (true, body),
        Ok(LogStream::Text(body)) => (false, body),
        Err(error) => {
            send(Event::Failed(error))?;
            return Err(());
        }
    };
    send(Event::Begun { in_records })?;
    Ok(body)
}

fn pump(
    send: &impl Fn(Event) -> Result<(), ()>,
    mut body: Box<dyn Read + Send>,
    spares: &Spares,
) -> Result<(), ()> {
    loop {
        let mut chunk = spares.take();
        chunk.resize(CHUNK, 0);
        match body.read(&mut chunk) {
            Ok(0) => return send(Event::Ended),
            Ok(length) => {
                chunk.truncate(length);
                send(Event::Bytes(chunk))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return send(Event::Broken(error)),
        }
    }
}

/// Calls `first` on the first Ctrl-C, and ends the process on the second. Returns once the signal is handled.
fn on_interrupt(first: impl FnOnce() + Send + 'static) {
    let (ready, listens) = mpsc::channel::<()>();
    thread::spawn(move || {
        let Ok(runtime) = runtime::Builder::new_current_thread().enable_io().build() else {
            return;
        };
        runtime.block_on(async {
            let Ok(mut interrupts) = signal(SignalKind::interrupt()) else {
                return;
            };
            drop(ready);
            interrupts.recv().await;
            first();
            interrupts.recv().await;
            process::exit(Exit::Interrupted.code().into());
        });
    });
    // No value is ever sent: `recv` returns when the thread drops `ready`.
    let _: Result<(), mpsc::RecvError> = listens.recv();
}

/// Calls `then` when stdout is closed, so that `jobs logs | grep -m1 ready` ends with grep.
fn on_stdout_closed(then: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let out = io::stdout();
        // poll always reports errors, and no other event is asked for. A file never has one.
        let mut out = [PollFd::new(&out, PollFlags::empty())];
        if retry_on_intr(|| poll(&mut out, None)).is_ok() {
            then();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_an_abandoned_stream_are_dropped() {
        let (sender, receiver) = mpsc::sync_channel(MAX_CHUNKS);
        let mut feed = LogFeed {
            sender: sender.clone(),
            receiver,
            is_interrupted: Arc::default(),
            stdout_closed: Arc::default(),
            stream: 2,
            peeked: None,
            spares: Spares::default(),
        };
        let mut out = Vec::new();
        for peeks in [false, true] {
            for (stream, text) in [(1, "old"), (1, "older"), (2, "new")] {
                let event = Event::Bytes(text.as_bytes().to_vec());
                assert!(sender.try_send((stream, event)).is_ok());
            }
            if peeks {
                assert!(feed.has_event_within(&mut out, Duration::ZERO).unwrap());
            }
            let Event::Bytes(bytes) = feed.next(&mut out).unwrap() else {
                panic!("no bytes");
            };
            assert_eq!(bytes, b"new");
        }
    }

    #[test]
    fn a_stream_without_its_last_record_is_an_error() {
        let id: TaskId = "ab12cd34".parse().unwrap();
        for (event, message) in [
            (
                Event::Ended,
                "the log of task `ab12cd34` was cut off: the server closed the connection",
            ),
            (
                Event::Broken(std::io::Error::from_raw_os_error(104)),
                "the log of task `ab12cd34` was cut off: connection reset by peer",
            ),
        ] {
            let error = event.into_error(&id);
            assert_eq!(error.to_string(), message);
            assert_eq!(error.exit(), Exit::Failed);
        }
        assert_eq!(Event::Interrupted.into_error(&id).exit(), Exit::Interrupted);
    }
}
