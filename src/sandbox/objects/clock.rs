//! The sandbox's clock, and the formats in which Kubernetes writes a time.
//!
//! Objects, events and log lines have different precisions, and strict clients reject a wrong one.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The current instant.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Writes a `metav1.Time`: whole seconds.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes a `metav1.MicroTime`.
pub fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Writes the stamp of a log line, always with nine digits, so that stamps sort as text.
pub fn nanos(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// Reads an RFC 3339 time of any precision and offset.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The time `seconds` after `time`, or the last (or first) possible one: objects may have any number of seconds.
pub fn after(time: Timestamp, seconds: i64) -> Timestamp {
    let limit = if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(limit)
}

/// The whole seconds from `earlier` to `later`, negative if `later` is earlier.
pub fn elapsed_seconds(earlier: Timestamp, later: Timestamp) -> i64 {
    later.as_second() - earlier.as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_all_times_is_the_last_one() {
        let time = parse("2026-11-22T02:11:01Z").unwrap();
        assert_eq!(seconds(after(time, 59)), "2026-11-22T02:12:00Z");
        assert_eq!(after(time, 1_000_000_000_000), Timestamp::MAX);
        assert_eq!(after(time, i64::MAX), Timestamp::MAX);
        assert_eq!(after(time, i64::MIN), Timestamp::MIN);
    }

    #[test]
    fn every_precision_is_fixed_width() {
        let time = parse("2026-11-22T02:11:01.000009Z").unwrap();
        assert_eq!(seconds(time), "2026-11-22T02:11:01Z");
        assert_eq!(micros(time), "2026-11-22T02:11:01.000009Z");
        assert_eq!(nanos(time), "2026-11-22T02:11:01.000009000Z");
    }
}
