//! `GET /tasks`: the lists of tasks.
//!
//! Users and scripts list their tasks far more often than the lists change, so the answer to a user is cached until the list
//! changes. The list of all users is long and changes often, so it is written while it is sent.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{self, ContentType},
    web::Bytes,
};
use futures::{Stream, StreamExt, stream};
use time::OffsetDateTime;

use super::{Stopping, streams::OpenStream};
use crate::{
    api::{ListQuery, ListRecord, NDJSON, TaskListResponse, Timestamp, User},
    executor::{Error, Executor, ListVersion, TaskList},
};

/// The limit of all cached answers together, in bytes. The lists of 500 users with 100 tasks each need less.
const MAX_CACHED: usize = 32 * 1024 * 1024;
/// How many bytes of a list are written before other requests have their turn.
const CHUNK: usize = 64 * 1024;

/// The last answer to each user.
#[derive(Default)]
pub struct TaskLists(Mutex<Cache>);

#[derive(Default)]
struct Cache {
    answers: HashMap<User, (ListVersion, Bytes)>,
    size: usize,
}

impl TaskLists {
    /// Answers with the tasks of `user`.
    pub async fn answer(&self, executor: &Executor, user: &User) -> Result<HttpResponse, Error> {
        // The version is read first, so the list may be newer than its version, but never older.
        let version = executor.list_version(Some(user));
        let body = match version.and_then(|version| self.cached(user, version)) {
            Some(body) => body,
            None => {
                let tasks = executor.list(Some(user)).await?;
                let body = Bytes::from(chunks(tasks).collect::<Vec<_>>().concat());
                if let Some(version) = version {
                    self.cache(user, version, body.clone());
                }
                body
            }
        };
        Ok(respond(executor).body(body))
    }

    fn cached(&self, user: &User, version: ListVersion) -> Option<Bytes> {
        let cache = self.lock();
        let (of, body) = cache.answers.get(user)?;
        (*of == version).then(|| body.clone())
    }

    fn cache(&self, user: &User, version: ListVersion, body: Bytes) {
        let mut cache = self.lock();
        let size = size(&body);
        if size > MAX_CACHED {
            return;
        }
        if cache.size + size > MAX_CACHED {
            *cache = Cache::default();
        }
        let old = cache.answers.insert(user.clone(), (version, body));
        cache.size += size;
        cache.size -= old.map_or(0, |(_, body)| self::size(&body));
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers with the tasks of all users.
pub async fn answer_all(executor: &Executor) -> Result<HttpResponse, Error> {
    let tasks = executor.list(None).await?;
    Ok(respond(executor).streaming(in_turns(chunks(tasks))))
}

/// Answers with the tasks of `user`, or of all users, that a query asks for.
pub async fn answer_page(
    executor: &Executor,
    user: Option<&User>,
    query: &ListQuery,
) -> Result<HttpResponse, Error> {
    let tasks = executor.list(user).await?;
    let page = tasks.page(query, now()).await;
    Ok(respond(executor).json(TaskListResponse {
        tasks: page.tasks,
        next: page.next.map(|place| place.to_string()),
    }))
}

/// Answers with the tasks of `user`, or of all users, that a query asks for, and then with each change, until the server stops. The
/// body holds `open` until it is dropped.
pub async fn watch(
    executor: &Executor,
    user: Option<&User>,
    query: ListQuery,
    stopping: Stopping,
    open: OpenStream,
) -> Result<HttpResponse, Error> {
    let mut watch = executor.watch_list(user, query, now());
    // An error of the first look is an answer of its own.
    let first = lines(&watch.next().await?);
    let changes = stream::unfold(watch, |mut watch| async {
        let records = watch.next().await.ok()?;
        Some((lines(&records), watch))
    });
    let body = stream::iter([first]).chain(changes).map(move |lines| {
        let _ = &open;
        Ok::<_, Infallible>(lines)
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, NDJSON))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(body.take_until(Box::pin(stopping.wait()))))
}

/// Records as JSON, one a line.
fn lines(records: &[ListRecord]) -> Bytes {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record).expect("memory can be written");
        lines.push(b'\n');
    }
    lines.into()
}

fn now() -> Timestamp {
    OffsetDateTime::now_utc().into()
}

/// The memory of a cached answer with the name of its user, in bytes.
fn size(body: &Bytes) -> usize {
    const USER: usize = 512;
    body.len() + USER
}

/// The head of an answer about tasks, with its age.
pub fn respond(executor: &Executor) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header(ContentType::json());
    if let Some(age) = executor.age() {
        response.insert_header((header::AGE, age.as_secs()));
    }
    response
}

/// Writes tasks as a [`crate::api::TaskListResponse`], chunk by chunk.
fn chunks(tasks: TaskList) -> impl Iterator<Item = Vec<u8>> {
    let mut indices = 0..tasks.len();
    let mut separator = &br#"{"tasks":["#[..];
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
        let statuses = indices.by_ref().filter_map(|index| tasks.status(index));
        for status in statuses {
            chunk.extend_from_slice(separator);
            serde_json::to_writer(&mut chunk, &status).expect("memory can be written");
            separator = b",";
            if chunk.len() >= CHUNK {
                return Some(chunk);
            }
        }
        is_over = true;
        if separator != b"," {
            chunk.extend_from_slice(separator);
        }
        chunk.extend_from_slice(b"]}");
        Some(chunk)
    })
}

/// A body that lets other requests of its thread run between two chunks.
fn in_turns(
    chunks: impl Iterator<Item = Vec<u8>>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(chunks, |mut chunks| async {
        tokio::task::yield_now().await;
        let chunk = chunks.next()?;
        Some((Ok(Bytes::from(chunk)), chunks))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_written_in_chunks() {
        let job = |number: usize| {
            json!({"metadata": {
                "name": format!("j-{number}"), "uid": format!("uid-{number}"), "resourceVersion": "1",
                "labels": {"task-id": format!("{number:08}")},
                "annotations": {"created-at": format!("2026-01-01T00:00:{:02}.000000", number % 60)},
            }})
        };
        for count in [0, 1, 500] {
            let tasks = TaskList::of((0..count).map(job));
            assert_eq!(tasks.len(), count);
            let statuses = (0..count).filter_map(|index| tasks.status(index));
            let expected = TaskListResponse {
                tasks: statuses.collect(),
                next: None,
            };
            let chunks: Vec<_> = chunks(tasks).collect();
            assert_eq!(chunks.len() > 1, count == 500);
            let expected = serde_json::to_vec(&expected).unwrap();
            assert!(chunks.concat() == expected, "{count} tasks");
        }
    }

    #[test]
    fn kept_answers_have_a_limit() {
        let lists = TaskLists::default();
        let version = ListVersion::default();
        let answer = Bytes::from(vec![b' '; MAX_CACHED / 4]);
        for number in 0..20 {
            let user = format!("user-{number}").parse().unwrap();
            lists.cache(&user, version, answer.clone());
            assert!(lists.cached(&user, version).is_some());
            let kept = lists
                .lock()
                .answers
                .values()
                .map(|(_, body)| body.len())
                .sum::<usize>();
            assert!(kept <= MAX_CACHED, "{kept} bytes after {number} users");
        }
        let user = "ada".parse().unwrap();
        lists.cache(&user, version, Bytes::from(vec![b' '; MAX_CACHED + 1]));
        assert!(lists.cached(&user, version).is_none());
    }
}
