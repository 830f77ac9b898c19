//! `GET /tasks`: lists, written once for all who ask for the same one.
//!
//! People and scripts ask for their tasks far more often than these change, so the answer is kept until they do. The list of
//! everybody's tasks is long and changes all the time: see [`everybody`].

mod everybody;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{self, ContentType},
    web::Bytes,
};
use futures::{Stream, stream};
use tokio::sync::Semaphore;

use self::everybody::Everybody;
use crate::{
    api::User,
    executor::{Error, Executor, ListVersion, TaskList},
};

/// How much of lists is kept. It is more than the lists of 500 users with 100 tasks each.
const MAX_KEPT: usize = 32 * 1024 * 1024;
/// How many lists of everybody's tasks there are at most: the last, and those that are written or still read.
const MAX_EVERYBODY: usize = 4;

/// The lists that were answered last.
pub struct TaskLists {
    by_user: Mutex<Kept>,
    everybody: Mutex<Arc<Everybody>>,
    permits: Arc<Semaphore>,
}

impl Default for TaskLists {
    fn default() -> Self {
        Self {
            by_user: Mutex::default(),
            everybody: Mutex::default(),
            permits: Arc::new(Semaphore::new(MAX_EVERYBODY)),
        }
    }
}

#[derive(Default)]
struct Kept {
    lists: HashMap<User, (ListVersion, Bytes)>,
    size: usize,
}

impl TaskLists {
    /// Answers with the tasks of `user`.
    ///
    /// # Errors
    /// When Kubernetes has to be asked and cannot.
    pub async fn answer(&self, executor: &Executor, user: &User) -> Result<HttpResponse, Error> {
        // Read before the list: so the list may be newer than it says, but never older.
        let version = executor.list_version(Some(user));
        let body = match version.and_then(|version| self.kept(user, version)) {
            Some(body) => body,
            None => {
                let tasks = executor.list(Some(user)).await?;
                let body = Bytes::from(written(&tasks));
                if let Some(version) = version {
                    self.keep(user, version, body.clone());
                }
                body
            }
        };
        Ok(respond(executor).body(body))
    }

    /// Answers with the tasks of everybody.
    ///
    /// # Errors
    /// When Kubernetes has to be asked and cannot.
    pub async fn answer_all(self: Arc<Self>, executor: &Executor) -> Result<HttpResponse, Error> {
        let version = executor.list_version(None);
        let last = lock(&self.everybody).clone();
        if last.is_of(version) {
            return Ok(respond(executor).streaming(in_turns(last.chunks())));
        }
        let tasks = executor.list(None).await?;
        let lists = self.clone();
        let keep = move |list| *lock(&lists.everybody) = Arc::new(list);
        let permit = self.permits.clone().try_acquire_owned().ok();
        let chunks = everybody::write(tasks, version, last, permit, keep);
        Ok(respond(executor).streaming(in_turns(chunks)))
    }

    fn kept(&self, user: &User, version: ListVersion) -> Option<Bytes> {
        let kept = lock(&self.by_user);
        let (of, body) = kept.lists.get(user)?;
        (*of == version).then(|| body.clone())
    }

    fn keep(&self, user: &User, version: ListVersion, body: Bytes) {
        let mut kept = lock(&self.by_user);
        let size = size(&body);
        if size > MAX_KEPT {
            return;
        }
        if kept.size + size > MAX_KEPT {
            *kept = Kept::default();
        }
        let old = kept.lists.insert(user.clone(), (version, body));
        kept.size += size;
        kept.size -= old.map_or(0, |(_, body)| self::size(&body));
    }
}

/// What it takes to keep a list, with the name of its user.
fn size(body: &Bytes) -> usize {
    const USER: usize = 512;
    body.len() + USER
}

/// An answer about tasks, which says how old it may be.
pub fn respond(executor: &Executor) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header(ContentType::json());
    if let Some(age) = executor.age() {
        response.insert_header((header::AGE, age.as_secs()));
    }
    response
}

/// A [`crate::api::TaskListResponse`].
fn written(tasks: &TaskList) -> Vec<u8> {
    let mut body = br#"{"tasks":["#.to_vec();
    for status in (0..tasks.len()).filter_map(|index| tasks.status(index)) {
        serde_json::to_writer(&mut body, &status).expect("memory can be written");
        body.push(b',');
    }
    if body.ends_with(b",") {
        body.pop();
    }
    body.extend_from_slice(b"]}");
    body
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chunks, between which whoever else has something to do on this thread does it.
fn in_turns(chunks: impl Iterator<Item = Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(chunks, |mut chunks| async {
        tokio::task::yield_now().await;
        let chunk = chunks.next()?;
        Some((Ok(chunk), chunks))
    })
}
