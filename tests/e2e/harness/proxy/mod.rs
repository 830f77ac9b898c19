//! A TCP proxy on loopback that breaks what passes through it, as a seed says.
//!
//! It begins calm: it only forwards. [`Switch::unleash`] lets its [`FaultPlan`] happen to the connections that there are and that
//! come, until there were as many faults as it may have, or until [`Switch::calm`]. So whoever is behind it comes to an end
//! for certain. One thread does all of it.

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

pub use self::plan::{Fault, FaultPlan, Strike};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A proxy that runs. Dropping it ends it and its connections.
#[must_use]
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Switches the faults of a proxy on and off, from any thread.
#[derive(Clone)]
pub struct Switch(Arc<Shared>);

/// What happened so far.
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
enum Weather {
    Calm,
    Stormy,
}

/// Whether a strike may happen now.
enum Permission {
    Granted,
    TooEarly,
    Exhausted,
}

type Alarm = Box<dyn FnOnce() + Send>;

/// What the proxy's thread and its owner both know.
struct Shared {
    target: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    /// The last fault that was to meet all connections.
    elsewhere: watch::Sender<Option<Fault>>,
    storm: Mutex<Storm>,
    counts: Mutex<Counts>,
    /// Called when so many more bytes have passed to the client.
    alarm: Mutex<Option<(usize, Alarm)>>,
    /// The connections whose last request was to follow a log.
    following: AtomicUsize,
}

/// How bad it may become.
struct Storm {
    faults_left: usize,
    /// The least time between two faults. Otherwise a dozen connections would use them all up at once.
    gap: Duration,
    last: Option<Instant>,
    refuse_until: Option<Instant>,
}

impl Proxy {
    /// Starts a calm proxy in front of `target`, which will have at most so many faults, apart by at least `gap`.
    pub fn start(target: SocketAddr, plan: FaultPlan, max_faults: usize, gap: Duration) -> Self {
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            weather: watch::Sender::new(Weather::Calm),
            elsewhere: watch::Sender::new(None),
            storm: Mutex::new(Storm {
                faults_left: max_faults,
                gap,
                last: None,
                refuse_until: None,
            }),
            counts: Mutex::default(),
            alarm: Mutex::default(),
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

    /// Calls `alarm`, on the proxy's thread, as soon as so many bytes have passed to the client.
    pub fn after_bytes(&self, bytes: usize, alarm: impl FnOnce() + Send + 'static) {
        *self.shared.alarm.lock().unwrap() = Some((bytes, Box::new(alarm)));
    }

    /// Leads new connections elsewhere: a server that was started again has another port.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// How many logs are followed through it now. Only what is not encrypted can be seen.
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
    /// From now on the proxy only forwards. Stalls and refusals end.
    pub fn calm(&self) {
        self.0.storm.lock().unwrap().refuse_until = None;
        self.0.weather.send_replace(Weather::Calm);
    }

    pub fn unleash(&self) {
        self.0.weather.send_replace(Weather::Stormy);
    }
}

impl Shared {
    /// Asks for a strike to happen, and counts it.
    fn permit(&self, strike: Strike) -> Permission {
        let mut storm = self.storm.lock().unwrap();
        if storm.faults_left == 0 {
            return Permission::Exhausted;
        }
        let gap = storm.gap;
        if storm.last.is_some_and(|last| last.elapsed() < gap) {
            return Permission::TooEarly;
        }
        storm.faults_left -= 1;
        storm.last = Some(Instant::now());
        let mut counts = self.counts.lock().unwrap();
        *counts.faults.entry(strike.fault.name()).or_default() += 1;
        if strike.everywhere {
            self.elsewhere.send_replace(Some(strike.fault));
        }
        Permission::Granted
    }

    fn refuse(&self, time: Duration) {
        self.storm.lock().unwrap().refuse_until = Some(Instant::now() + time);
    }

    fn refuses(&self) -> bool {
        let until = self.storm.lock().unwrap().refuse_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    fn passed(&self, bytes: usize) {
        let mut alarm = self.alarm.lock().unwrap();
        if let Some((left, _)) = &mut *alarm {
            *left = left.saturating_sub(bytes);
            if *left == 0
                && let Some((_, ring)) = alarm.take()
            {
                ring();
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
                    connection::forward(&shared, client, server, plan.strikes(connection)).await;
                }
                // Nobody is there, so the client finds nobody.
                _ => drop(client.set_zero_linger()),
            }
        });
    }
}

#[cfg(test)]
mod tests;
