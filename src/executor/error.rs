//! What can go wrong between the executor and Kubernetes.
//!
//! One type: a word to branch on, a sentence to show, and the cause for the log. How a Kubernetes error becomes a word is
//! decided here and nowhere else.

use std::{error, fmt};

use crate::api::{Reason, TaskId};

/// A refusal or a failure. The message goes to the user; the source never leaves the server.
#[derive(Debug)]
pub struct Error {
    reason: Reason,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            source: None,
        }
    }

    /// What a failed call to Kubernetes means; `doing` says what was being done, as in ``create Job `train-ab12cd34` ``.
    pub fn kube(error: kube::Error, doing: impl fmt::Display) -> Self {
        let (reason, message) = match &error {
            kube::Error::Api(status) => (
                refusal(status),
                match status.message.trim() {
                    "" => format!("cannot {doing}: Kubernetes answers with {}", status.code),
                    message => format!("cannot {doing}: Kubernetes says: {message}"),
                },
            ),
            kube::Error::Auth(_) | kube::Error::SerdeError(_) => (
                Reason::InternalError,
                format!("cannot {doing}: the server and Kubernetes do not understand each other"),
            ),
            _ => (
                Reason::ServiceUnavailable,
                format!("cannot {doing}: Kubernetes cannot be reached"),
            ),
        };
        Self {
            reason,
            message,
            source: Some(Box::new(error)),
        }
    }

    /// The error of a task that does not exist, or is another user's, which looks the same.
    pub fn no_such_task(id: TaskId) -> Self {
        Self::new(Reason::NotFound, format!("task `{id}` not found"))
    }

    /// The same error, with more to say.
    #[must_use]
    pub fn but(mut self, what: &str) -> Self {
        self.message = format!("{}; {what}", self.message);
        self
    }

    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// The word for a `Status` with which Kubernetes refused a request of ours.
fn refusal(status: &kube::core::Status) -> Reason {
    match status.code {
        // Kubernetes found fault with an object that was made from what the user gave.
        400 | 422 => Reason::Invalid,
        403 => Reason::Forbidden,
        409 if status.is_already_exists() => Reason::AlreadyExists,
        409 => Reason::Conflict,
        413 => Reason::RequestEntityTooLarge,
        408 | 429 | 500 | 502 | 503 => Reason::ServiceUnavailable,
        504 => Reason::Timeout,
        // 401: the server's credentials, not the user's. 404: what the server relies on, such as its namespace, is missing;
        // where a missing object is the user's affair, the caller says so.
        _ => Reason::InternalError,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
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
    fn what_a_real_kubernetes_refuses_gets_a_word() {
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
            Reason::InternalError
        );
        assert_eq!(reason("forbidden"), Reason::Forbidden);
        assert_eq!(reason("unauthorized"), Reason::InternalError);
    }

    #[test]
    fn the_message_says_what_was_tried_and_the_source_why() {
        let status =
            Status::failure("jobs.batch \"a\" already exists", "AlreadyExists").with_code(409);
        let error = Error::kube(kube::Error::Api(status.boxed()), "create Job `a`");
        assert_eq!(
            error.to_string(),
            "cannot create Job `a`: Kubernetes says: jobs.batch \"a\" already exists"
        );
        assert!(error::Error::source(&error).is_some());
    }
}
