//! The record of who did what: a line for each request that changes something, whether it was answered or refused.
//!
//! It holds no values of variables, no secrets and no bodies.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use actix_web::{
    HttpResponse, ResponseError,
    dev::{ServiceRequest, ServiceResponse},
    http::StatusCode,
};
use serde_json::json;
use time::OffsetDateTime;

use super::{Known, Peer, rights::Right, user::is_about_all_users};
use crate::{
    api::{Timestamp, path},
    executor, hidden,
    server::routes,
};

/// The record.
#[derive(Default)]
pub struct Audit {
    file: Option<Log>,
}

/// A file of its own for the record, a JSON object a line.
struct Log {
    path: PathBuf,
    file: Mutex<File>,
}

/// The ids that a change was about, which a handler gives its answer.
#[derive(Clone, Debug, Default)]
pub struct Subjects(pub Vec<String>);

/// Marks the answer to a request that changed nothing, although its route may: a dry run.
struct Unchanged;

impl Subjects {
    /// Marks an answer as one without a change.
    pub fn none(mut answer: HttpResponse) -> HttpResponse {
        answer.extensions_mut().insert(Unchanged);
        answer
    }

    /// Adds ids to an answer.
    pub fn of(
        mut answer: HttpResponse,
        ids: impl IntoIterator<Item = impl ToString>,
    ) -> HttpResponse {
        let ids = ids.into_iter().map(|id| id.to_string()).collect();
        answer.extensions_mut().insert(Self(ids));
        answer
    }
}

impl Audit {
    /// A record in a file, besides the log of the server.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file = Mutex::new(open(path)?);
        let path = path.to_owned();
        Ok(Self {
            file: Some(Log { path, file }),
        })
    }

    /// Opens the file again, after another program has renamed it.
    pub fn reopen(&self) {
        let Some(log) = &self.file else { return };
        match open(&log.path) {
            Ok(file) => *log.file.lock().unwrap_or_else(PoisonError::into_inner) = file,
            Err(error) => log::error!("cannot open {} again: {error}", log.path.display()),
        }
    }

    /// Notes a request that was refused because of its user, with how that is known.
    pub fn refused(
        &self,
        right: Right,
        request: &ServiceRequest,
        (user, how): (&str, &'static str),
        why: &executor::Error,
    ) {
        if right.is_change() {
            let line = Line::new(right, request, user, how);
            self.write(&line, &line.ids, why.status_code());
        }
    }

    /// Begins the line about a request.
    pub fn begin<'a>(
        &'a self,
        right: Right,
        request: &ServiceRequest,
        known: &Known,
    ) -> Record<'a> {
        let line = right
            .is_change()
            .then(|| Line::new(right, request, known.user.as_str(), known.how.word()));
        Record { audit: self, line }
    }

    fn write(&self, line: &Line, ids: &[String], status: StatusCode) {
        let outcome = match status.is_success() {
            true => "ok",
            false => status.as_str(),
        };
        let ids = ids.join(",");
        log::info!("event=audit {line} ids={ids:?} outcome={outcome}");
        let Some(log) = &self.file else { return };
        let time = Timestamp::from(OffsetDateTime::now_utc());
        let Line {
            action,
            user,
            how,
            peer,
            path,
            all_users,
            ids: _,
        } = line;
        let object = json!({
            "time": time, "event": "audit", "action": action, "user": user, "how": how, "peer": peer, "path": path,
            "all_users": all_users, "ids": ids, "outcome": outcome,
        });
        let line = hidden::escape_json(&object.to_string()) + "\n";
        let mut file = log.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            log::error!("cannot write {}: {error}", log.path.display());
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // It says who does what, which is not for every user of the machine.
    options.append(true).create(true).mode(0o640).open(path)
}

/// The line about a request that is being answered.
pub struct Record<'a> {
    audit: &'a Audit,
    line: Option<Line>,
}

impl Record<'_> {
    /// Ends the line with the answer.
    pub fn end<B>(self, answer: &Result<ServiceResponse<B>, actix_web::Error>) {
        let Some(line) = &self.line else { return };
        let (status, ids) = match answer {
            Ok(response) if response.response().extensions().contains::<Unchanged>() => return,
            Ok(response) => {
                let ids = response.response().extensions().get::<Subjects>().cloned();
                (response.status(), ids)
            }
            Err(error) => (error.as_response_error().status_code(), None),
        };
        let ids = ids.map_or_else(|| line.ids.clone(), |Subjects(ids)| ids);
        self.audit.write(line, &ids, status);
    }
}

/// The ids in a path of this pattern.
fn ids(pattern: &str, path: &str) -> Vec<String> {
    let parts = pattern.split('/').zip(path.split('/'));
    let ids = parts.filter(|(place, _)| place.starts_with('{'));
    ids.map(|(_, id)| bounded(id)).collect()
}

/// The beginning of a text from outside that may be of any length: refused requests must not fill the disk.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(256) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a request on a route does: its right, except where one right is for several deeds.
fn action(right: Right, pattern: &str) -> String {
    match pattern {
        path::TASKS_SUBMIT => "submit tasks".to_owned(),
        path::TASKS_STOP | path::TASK_STOP => "stop tasks".to_owned(),
        _ => right.to_string(),
    }
}

/// What is known of a request before it is answered.
struct Line {
    action: String,
    user: String,
    how: &'static str,
    peer: String,
    path: String,
    all_users: bool,
    /// Those that the path names.
    ids: Vec<String>,
}

impl Line {
    fn new(right: Right, request: &ServiceRequest, user: &str, how: &'static str) -> Self {
        let peer = Peer::of(request);
        let pattern = routes::pattern(request.request()).unwrap_or_default();
        Self {
            action: action(right, &pattern),
            user: bounded(user),
            how,
            peer: peer.map_or_else(String::new, |peer| peer.to_string()),
            path: bounded(request.path()),
            all_users: is_about_all_users(request.query_string()),
            ids: ids(&pattern, request.match_info().as_str()),
        }
    }
}

/// The pairs of the log, quoted so that text from outside can neither end the line nor look like another pair.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            action,
            user,
            how,
            peer,
            path,
            all_users,
            ids: _,
        } = self;
        write!(
            f,
            "action={action:?} user={user:?} how={how} peer={peer} path={path:?} all_users={all_users}"
        )
    }
}
