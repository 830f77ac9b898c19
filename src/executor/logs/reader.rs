//! Reads the log of one container to its end, and reopens streams that break.
//!
//! The end of a stream means nothing: connections break, proxies time out, kubelets restart. Only the cluster says that a container
//! has ended; then the rest of its log is read once more. Silence of a stream means nothing either, so the reader checks now and
//! then whether the log has more.

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    LogItem, ViewerGone,
    block::Block,
    container::{Container, Failure, Part, describe, next},
    lines::Next,
    position::Position,
    ring::{Entry, Ring, RingEnd},
    step,
};
use crate::{
    backoff::Backoff,
    executor::{observed::Observed, view::TaskWatch},
};

/// How long the cluster may take to report the end of a container whose log has ended. After that the log is reopened.
const END_DELAY: Duration = Duration::from_secs(2);
/// How long a kubelet may take to report that it has restarted a container.
const REPORT_DELAY: Duration = Duration::from_secs(5);
/// The silence after which a followed log is checked by a second request, at first and at most.
const SILENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// How far a reader may fall behind before it stops following, in nanoseconds. The kubelet rotates logs every 10 s at most. A
/// stream that is more than one file behind silently skips lines; a new request does not.
const LAG: i64 = 5_000_000_000;

/// How long the reader tries to read the end of the log of a container that has ended.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The same for a container that was restarted. A kubelet deletes the log of the previous run, and reports that with the message of
/// passing errors.
const PATIENCE_WITH_PREVIOUS: Duration = Duration::from_secs(10);
/// Up to this many bytes, a log is read twice to make sure that it is complete.
const LONG: u64 = 1024 * 1024;

/// The receiver of a reader's entries.
pub enum Listener {
    Viewer(mpsc::Sender<LogItem>),
    Ring(Arc<Ring>),
}

/// Reads one container's log.
pub struct Reader {
    pub container: Container,
    pub position: Position,
    pub listener: Listener,
    pub watch: Arc<TaskWatch>,
    /// The second from which to read the log until the first line has come.
    pub since: Option<i64>,
    pub backoff: Backoff,
    pub is_interrupted: bool,
    /// Whether any line was passed on.
    pub has_read: bool,
    /// The number of bytes that were read.
    pub bytes: u64,
}

/// The reason why a followed stream ended.
enum StreamEnd {
    Closed,
    Failed(Failure),
    Behind,
}

impl Reader {
    pub fn new(
        container: Container,
        position: Position,
        listener: Listener,
        watch: Arc<TaskWatch>,
    ) -> Self {
        Self {
            container,
            position,
            listener,
            watch,
            since: None,
            backoff: Backoff::default(),
            is_interrupted: false,
            has_read: false,
            bytes: 0,
        }
    }

    /// Follows the log into a ring, to its end.
    pub async fn follow(&mut self, ring: &Ring) -> Result<(), ViewerGone> {
        loop {
            let began = Instant::now();
            let failure = match self.follow_stream().await? {
                StreamEnd::Behind => {
                    ring.end(RingEnd::Behind);
                    return Ok(());
                }
                StreamEnd::Closed => None,
                StreamEnd::Failed(failure) => Some(failure),
            };
            // A broken stream may not have contained the last lines, even if the pod has failed.
            let has_ended = match failure {
                // Lines that come before the restart is known would get the wrong container.
                _ if self.uncertain_position().is_some() => {
                    self.has_ended(REPORT_DELAY, true).await
                }
                None => self.has_ended(END_DELAY, true).await,
                Some(_) => self.has_ended(Duration::ZERO, false).await,
            };
            if has_ended {
                self.container.source.is_over = true;
                self.read_to_end(failure.is_none()).await?;
                ring.end(RingEnd::Over);
                return Ok(());
            }
            if began.elapsed() > SILENCE.0 {
                self.backoff = Backoff::default();
            }
            self.pause(failure).await?;
        }
    }

    /// Reads one stream that is not followed, to its end.
    pub async fn read_stream(&mut self) -> Result<Result<(), Failure>, ViewerGone> {
        if self.note_restarts() > 1 {
            let reason = "its container was started again more than once".to_owned();
            return Ok(Err(Failure::Refused(reason)));
        }
        let part = Part {
            since: self.position.resume().or(self.since),
            ..Part::default()
        };
        let reads = self.container.reads.clone();
        let _read = reads.permit().await;
        let mut lines = match self.container.open(part).await {
            Ok(lines) => lines,
            Err(failure) => return Ok(Err(failure)),
        };
        loop {
            let before = self.uncertain_position();
            match next(&mut lines, &mut self.position).await {
                Ok(Next::Block { block, gap }) => {
                    if let Some(failure) = self.check_container(&block, gap, before).await {
                        return Ok(Err(failure));
                    }
                    self.pass_on(block, gap).await?;
                }
                Ok(Next::End | Next::Complaint(_)) => break,
                Err(failure) => return Ok(Err(failure)),
            }
        }
        // If the container still runs, its next line shows a rotation.
        if self.container.source.is_over
            && let Some(since) = self.position.gap_at_end()
        {
            self.send(rotated(since)).await?;
        }
        Ok(Ok(()))
    }

    async fn follow_stream(&mut self) -> Result<StreamEnd, ViewerGone> {
        let part = Part {
            since: self.position.resume().or(self.since),
            follow: true,
            ..Part::default()
        };
        let mut lines = match self.container.open(part).await {
            Ok(lines) => lines,
            Err(failure) => return Ok(StreamEnd::Failed(failure)),
        };
        self.recover().await?;
        let mut silence = SILENCE.0;
        let mut least_delay = i64::MAX;
        let watch = self.watch.clone();
        let (source, node) = (self.container.source.clone(), self.container.name.node);
        let over = async move {
            let mut node = watch.node(node);
            let at_its_end = |node: &Observed| {
                step::is_over(node, &source) || step::remaining_grace(node, &source).is_some()
            };
            // An error means that the watch is gone.
            let grace = match node.wait_for(at_its_end).await {
                Ok(node) if !step::is_over(&node, &source) => step::remaining_grace(&node, &source),
                _ => None,
            };
            sleep(grace.unwrap_or_default() + END_DELAY).await;
        };
        let mut over = std::pin::pin!(over);
        loop {
            let before = self.uncertain_position();
            let next = tokio::select! {
                next = timeout(silence, lines.next(&mut self.position)) => next,
                // The rest is read without following, which cannot hang.
                () = &mut over => return Ok(StreamEnd::Failed(Failure::Broken("the stream did not end".to_owned()))),
            };
            match next {
                Ok(Ok(Next::Block { block, gap })) => {
                    silence = SILENCE.0;
                    let newest = block.point();
                    if let Some(failure) = self.check_container(&block, gap, before).await {
                        return Ok(StreamEnd::Failed(failure));
                    }
                    self.pass_on(block, gap).await?;
                    if let Some(point) = newest {
                        let delay = now().saturating_sub(point.time);
                        least_delay = least_delay.min(delay);
                        if delay - least_delay > LAG {
                            return Ok(StreamEnd::Behind);
                        }
                    }
                }
                Ok(Ok(Next::End)) => return Ok(StreamEnd::Closed),
                Ok(Ok(Next::Complaint(reason))) => {
                    return Ok(StreamEnd::Failed(Failure::Broken(reason)));
                }
                Ok(Err(error)) => {
                    return Ok(StreamEnd::Failed(Failure::Broken(describe(&error))));
                }
                Err(_) => {
                    if let Err(failure) = self.check_for_more().await {
                        return Ok(StreamEnd::Failed(failure));
                    }
                    silence = (silence * 2).min(SILENCE.1);
                }
            }
        }
    }

    /// Checks with a second request whether the log has more lines than the followed stream.
    async fn check_for_more(&self) -> Result<(), Failure> {
        let mut position = self.position.clone();
        let part = Part {
            since: position.resume().or(self.since),
            ..Part::default()
        };
        let mut has_more = false;
        let look = |next: &Next| {
            has_more = matches!(next, Next::Block { block, .. } if !block.pieces.is_empty());
            !has_more
        };
        self.container.read(part, &mut position, look).await?;
        if has_more {
            return Err(Failure::Broken("the stream stopped sending".to_owned()));
        }
        Ok(())
    }

    /// The position, if a block may be from another run of the container than the requested one.
    ///
    /// Kubernetes cannot send the log of a given run of a container, only those of the last run and the one before. So the log may
    /// be from a run that the cluster has not reported yet.
    fn uncertain_position(&self) -> Option<Position> {
        let source = &self.container.source;
        (source.may_restart && !source.is_previous).then(|| self.position.clone())
    }

    /// Checks that a block that does not continue the last one is from the same run of the container. If that is uncertain, the
    /// position is reset to `before`, and the log has to be read again, perhaps as that of the previous run.
    async fn check_container(
        &mut self,
        block: &Block,
        gap: Option<i64>,
        before: Option<Position>,
    ) -> Option<Failure> {
        let before = before?;
        if block.pieces.is_empty() || (before.point().is_some() && gap.is_none()) {
            return None;
        }
        // The kubelet reports a new run some time after it has started.
        sleep(REPORT_DELAY).await;
        let reason = match self.watch.refresh().await {
            Ok(()) if self.note_restarts() == 0 => return None,
            Ok(()) => "its container was started again".to_owned(),
            Err(error) => error.to_string(),
        };
        self.position = before;
        Some(Failure::Broken(reason))
    }

    /// Takes over the restarts of the container from the cluster; returns their number.
    fn note_restarts(&mut self) -> i32 {
        let source = &mut self.container.source;
        let node = self.watch.node(self.container.name.node);
        let restarts = step::restarts_since(&node.borrow(), source);
        if restarts > 0 {
            (source.is_previous, source.is_over) = (true, true);
        }
        restarts
    }

    async fn pass_on(&mut self, block: Block, gap: Option<i64>) -> Result<(), ViewerGone> {
        if let Some(since) = gap {
            self.send(rotated(since)).await?;
        }
        self.bytes += block.bytes.len() as u64;
        if block.pieces.is_empty() {
            return Ok(());
        }
        self.has_read = true;
        self.backoff = Backoff::default();
        self.send(Entry::Lines(Arc::new(block))).await
    }

    pub async fn send(&self, entry: Entry) -> Result<(), ViewerGone> {
        match &self.listener {
            Listener::Viewer(items) => {
                let item = LogItem::new(&self.container.name, entry, (0, 0));
                items.send(item).await.map_err(|_| ViewerGone)
            }
            Listener::Ring(ring) => {
                ring.push(entry);
                Ok(())
            }
        }
    }

    /// Waits before the next attempt, and reports the failure from the second one on.
    pub async fn pause(&mut self, failure: Option<Failure>) -> Result<(), ViewerGone> {
        if let Some(failure) = failure {
            let reason = failure.reason();
            log::debug!("the log of {}: {reason}", self.container.source.pod);
            if !self.backoff.is_fresh() && !self.is_interrupted {
                self.is_interrupted = true;
                self.send(Entry::Interrupted(reason.to_owned())).await?;
            }
            // The container may be gone, and a dead watch does not show that.
            if matches!(failure, Failure::Refused(_)) {
                drop(self.watch.refresh().await);
            }
        }
        sleep(self.backoff.next(rand::random())).await;
        Ok(())
    }

    pub async fn recover(&mut self) -> Result<(), ViewerGone> {
        if std::mem::take(&mut self.is_interrupted) {
            self.send(Entry::Resumed).await?;
        }
        Ok(())
    }

    /// Reads the existing log, with retries as long as they can succeed. `is_complete`: the log was probably read completely, so a
    /// log that is gone is no loss.
    pub async fn read_rest(&mut self, is_complete: bool) -> Result<(), ViewerGone> {
        let began = Instant::now();
        loop {
            let Err(failure) = self.read_stream().await? else {
                return self.recover().await;
            };
            if self.is_final(&failure, began).await {
                if !is_complete || !self.is_without_gap(&failure) {
                    let since = self.position.point().map(|point| point.time);
                    let reason = format!("its log cannot be read: {}", failure.reason());
                    self.send(Entry::Gap { since, reason }).await?;
                }
                return Ok(());
            }
            self.pause(Some(failure)).await?;
        }
    }

    /// Reads the existing log for the last time.
    ///
    /// When a kubelet fails in the middle of a log, the API server ends its answer as if the log were complete (`StreamObject` in
    /// `apiserver/pkg/endpoints/handlers/responsewriters/writers.go` ignores errors of the copy; seen: 1.20). So the end counts
    /// only when it is found twice.
    pub async fn read_to_end(&mut self, is_complete: bool) -> Result<(), ViewerGone> {
        self.read_rest(is_complete).await?;
        let (is_over, is_long) = (self.container.source.is_over, self.bytes > LONG);
        let last = if is_over && !is_long {
            None
        } else {
            self.time_of_last(1).await
        };
        loop {
            let point = self.position.point();
            // If the log grows, only the lines up to now are wanted.
            let is_behind = |last| point.is_some_and(|point| point.latest > last);
            if (!is_over && last.is_some_and(is_behind)) || (is_long && self.is_at_end(last).await)
            {
                return Ok(());
            }
            self.read_rest(true).await?;
            if self.position.point() == point {
                return Ok(());
            }
        }
    }

    /// Whether the position is at the end of the log, given the time of its last line. In doubt, it is not.
    async fn is_at_end(&self, last: Option<i64>) -> bool {
        let Some(point) = self.position.point() else {
            return false;
        };
        if last != Some(point.time) || point.offset.is_some() {
            return false;
        }
        // Check that it was the last one of the lines with its time.
        let before = self.time_of_last(point.nth.saturating_add(2)).await;
        before.is_some_and(|before| before != point.time)
    }

    /// The time of the first of the last `lines` lines of the log; none if it is unknown.
    async fn time_of_last(&self, lines: u32) -> Option<i64> {
        self.container.time_of_last(lines).await.ok().flatten()
    }

    /// Whether further attempts to read the log cannot succeed.
    pub async fn is_final(&self, failure: &Failure, began: Instant) -> bool {
        let is_over = self.has_ended(Duration::ZERO, true).await;
        match failure {
            Failure::Refused(_) => is_over,
            Failure::Broken(_) if self.container.source.is_previous => {
                began.elapsed() > PATIENCE_WITH_PREVIOUS
            }
            Failure::Broken(_) => is_over && began.elapsed() > PATIENCE,
        }
    }

    /// Whether no gap is reported for a log that cannot be read any more but was probably read completely: the log is gone, and its
    /// container was seen to end, or its task was stopped.
    fn is_without_gap(&self, failure: &Failure) -> bool {
        let node = self.watch.node(self.container.name.node);
        let node = node.borrow();
        let has_ended = step::has_terminated(&node, &self.container.source) || node.jobs.is_empty();
        matches!(failure, Failure::Refused(_)) && has_ended
    }

    /// Whether the container ends within `patience`. `with_pod`: the end of its pod counts as well.
    pub async fn has_ended(&self, patience: Duration, with_pod: bool) -> bool {
        let source = &self.container.source;
        let mut node = self.watch.node(self.container.name.node);
        let over = node.wait_for(|node| {
            step::is_over(node, source)
                || (with_pod && step::remaining_grace(node, source).is_some())
        });
        source.is_over || matches!(timeout(patience, over).await, Ok(Ok(_)))
    }
}

fn rotated(since: i64) -> Entry {
    Entry::Gap {
        since: Some(since),
        reason: "its log was rotated".to_owned(),
    }
}

/// The current time, in nanoseconds since 1970.
pub fn now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or(i64::MAX)
}
