//! Error answers: each error becomes one status and one body.

use std::{error::Error as _, fmt};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    error::{JsonPayloadError, PathError, QueryPayloadError, UrlencodedError},
    http::{StatusCode, header},
    web::{FormConfig, JsonConfig, PathConfig, QueryConfig},
};

use crate::{
    api::{ErrorBody, Problem, Reason, describe},
    executor::Error,
};

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.reason().http_status())
            .expect("every reason has a valid status code")
    }

    fn error_response(&self) -> HttpResponse {
        if self.status_code().is_server_error() {
            log::error!("{}", Chain(self));
        }
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.seconds_to_wait() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.json(ErrorBody {
            detail: self.to_string(),
            reason: Some(self.reason()),
        })
    }
}

/// An error with its causes, in one line of the log.
struct Chain<'a>(&'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The error of a definition, with all its problems.
pub fn invalid(problems: &[Problem]) -> Error {
    Error::new(Reason::Invalid, describe(problems))
}

/// The answer for a path that the API does not have.
pub async fn no_such_path(request: HttpRequest) -> HttpResponse {
    let message = format!("no such path: {:?}", start_of_path(&request));
    Error::new(Reason::NotFound, message).error_response()
}

fn start_of_path(request: &HttpRequest) -> String {
    request.path().chars().take(100).collect()
}

/// The answer for a method that a path does not have.
pub fn method_not_allowed(request: &HttpRequest, allowed: &str) -> HttpResponse {
    let (method, path) = (request.method(), start_of_path(request));
    let message = format!("{path} has no method {method}: expected {allowed}");
    let mut response = Error::new(Reason::MethodNotAllowed, message).error_response();
    if let Ok(allowed) = header::HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

pub fn json_config(max_body: usize) -> JsonConfig {
    JsonConfig::default()
        .limit(max_body)
        .error_handler(move |error, _| {
            let error = match error {
                JsonPayloadError::Overflow { .. }
                | JsonPayloadError::OverflowKnownLength { .. } => too_large(max_body),
                JsonPayloadError::ContentType => Error::new(
                    Reason::UnsupportedMediaType,
                    "the body must be JSON, with `Content-Type: application/json`",
                ),
                JsonPayloadError::Deserialize(error) => {
                    Error::new(Reason::BadRequest, format!("the body is not JSON: {error}"))
                }
                _ => cut_off(),
            };
            error.into()
        })
}

pub fn form_config(max_body: usize) -> FormConfig {
    FormConfig::default()
        .limit(max_body)
        .error_handler(move |error, _| {
            let error = match error {
                UrlencodedError::Overflow { .. } => too_large(max_body),
                UrlencodedError::ContentType => Error::new(
                    Reason::UnsupportedMediaType,
                    "the body must be a form, with `Content-Type: application/x-www-form-urlencoded`",
                ),
                UrlencodedError::Payload(_) => cut_off(),
                error => Error::new(Reason::BadRequest, format!("the body is not a form: {error}")),
            };
            error.into()
        })
}

fn cut_off() -> Error {
    Error::new(Reason::BadRequest, "the body was cut off before its end")
}

pub fn too_large(max_body: usize) -> Error {
    let kib = max_body / 1024;
    Error::new(
        Reason::RequestEntityTooLarge,
        format!("the body is larger than {kib} KiB"),
    )
}

pub fn path_config() -> PathConfig {
    PathConfig::default().error_handler(|error, _| {
        let message = match &error {
            PathError::Deserialize(error) => error.to_string(),
            error => error.to_string(),
        };
        Error::new(Reason::BadRequest, message).into()
    })
}

pub fn query_config() -> QueryConfig {
    QueryConfig::default().error_handler(|error, _| {
        let QueryPayloadError::Deserialize(error) = error else {
            return Error::new(Reason::Invalid, error.to_string()).into();
        };
        Error::new(
            Reason::Invalid,
            format!("the query cannot be read: {error}"),
        )
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_a_while_says_how_long() {
        let error = Error::new(Reason::TooManyRequests, "too often");
        assert!(!error.error_response().headers().contains_key("retry-after"));
        let response = error.retry_after(7).error_response();
        assert_eq!(response.headers().get("retry-after").unwrap(), "7");
    }
}
