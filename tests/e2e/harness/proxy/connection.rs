//! One connection through the proxy: two pumps, and somebody who interferes with them.

use std::{cell::Cell, future::pending, io, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    Permission, Shared, Weather,
    plan::{Fault, Strike, Strikes},
};

/// As much as is forwarded at once.
const CHUNK: usize = 64 * 1024;
/// How long a connection that was closed is read on: closing it with bytes unread would reset it.
const DRAIN: Duration = Duration::from_millis(500);

/// What the pumps are to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    Open,
    Late(Duration),
    Held,
    /// Nothing reaches the client any more.
    Muted,
}

/// How a connection is ended by force.
enum Ending {
    Close,
    Reset,
}

/// Forwards until both sides have ended, or something happens.
pub async fn forward(
    shared: &Shared,
    mut client: TcpStream,
    mut server: TcpStream,
    strikes: Strikes,
) {
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let flow = watch::Sender::new(Flow::Open);
    let fuse = Fuse::default();
    let ending = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let upwards = pump_up(shared, from_client, to_server, flow.subscribe());
        let downwards = pump_down(shared, from_server, to_client, &flow, &fuse);
        tokio::select! {
            // First of all the fuse is set.
            biased;
            ending = interfere(shared, strikes, &flow, &fuse) => ending,
            ended = async { tokio::try_join!(upwards, downwards) } => match ended {
                Ok(_) => return,
                // One side is gone without a word, and so the other is told.
                Err(_) => Ending::Reset,
            },
        }
    };
    match ending {
        Ending::Reset => {
            // Dropping them resets them then.
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

/// From the client to the server.
async fn pump_up(
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

/// Whether a connection follows a log: a client that has enough of that can only close it.
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

/// From the server to the client, and not a byte further than the next strike.
async fn pump_down(
    shared: &Shared,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    flow: &watch::Sender<Flow>,
    fuse: &Fuse,
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
            let (now, later) = chunk.split_at(fuse.limit(chunk.len()));
            to.write_all(now).await?;
            shared.passed(now.len());
            if fuse.burn(now.len()) {
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

/// Waits for as long as nothing may pass.
async fn gate(flow: &mut watch::Receiver<Flow>) -> Flow {
    let now = flow.wait_for(|flow| *flow != Flow::Held).await;
    let now = now.map_or(Flow::Open, |flow| *flow);
    if let Flow::Late(each) = now {
        sleep(each).await;
    }
    now
}

/// Counts bytes down to the next strike.
struct Fuse {
    left: Cell<u64>,
    burnt: Notify,
}

impl Default for Fuse {
    fn default() -> Self {
        Self {
            left: Cell::new(u64::MAX),
            burnt: Notify::new(),
        }
    }
}

impl Fuse {
    fn set(&self, bytes: u64) {
        self.left.set(bytes.max(1));
    }

    /// How many of so many bytes may pass.
    fn limit(&self, length: usize) -> usize {
        usize::try_from(self.left.get()).map_or(length, |left| left.min(length))
    }

    /// Returns whether it has come to its end. It may have been set while more than its length was on its way.
    fn burn(&self, length: usize) -> bool {
        self.left.set(self.left.get().saturating_sub(length as u64));
        let is_burnt = self.left.get() == 0;
        if is_burnt {
            self.burnt.notify_one();
        }
        is_burnt
    }

    async fn wait(&self) {
        while self.left.get() > 0 {
            self.burnt.notified().await;
        }
    }
}

/// Lets strikes happen while the weather is stormy; returns when one of them ends the connection.
async fn interfere(
    shared: &Shared,
    mut strikes: Strikes,
    flow: &watch::Sender<Flow>,
    fuse: &Fuse,
) -> Ending {
    let mut weather = shared.weather.subscribe();
    let mut elsewhere = shared.elsewhere.subscribe();
    loop {
        fuse.set(u64::MAX);
        flow.send_replace(Flow::Open);
        until(&mut weather, Weather::Stormy).await;
        let strike = strikes.draw();
        fuse.set(strike.bytes);
        // What happened while this connection had troubles of its own is past.
        elsewhere.mark_unchanged();
        let fault = tokio::select! {
            () = sleep(strike.time) => own(shared, strike),
            () = fuse.wait() => own(shared, strike),
            _ = elsewhere.changed() => Ok(*elsewhere.borrow_and_update()),
            () = until(&mut weather, Weather::Calm) => Ok(None),
        };
        match fault {
            Ok(None) => (),
            Ok(Some(fault)) => {
                if let Some(ending) = suffer(shared, fault, flow, fuse, &mut weather).await {
                    return ending;
                }
            }
            Err(Exhausted) => {
                fuse.set(u64::MAX);
                flow.send_replace(Flow::Open);
                until(&mut weather, Weather::Calm).await;
            }
        }
    }
}

/// There were as many faults as there may be.
struct Exhausted;

/// The fault of a strike whose moment has come, unless it would be too early after another.
fn own(shared: &Shared, strike: Strike) -> Result<Option<Fault>, Exhausted> {
    match shared.permit(strike) {
        Permission::Granted => Ok(Some(strike.fault)),
        Permission::TooEarly => Ok(None),
        Permission::Exhausted => Err(Exhausted),
    }
}

/// Has a fault happen; returns how the connection ends if it does. Calm weather ends what only lasts for a time.
async fn suffer(
    shared: &Shared,
    fault: Fault,
    flow: &watch::Sender<Flow>,
    fuse: &Fuse,
    weather: &mut watch::Receiver<Weather>,
) -> Option<Ending> {
    let mut last = async |state: Flow, time: Duration| {
        fuse.set(u64::MAX);
        flow.send_replace(state);
        timeout(time, until(weather, Weather::Calm)).await.is_err()
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
            fuse.set(u64::MAX);
            flow.send_replace(Flow::Muted);
            pending().await
        }
    }
}

async fn until(weather: &mut watch::Receiver<Weather>, wanted: Weather) {
    if weather
        .wait_for(|weather| *weather == wanted)
        .await
        .is_err()
    {
        // The proxy is gone, and its thread ends.
        pending().await
    }
}
