//! Refusals of the API: `metav1.Status` with the messages of a real server.
//!
//! Other files name the refusal (`not_found`, `conflict`, ...), and only this one words it. The messages follow Kubernetes,
//! `staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go` and `pkg/util/validation/field/errors.go`, v1.36.

use std::fmt::{self, Display};

use serde_json::{Value, json};

use super::resource::Resource;

/// A refusal, ready to be an HTTP answer or the object of an `ERROR` watch event.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
    continue_token: Option<String>,
}

/// An error of one field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub field: String,
    reason: &'static str,
    message: String,
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
        }
    }

    fn with_details(self, details: Value) -> Self {
        Self {
            details: Some(details),
            ..self
        }
    }

    fn about(self, resource: &Resource, name: &str) -> Self {
        let mut details = json!({ "kind": resource.plural });
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        self.with_details(details)
    }

    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, name)
    }

    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message).with_details(json!({}))
    }

    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            resource.qualified()
        );
        Self::new(409, "Conflict", message).about(resource, name)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with_details(json!({}))
    }

    /// The sandbox has no streams to a container.
    pub fn no_streams() -> Self {
        let message = "the sandbox has no exec, attach and port-forward: its pods are processes of this machine";
        Self::new(405, "MethodNotAllowed", message).with_details(json!({}))
    }

    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The body is in protobuf, which only `kubectl create` with the name of a kind sends.
    pub fn protobuf() -> Self {
        let message = "the body of the request is in protobuf, and this server reads only JSON: use kubectl create -f";
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// The watch asked for changes that are no longer kept.
    pub fn too_old(asked: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self::new(410, "Expired", message)
    }

    /// The next page belongs to a list that is no longer kept; `token` continues with the present list.
    pub fn page_expired(token: String) -> Self {
        let mut status = Self::new(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
             results. Continuing with the provided token results in an inconsistent list - objects that were created, \
             modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        );
        status.continue_token = Some(token);
        status
    }

    pub fn not_yet(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        Self::new(504, "Timeout", message).with_details(json!({
            "retryAfterSeconds": 1,
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
        }))
    }

    /// The object is not valid; `errors` is not empty.
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let mut status = Self::new(422, "Invalid", "").about(resource, name);
        status.list(&resource.qualified_kind(), resource.kind, name, errors);
        status
    }

    /// The options of a request are not valid; `kind` is theirs, for example `CreateOptions`.
    pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Self {
        let mut status =
            Self::new(422, "Invalid", "").with_details(json!({ "group": "meta.k8s.io" }));
        status.list(&format!("{kind}.meta.k8s.io"), kind, "", errors);
        status
    }

    /// The options of a log request are not valid.
    pub fn invalid_log_options(pod: &str, error: FieldError) -> Self {
        let mut status = Self::new(422, "Invalid", "").with_details(json!({ "name": pod }));
        status.list("PodLogOptions", "PodLogOptions", pod, &[error]);
        status
    }

    /// A patch that cannot be applied.
    pub fn rejected_patch(name: &str) -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message).with_details(json!({ "name": name }))
    }

    fn list(&mut self, qualified: &str, kind: &str, name: &str, errors: &[FieldError]) {
        let mut lines: Vec<String> = Vec::new();
        for error in errors {
            let line = error.to_string();
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        let list = match lines.as_slice() {
            [line] => line.clone(),
            lines => format!("[{}]", lines.join(", ")),
        };
        self.message = format!("{qualified} \"{name}\" is invalid: {list}");
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({ "reason": error.reason, "message": error.message, "field": error.field }))
            .collect();
        if let Some(details) = &mut self.details {
            details["kind"] = json!(kind);
            details["causes"] = json!(causes);
        }
    }

    /// The JSON of the `Status` object.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            value["details"] = details.clone();
        }
        if let Some(token) = &self.continue_token {
            value["metadata"]["continue"] = json!(token);
        }
        value
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl FieldError {
    fn new(field: impl Into<String>, reason: &'static str, message: String) -> Self {
        Self {
            field: field.into(),
            reason,
            message,
        }
    }

    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Self {
        let message = format!("Invalid value: {}: {detail}", value.into());
        Self::new(field, "FieldValueInvalid", message)
    }

    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = match detail {
            "" => "Required value".to_owned(),
            detail => format!("Required value: {detail}"),
        };
        Self::new(field, "FieldValueRequired", message)
    }

    pub fn duplicate(field: impl Into<String>, value: &str) -> Self {
        let message = format!("Duplicate value: \"{value}\"");
        Self::new(field, "FieldValueDuplicate", message)
    }

    pub fn not_found(field: impl Into<String>, value: &str) -> Self {
        let message = format!("Not found: \"{value}\"");
        Self::new(field, "FieldValueNotFound", message)
    }

    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {detail}"))
    }

    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self::new(field, "FieldValueTooLong", message)
    }

    pub fn not_supported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|word| format!("\"{word}\"")).collect();
        let message = format!(
            "Unsupported value: \"{value}\": supported values: {}",
            supported.join(", ")
        );
        Self::new(field, "FieldValueNotSupported", message)
    }
}

impl Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
