//! A TCP proxy on loopback that injects faults, which a seed determines.
//!
//! At first the proxy only forwards. [`Switch::enable`] applies its [`FaultPlan`] to present and new connections, until the
//! maximum of faults is reached or until [`Switch::disable`]. The maximum lets every client finish. The proxy runs on one
//! thread.

mod connection;
mod plan;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    time::timeout,
};

pub use self::plan::{Fault, FaultEvent, FaultPlan};

/// The limit for connecting to the server.
const CONNECT: Duration = Duration::from_secs(5);

/// A running proxy. Dropping it ends it and its connections.
#[must_use]
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Enables and disables the faults of a proxy, from any thread.
#[derive(Clone)]
pub struct Switch(Arc<Shared>);

/// The numbers of connections and faults so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub connections: usize,
    pub refused: usize,
    pub faults: BTreeMap<&'static str, usize>,
}

impl Counts {
    pub fn total(&self) -> usize {
        self.faults.values().sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum FaultMode {
    Disabled,
    Enabled,
}

/// Whether a fault may happen now.
enum Permission {
    Granted,
    TooEarly,
    Exhausted,
}

type Callback = Box<dyn FnOnce() + Send>;

/// The state that the proxy's thread and its owner share.
struct Shared {
    target: Mutex<SocketAddr>,
    mode: watch::Sender<FaultMode>,
    /// The last fault that affects all connections.
    elsewhere: watch::Sender<Option<Fault>>,
    limits: Mutex<FaultLimits>,
    counts: Mutex<Counts>,
    /// Called when this many more bytes have passed to the client.
    callback: Mutex<Option<(usize, Callback)>>,
    /// The connections whose last request was to follow a log.
    following: AtomicUsize,
}

/// The limits of the faults.
struct FaultLimits {
    faults_left: usize,
    /// The least time between two faults. Without it, a dozen connections would reach the maximum at once.
    gap: Duration,
    last: Option<Instant>,
    refuse_until: Option<Instant>,
}

impl Proxy {
    /// Starts a proxy in front of `target`, with faults disabled. It has at most `max_faults` faults, at least `gap` apart.
    pub fn start(target: SocketAddr, plan: FaultPlan, max_faults: usize, gap: Duration) -> Self {
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            mode: watch::Sender::new(FaultMode::Disabled),
            elsewhere: watch::Sender::new(None),
            limits: Mutex::new(FaultLimits {
                faults_left: max_faults,
                gap,
                last: None,
                refuse_until: None,
            }),
            counts: Mutex::default(),
            callback: Mutex::default(),
            following: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = mpsc::channel();
        let thread = {
            let shared = shared.clone();
            thread::spawn(move || {
                actix_rt::System::new().block_on(async {
                    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                    ready.send(listener.local_addr().unwrap()).unwrap();
                    tokio::select! {
                        () = serve(listener, shared, plan) => (),
                        _ = stopped => (),
                    }
                });
            })
        };
        Self {
            address: listening.recv().unwrap(),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn switch(&self) -> Switch {
        Switch(self.shared.clone())
    }

    /// Calls `callback`, on the proxy's thread, when this many bytes have passed to the client.
    pub fn after_bytes(&self, bytes: usize, callback: impl FnOnce() + Send + 'static) {
        *self.shared.callback.lock().unwrap() = Some((bytes, Box::new(callback)));
    }

    /// Changes the target of new connections: a restarted server has another port.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// The number of logs that are followed through the proxy. Encrypted requests are not counted.
    pub fn following(&self) -> usize {
        self.shared.following.load(Ordering::Relaxed)
    }

    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || matches!(ended, Some(Ok(()))),
            "the proxy panicked"
        );
    }
}

impl Switch {
    /// Disables faults. Stalls and refusals end.
    pub fn disable(&self) {
        self.0.limits.lock().unwrap().refuse_until = None;
        self.0.mode.send_replace(FaultMode::Disabled);
    }

    pub fn enable(&self) {
        self.0.mode.send_replace(FaultMode::Enabled);
    }
}

impl Shared {
    /// Asks whether an event may happen, and counts it if so.
    fn permit(&self, event: FaultEvent) -> Permission {
        let mut limits = self.limits.lock().unwrap();
        if limits.faults_left == 0 {
            return Permission::Exhausted;
        }
        let gap = limits.gap;
        if limits.last.is_some_and(|last| last.elapsed() < gap) {
            return Permission::TooEarly;
        }
        limits.faults_left -= 1;
        limits.last = Some(Instant::now());
        let mut counts = self.counts.lock().unwrap();
        *counts.faults.entry(event.fault.name()).or_default() += 1;
        if event.everywhere {
            self.elsewhere.send_replace(Some(event.fault));
        }
        Permission::Granted
    }

    fn refuse(&self, time: Duration) {
        self.limits.lock().unwrap().refuse_until = Some(Instant::now() + time);
    }

    fn refuses(&self) -> bool {
        let until = self.limits.lock().unwrap().refuse_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn passed(&self, bytes: usize) {
        let mut callback = self.callback.lock().unwrap();
        if let Some((left, _)) = &mut *callback {
            *left = left.saturating_sub(bytes);
            if *left == 0
                && let Some((_, call)) = callback.take()
            {
                call();
            }
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, plan: FaultPlan) {
    for connection in 0.. {
        let (client, _) = listener.accept().await.unwrap();
        if shared.refuses() {
            shared.counts.lock().unwrap().refused += 1;
            drop(client.set_zero_linger());
            continue;
        }
        shared.counts.lock().unwrap().connections += 1;
        let shared = shared.clone();
        actix_rt::spawn(async move {
            let target = *shared.target.lock().unwrap();
            match timeout(CONNECT, TcpStream::connect(target)).await {
                Ok(Ok(server)) => {
                    connection::forward(&shared, client, server, plan.events(connection)).await;
                }
                // The target does not accept, so the client is reset.
                _ => drop(client.set_zero_linger()),
            }
        });
    }
}

#[cfg(test)]
mod tests;
