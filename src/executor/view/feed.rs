//! The watches that keep the view alive.
//!
//! A list in pages, then a watch from its version on. Watches are short: a server ends each after [`WATCH_SECONDS`], and before
//! that it says how far it has come (a bookmark), so that silence is never mistaken for quiet: one that has not said anything
//! within that time is dead, whatever its connection looks like. To begin the next costs one small request.

use std::{
    collections::HashSet,
    pin::pin,
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::time::{sleep, timeout};

use super::{
    super::{
        DEADLINE, Error, Executor, PAGE, Result, labels,
        objects::Page,
        rows::{ClaimRow, FailureRow, JobRow, PodRow, Version},
    },
    Kept, MAX_AGE,
    table::{Scope, Table},
};
use crate::api::{Backoff, Reason};

/// How long a watch lasts.
const WATCH_SECONDS: u32 = 6;
/// How long a watch may be silent. Then it is dead, and there is time for another before the view is too old.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 2);
/// How long to wait at most before trying again.
const MAX_PAUSE: Duration = Duration::from_secs(5);

const _: () = assert!(SILENCE.as_secs() < MAX_AGE.as_secs());

/// Why a watch ended.
enum WatchEnd {
    /// It is over, and the next begins where it ended.
    Over,
    /// What lies between is not known any more: everything has to be listed.
    TooOld,
}

impl Executor {
    /// Keeps the view alive, for ever.
    pub async fn keep_view(&self) {
        let labelled = |label| (Some(format!("{label}=true")), None);
        let failures = (None, Some(FailureRow::SELECTOR.to_owned()));
        futures::join!(
            self.feed::<JobRow>(labelled(labels::TASK)),
            self.feed::<PodRow>(labelled(labels::TASK)),
            self.feed::<ClaimRow>(labelled(labels::VOLUME)),
            self.feed::<FailureRow>(failures),
        );
    }

    /// Feeds the table of one kind with the objects that these selectors of labels and fields select.
    async fn feed<R: Kept>(&self, selectors: (Option<String>, Option<String>)) {
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
        let mut told = String::new();
        loop {
            let error = match self.load_and_watch::<R>(&list, &watch, &mut backoff).await {
                Ok(()) => continue,
                Err(error) => error.to_string(),
            };
            if error != told {
                log::warn!("what happens to {} is not seen for now: {error}", R::KIND);
                told = error;
            }
            sleep(backoff.next(rand::random()).min(MAX_PAUSE)).await;
        }
    }

    /// Lists if that is necessary, then watches for as long as that works.
    async fn load_and_watch<R: Kept>(
        &self,
        list: &ListParams,
        watch: &WatchParams,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let watched = self.view.change::<R, _>(|table| table.ledger().watched());
        if watched.is_none() {
            self.load::<R>(list).await?;
        }
        loop {
            match self.watch::<R>(watch).await {
                Ok(WatchEnd::Over) => *backoff = Backoff::default(),
                Ok(WatchEnd::TooOld) => {
                    self.view.change::<R, _>(|table| table.ledger().forget());
                    return Ok(());
                }
                Err(error) => {
                    // One who may list but not watch sees at least what a list shows.
                    if error.reason() == Reason::Forbidden {
                        self.view.change::<R, _>(|table| table.ledger().forget());
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Takes over a whole list, page by page.
    async fn load<R: Kept>(&self, params: &ListParams) -> Result<()> {
        let began = Instant::now();
        let mut listed = HashSet::new();
        let mut params = params.clone();
        let version = loop {
            let Page {
                rows,
                version,
                next,
            } = self.page::<R>(&params).await?;
            listed.extend(rows.iter().map(R::uid));
            self.view
                .change::<R, _>(|table| rows.into_iter().for_each(|row| table.tell(row)));
            match next {
                Some(token) => params = params.continue_token(&token),
                None => break version,
            }
        };
        self.view.change::<R, _>(|table| {
            table.forget_others(&Scope::All, &listed, version);
            table.ledger().advance(version, began);
        });
        log::info!(
            "view loaded kind={:?} count={} ms={}",
            R::KIND,
            listed.len(),
            began.elapsed().as_millis()
        );
        Ok(())
    }

    /// Watches once, from where the table is.
    async fn watch<R: Kept>(&self, params: &WatchParams) -> Result<WatchEnd> {
        let began = Instant::now();
        let watched = self.view.change::<R, _>(|table| table.ledger().watched());
        let version = watched.unwrap_or_default();
        let mut events = pin!(self.events::<R>(params, version).await?);
        let advance = |version: Version| {
            let now = Instant::now();
            self.view
                .change::<R, _>(|table| table.ledger().advance(version, now));
        };
        advance(version);
        loop {
            let Ok(event) = timeout(SILENCE, events.next()).await else {
                let seconds = SILENCE.as_secs();
                let message = format!("Kubernetes said nothing for {seconds} s");
                return Err(Error::new(Reason::Timeout, message));
            };
            let (row, is_deleted) = match event {
                Some(Ok(WatchEvent::Added(row) | WatchEvent::Modified(row))) => (row, false),
                Some(Ok(WatchEvent::Deleted(row))) => (row, true),
                Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                    advance(Version::new(&bookmark.metadata.resource_version));
                    continue;
                }
                Some(Ok(WatchEvent::Error(status))) if status.code == 410 => {
                    return Ok(WatchEnd::TooOld);
                }
                Some(Ok(WatchEvent::Error(status))) => {
                    let error = kube::Error::Api(status);
                    return Err(Error::kube(error, format!("watch {}", R::KIND)));
                }
                Some(Err(error)) => return Err(Error::kube(error, format!("watch {}", R::KIND))),
                None => {
                    // One that was cut off ends in the same way, but earlier.
                    if began.elapsed() + Duration::from_secs(1)
                        > Duration::from_secs(WATCH_SECONDS.into())
                    {
                        advance(version);
                    }
                    return Ok(WatchEnd::Over);
                }
            };
            let now = Instant::now();
            self.view
                .change::<R, _>(|table| table.tell_event(row, is_deleted, now));
        }
    }
}

const _: () = assert!(DEADLINE.as_secs() <= MAX_AGE.as_secs());
