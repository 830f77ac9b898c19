//! What went wrong with a request, as an error for the user.

use std::{
    error,
    io::{self, ErrorKind},
    time::Duration,
};

use ureq::{
    Timeout,
    http::{HeaderMap, Method, StatusCode},
};

use super::{ApiClient, MAX_SHOWN, agent::CONNECT_TIMEOUT, page};
use crate::{
    api::TaskId,
    certificate,
    client::{Error, config::without_login, error::describe_io, output},
};

/// How long a server may take for the beginning of TLS. One that speaks none may say nothing, and the user waits.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl ApiClient {
    /// The URL of the server, and the proxy in front of it.
    pub(super) fn place(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("{} through the proxy {proxy}", self.url),
            None => self.url.clone(),
        }
    }

    /// The error for an answer that the server did not write, such as the page of a proxy.
    pub(super) fn foreign(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        let answer = page::describe(status, headers);
        let (url, place) = (&self.url, self.place());
        match status.as_u16() {
            // nginx and Go answer this to plain HTTP on a port with TLS.
            400 if url.starts_with("http://") && page::speaks_of_tls(body) => {
                self.wrong_scheme("https")
            }
            // The request came too slowly, and the server did not read all of it.
            code @ 408 => Error::Api {
                status: code,
                detail: format!("the server at {place} answers with {answer}"),
                reason: None,
            },
            // A log is requested again after these.
            code @ (425 | 429 | 500..) => Error::Api {
                status: code,
                detail: format!("a proxy answered instead of the server at {place} ({answer})"),
                reason: None,
            },
            401 | 403 | 407 => {
                self.not_ours(&format!("{answer}: a proxy in between may ask for a login"))
            }
            _ => self.not_ours(&answer),
        }
    }

    /// Whether the server at a URL without TLS speaks TLS, trusted or not. It gets no request with a login.
    fn speaks_tls(&self) -> bool {
        let Some(rest) = self.url.strip_prefix("http://") else {
            return false;
        };
        let request = self
            .agent
            .head(format!("https://{rest}"))
            .config()
            .timeout_global(Some(PROBE_TIMEOUT))
            .build();
        match request.call() {
            Ok(_) => true,
            Err(error) => tls(&error).is_some_and(|tls| !certificate::is_plain(tls)),
        }
    }

    /// The error of a server that does not know what a request asks for, and perhaps has `started` a task all the same.
    pub(super) fn lacks(&self, what: &'static str, started: Option<TaskId>) -> Error {
        let url = self.url.clone();
        Error::Lacks { url, what, started }
    }

    /// The answer on a path that servers have not always had, where an older one says that it has no such path, or takes the
    /// path for another one's.
    pub(super) fn since<T>(
        &self,
        what: &'static str,
        answer: Result<T, Error>,
    ) -> Result<T, Error> {
        answer.map_err(|error| {
            let is_unknown = match &error {
                Error::Api { status: 405, .. } => true,
                Error::Api {
                    status: 404,
                    detail,
                    ..
                } => detail.starts_with("no such path"),
                // FastAPI's.
                Error::NotOurServer { problem, .. } => {
                    problem.starts_with("404 Not Found, application/json")
                }
                _ => false,
            };
            match is_unknown {
                true => self.lacks(what, None),
                false => error,
            }
        })
    }

    fn wrong_scheme(&self, right: &'static str) -> Error {
        let (_, rest) = self.url.split_once("://").unwrap_or_default();
        Error::WrongScheme {
            url: self.url.clone(),
            right: format!("{right}://{rest}"),
        }
    }

    /// The error for a request without an answer. A `method` other than GET may have changed something.
    pub(super) fn failed(&self, error: ureq::Error, method: &Method) -> Error {
        let unreachable = |cause: String| Error::Unreachable {
            url: self.url.clone(),
            proxy: self.proxy.as_ref().map(ToString::to_string),
            cause: shorten(&cause),
        };
        let no_answer = |cause: String, is_cut| Error::NoAnswer {
            url: self.place(),
            cause: shorten(&cause),
            may_have_acted: *method != Method::GET,
            is_cut,
        };
        if let Some(tls) = tls(&error) {
            return match certificate::is_plain(tls) {
                true => self.wrong_scheme("http"),
                false => Error::Untrusted {
                    url: self.place(),
                    cause: certificate::describe(tls).unwrap_or_default(),
                },
            };
        }
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => unreachable(format!(
                "no connection within {} seconds",
                CONNECT_TIMEOUT.as_secs()
            )),
            ureq::Error::Timeout(_) => no_answer("it took too long".to_owned(), false),
            ureq::Error::HostNotFound => unreachable("no such host".to_owned()),
            ureq::Error::ConnectProxyFailed(reason) => {
                // `proxy server responded 407/407`
                let reason = reason.split('/').next().unwrap_or_default();
                unreachable(
                    reason
                        .replace("proxy server", "it")
                        .replace("responded", "answered"),
                )
            }
            // A server with TLS closes the connection, or answers with an alert.
            ureq::Error::Io(_) | ureq::Error::Protocol(_) if self.speaks_tls() => {
                self.wrong_scheme("https")
            }
            ureq::Error::Io(error) if needs_connection(&error) => {
                no_answer(describe_lost(&error), true)
            }
            ureq::Error::Io(error) => unreachable(describe_io(&error)),
            ureq::Error::Protocol(_) if self.url.starts_with("ssh://") => self.not_ours(
                "something else than k8s-cli wrote there, such as a start file of its shell: `ssh HOST true` must print nothing",
            ),
            ureq::Error::Protocol(_)
            | ureq::Error::BodyExceedsLimit(_)
            | ureq::Error::LargeResponseHeader(..) => self.not_ours(&error.to_string()),
            other => unreachable(other.to_string()),
        }
    }
}

/// The error for a URL whose path the server does not know; none if it has no path.
pub(super) fn no_such_path(url: &str) -> Option<Error> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.find('/')?;
    Some(Error::NoSuchPath {
        right: url[..url.len() - rest.len() + path].to_owned(),
        url: url.to_owned(),
    })
}

/// The error of TLS in an error of ureq.
fn tls(error: &ureq::Error) -> Option<&(dyn error::Error + 'static)> {
    let found: &(dyn error::Error + 'static) = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error,
        _ => return None,
    };
    certificate::describe(found).is_some().then_some(found)
}

/// Whether an error can only happen on an established connection.
fn needs_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
    )
}

fn describe_lost(error: &io::Error) -> String {
    match error.kind() {
        // ureq reports a closed connection as an unexpected end.
        ErrorKind::UnexpectedEof => "the connection was lost".to_owned(),
        ErrorKind::TimedOut => "the server stopped sending".to_owned(),
        _ => describe_io(error),
    }
}

/// Describes why a body could not be read to its end.
pub fn describe_body(error: io::Error) -> String {
    match ureq::Error::from(error) {
        ureq::Error::Io(error) => describe_lost(&error),
        other => other.to_string(),
    }
}

/// A URL for a message: without a login, and without its query, in which a token may be.
pub fn without_secrets(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let rest = if end < url.len() { "?..." } else { "" };
    format!("{}{rest}", without_login(&url[..end]))
}

pub(super) fn shorten(text: &str) -> String {
    let text = output::escape(text);
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_shown_without_logins_and_tokens() {
        for (location, expected) in [
            ("https://login.example/x", "https://login.example/x"),
            (
                "http://bob:hunter2@login.example/x",
                "http://***@login.example/x",
            ),
            ("/login?token=s3cret", "/login?..."),
            ("https://a/#access_token=s3cret", "https://a/?..."),
        ] {
            assert_eq!(without_secrets(location), expected);
        }
    }
}
