//! `GET /tasks`: lists, written once for all who ask for the same one.
//!
//! People and scripts ask for their tasks far more often than these change, so the answer is kept until they do. The list of
//! everybody's tasks is long and changes all the time; it is written while it is sent.

use std::{
    collections::HashMap,
    convert::Infallible,
    iter,
    sync::{Mutex, PoisonError},
};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{self, ContentType},
    web::Bytes,
};
use futures::{Stream, stream};

use crate::{
    api::{TaskStatus, User},
    executor::{Error, Executor, ListVersion},
};

/// How much of lists is kept. It is more than the lists of 500 users with 100 tasks each.
const MAX_KEPT: usize = 32 * 1024 * 1024;
/// How much of a list is written before somebody else has a turn.
const CHUNK: usize = 64 * 1024;

/// The lists that were answered last, by user.
#[derive(Default)]
pub struct TaskLists(Mutex<Kept>);

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
        let version = executor.list_version(user);
        let body = match version.and_then(|version| self.kept(user, version)) {
            Some(body) => body,
            None => {
                let tasks = executor.list(Some(user)).await?;
                let body: Vec<Vec<u8>> = chunks(tasks.statuses()).collect();
                let body = Bytes::from(body.concat());
                if let Some(version) = version {
                    self.keep(user, version, body.clone());
                }
                body
            }
        };
        Ok(respond(executor).body(body))
    }

    fn kept(&self, user: &User, version: ListVersion) -> Option<Bytes> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, body) = kept.lists.get(user)?;
        (*of == version).then(|| body.clone())
    }

    fn keep(&self, user: &User, version: ListVersion, body: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Answers with the tasks of everybody.
///
/// # Errors
/// When Kubernetes has to be asked and cannot.
pub async fn answer_all(executor: &Executor) -> Result<HttpResponse, Error> {
    let tasks = executor.list(None).await?;
    Ok(respond(executor).streaming(in_turns(chunks(tasks.statuses()))))
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

/// A [`crate::api::TaskListResponse`], in pieces.
fn chunks(tasks: impl Iterator<Item = TaskStatus>) -> impl Iterator<Item = Vec<u8>> {
    let mut tasks = tasks.peekable();
    let mut next = Some(br#"{"tasks":["#.to_vec());
    iter::from_fn(move || {
        let mut chunk = next.take()?;
        while let Some(task) = tasks.next() {
            serde_json::to_writer(&mut chunk, &task).expect("memory can be written");
            if tasks.peek().is_some() {
                chunk.push(b',');
            }
            if chunk.len() >= CHUNK {
                next = Some(Vec::new());
                return Some(chunk);
            }
        }
        chunk.extend_from_slice(b"]}");
        Some(chunk)
    })
}

/// Chunks, between which whoever else has something to do on this thread does it.
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
    use super::*;
    use crate::{api::TaskListResponse, golden};

    #[test]
    fn a_list_in_pieces_is_the_list() {
        let one: TaskStatus = serde_json::from_str(&golden::read("wire/task-status.json")).unwrap();
        for count in [0, 1, 2, 500] {
            let tasks = vec![one.clone(); count];
            let pieces: Vec<_> = chunks(tasks.clone().into_iter()).collect();
            assert_eq!(pieces.len() > 1, count == 500);
            let expected = serde_json::to_vec(&TaskListResponse { tasks }).unwrap();
            assert!(pieces.concat() == expected, "{count} tasks");
        }
    }
}
