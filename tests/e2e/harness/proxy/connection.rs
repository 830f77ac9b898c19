//! One connection through the proxy: two tasks that forward bytes, and one that injects faults.

use std::{cell::Cell, future::pending, io, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    FaultMode, Permission, Shared,
    plan::{Fault, FaultEvent, FaultEvents},
};

/// The most bytes that are forwarded at once.
const CHUNK: usize = 64 * 1024;
/// A closed connection is read for this time, because closing it with unread bytes would reset it.
const DRAIN: Duration = Duration::from_millis(500);

/// The state of the forwarding.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    Open,
    Late(Duration),
    Held,
    /// Nothing more is forwarded to the client.
    Muted,
}

/// The way in which a fault ends a connection.
enum Ending {
    Close,
    Reset,
}

/// Forwards until both sides have ended, or a fault ends the connection.
pub async fn forward(
    shared: &Shared,
    mut client: TcpStream,
    mut server: TcpStream,
    events: FaultEvents,
) {
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let flow = watch::Sender::new(Flow::Open);
    let countdown = Countdown::default();
    let ending = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let upwards = forward_up(shared, from_client, to_server, flow.subscribe());
        let downwards = forward_down(shared, from_server, to_client, &flow, &countdown);
        tokio::select! {
            // `inject` runs first, because it sets the countdown.
            biased;
            ending = inject(shared, events, &flow, &countdown) => ending,
            ended = async { tokio::try_join!(upwards, downwards) } => match ended {
                Ok(_) => return,
                // One side has failed, so the other is reset.
                Err(_) => Ending::Reset,
            },
        }
    };
    match ending {
        Ending::Reset => {
            // Dropping the sockets then resets them.
            drop(client.set_zero_linger());
            drop(server.set_zero_linger());
        }
        Ending::Close => {
            drop(tokio::join!(client.shutdown(), server.shutdown()));
            let drained = async { tokio::join!(drain(&mut client), drain(&mut server)) };
            drop(timeout(DRAIN, drained).await);
        }
    }
}

async fn drain(stream: &mut TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Forwards from the client to the server.
async fn forward_up(
    shared: &Shared,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<Flow>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut following = Following::new(shared);
    loop {
        let length = from.read(&mut buffer).await?;
        following.note(&buffer[..length]);
        gate(&mut flow).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

/// Counts the connection while it follows a log. Such a connection carries no other request, so it counts until its end.
struct Following<'a> {
    shared: &'a Shared,
    is_true: bool,
}

impl<'a> Following<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            is_true: false,
        }
    }

    fn note(&mut self, request: &[u8]) {
        let is_one = memchr::memmem::find(request, b"follow=true").is_some();
        if is_one && !std::mem::replace(&mut self.is_true, true) {
            self.shared.following.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        if self.is_true {
            self.shared.following.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Forwards from the server to the client, exactly up to the next fault.
async fn forward_down(
    shared: &Shared,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    flow: &watch::Sender<Flow>,
    countdown: &Countdown,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut flowing = flow.subscribe();
    let mut is_muted = false;
    loop {
        let length = tokio::select! {
            length = from.read(&mut buffer) => length?,
            _ = flow_is_muted(flow), if !is_muted => {
                is_muted = true;
                to.shutdown().await?;
                continue;
            }
        };
        if length == 0 {
            gate(&mut flowing).await;
            return to.shutdown().await;
        }
        let mut chunk = &buffer[..length];
        while !chunk.is_empty() && gate(&mut flowing).await != Flow::Muted {
            let (now, later) = chunk.split_at(countdown.limit(chunk.len()));
            to.write_all(now).await?;
            shared.passed(now.len());
            if countdown.count(now.len()) {
                flow.send_replace(Flow::Held);
            }
            chunk = later;
        }
    }
}

async fn flow_is_muted(flow: &watch::Sender<Flow>) {
    // The sender lives as long as the connection.
    drop(flow.subscribe().wait_for(|flow| *flow == Flow::Muted).await);
}

/// Waits while nothing may pass.
async fn gate(flow: &mut watch::Receiver<Flow>) -> Flow {
    let now = flow.wait_for(|flow| *flow != Flow::Held).await;
    let now = now.map_or(Flow::Open, |flow| *flow);
    if let Flow::Late(each) = now {
        sleep(each).await;
    }
    now
}

/// Counts the bytes down to the next fault.
struct Countdown {
    left: Cell<u64>,
    ended: Notify,
}

impl Default for Countdown {
    fn default() -> Self {
        Self {
            left: Cell::new(u64::MAX),
            ended: Notify::new(),
        }
    }
}

impl Countdown {
    fn set(&self, bytes: u64) {
        self.left.set(bytes.max(1));
    }

    /// The number of bytes, of `length`, that may pass.
    fn limit(&self, length: usize) -> usize {
        usize::try_from(self.left.get()).map_or(length, |left| left.min(length))
    }

    /// Returns whether the countdown has ended. It may have been set while more bytes were on their way.
    fn count(&self, length: usize) -> bool {
        self.left.set(self.left.get().saturating_sub(length as u64));
        let has_ended = self.left.get() == 0;
        if has_ended {
            self.ended.notify_one();
        }
        has_ended
    }

    async fn wait(&self) {
        while self.left.get() > 0 {
            self.ended.notified().await;
        }
    }
}

/// Injects faults while they are enabled; returns when one of them ends the connection.
async fn inject(
    shared: &Shared,
    mut events: FaultEvents,
    flow: &watch::Sender<Flow>,
    countdown: &Countdown,
) -> Ending {
    let mut mode = shared.mode.subscribe();
    let mut elsewhere = shared.elsewhere.subscribe();
    loop {
        countdown.set(u64::MAX);
        flow.send_replace(Flow::Open);
        until(&mut mode, FaultMode::Enabled).await;
        let event = events.draw();
        countdown.set(event.bytes);
        // Faults of other connections during this connection's own fault are ignored.
        elsewhere.mark_unchanged();
        let fault = tokio::select! {
            () = sleep(event.time) => own(shared, event),
            () = countdown.wait() => own(shared, event),
            _ = elsewhere.changed() => Ok(*elsewhere.borrow_and_update()),
            () = until(&mut mode, FaultMode::Disabled) => Ok(None),
        };
        match fault {
            Ok(None) => (),
            Ok(Some(fault)) => {
                if let Some(ending) = apply(shared, fault, flow, countdown, &mut mode).await {
                    return ending;
                }
            }
            Err(Exhausted) => {
                countdown.set(u64::MAX);
                flow.send_replace(Flow::Open);
                until(&mut mode, FaultMode::Disabled).await;
            }
        }
    }
}

/// The proxy has had its maximum of faults.
struct Exhausted;

/// The fault of an event that is due, unless it is too early after another one.
fn own(shared: &Shared, event: FaultEvent) -> Result<Option<Fault>, Exhausted> {
    match shared.permit(event) {
        Permission::Granted => Ok(Some(event.fault)),
        Permission::TooEarly => Ok(None),
        Permission::Exhausted => Err(Exhausted),
    }
}

/// Applies a fault; returns how it ends the connection, if it does. Disabling faults ends a stall or a delay.
async fn apply(
    shared: &Shared,
    fault: Fault,
    flow: &watch::Sender<Flow>,
    countdown: &Countdown,
    mode: &mut watch::Receiver<FaultMode>,
) -> Option<Ending> {
    let mut last = async |state: Flow, time: Duration| {
        countdown.set(u64::MAX);
        flow.send_replace(state);
        timeout(time, until(mode, FaultMode::Disabled))
            .await
            .is_err()
    };
    match fault {
        Fault::Close => Some(Ending::Close),
        Fault::Reset => Some(Ending::Reset),
        Fault::Refuse { time } => {
            shared.refuse(time);
            Some(Ending::Reset)
        }
        Fault::Stall { time, then_reset } => {
            let is_over = last(Flow::Held, time).await;
            (is_over && then_reset).then_some(Ending::Reset)
        }
        Fault::Delay { time, each } => {
            last(Flow::Late(each), time).await;
            None
        }
        Fault::HalfClose => {
            countdown.set(u64::MAX);
            flow.send_replace(Flow::Muted);
            pending().await
        }
    }
}

async fn until(mode: &mut watch::Receiver<FaultMode>, wanted: FaultMode) {
    if mode.wait_for(|mode| *mode == wanted).await.is_err() {
        // The proxy was dropped, and its thread ends.
        pending().await
    }
}
