//! The body of `POST /tasks/submit`: the definition as JSON, or a form of several parts with the definition in the part `task`, and the
//! archive of its files in the part `files`. The parts `source` and `origin` hold the text of the task file, and where it came from.
//!
//! The flags `fail_fast`, `barrier`, `recover`, `dry_run` and `check`, and the sweep in `sweep`, `array` and `max_running`, come in the query, or as
//! parts of the form. A server that knows no form refuses
//! it. A client that wants a dry run or a check sends one, since a server that does not know the flag would start the task. The archive is
//! the last part, so that the other parts are refused before it is sent.

use std::pin::Pin;

use actix_multipart::{Multipart, MultipartError};
use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header,
    web::{Data, Json, Query},
};
use futures::StreamExt;
use serde_json::Value;

use super::{access::read_flag, error, limits::Limits};
use crate::{
    api::{Got, Problem, Reason, SubmitFlags, Sweep, SweepParameter, TaskSource},
    executor::{Archive, Error, Executor},
};

/// A decoded request.
pub struct Submission {
    pub definition: Value,
    pub flags: SubmitFlags,
    pub purpose: Purpose,
    /// The tasks that it becomes, if it is not one.
    pub sweep: Option<Sweep>,
    /// The files that travel with the task.
    pub files: Option<Archive>,
    /// The file of the task, as far as the client sends it.
    pub source: TaskSource,
}

/// What the client wants to happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// The task starts.
    Start,
    /// The server says whether it would accept the task.
    Check,
    /// The server answers with the objects that it would create.
    DryRun,
}

type Pairs = Vec<(String, String)>;

impl FromRequest for Submission {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let flags = Query::<Pairs>::from_request(request, payload).into_inner();
        let form = request.headers().get(header::CONTENT_TYPE);
        let is_form = form.is_some_and(|form| form.as_bytes().starts_with(b"multipart/form-data"));
        if is_form {
            let form = Multipart::new(request.headers(), payload.take());
            let executor = request.app_data::<Data<Executor>>().cloned();
            let limits = request.app_data::<Data<Limits>>();
            let max_body = limits.map_or_else(|| Limits::default().body, |limits| limits.body);
            return Box::pin(async move {
                Ok(of_form(
                    form,
                    flags?.into_inner(),
                    executor.as_ref().map(|executor| &***executor),
                    max_body,
                )
                .await?)
            });
        }
        let definition = Json::<Value>::from_request(request, payload);
        Box::pin(async move {
            let (definition, flags) = (definition.await?.into_inner(), flags?.into_inner());
            Ok(Self::new(definition, &flags, None, TaskSource::default())?)
        })
    }
}

impl Submission {
    fn new(
        definition: Value,
        pairs: &[(String, String)],
        files: Option<Archive>,
        source: TaskSource,
    ) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let mut flag = |name, default| {
            read_flag(pairs, name, default).unwrap_or_else(|problem| {
                problems.push(problem);
                default
            })
        };
        let (dry_run, check) = (flag("dry_run", false), flag("check", false));
        let usual = SubmitFlags::default();
        let flags = SubmitFlags {
            fail_fast: flag("fail_fast", usual.fail_fast),
            barrier: flag("barrier", usual.barrier),
            recover: flag("recover", usual.recover),
        };
        let sweep = read_sweep(pairs, &mut problems);
        if !problems.is_empty() {
            return Err(error::invalid(&problems));
        }
        Ok(Self {
            definition,
            sweep,
            flags,
            purpose: match (check, dry_run) {
                (true, _) => Purpose::Check,
                (false, true) => Purpose::DryRun,
                (false, false) => Purpose::Start,
            },
            files,
            source,
        })
    }
}

async fn of_form(
    mut form: Multipart,
    mut flags: Pairs,
    executor: Option<&Executor>,
    max_body: usize,
) -> Result<Submission, Error> {
    let (mut definition, mut files) = (None, None);
    let mut given = Vec::new();
    let mut source = TaskSource::default();
    let mut left = max_body;
    while let Some(part) = form.next().await {
        let mut part = part.map_err(|error| broken(&error))?;
        let name = part.name().unwrap_or_default().to_owned();
        if let ("files", None, Some(executor)) = (name.as_str(), &files, executor) {
            let mut upload = executor.begin_upload().await?;
            while let Some(chunk) = part.next().await {
                upload
                    .write(&chunk.map_err(|error| broken(&error))?)
                    .await?;
            }
            files = Some(upload.finish().await?);
            continue;
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|error| broken(&error))?;
            let rest = left.checked_sub(chunk.len());
            left = rest.ok_or_else(|| error::too_large(max_body))?;
            bytes.extend_from_slice(&chunk);
        }
        match name.as_str() {
            "task" if definition.is_none() => {
                let read = serde_json::from_slice(&bytes).map_err(|error| {
                    let message = format!("the part `task` is not JSON: {error}");
                    Error::new(Reason::BadRequest, message)
                });
                definition = Some(read?);
            }
            "source" if source.text.is_none() => {
                let text = String::from_utf8(bytes);
                source.text = Some(text.map_err(|_| refused("source", "is not UTF-8 text"))?);
            }
            "origin" => {
                let read = serde_json::from_slice(&bytes);
                source.origin = read.map_err(|_| refused("origin", "is not JSON"))?;
            }
            "sweep" => {
                let text = String::from_utf8(bytes);
                let text = text.map_err(|_| refused("sweep", "is not UTF-8 text"))?;
                flags.push((name, text.trim().to_owned()));
            }
            "fail_fast" | "barrier" | "recover" | "dry_run" | "check" | "array" | "max_running"
                if !given.contains(&name) =>
            {
                given.push(name.clone());
                flags.push((name, String::from_utf8_lossy(&bytes).trim().to_owned()));
            }
            "task" | "files" | "source" | "fail_fast" | "barrier" | "recover" | "dry_run"
            | "check" | "array" | "max_running" => {
                return Err(refused(&name, "is given more than once"));
            }
            _ => {
                return Err(refused(
                    &name,
                    "is not a part of the form: expected task, source, origin, fail_fast, barrier, recover, dry_run, check, sweep, array, max_running, files",
                ));
            }
        }
    }
    let definition =
        definition.ok_or_else(|| refused("task", "is required: the definition as JSON"))?;
    Submission::new(definition, &flags, files, source)
}

/// The sweep of a query, if there is one.
fn read_sweep(pairs: &[(String, String)], problems: &mut Vec<Problem>) -> Option<Sweep> {
    let values = |key: &'static str| {
        let given = pairs.iter().filter(move |(name, _)| name == key);
        given.map(|(_, value)| value)
    };
    let mut parameters: Vec<SweepParameter> = Vec::new();
    for value in values("sweep") {
        match value.parse() {
            Ok(parameter) => parameters.push(parameter),
            Err(message) => problems.push(Problem::new("sweep", message)),
        }
    }
    let mut number = |key| {
        let value = values(key).next_back()?;
        let number = value.parse().ok();
        if number.is_none() {
            let message = format!(
                "expected a whole number, got {}",
                Got(&value.as_str().into())
            );
            problems.push(Problem::new(key, message));
        }
        number
    };
    let (array, max_running) = (number("array"), number("max_running"));
    if !problems.is_empty() {
        return None;
    }
    Sweep::new(parameters, array, max_running).unwrap_or_else(|more| {
        problems.extend(more);
        None
    })
}

fn refused(part: &str, problem: &str) -> Error {
    error::invalid(&[Problem::new(part, problem)])
}

fn broken(error: &MultipartError) -> Error {
    Error::new(
        Reason::BadRequest,
        format!("the body is not a form of several parts: {error}"),
    )
}
