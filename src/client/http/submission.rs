//! Submissions: the requests that start tasks, or say what they would start, also to servers that know less.

use std::{
    io::{self, Read},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::{
    SendBody,
    http::{HeaderValue, Method},
};

use super::{
    Answer, ApiClient, RequestKey, Stream, WRITE_TIMEOUT, cannot_send,
    form::{self, Form, is_told},
};
use crate::{
    api::{
        GroupSubmitResponse, SubmitFlags, Sweep, TaskCheckResponse, TaskDefinition,
        TaskDryRunResponse, TaskSource, TaskSubmitResponse, path,
    },
    client::Error,
};

impl ApiClient {
    /// Starts a task without files. A server that does not keep its file gets the definition alone.
    ///
    /// # Errors
    /// The server refuses it, or would ignore a part of it.
    pub fn submit(
        &self,
        task: &TaskDefinition,
        flags: SubmitFlags,
        source: &TaskSource,
        key: &RequestKey,
    ) -> Result<Answer<TaskSubmitResponse>, Error> {
        if is_told(source) {
            let form = Form::new(wire(task)?, flags, None, None, source);
            match self.again(|| self.send_form(&form, None, Some(key))) {
                Err(error) if is_of_python(&error) => {
                    if let Some(what) = unknown_to_python(task, flags, key) {
                        return Err(self.lacks(what, None));
                    }
                }
                Err(error) if is_about_form(&error) || is_about_source(&error) => (),
                answer => return self.typed(answer?),
            }
        }
        self.post(&path::tasks_submit(flags), &wire(task)?, key)
    }

    /// Asks whether the server would accept a task with files, so that those of a refused one are not sent. Takes the text out of
    /// `source` if the server does not keep it.
    ///
    /// # Errors
    /// The server refuses it, or takes no files.
    pub fn check(
        &self,
        task: &TaskDefinition,
        flags: SubmitFlags,
        source: &mut TaskSource,
    ) -> Result<TaskCheckResponse, Error> {
        let form = Form::new(wire(task)?, flags, Some("check"), None, source);
        let ask = || self.again(|| self.send_form(&form, None, None));
        match self.until_answered(ask) {
            Err(error) if is_about_source(&error) && is_told(source) => {
                *source = TaskSource::default();
                self.check(task, flags, source)
            }
            Ok(answer) => serde_json::from_value(answer.value).map_err(|_| self.no_files()),
            Err(error) if is_about_form(&error) => Err(self.no_files()),
            Err(error) => Err(error),
        }
    }

    fn no_files(&self) -> Error {
        Error::NoFiles {
            url: self.url.clone(),
        }
    }

    /// Starts a task with files. The server has to be one that [`ApiClient::check`] has accepted.
    pub fn submit_with_files(
        &self,
        task: &TaskDefinition,
        flags: SubmitFlags,
        files: Stream<'_>,
        source: &TaskSource,
        key: &RequestKey,
    ) -> Result<Answer<TaskSubmitResponse>, Error> {
        let form = Form::new(wire(task)?, flags, None, None, source);
        let answer = self.send_form(&form, Some(files), Some(key))?;
        self.typed(answer)
    }

    /// Starts the tasks of a sweep. A server that knows no sweeps refuses the form, and starts nothing.
    pub fn submit_group(
        &self,
        task: &TaskDefinition,
        flags: SubmitFlags,
        sweep: &Sweep,
        files: Option<Stream<'_>>,
        source: &TaskSource,
        key: &RequestKey,
    ) -> Result<Answer<GroupSubmitResponse>, Error> {
        let form = Form::new(wire(task)?, flags, None, Some(sweep), source);
        match self.send_form(&form, files, Some(key)) {
            Err(error) if is_about_form(&error) => Err(self.lacks("sweeps", None)),
            answer => {
                let answer = self.or_started(answer?, "sweeps")?;
                self.typed(answer)
            }
        }
    }

    /// Returns the objects that submitting a task would create. The request is a form, which a server without dry runs refuses.
    ///
    /// # Errors
    /// The server has no dry run, also when it has started the task all the same.
    pub fn submit_dry_run(
        &self,
        task: &TaskDefinition,
        flags: SubmitFlags,
        sweep: Option<&Sweep>,
        files: Option<Stream<'_>>,
    ) -> Result<Answer<TaskDryRunResponse>, Error> {
        let source = &TaskSource::default();
        let form = Form::new(wire(task)?, flags, Some("dry_run"), sweep, source);
        let answer = self.send_form(&form, files, None);
        let answer = match answer {
            Err(error) if is_about_form(&error) => return Err(self.lacks("dry run", None)),
            answer => self.or_started(answer?, "dry run")?,
        };
        self.typed(answer)
    }

    fn typed<T: DeserializeOwned>(&self, answer: Answer<Value>) -> Result<Answer<T>, Error> {
        let value = serde_json::from_value(answer.value);
        Ok(Answer {
            value: value.map_err(|error| self.not_ours(&error.to_string()))?,
            body: answer.body,
            time: answer.time,
        })
    }

    /// Sends a form, with an archive behind its other parts.
    fn send_form(
        &self,
        form: &Form,
        files: Option<Stream<'_>>,
        key: Option<&RequestKey>,
    ) -> Result<Answer<Value>, Error> {
        let (head, tail) = form.around(files.is_some());
        let length =
            (head.len() + tail.len()) as u64 + files.as_ref().map_or(0, |files| files.length);
        let files = files.map_or_else(
            || Box::new(io::empty()) as Box<dyn Read>,
            |files| files.bytes,
        );
        let mut body = head.as_bytes().chain(files).chain(tail.as_bytes());
        let body = SendBody::from_reader(&mut body);
        let mut request =
            self.request(Method::POST, path::TASKS_SUBMIT, "application/json", body)?;
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static(form::KIND));
        headers.insert("content-length", length.into());
        headers.extend(key.map(RequestKey::header));
        // Slow lines need a second for 64 KiB.
        let timeout = WRITE_TIMEOUT + Duration::from_secs(length / (64 * 1024));
        self.answer_to(request, timeout)
    }

    /// The answer, unless a server that does not know a part of the form has started one task.
    fn or_started(
        &self,
        answer: Answer<Value>,
        what: &'static str,
    ) -> Result<Answer<Value>, Error> {
        let started = answer.value["task_id"].as_str();
        match started.and_then(|id| id.parse().ok()) {
            Some(id) => Err(self.lacks(what, Some(id))),
            None => Ok(answer),
        }
    }
}

fn wire(task: &TaskDefinition) -> Result<Value, Error> {
    task.to_wire().map_err(|error| cannot_send(&error))
}

/// Whether `FastAPI` refuses a form, because it finds no definition in it.
fn is_of_python(error: &Error) -> bool {
    matches!(
        error,
        Error::Api {
            status: 422,
            reason: None,
            ..
        }
    )
}

/// Whether a server refuses a form because it knows no forms, or not all parts of this one.
fn is_about_form(error: &Error) -> bool {
    match error {
        // An older server takes only JSON, or knows fewer flags.
        Error::Api { status: 415, .. } => true,
        _ if is_of_python(error) => true,
        Error::Api {
            status: 422,
            detail,
            ..
        } => detail.contains("is not a part of the form"),
        _ => false,
    }
}

/// What of a submit this program's Python ancestor would ignore without a word. Fail-fast and the barrier are not in this list: it
/// knows neither, so whoever switches them off gets what they ask for.
fn unknown_to_python(
    task: &TaskDefinition,
    flags: SubmitFlags,
    key: &RequestKey,
) -> Option<&'static str> {
    [
        (flags.recover, "recovery"),
        (task.time_limit.is_some(), "time limits"),
        (!task.secrets.is_empty(), "secrets"),
        (key.is_given, "idempotency keys"),
    ]
    .into_iter()
    .find_map(|(is_asked_for, what)| is_asked_for.then_some(what))
}

/// Whether a server knows forms, but keeps no files of tasks, or the file makes the request too large.
fn is_about_source(error: &Error) -> bool {
    let names = |detail: &str| {
        ["source", "origin"]
            .iter()
            .any(|part| detail.contains(&format!("{part}: is not a part of the form")))
    };
    match error {
        Error::Api { status: 413, .. } => true,
        Error::Api {
            status: 422,
            detail,
            ..
        } => names(detail),
        _ => false,
    }
}
