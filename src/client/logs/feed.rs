//! What happens while a log is followed, in the order in which it happens: bytes arrive, the stream ends, somebody presses
//! Ctrl-C, nobody reads stdout any more. When a stream is given up for a new one, nothing of it is heard any more.
//!
//! The stream is read on a thread of its own, because a blocking read cannot be interrupted, and signals are awaited on
//! another: tokio can do that without `unsafe`, and nothing else in the tree can. A third one waits for the reader of stdout to
//! go. None of them exists before a log is followed, so no other command pays for them.

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
    api::{LogQuery, TaskId},
    client::{
        Error, Exit,
        http::{ApiClient, LogStream, describe_body},
    },
};

/// As much as the server sends at once.
const PIECE: usize = 64 * 1024;
/// How many pieces wait for a reader that is slow: enough to keep the network busy, too little to matter in memory.
const PIECES: usize = 16;

/// Three times as long as the server is ever silent.
const SILENCE: Duration = Duration::from_secs(45);
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum Event {
    /// The server answers, in records or in text.
    Begun {
        in_records: bool,
    },
    Bytes(Vec<u8>),
    /// The stream came to its end.
    Ended,
    /// The stream broke off.
    Broken(io::Error),
    /// The server did not answer, or refused.
    Failed(Error),
    Interrupted,
}

impl Event {
    /// The error of a log that ended with this event before its end.
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

/// The events of one log, with the number of the stream that they are of.
pub struct LogFeed {
    sender: SyncSender<(u32, Event)>,
    receiver: Receiver<(u32, Event)>,
    is_interrupted: Arc<AtomicBool>,
    stdout_closed: Arc<AtomicBool>,
    stream: u32,
    /// The next event, if somebody looked whether there is one.
    peeked: Option<(u32, Event)>,
    spares: Spares,
}

/// Buffers to read into again: to ask the system for memory, and it for clean pages, takes longer than to fill them.
#[derive(Clone, Default)]
struct Spares(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spares {
    fn take(&self) -> Vec<u8> {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spares.pop().unwrap_or_default()
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < PIECES {
            spares.push(buffer);
        }
    }
}

impl LogFeed {
    /// Begins to listen for Ctrl-C, which ends the process no more: it is an [`Event::Interrupted`]. A second one ends the
    /// process at once. And for the end of whoever reads stdout, which is noticed before there is something to write.
    pub fn listen() -> Self {
        let (sender, receiver) = mpsc::sync_channel(PIECES);
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
        let noting = |flag: Arc<AtomicBool>| {
            let sender = sender.clone();
            move || {
                flag.store(true, Ordering::SeqCst);
                // When it is full, the reader is about to look at the flag.
                drop(sender.try_send((0, Event::Interrupted)));
            }
        };
        on_interrupt(noting(is_interrupted));
        on_stdout_closed(noting(stdout_closed));
        feed
    }

    /// Asks for the log behind the cursors `after` and reads it, in the background.
    pub fn start(&mut self, client: ApiClient, id: TaskId, query: LogQuery, after: Vec<String>) {
        self.stream += 1;
        let (sender, stream) = (self.sender.clone(), self.stream);
        let send = move |event| sender.send((stream, event)).map_err(drop);
        let spares = self.spares.clone();
        // Nobody listens any more when sending fails; then there is nothing left to do.
        thread::spawn(move || {
            let body = open(&send, &client, &id, &query, &after)?;
            pump(&send, body, &spares)
        });
    }

    /// Takes back the bytes of an event.
    pub fn reuse(&self, bytes: Vec<u8>) {
        self.spares.put(bytes);
    }

    /// Gives up the stream and waits; `false` when somebody pressed Ctrl-C.
    ///
    /// # Errors
    /// Nobody reads stdout any more.
    pub fn wait(&mut self, pause: Duration) -> io::Result<bool> {
        self.stream += 1;
        self.peeked = None;
        let end = Instant::now() + pause;
        while !self.is_interrupted.load(Ordering::SeqCst) {
            self.check_heard()?;
            let rest = end.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout) = self.receiver.recv_timeout(rest) {
                return Ok(!self.is_interrupted.load(Ordering::SeqCst));
            }
        }
        Ok(false)
    }

    fn check_heard(&self) -> io::Result<()> {
        if self.stdout_closed.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Waits for the next event. What is in `out` is flushed before, unless more is there already: a line is seen as soon
    /// as it is there, and a flood of lines is not written one by one.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn next(&mut self, out: &mut dyn Write) -> io::Result<Event> {
        self.next_within(out, Duration::MAX)
    }

    /// The same for a stream with heartbeats, which is broken when nothing comes for too long: the other end of a
    /// connection can be gone without a word.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn next_heartbeat(&mut self, out: &mut dyn Write) -> io::Result<Event> {
        self.next_within(out, SILENCE)
    }

    /// Waits until an event is there, but not for longer than `patience`; returns whether there is one. `out` is flushed as
    /// [`LogFeed::next`] does it.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn is_there_within(&mut self, out: &mut dyn Write, patience: Duration) -> io::Result<bool> {
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
                    // After Ctrl-Z and `fg` the time is over before the reading thread could say a word: it gets a second
                    // chance.
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
            self.check_heard()?;
            let (stream, event) = event;
            if stream == self.stream {
                return Ok(event);
            }
        }
    }
}

/// Asks for a log. An error means that there is nothing more to do.
fn open(
    send: &impl Fn(Event) -> Result<(), ()>,
    client: &ApiClient,
    id: &TaskId,
    query: &LogQuery,
    after: &[String],
) -> Result<Box<dyn Read + Send>, ()> {
    let (in_records, body) = match client.logs(id, query, after) {
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
        let mut piece = spares.take();
        piece.resize(PIECE, 0);
        match body.read(&mut piece) {
            Ok(0) => return send(Event::Ended),
            Ok(length) => {
                piece.truncate(length);
                send(Event::Bytes(piece))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return send(Event::Broken(error)),
        }
    }
}

/// Calls `first` on the first Ctrl-C and ends the process on the second. Returns when it listens.
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
    // Nothing is ever sent: it ends when the other end is dropped, now or with the thread.
    let _: Result<(), mpsc::RecvError> = listens.recv();
}

/// Calls `then` when nobody can read stdout any more: `jobs logs | grep -m1 ready` is to end when grep has.
fn on_stdout_closed(then: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let out = io::stdout();
        // An error is always of interest, and nothing else is. Of a file there is never one.
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
    fn a_stream_without_its_last_record_was_cut() {
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
