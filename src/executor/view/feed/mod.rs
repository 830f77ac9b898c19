//! The watches that keep the view up to date.
//!
//! For each kind, the feed lists the objects in pages, then watches from the version of that list on. A watch lasts
//! [`WATCH_SECONDS`]. Before its end the API server sends a bookmark, the version that the watch has reached. So a watch that is
//! silent for that time is dead, whatever the state of its connection. The next watch costs one small request.

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use log::Level;
use tokio::time::{sleep, timeout};

use super::{LiveView, MAX_AGE, ViewRow, table::Table, versions::Versions};
use crate::{
    api::Reason,
    backoff::Backoff,
    executor::{
        cluster::{PAGE, Page},
        error::{Error, Result},
        identity::Version,
        objects::labels,
        observed::{ClaimRow, EventRow, JobRow, PodRow},
    },
};

/// The length of a watch.
const WATCH_SECONDS: u32 = 6;
/// The longest silence of a watch that works. After it there is time for another watch before the view is too old.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 2);
/// A watch that lasted this long was ended by its server, whose clock began a little before ours.
const FULL: Duration = Duration::from_millis(WATCH_SECONDS as u64 * 1000 - 500);
/// After a watch that ended earlier than this, the feed pauses.
const SHORT: Duration = Duration::from_secs(1);
/// The longest pause before an attempt that may succeed. Everything waits for the view when Kubernetes is back.
const MAX_PAUSE: Duration = Duration::from_millis(1500);

const _: () = assert!(SILENCE.as_secs() < MAX_AGE.as_secs());

/// Keeps the view up to date. Never returns.
pub async fn keep_alive(live: &LiveView) {
    let labelled = |label| (Some(format!("{label}=true")), None);
    let reasons = (None, Some(EventRow::REASONS.to_owned()));
    let feed = Feed(live);
    futures::join!(
        feed.run::<JobRow>(labelled(labels::TASK)),
        feed.run::<PodRow>(labelled(labels::TASK)),
        feed.run::<ClaimRow>(labelled(labels::VOLUME)),
        feed.run::<EventRow>(reasons),
    );
}

/// Feeds the tables of the view with the objects of the cluster.
struct Feed<'a>(&'a LiveView);

impl Feed<'_> {
    fn versions<R: ViewRow, T>(&self, act: impl FnOnce(&mut Versions) -> T) -> T {
        self.0.view.change::<R, _>(|table| act(table.versions()))
    }

    /// Feeds the table of one kind with the objects that match these selectors of labels and fields.
    async fn run<R: ViewRow>(&self, selectors: (Option<String>, Option<String>)) {
        let (label_selector, field_selector) = selectors;
        let list = ListParams {
            label_selector: label_selector.clone(),
            field_selector: field_selector.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let watch = WatchParams {
            label_selector,
            field_selector,
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let mut backoff = Backoff::default();
        let (mut failures, mut last_message) = (0, String::new());
        loop {
            let began = Instant::now();
            let error = match self.load_and_watch::<R>(&list, &watch).await {
                Ok(()) => {
                    (failures, backoff) = (0, Backoff::default());
                    if !std::mem::take(&mut last_message).is_empty() {
                        log::info!("the view of {} is up to date again", R::KIND);
                    }
                    if began.elapsed() < SHORT {
                        sleep(SHORT / 2).await;
                    }
                    continue;
                }
                Err(error) => error,
            };
            failures += 1;
            let is_forbidden = error.reason() == Reason::Forbidden;
            // A watch that cannot resume may succeed after a new list. An unreachable API server cannot send one.
            if failures > 1 || error.reason() != Reason::ServiceUnavailable {
                self.versions::<R, _>(|versions| versions.list_again());
            }
            let error = error.to_string();
            if error != last_message {
                log::warn!("the view of {} is out of date: {error}", R::KIND);
                last_message = error;
            }
            let pause = backoff.next(rand::random());
            sleep(if is_forbidden {
                pause
            } else {
                pause.min(MAX_PAUSE)
            })
            .await;
        }
    }

    /// Lists if that is necessary, then watches once. Returns when the watch has ended regularly.
    async fn load_and_watch<R: ViewRow>(
        &self,
        list: &ListParams,
        watch: &WatchParams,
    ) -> Result<()> {
        let watched = self.versions::<R, _>(|versions| versions.watched());
        let version = match watched {
            Some(version) => version,
            None => self.load::<R>(list).await?,
        };
        self.watch::<R>(watch, version).await
    }

    /// Merges a whole list, page by page; returns its version.
    async fn load<R: ViewRow>(&self, params: &ListParams) -> Result<Version> {
        let began = Instant::now();
        let mut listed = HashSet::new();
        let mut params = params.clone();
        let version = loop {
            let Page {
                items,
                version,
                next,
            } = self.0.cluster.page::<R>(&params).await?;
            listed.extend(items.iter().map(R::uid));
            self.0.view.change::<R, _>(|table| {
                table.prepare(version);
                items.into_iter().for_each(|row| table.merge(row));
            });
            match next {
                Some(token) => params = params.continue_token(&token),
                None => break version,
            }
        };
        let is_first = self.0.view.change::<R, _>(|table| {
            table.remove_unlisted(&listed, version);
            let is_first = !table.versions().has_loaded();
            table.versions().has_listed(version, began);
            is_first
        });
        self.0.view.note_list();
        let level = if is_first { Level::Info } else { Level::Debug };
        let (count, ms) = (listed.len(), began.elapsed().as_millis());
        log::log!(
            level,
            "view loaded kind={:?} count={count} ms={ms}",
            R::KIND
        );
        Ok(version)
    }

    /// Watches from a version on, for the length of a watch.
    ///
    /// # Errors
    /// When the watch ended early, or the API server has no history from that version on.
    async fn watch<R: ViewRow>(&self, params: &WatchParams, version: Version) -> Result<()> {
        let doing = || format!("watch {}", R::KIND);
        let mut events = pin!(self.0.cluster.watch::<R>(params, version).await?);
        let began = Instant::now();
        // An open watch proves nothing yet: its first event may be an error, or it may stay silent.
        let advance = |version: Version| {
            let now = Instant::now();
            self.versions::<R, _>(|versions| versions.advance(version, now));
        };
        let mut has_events = false;
        loop {
            let Ok(event) = timeout(SILENCE, events.next()).await else {
                let seconds = SILENCE.as_secs();
                let message = format!("cannot {}: nothing came for {seconds} s", doing());
                return Err(Error::new(Reason::Timeout, message));
            };
            let (row, is_deleted) = match event {
                Some(Ok(WatchEvent::Added(row) | WatchEvent::Modified(row))) => (row, false),
                Some(Ok(WatchEvent::Deleted(row))) => (row, true),
                Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                    let version = Version::new(&bookmark.metadata.resource_version);
                    if self.versions::<R, _>(|versions| versions.is_set_back_to(version)) {
                        self.versions::<R, _>(|versions| versions.forget());
                        let message = format!("cannot {}: the cluster was set back", doing());
                        return Err(Error::new(Reason::InternalError, message));
                    }
                    has_events = true;
                    advance(version);
                    continue;
                }
                Some(Ok(WatchEvent::Error(status))) => {
                    if status.code == 410 {
                        self.versions::<R, _>(|versions| versions.forget());
                    }
                    return Err(Error::kube(kube::Error::Api(status), doing()));
                }
                Some(Err(error)) => return Err(Error::kube(error, doing())),
                // A watch whose connection was cut ends in the same way, but earlier.
                None if began.elapsed() >= FULL => {
                    advance(version);
                    return Ok(());
                }
                None if has_events => return Ok(()),
                None => {
                    let message = format!("cannot {}: it ended at once", doing());
                    return Err(Error::new(Reason::ServiceUnavailable, message));
                }
            };
            has_events = true;
            let now = Instant::now();
            self.0
                .view
                .change::<R, _>(|table| table.merge_event(row, is_deleted, now));
        }
    }
}

#[cfg(test)]
mod tests;
