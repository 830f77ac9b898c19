//! Answers that the server did not write: the pages of proxies and of other web servers. They are described, and never shown.

use ureq::http::{HeaderMap, HeaderValue, StatusCode};

use super::failure::shorten;

/// What answered: `502 Bad Gateway, text/html, from nginx/1.25`.
pub fn describe(status: StatusCode, headers: &HeaderMap) -> String {
    let text = |name: &str| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        let value = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let first = value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        (!first.is_empty()).then_some(first)
    };
    let reason = status.canonical_reason().unwrap_or("unknown status");
    let mut answer = format!("{} {reason}", status.as_u16());
    if let Some(form) = text("content-type") {
        answer.push_str(&format!(", {form}"));
    }
    if let Some(program) = text("server") {
        answer.push_str(&format!(", from {program}"));
    }
    shorten(&answer)
}

pub fn is_json(headers: &HeaderMap) -> bool {
    let form = headers.get("content-type").map(HeaderValue::as_bytes);
    form.is_some_and(|form| form.starts_with(b"application/json"))
}

/// Whether the page of a 400 says that the port wants TLS.
pub fn speaks_of_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.contains("http request") && text.contains("https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_described_in_one_line() {
        let mut headers = HeaderMap::new();
        let status = StatusCode::BAD_GATEWAY;
        assert_eq!(describe(status, &headers), "502 Bad Gateway");
        headers.insert(
            "content-type",
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert("server", HeaderValue::from_bytes(b"ng\xffinx").unwrap());
        assert_eq!(
            describe(status, &headers),
            "502 Bad Gateway, text/html, from ng\u{fffd}inx"
        );
        let status = StatusCode::from_u16(599).unwrap();
        assert_eq!(describe(status, &HeaderMap::new()), "599 unknown status");
    }

    #[test]
    fn a_page_about_tls_is_recognised() {
        assert!(speaks_of_tls(
            b"Client sent an HTTP request to an HTTPS server.\n"
        ));
        assert!(speaks_of_tls(
            b"<center>The plain HTTP request was sent to HTTPS port</center>"
        ));
        assert!(!speaks_of_tls(b"Bad Request"));
    }
}
