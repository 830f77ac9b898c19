//! The list of everybody's tasks, written while it is sent.
//!
//! It is long, and always some task in it has changed. So the list that was written last is kept, and the next one is copied
//! from it but for what is new. Whoever reads slowly holds on to the list of its time, so there are never more than a few; who
//! comes when there are is answered all the same.

use std::{collections::HashMap, ops::Range, sync::Arc};

use actix_web::web::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    api::TaskId,
    executor::{ListVersion, Snapshot, TaskList},
};

/// How much of a list is written before somebody else has a turn.
const CHUNK: usize = 64 * 1024;
/// The longest list that is kept, in bytes: of more than 50,000 tasks.
const MAX_KEPT: usize = 32 * 1024 * 1024;

/// A list that was written, and where in it each task is.
#[derive(Default)]
pub struct Everybody {
    version: Option<ListVersion>,
    chunks: Vec<Bytes>,
    places: HashMap<TaskId, Place>,
    /// To be one of the few.
    _permit: Option<OwnedSemaphorePermit>,
}

struct Place {
    snapshot: Snapshot,
    chunk: usize,
    bytes: Range<usize>,
}

impl Everybody {
    /// Whether it says what there is now, of which this is the version if anybody knows.
    pub fn is_of(&self, version: Option<ListVersion>) -> bool {
        version.is_some() && self.version == version
    }

    /// All of it, piece by piece. It is one of the few until nobody reads it any more.
    pub fn chunks(self: Arc<Self>) -> impl Iterator<Item = Bytes> {
        (0..self.chunks.len()).map(move |index| self.chunks[index].clone())
    }

    /// What was written of a task of another list, if it is the same there.
    fn get(&self, tasks: &TaskList, index: usize) -> Option<&[u8]> {
        let place = self.places.get(&tasks.id(index))?;
        let chunk = &self.chunks[place.chunk];
        tasks
            .is_unchanged(index, &place.snapshot)
            .then(|| &chunk[place.bytes.clone()])
    }
}

/// Writes tasks as a [`crate::api::TaskListResponse`], chunk by chunk. What is the same in the `last` list is copied from there.
/// With a `permit`, all of it is kept until its end unless it is too long, and `keep` is called with it.
pub fn write(
    tasks: TaskList,
    version: Option<ListVersion>,
    last: Arc<Everybody>,
    permit: Option<OwnedSemaphorePermit>,
    keep: impl FnOnce(Everybody),
) -> impl Iterator<Item = Bytes> {
    let mut kept = permit.is_some().then(|| Everybody {
        version,
        chunks: Vec::new(),
        places: HashMap::with_capacity(tasks.len()),
        _permit: permit,
    });
    let mut keep = Some(keep);
    let mut indices = 0..tasks.len();
    let mut separator = &br#"{"tasks":["#[..];
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
        while chunk.len() < CHUNK
            && let Some(index) = indices.next()
        {
            let start = chunk.len() + separator.len();
            if let Some(same) = last.get(&tasks, index) {
                chunk.extend_from_slice(separator);
                chunk.extend_from_slice(same);
            } else if let Some(status) = tasks.status(index) {
                chunk.extend_from_slice(separator);
                serde_json::to_writer(&mut chunk, &status).expect("memory can be written");
            } else {
                continue;
            }
            separator = b",";
            if let Some(list) = &mut kept {
                let place = Place {
                    snapshot: tasks.snapshot(index),
                    chunk: list.chunks.len(),
                    bytes: start..chunk.len(),
                };
                list.places.insert(tasks.id(index), place);
            }
        }
        is_over = indices.is_empty();
        if is_over {
            if separator != b"," {
                chunk.extend_from_slice(separator);
            }
            chunk.extend_from_slice(b"]}");
        }
        let chunk = Bytes::from(chunk);
        kept = kept
            .take()
            .filter(|list| (list.chunks.len() + 1) * CHUNK <= MAX_KEPT);
        if let Some(list) = &mut kept {
            list.chunks.push(chunk.clone());
        }
        if is_over && let (Some(list), Some(keep)) = (kept.take(), keep.take()) {
            keep(list);
        }
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::{Value, json};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::api::TaskListResponse;

    /// A Job of the task of this number, as it was at a version.
    fn job(number: usize, version: usize, changed: &str) -> Value {
        json!({"metadata": {
            "name": format!("j-{number}"), "uid": format!("uid-{number}"), "resourceVersion": version.to_string(),
            "labels": {"task-id": format!("{number:08}"), "task-name": changed},
            "annotations": {"created-at": format!("2026-01-01T00:00:{:02}.000000", number % 60)},
            "deletionTimestamp": (changed == "gone").then_some("2026-01-02T00:00:00Z"),
        }})
    }

    #[test]
    fn a_list_is_the_same_whatever_of_it_was_written_before() {
        let all: Vec<_> = (0..500).map(|number| job(number, 1, "new")).collect();
        let some = vec![
            job(7, 2, "changed"),
            job(300, 2, "gone"),
            job(777, 2, "late"),
        ];
        let again = vec![job(7, 3, "again")];
        let batches = [vec![], vec![job(0, 1, "new")], all, some, vec![], again];
        let news = [0, 1, 499, 2, 0, 1];
        let lists = TaskList::after(&batches).into_iter().zip(news);
        let last = RefCell::new(Arc::new(Everybody::default()));
        let permits = Arc::new(Semaphore::new(2));
        for (tasks, news) in lists {
            let count = tasks.len();
            let before = last.take();
            let same = (0..count).filter(|index| before.get(&tasks, *index).is_some());
            assert_eq!(same.count(), count - news);
            let statuses = (0..count).filter_map(|index| tasks.status(index));
            let expected = TaskListResponse {
                tasks: statuses.collect(),
            };
            let keep = |list| *last.borrow_mut() = Arc::new(list);
            let permit = permits.clone().try_acquire_owned().ok();
            let chunks: Vec<Bytes> = write(tasks, None, before, permit, keep).collect();
            assert_eq!(chunks.len() > 1, count == 500);
            let expected = serde_json::to_vec(&expected).unwrap();
            assert!(chunks.concat() == expected, "{count} tasks");
            assert_eq!(last.borrow().chunks, chunks);
            assert_eq!(permits.available_permits(), 1);
        }
        // Without a permit it is written all the same, and not kept.
        let tasks = TaskList::after(&batches[1..2]).remove(0);
        let keep = |_| panic!("it is kept");
        let chunks: Vec<Bytes> = write(tasks, None, last.take(), None, keep).collect();
        let written: TaskListResponse = serde_json::from_slice(&chunks.concat()).unwrap();
        assert_eq!(written.tasks.len(), 1);
    }
}
