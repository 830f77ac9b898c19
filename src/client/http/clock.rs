//! The server's clock, from the header `Date` of its answers.

use time::{
    PrimitiveDateTime, format_description::StaticFormatDescription, macros::format_description,
};
use ureq::http::HeaderMap;

use crate::api::Timestamp;

/// The only form that a server may send (RFC 9110, section 5.6.7).
const FORM: StaticFormatDescription = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// The time at which an answer was made.
pub fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get("date")?.to_str().ok()?;
    let date = PrimitiveDateTime::parse(date, FORM).ok()?;
    Some(Timestamp::from(date.assume_utc()))
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn the_date_of_an_answer_is_its_time() {
        let time = |date| {
            let headers = [("date".parse().unwrap(), HeaderValue::from_static(date))];
            server_time(&headers.into_iter().collect()).map(|time| time.to_string())
        };
        assert_eq!(
            time("Sun, 05 Oct 2025 12:34:56 GMT").as_deref(),
            Some("2025-10-05T12:34:56.000000")
        );
        assert_eq!(time("yesterday"), None);
        assert_eq!(server_time(&HeaderMap::new()), None);
    }
}
