//! What goes wrong with a connection, and when: drawn from a seed, so that a run that failed can be run again. Pure.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Something that networks and whatever stands in them do to a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Both sides are told that the other one has ended (FIN).
    Close,
    /// Both sides are told that the connection is no more (RST).
    Reset,
    /// Nothing is forwarded for a time, and nobody is told. Then it goes on, or the connection is reset.
    Stall { time: Duration, then_reset: bool },
    /// The client is told that the server has ended, and what it says is still forwarded.
    HalfClose,
    /// For a time everything is late.
    Delay { time: Duration, each: Duration },
    /// The connection is reset, and so is every new one for a time.
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

/// A fault and its moment: so many bytes on their way to the client, or so much time later, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strike {
    pub bytes: u64,
    pub time: Duration,
    pub fault: Fault,
    /// Whether it meets all connections of the proxy at once, as a failing machine does.
    pub everywhere: bool,
}

/// What a proxy does to its connections once it is let loose.
#[derive(Clone, Copy, Debug)]
pub enum FaultPlan {
    Seeded(u64),
    /// The same to each, over and over.
    Always(Strike),
}

/// The strikes that one connection meets, one after the other.
pub enum Strikes {
    Drawn(Box<StdRng>),
    Same(Strike),
}

impl FaultPlan {
    /// Each connection has draws of its own: the order in which connections come is not the seed's.
    pub fn strikes(self, connection: usize) -> Strikes {
        match self {
            Self::Seeded(seed) => {
                let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ connection as u64;
                Strikes::Drawn(Box::new(StdRng::seed_from_u64(seed)))
            }
            Self::Always(strike) => Strikes::Same(strike),
        }
    }
}

impl Strikes {
    pub fn draw(&mut self) -> Strike {
        match self {
            Self::Same(strike) => *strike,
            Self::Drawn(random) => Strike {
                bytes: {
                    // As often after a few bytes as after many: the beginnings of answers are as interesting as their middles.
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
