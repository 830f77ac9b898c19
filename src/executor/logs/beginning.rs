//! Decides whether the first lines of a log are missing. Pure.
//!
//! Kubernetes sends only the newest file of a log, and does not say how many there were. So the beginning of a log is certain only
//! for a viewer who came before the container, and whose server read the log soon after the start. If that read was delayed, the time
//! of the first line decides: it is from the same clock as that of the start.

use std::time::Duration;

use tokio::time::Instant;

use super::{position::SECOND, step::ContainerRun};

/// A later first read may find a rotated log. Kubelets look at the sizes of logs every 10 s, and some every 3 s.
const LATE: Duration = Duration::from_secs(5);
/// A first line within this time of the start is the first one of the container, in nanoseconds. A start has whole seconds.
const AT_ONCE: i64 = 3 * SECOND;

/// The size of a log below which nothing is said about its beginning, in bytes. Kubelets rotate logs at 10 MiB, or at a size in their
/// configuration, which Kubernetes does not tell.
const LONG: u64 = 1 << 20;
/// The interval at which kubelets look at the sizes of logs, in nanoseconds.
const ROTATION: i64 = 10 * SECOND;

/// The part of a log that a viewer has got in one read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extent {
    /// The time of its first line.
    pub first: Option<i64>,
    pub bytes: u64,
}

impl Extent {
    /// The seconds between the start of the container and the first line, if lines of that time may have been rotated away.
    ///
    /// A program that begins to print late leaves the same log as one whose first lines are gone. So this is said only of a long log
    /// whose program would have filled a file before, had it printed as fast as later.
    pub fn missing_seconds(&self, source: &ContainerRun, last: i64) -> Option<i64> {
        let before = self.first? - source.started?;
        let during = (last - self.first?).max(1);
        let printed = i128::from(self.bytes) * i128::from(before) / i128::from(during);
        let is_long = self.bytes >= LONG && printed >= i128::from(LONG);
        (is_long && before >= ROTATION).then_some(before / SECOND)
    }
}

/// Whether a container has run long enough for a kubelet to rotate its log. `now` is the time in nanoseconds since 1970 by the clock of
/// the server, which may differ from that of the container, so a container that runs has to be older.
pub fn may_have_been_rotated(source: &ContainerRun, now: i64) -> bool {
    match (source.ran_for, source.started) {
        (Some(ran_for), _) => ran_for >= 10 * SECOND,
        (None, Some(started)) => now.saturating_sub(started) >= 20 * SECOND,
        (None, None) => false,
    }
}

/// The expected beginning of a log.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    /// The time of the container's start, in nanoseconds since 1970.
    pub started: i64,
    /// The moment at which the server tried to read the log for the first time.
    pub tried: Instant,
    /// The moment of the first read with success.
    pub read: Option<Instant>,
    /// Whether the server may have learned of the start late.
    pub was_away: bool,
}

impl Beginning {
    /// Whether the first successful read of the log, which was `now` or before, may have found a rotated log.
    pub fn is_late(&mut self, now: Instant) -> bool {
        let read = *self.read.get_or_insert(now);
        self.was_away || read - self.tried >= LATE
    }

    /// Whether lines may stand before the time of the first line of a log that was read late, or in a log without lines.
    pub fn is_before(&self, first: Option<i64>) -> bool {
        first.is_none_or(|first| first >= self.started.saturating_add(AT_ONCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_begins_late_is_reported_if_it_is_long_and_fast() {
        const KIB: u64 = 1 << 10;
        for (first, last, bytes, expected) in [
            // It prints 100 KiB/s.
            (60, 90, 3000 * KIB, Some(60)),
            (60, 60, 3000 * KIB, Some(60)),
            // It began at once.
            (0, 90, 9000 * KIB, None),
            (9, 99, 9000 * KIB, None),
            // A program that begins to print late.
            (60, 90, KIB, None),
            (60, 60, 1000 * KIB, None),
            // It was silent for a time in which it would not have filled a file.
            (60, 3660, 9000 * KIB, None),
        ] {
            let source = ContainerRun {
                pod: "p".to_owned(),
                container: None,
                uid: crate::executor::identity::Uid::new("1"),
                restarts: 0,
                is_previous: false,
                is_over: false,
                may_restart: false,
                created: 0,
                started: Some(100 * SECOND),
                ran_for: None,
            };
            let extent = Extent {
                first: Some((100 + first) * SECOND),
                bytes,
            };
            let last = (100 + last) * SECOND;
            let seconds = extent.missing_seconds(&source, last);
            assert_eq!(seconds, expected, "{first} {last} {bytes}");
        }
    }

    #[test]
    fn a_beginning_is_missing_if_it_was_read_late_and_begins_late() {
        let tried = Instant::now();
        let first = |seconds: i64| Some((100 + seconds) * SECOND);
        for (was_away, delay, first, is_missing) in [
            // It was read in time.
            (false, 0, None, false),
            (false, 4, first(60), false),
            // It was read late, and has its beginning.
            (false, 60, first(0), false),
            (true, 0, first(2), false),
            // It was read late, and perhaps rotated before.
            (false, 10, first(9), true),
            (false, 10, None, true),
            (true, 0, first(9), true),
            (true, 0, None, true),
        ] {
            let started = 100 * SECOND;
            let mut beginning = Beginning {
                started,
                tried,
                read: None,
                was_away,
            };
            let late = beginning.is_late(tried + Duration::from_secs(delay));
            let case = (was_away, delay, first);
            assert_eq!(late && beginning.is_before(first), is_missing, "{case:?}");
            // Only the first read counts.
            assert_eq!(beginning.is_late(tried + 10 * LATE), late);
        }
    }
}
