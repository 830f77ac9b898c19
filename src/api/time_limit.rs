//! The longest time that a task may run: SkyPilot's `max_duration`.

use std::fmt;

use serde_json::Value;

use super::{logs::parse_duration, shape::Got};

/// The beginning and the end of the reason of a node that has reached its limit.
const REACHED: (&str, &str) = ("time limit of ", " reached");

/// The longest time that a task may run, in whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit(u32);

impl TimeLimit {
    /// The limit of this number of seconds; none if Kubernetes does not take it.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        let seconds = i32::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
        u32::try_from(seconds).ok().map(Self)
    }

    pub fn seconds(self) -> i64 {
        self.0.into()
    }

    /// The reason of a node that has reached it: `time limit of 2h reached`.
    pub fn reached(self) -> String {
        let (before, after) = REACHED;
        format!("{before}{self}{after}")
    }

    /// Whether the reason of a node says that it has reached its limit.
    pub fn is_reached(reason: &str) -> bool {
        let (before, after) = REACHED;
        reason.starts_with(before) && reason.ends_with(after)
    }
}

/// In its largest units: `1d2h`, `90m` as `1h30m`.
impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

/// Reads `90s`, `2h`, `1h30m` or `2d`; none for `forever`. A number without a unit is refused: SkyPilot reads some of them as minutes
/// and others as seconds.
pub fn read_time_limit(value: &Value) -> Result<Option<TimeLimit>, String> {
    let has_unit = |text: &&str| !text.ends_with(|c: char| c.is_ascii_digit());
    let duration = value.as_str().filter(has_unit).and_then(parse_duration);
    let Some(duration) = duration else {
        return Err(format!(
            "expected a duration with its unit, such as 90s, 30m, 2h or 1d12h, got {}",
            Got(value)
        ));
    };
    if value == "forever" {
        return Ok(None);
    }
    let limit = i64::try_from(duration.as_secs()).ok();
    let limit = limit.and_then(TimeLimit::from_seconds);
    limit.map(Some).ok_or_else(|| {
        let most = i32::MAX / 86_400;
        format!(
            "expected from 1s to {most}d, or forever, got {}",
            Got(value)
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_durations_with_units() {
        for (value, shown) in [
            (json!("90s"), "1m30s"),
            (json!("2h"), "2h"),
            (json!("1h30m"), "1h30m"),
            (json!("36h"), "1d12h"),
            (json!("24855d"), "24855d"),
        ] {
            let limit = read_time_limit(&value).unwrap().unwrap();
            assert_eq!(limit.to_string(), shown);
            assert_eq!(read_time_limit(&shown.into()), Ok(Some(limit)));
            assert!(TimeLimit::is_reached(&limit.reached()));
        }
        assert_eq!(read_time_limit(&json!("forever")), Ok(None));
        for (value, message) in [
            (json!(7200), "with its unit"),
            (json!("7200"), "with its unit"),
            (json!(""), "with its unit"),
            (json!("banana"), "with its unit"),
            (json!("-1h"), "with its unit"),
            (json!("1h30"), "with its unit"),
            (json!(["2h"]), "with its unit"),
            (json!("0s"), "from 1s to 24855d"),
            (json!("24856d"), "from 1s to 24855d"),
        ] {
            let problem = read_time_limit(&value).unwrap_err();
            assert!(problem.contains(message), "{value}: {problem}");
        }
        assert!(!TimeLimit::is_reached("exit code 3"));
    }
}
