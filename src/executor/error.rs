//! The errors of the executor.
//!
//! An error has a [`Reason`] to branch on, a message for the user, and a source for the log. Only this module maps the errors of
//! Kubernetes to reasons.

use std::{error, fmt, io, iter};

use kube::client::AuthError;

use crate::{
    api::{Reason, TaskId, masked},
    certificate,
};

/// A refusal or a failure. The message goes to the user; the source never leaves the server.
#[derive(Debug)]
pub struct Error {
    reason: Reason,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
    /// After so many seconds the same request may succeed.
    retry_after: Option<u64>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            source: None,
            retry_after: None,
        }
    }

    /// The same for a request that may succeed after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// After how many seconds the same request may succeed, if that is known.
    pub fn seconds_to_wait(&self) -> Option<u64> {
        self.retry_after
    }

    /// The error of a failure on this machine.
    pub fn caused_by(reason: Reason, message: impl Into<String>, cause: io::Error) -> Self {
        Self {
            reason,
            message: message.into(),
            source: Some(Box::new(cause)),
            retry_after: None,
        }
    }

    /// The error of a failed call to Kubernetes. `doing` names the action, as in ``create Job `train-ab12cd34` ``.
    pub fn kube(error: kube::Error, doing: impl fmt::Display) -> Self {
        let (reason, message) = match &error {
            kube::Error::Api(status) if is_about_namespace(status) => {
                let name = status.details.as_ref().map_or("", |details| &details.name);
                (
                    Reason::NotFound,
                    format!("cannot {doing}: the namespace `{name}` of the server does not exist"),
                )
            }
            // kube's word for a body that is no `Status`. It is the message, and may be a page.
            kube::Error::Api(status) if status.reason == "Failed to parse error data" => {
                // What programs in Go answer to plain HTTP.
                let is_tls = status.message.contains("HTTP request to an HTTPS server");
                let why = match is_tls {
                    true => "it speaks TLS: the URL of the cluster begins with https://".to_owned(),
                    false => {
                        let code = status.code;
                        format!(
                            "the answer has status {code} and no message of Kubernetes: a proxy may be in between"
                        )
                    }
                };
                (Reason::ServiceUnavailable, format!("cannot {doing}: {why}"))
            }
            // JSON of another program.
            kube::Error::Api(status) if status.code == 0 => (
                Reason::ServiceUnavailable,
                format!(
                    "cannot {doing}: the answer is none of Kubernetes: another program may be at its address"
                ),
            ),
            kube::Error::Api(status) => (
                refusal(status),
                match status.message.trim() {
                    "" => format!("cannot {doing}: Kubernetes answers with {}", status.code),
                    message => format!("cannot {doing}: Kubernetes says: {}", shorten(message)),
                },
            ),
            kube::Error::Auth(_) => (
                Reason::InternalError,
                format!("cannot {doing}: the credentials of the server are not usable"),
            ),
            kube::Error::SerdeError(_) => (
                Reason::InternalError,
                format!(
                    "cannot {doing}: the answer is none of Kubernetes: another program, or the login page of a proxy, may be at its address"
                ),
            ),
            other => {
                let cause = certificate::describe(other).or_else(|| of_way(other));
                let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
                (
                    Reason::ServiceUnavailable,
                    format!("cannot {doing}: Kubernetes cannot be reached{cause}"),
                )
            }
        };
        Self {
            reason,
            message,
            source: Some(Box::new(error)),
            retry_after: None,
        }
    }

    /// The error of a value that cannot be written as JSON.
    pub fn internal(error: serde_json::Error) -> Self {
        Self {
            reason: Reason::InternalError,
            message: error.to_string(),
            source: Some(Box::new(error)),
            retry_after: None,
        }
    }

    /// A key with which another request makes, or has made, something else.
    pub fn key_makes_another(kind: &str) -> Self {
        let message = format!(
            "Idempotency-Key: another request of this key makes another {kind}, so this one is not taken: use a key for each"
        );
        Self::new(Reason::Invalid, message)
    }

    /// The error of a task that does not exist. A task of another user gets the same error.
    pub fn no_such_task(id: TaskId) -> Self {
        Self::new(Reason::NotFound, format!("task `{id}` not found"))
    }

    /// The same error with `more` at the end of its message.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// Whether Kubernetes has certainly not done what it was asked for: it refused the request, or nothing listens at its address.
    pub fn is_refusal(&self) -> bool {
        let source = self.source.as_deref().map(|source| source as _);
        let mut causes = iter::successors(source, |cause: &&(dyn error::Error + 'static)| {
            cause.source()
        });
        causes.any(|cause| {
            let status = cause.downcast_ref::<kube::Error>();
            let io = cause.downcast_ref::<io::Error>();
            matches!(status, Some(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 408)
                || io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused)
        })
    }

    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether Kubernetes is away or overloaded, so that the same request may succeed later.
    pub fn may_pass(&self) -> bool {
        let is_about_trust = self.source.as_deref().is_some_and(|source| {
            let source: &(dyn error::Error + 'static) = source;
            certificate::describe(source).is_some()
        });
        matches!(self.reason, Reason::ServiceUnavailable | Reason::Timeout) && !is_about_trust
    }
}

/// What is wrong on the way to Kubernetes: the plugin for the credentials, or a proxy that refuses the connection.
fn of_way(error: &kube::Error) -> Option<String> {
    let first: &(dyn error::Error + 'static) = error;
    let mut causes = iter::successors(Some(first), |cause| cause.source());
    causes.find_map(|cause| {
        if let Some(kube::Error::Auth(AuthError::AuthExec(problem))) = cause.downcast_ref() {
            return Some(problem.clone());
        }
        // hyper-util's error for an answer to CONNECT that is no success. It does not keep the answer.
        let is_refused = cause.to_string() == "tunnel error: unsuccessful";
        is_refused.then(|| "the proxy refuses the connection".to_owned())
    })
}

/// The longest message of Kubernetes that is passed on, in characters. It names each of thousands of equal mistakes.
const MAX_MESSAGE: usize = 8 << 10;

/// The beginning of a long message.
fn shorten(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{} ...", &message[..end]),
        None => message.to_owned(),
    }
}

/// Whether a `Status` says that the namespace of the server does not exist.
pub fn is_about_namespace(status: &kube::core::Status) -> bool {
    let details = status.details.as_ref();
    status.is_not_found() && details.is_some_and(|details| details.kind == "namespaces")
}

/// The reason for a `Status` with which Kubernetes refused a request.
fn refusal(status: &kube::core::Status) -> Reason {
    match status.code {
        // The user's definition made an object that is not valid.
        400 | 422 => Reason::Invalid,
        403 => Reason::Forbidden,
        409 if status.is_already_exists() => Reason::AlreadyExists,
        409 => Reason::Conflict,
        413 => Reason::RequestEntityTooLarge,
        408 | 429 | 500 | 502 | 503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        // 401 is about the server's credentials, not the user's. 404 is about an object that the server relies on; a caller that
        // reads an object of the user handles 404 itself.
        _ => Reason::InternalError,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Kubernetes and the messages of problems repeat what a user wrote.
        f.write_str(&masked(&self.message))
    }
}

impl error::Error for Error {
    /// The cause. An answer of Kubernetes is none: the message repeats it.
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let source = self.source.as_deref()?;
        let is_answer = matches!(source.downcast_ref(), Some(kube::Error::Api(_)));
        (!is_answer).then_some(source as _)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    /// The error Statuses that a real Kubernetes 1.36 sent, by the name of the request.
    fn recorded() -> impl Iterator<Item = (String, Status)> {
        include_str!("../../fixtures/recorded/answers.jsonl")
            .lines()
            .filter_map(|line| {
                let answer: serde_json::Value = serde_json::from_str(line).unwrap();
                let status = serde_json::from_value(answer["body"].clone()).ok()?;
                (answer["status"].as_u64()? >= 400)
                    .then(|| (answer["name"].as_str().unwrap().to_owned(), status))
            })
    }

    #[test]
    fn each_recorded_refusal_has_a_reason() {
        let reasons: Vec<_> = recorded()
            .map(|(name, status)| {
                (
                    name,
                    Error::kube(kube::Error::Api(status.boxed()), "try").reason(),
                )
            })
            .collect();
        let reason = |wanted: &str| {
            let found = reasons.iter().find(|(name, _)| name == wanted);
            found
                .unwrap_or_else(|| panic!("{wanted:?} is not recorded"))
                .1
        };
        assert_eq!(reason("create a job that exists"), Reason::AlreadyExists);
        assert_eq!(reason("create with an invalid name"), Reason::Invalid);
        assert_eq!(reason("create with a bad quantity"), Reason::Invalid);
        assert_eq!(
            reason("create in a namespace that does not exist"),
            Reason::NotFound
        );
        assert_eq!(reason("forbidden"), Reason::Forbidden);
        assert_eq!(reason("unauthorized"), Reason::InternalError);
    }

    #[test]
    fn the_page_of_a_proxy_is_not_shown() {
        let page = Status::failure("<html>", "Failed to parse error data").with_code(502);
        let error = Error::kube(kube::Error::Api(page.boxed()), "list Jobs");
        assert_eq!(error.reason(), Reason::ServiceUnavailable);
        assert_eq!(
            error.to_string(),
            "cannot list Jobs: the answer has status 502 and no message of Kubernetes: a proxy may be in between"
        );
    }

    #[test]
    fn the_message_names_the_action_and_repeats_the_answer_once() {
        let status =
            Status::failure("jobs.batch \"a\" already exists", "AlreadyExists").with_code(409);
        let error = Error::kube(kube::Error::Api(status.boxed()), "create Job `a`");
        assert_eq!(
            error.to_string(),
            "cannot create Job `a`: Kubernetes says: jobs.batch \"a\" already exists"
        );
        assert!(error::Error::source(&error).is_none());
        let broken = kube::Error::Service(io::Error::other("reset").into());
        let error = Error::kube(broken, "create Job `a`");
        assert!(error::Error::source(&error).is_some());
    }
}
