//! The server's clock, from the header `Date` of its answers.

use ureq::http::HeaderMap;

use crate::api::Timestamp;

/// The time at which an answer was made.
pub fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    Timestamp::from_http_date(headers.get("date")?.to_str().ok()?)
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
