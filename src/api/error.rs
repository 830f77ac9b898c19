//! The error answers of the API: a reason for programs and a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::masked;

/// The reason why a request was refused: Kubernetes' `Status.reason` values (apimachinery `pkg/apis/meta/v1/types.go`, v1.36).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    AlreadyExists,
    Conflict,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

impl Reason {
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::AlreadyExists,
        Self::Conflict,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];

    /// The HTTP status code of the reason. No other code maps reasons to status codes.
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// The body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// One sentence for a person, with a remedy if there is one.
    pub detail: String,
    /// The reason, for programs. The program's Python predecessor does not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// A problem in a definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The path of the field, as in `resources.cpus`; empty for the whole document.
    pub field: String,
    /// The problem and the expected value: lower case, no full stop.
    pub message: String,
}

impl Problem {
    /// A problem. The passwords in its texts are hidden.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: masked(&field.into()).into_owned(),
            message: masked(&message.into()).into_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

/// The most problems that are listed.
const MAX_PROBLEMS: usize = 50;

/// Limits the number of problems, and counts the others.
pub fn limit_problems(mut problems: Vec<Problem>) -> Vec<Problem> {
    let others = problems.len().saturating_sub(MAX_PROBLEMS);
    if others > 0 {
        problems.truncate(MAX_PROBLEMS);
        problems.push(Problem::new("", format!("and {others} problems more")));
    }
    problems
}

/// All problems in one line, in the order of their discovery.
pub fn describe(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
