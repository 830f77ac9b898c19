//! The faults of a connection and their times, drawn from a seed so that a failed run can be repeated.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A fault of a connection, as networks and proxies cause them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Both sides are closed (FIN).
    Close,
    /// Both sides are reset (RST).
    Reset,
    /// Nothing is forwarded for a time. Then forwarding continues, or the connection is reset.
    Stall { time: Duration, then_reset: bool },
    /// The client's side is closed, and its bytes are still forwarded to the server.
    HalfClose,
    /// For a time every chunk is delayed.
    Delay { time: Duration, each: Duration },
    /// The connection is reset, and every new connection for a time.
    Refuse { time: Duration },
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Reset => "reset",
            Self::Stall { .. } => "stall",
            Self::HalfClose => "half-close",
            Self::Delay { .. } => "delay",
            Self::Refuse { .. } => "refuse",
        }
    }
}

/// A fault and its moment: after a number of bytes to the client or after a time, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultEvent {
    pub bytes: u64,
    pub time: Duration,
    pub fault: Fault,
    /// Whether it affects all connections of the proxy at once, as when a machine fails.
    pub everywhere: bool,
}

/// The plan for the faults of a proxy.
#[derive(Clone, Copy, Debug)]
pub enum FaultPlan {
    Seeded(u64),
    /// The same event for each connection, repeatedly.
    Always(FaultEvent),
}

/// The events of one connection, one after the other.
pub enum FaultEvents {
    Drawn(Box<StdRng>),
    Same(FaultEvent),
}

impl FaultPlan {
    /// The events of a connection. Each connection has its own generator, because their order does not depend on the seed.
    pub fn events(self, connection: usize) -> FaultEvents {
        match self {
            Self::Seeded(seed) => {
                let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ connection as u64;
                FaultEvents::Drawn(Box::new(StdRng::seed_from_u64(seed)))
            }
            Self::Always(event) => FaultEvents::Same(event),
        }
    }
}

impl FaultEvents {
    pub fn draw(&mut self) -> FaultEvent {
        match self {
            Self::Same(event) => *event,
            Self::Drawn(random) => FaultEvent {
                bytes: {
                    // Each magnitude is equally likely, so faults hit the beginnings of answers as often as their middles.
                    let magnitude = random.random_range(0..19);
                    random.random_range(1 << magnitude..2 << magnitude)
                },
                time: millis(random, 20, 2500),
                fault: fault(random),
                everywhere: random.random_ratio(1, 4),
            },
        }
    }
}

fn fault(random: &mut StdRng) -> Fault {
    match random.random_range(0..12) {
        0..3 => Fault::Close,
        3..6 => Fault::Reset,
        6..8 => {
            let longest = if random.random_ratio(1, 4) { 3000 } else { 800 };
            Fault::Stall {
                time: millis(random, 200, longest),
                then_reset: random.random(),
            }
        }
        8..10 => Fault::HalfClose,
        10 => Fault::Delay {
            time: millis(random, 100, 1000),
            each: millis(random, 1, 8),
        },
        _ => Fault::Refuse {
            time: millis(random, 100, 1500),
        },
    }
}

fn millis(random: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}
