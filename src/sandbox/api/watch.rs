//! Watches: streams of changes, from a version on or after the present objects.
//!
//! A watcher has no queue, so a slow one takes no memory. It remembers the version that it has sent, and reads the later changes
//! in the store when the registry notifies it. If the store no longer keeps them, the watcher gets a 410, as from a real server.
//! Watches follow Kubernetes, `staging/src/k8s.io/apiserver/pkg/storage/cacher`, v1.36.

use std::{sync::Arc, time::Duration};

use actix_web::web::Bytes;
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::table::Tables;
use crate::sandbox::objects::{
    object::Object, registry::Registry, resource::Kind, selection::Selection, status::Status,
    store::Change,
};

/// The interval of bookmarks, about that of a real server.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// The longest watch: a timeout may be any number of seconds.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The length of a watch without a timeout. A real server takes half an hour to an hour.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// The parameters of a watch.
pub struct Watch {
    pub kind: Kind,
    pub selection: Selection,
    /// The version to start from. With none, the present objects come first.
    pub since: Option<u64>,
    pub bookmarks: bool,
    /// A bookmark marks the end of the present objects, for clients that stream a list.
    pub initial_events: bool,
    pub timeout: Option<Duration>,
    pub tables: Option<Tables>,
}

struct Watcher {
    registry: Arc<Registry>,
    watch: Watch,
    changed: watch::Receiver<u64>,
    sent: u64,
    next_bookmark: Instant,
    end: Instant,
    finished: bool,
}

/// Starts a watch. The stream yields whole lines, each with one event.
pub fn start(
    registry: Arc<Registry>,
    mut watch: Watch,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    // It subscribes before it reads, so it misses no change in between.
    let changed = registry.subscribe();
    let mut first = Vec::new();
    let mut finished = false;
    let mut sent = watch.since.unwrap_or(0);
    if watch.since.is_none() {
        let store = registry.store();
        sent = store.version();
        let present = store.list(watch.kind, &watch.selection);
        drop(store);
        for object in present {
            write_event(&mut first, "ADDED", &object, &mut watch.tables);
        }
        if watch.initial_events {
            write_bookmark(&mut first, watch.kind, sent, true);
        }
    } else if let Err(oldest) = registry.store().changes_since(sent).map(drop) {
        first = error_event(&Status::too_old(sent, oldest));
        finished = true;
    }
    let now = Instant::now();
    let length = watch
        .timeout
        .unwrap_or(DEFAULT_TIMEOUT)
        .min(LONGEST_TIMEOUT);
    let end = now + length;
    let watcher = Watcher {
        registry,
        watch,
        changed,
        sent,
        next_bookmark: now + BOOKMARK_INTERVAL,
        end,
        finished,
    };
    let first = (!first.is_empty()).then(|| Ok(Bytes::from(first)));
    let rest = stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((Ok(Bytes::from(chunk)), watcher))
    });
    futures::StreamExt::chain(stream::iter(first), rest)
}

impl Watcher {
    /// Waits for the next events; the result is none when the watch is over.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        loop {
            // A change after this line notifies the watch again.
            self.changed.borrow_and_update();
            let chunk = self.read();
            if !chunk.is_empty() {
                return Some(chunk);
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                () = sleep_until(self.next_bookmark.min(self.end)) => {
                    self.finished = Instant::now() >= self.end;
                    self.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    let mut chunk = Vec::new();
                    if self.watch.bookmarks {
                        write_bookmark(&mut chunk, self.watch.kind, self.sent, false);
                        return Some(chunk);
                    }
                    if self.finished {
                        return None;
                    }
                }
            }
        }
    }

    fn read(&mut self) -> Vec<u8> {
        let store = self.registry.store();
        let changes: Vec<Change> = match store.changes_since(self.sent) {
            Ok(changes) => changes
                .filter(|change| change.object.kind == self.watch.kind)
                .cloned()
                .collect(),
            Err(oldest) => {
                self.finished = true;
                return error_event(&Status::too_old(self.sent, oldest));
            }
        };
        self.sent = self.sent.max(store.version());
        drop(store);
        let mut chunk = Vec::new();
        for change in &changes {
            self.write_change(&mut chunk, change);
        }
        chunk
    }

    fn write_change(&mut self, chunk: &mut Vec<u8>, change: &Change) {
        let selected = |object: &Object| self.watch.selection.matches(object);
        let before = change.before.as_deref().filter(|before| selected(before));
        let after = !change.deleted && selected(&change.object);
        let tables = &mut self.watch.tables;
        match (before, after) {
            (None, false) => (),
            (None, true) => write_event(chunk, "ADDED", &change.object, tables),
            (Some(_), true) => write_event(chunk, "MODIFIED", &change.object, tables),
            (Some(_), false) if change.deleted => {
                write_event(chunk, "DELETED", &change.object, tables)
            }
            (Some(before), false) => {
                // The object has left the selection. The event has the last selected state and the version of the change.
                let left = Object::new(before.kind, change.object.version, before.value());
                write_event(chunk, "DELETED", &left, tables);
            }
        }
    }
}

/// An `ERROR` event.
pub fn error_event(status: &Status) -> Vec<u8> {
    line(&json!({ "type": "ERROR", "object": status.to_value() }))
}

fn write_event(chunk: &mut Vec<u8>, kind: &str, object: &Object, tables: &mut Option<Tables>) {
    chunk.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    match tables {
        Some(tables) => chunk.extend_from_slice(tables.event(object).to_string().as_bytes()),
        None => object.write_standalone(chunk),
    }
    chunk.extend_from_slice(b"}\n");
}

fn write_bookmark(chunk: &mut Vec<u8>, kind: Kind, version: u64, initial_events_end: bool) {
    let resource = kind.resource();
    let mut metadata = json!({ "resourceVersion": version.to_string(), "creationTimestamp": null });
    if initial_events_end {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let object = json!({ "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata });
    chunk.extend_from_slice(&line(&json!({ "type": "BOOKMARK", "object": object })));
}

fn line(event: &Value) -> Vec<u8> {
    format!("{event}\n").into_bytes()
}
