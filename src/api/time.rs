//! Times on the wire: UTC to the microsecond, without a suffix, in the form of the program's Python predecessor.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::schema;

const WIRE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
/// Python's `isoformat` leaves the fraction out when it is zero.
const WHOLE_SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// The only form that a server may send in a header.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// A moment, in UTC. Written `2025-10-05T12:34:56.789012`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The beginning of 1970, for an unknown time.
    pub const EPOCH: Self = Self(OffsetDateTime::UNIX_EPOCH);

    /// The time `microseconds` after the beginning of 1970; `None` outside of the years that can be written.
    pub fn from_unix_microseconds(microseconds: i128) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp_nanos(microseconds.checked_mul(1000)?)
            .ok()
            .map(Self)
    }

    /// Reads the time of a header `Date` (RFC 9110, section 5.6.7).
    pub fn from_http_date(text: &str) -> Option<Self> {
        let date = PrimitiveDateTime::parse(text, HTTP_DATE).ok()?;
        Some(Self::from(date.assume_utc()))
    }

    /// Nanoseconds since 1970. A time outside of the range becomes its end.
    pub fn unix_nanoseconds(self) -> i64 {
        let nanoseconds = self.0.unix_timestamp_nanos();
        i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
    }

    /// The time this long after it.
    #[must_use]
    pub fn later(self, duration: Duration) -> Self {
        let added = time::Duration::try_from(duration).ok();
        Self(added.map_or(self.0, |added| self.0.saturating_add(added)))
    }

    /// The time this long before it.
    #[must_use]
    pub fn earlier(self, duration: Duration) -> Self {
        let removed = time::Duration::try_from(duration).ok();
        Self(removed.map_or(self.0, |removed| self.0.saturating_sub(removed)))
    }

    /// The number of whole seconds from `self` to `later`; negative if `later` is earlier.
    pub fn seconds_until(self, later: Self) -> i64 {
        (later.0 - self.0).whole_seconds()
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        schema::text(
            "A moment, in UTC.",
            "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}$",
            "2025-10-05T12:34:56.789012",
        )
    }
}

impl ToSchema for Timestamp {}

impl From<OffsetDateTime> for Timestamp {
    /// The same time in UTC. A time whose year in UTC has more than four digits becomes the last one that does not.
    fn from(time: OffsetDateTime) -> Self {
        let utc = time.checked_to_offset(time::UtcOffset::UTC);
        Self(utc.unwrap_or(PrimitiveDateTime::MAX.assume_utc()))
    }
}

impl FromStr for Timestamp {
    type Err = time::error::Parse;

    /// Reads the wire form, with any number of fraction digits or none, and with or without a `Z`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_suffix('Z').unwrap_or(text);
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let whole = PrimitiveDateTime::parse(whole, WHOLE_SECONDS)?;
        let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
        let microsecond = digits
            .parse()
            .map_err(|_| time::error::ParseFromDescription::InvalidComponent("subsecond"))?;
        let time = whole
            .replace_microsecond(microsecond)
            .map_err(time::error::TryFromParsed::from)?;
        Ok(Self(time.assume_utc()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = time::error::Parse;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&WIRE).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_form_and_pythons() {
        for (text, written) in [
            ("2025-10-05T12:34:56.789012", "2025-10-05T12:34:56.789012"),
            ("2025-10-05T12:34:56", "2025-10-05T12:34:56.000000"),
            ("2025-10-05T12:34:56.5Z", "2025-10-05T12:34:56.500000"),
            (
                "2025-10-05T12:34:56.123456789Z",
                "2025-10-05T12:34:56.123456",
            ),
        ] {
            assert_eq!(
                text.parse::<Timestamp>().map(|time| time.to_string()),
                Ok(written.to_owned())
            );
        }
        for text in [
            "",
            "yesterday",
            "2025-13-05T12:34:56",
            "2025-10-05 12:34:56",
            "2025-10-05T12:34:56.x",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_last_hour_of_the_calendar_has_a_time_in_utc() {
        use time::macros::datetime;
        let latest = Timestamp::from(datetime!(9999-12-31 23:59:59 -1));
        assert_eq!(latest.to_string(), "9999-12-31T23:59:59.999999");
    }

    #[test]
    fn counts_the_seconds_between_two_times() {
        let early: Timestamp = "2025-10-05T12:00:00".parse().unwrap();
        let late: Timestamp = "2025-10-05T12:01:01.9".parse().unwrap();
        assert_eq!(early.seconds_until(late), 61);
        assert_eq!(late.seconds_until(early), -61);
    }
}
