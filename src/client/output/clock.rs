//! Times and durations for people.

use jiff::tz::TimeZone;

use super::ago;
use crate::api::Timestamp;

/// The moment at which a command prints, and the time zone of its user.
#[derive(Clone, Debug)]
pub struct Clock {
    pub now: Timestamp,
    pub zone: TimeZone,
}

impl Clock {
    /// The clock of the user's machine, set to `now`.
    pub fn at(now: Timestamp) -> Self {
        let zone = TimeZone::system();
        Self { now, zone }
    }

    /// A time in the zone of the user, with its age: `2025-10-05 14:34:56 CEST (5m ago)`.
    pub fn show(&self, time: Timestamp) -> String {
        let seconds = Timestamp::EPOCH.seconds_until(time);
        let local = jiff::Timestamp::from_second(seconds)
            .map(|time| time.to_zoned(self.zone.clone()))
            .map(|time| time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string());
        let local = local.unwrap_or_else(|_| time.to_string());
        format!("{local} ({})", ago(time, self.now))
    }
}

/// A duration in at most two units: `1h 5m`.
pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let units = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, length)| seconds >= *length);
    let shown = &units[first.unwrap_or(units.len() - 1)..];
    let mut rest = seconds;
    let parts = shown.iter().take(2).map(|(unit, length)| {
        let count = rest / length;
        rest %= length;
        (count, unit)
    });
    let parts: Vec<_> = parts
        .enumerate()
        .filter(|(index, (count, _))| *index == 0 || *count > 0)
        .map(|(_, (count, unit))| format!("{count}{unit}"))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    #[test]
    fn a_time_is_local_and_has_an_age() {
        let clock = Clock {
            now: "2025-10-05T12:39:56".parse().unwrap(),
            zone: TimeZone::fixed(tz::offset(2)),
        };
        let time = "2025-10-05T12:34:56".parse().unwrap();
        assert_eq!(clock.show(time), "2025-10-05 14:34:56 +02 (5m ago)");
    }

    #[test]
    fn a_duration_has_at_most_two_units() {
        for (seconds, text) in [
            (-1, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (192, "3m 12s"),
            (3600, "1h"),
            (3900, "1h 5m"),
            (90_061, "1d 1h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
