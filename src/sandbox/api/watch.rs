//! Watches: the present state, or a version to start from, and then every change until somebody hangs up.
//!
//! A watcher has no queue. It remembers the version it has sent and reads on in the store's recent changes whenever the bell
//! rings, so a slow watcher costs nothing; one that falls out of what the store keeps is told 410, as by a real server.
//! It follows Kubernetes, `staging/src/k8s.io/apiserver/pkg/storage/cacher`, v1.36.

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

/// A real server sends a bookmark about every minute.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// A real server ends a watch after half an hour to an hour if the client names no time.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// What a watch is about.
pub struct Watch {
    pub kind: Kind,
    pub selection: Selection,
    /// None sends the present objects first.
    pub since: Option<u64>,
    pub bookmarks: bool,
    /// Mark the end of the present objects, which is how a list is streamed.
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

/// Starts a watch; the stream yields whole lines, one event each.
pub fn start(
    registry: Arc<Registry>,
    mut watch: Watch,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    // Subscribing before reading means that no change can fall between the two.
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
    let end = now + watch.timeout.unwrap_or(DEFAULT_TIMEOUT);
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
    /// Waits for the next events; none means that the watch is over.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        loop {
            // Seeing the bell first and reading then: a ring in between only causes one more look.
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
                // It left the selection: the state that was selected, numbered as the change that made it leave.
                let left = Object::new(before.kind, change.object.version, before.value());
                write_event(chunk, "DELETED", &left, tables);
            }
        }
    }
}

/// Renders an `ERROR` event.
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
