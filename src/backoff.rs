//! The pauses between attempts to connect, for client and executor.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double from 0.5 s to a limit, 30 s by default. A random factor shortens each to no less than its half, so that the
/// clients of a server that restarts do not all return at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    attempts: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// Pauses of at most `longest`.
    pub fn up_to(longest: Duration) -> Self {
        let attempts = 0;
        Self { attempts, longest }
    }

    /// Begins with the first pause again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Whether there was no pause yet.
    pub fn is_fresh(&self) -> bool {
        self.attempts == 0
    }

    /// The next pause. `chance` is a random number from 0 to 1.
    pub fn next(&mut self, chance: f64) -> Duration {
        let pause = FIRST * 2_u32.pow(self.attempts.min(6));
        self.attempts += 1;
        pause.min(self.longest).mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_fresh());
        let pauses: Vec<_> = (0..8).map(|_| backoff.next(1.0).as_secs_f64()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(backoff.next(0.0), LONGEST / 2);
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert_eq!(backoff, Backoff::default());

        let mut backoff = Backoff::up_to(Duration::from_secs(3));
        let pauses: Vec<_> = (0..5).map(|_| backoff.next(1.0).as_secs_f64()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 3.0, 3.0]);
    }
}
