//! Reads the log of one container, opening it again for as long as it breaks off before its end.
//!
//! That a stream ends says nothing: connections are cut, proxies time out, the kubelet restarts. Only the cluster says that a
//! container has ended, and then what is left of its log is read once more. And that a stream is silent says nothing either:
//! now and then the reader looks whether there is more than it was sent.

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    LogItem, ReaderGone,
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

/// How long the cluster may take to say that a container has ended whose log has, before it is opened again.
const END_DELAY: Duration = Duration::from_secs(2);
/// How long a kubelet may take to tell that it has started a container again.
const REPORT_DELAY: Duration = Duration::from_secs(5);
/// How long a followed log is silent before it is looked at by another way, first and at most.
const SILENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// How far a reader may fall behind before it stops to follow, in nanoseconds. The kubelet rotates logs every 10 s at most, and
/// one who follows and is more than a file behind is silently led past it; one who asks anew is not.
const LAG: i64 = 5_000_000_000;

/// How long the end of the log of a container that has ended is tried for.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The same for a container that was started again: a kubelet removes what ran before, and then says so in words that it has for
/// passing troubles, too.
const PATIENCE_WITH_PREVIOUS: Duration = Duration::from_secs(10);
/// A log is read again to see whether that was all of it, unless more than so many bytes of it were read.
const LONG: u64 = 1024 * 1024;

/// To whom a reader reads.
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
    /// From which second on to ask for the log as long as no line has come.
    pub since: Option<i64>,
    pub backoff: Backoff,
    pub is_interrupted: bool,
    /// Whether anything was handed on.
    pub has_read: bool,
    /// How much was read, in bytes.
    pub bytes: u64,
}

/// Why a stream that was followed ended.
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

    /// Follows the log to its end into a ring.
    pub async fn follow(&mut self, ring: &Ring) -> Result<(), ReaderGone> {
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
            // A stream that broke may have had more to say even if its pod has failed.
            let has_ended = match failure {
                // What is read before it is known that a container was started again is read under the wrong name.
                _ if self.unsure().is_some() => self.has_ended(REPORT_DELAY, true).await,
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
    pub async fn read_stream(&mut self) -> Result<Result<(), Failure>, ReaderGone> {
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
            let before = self.unsure();
            match next(&mut lines, &mut self.position).await {
                Ok(Next::Block { block, gap }) => {
                    if let Some(failure) = self.check_container(&block, gap, before).await {
                        return Ok(Err(failure));
                    }
                    self.hand_on(block, gap).await?;
                }
                Ok(Next::End | Next::Complaint(_)) => break,
                Err(failure) => return Ok(Err(failure)),
            }
        }
        // Of a container that goes on it shows in what comes next.
        if self.container.source.is_over
            && let Some(since) = self.position.is_lost()
        {
            self.say(rotated(since)).await?;
        }
        Ok(Ok(()))
    }

    async fn follow_stream(&mut self) -> Result<StreamEnd, ReaderGone> {
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
            // An error means that nobody looks any more.
            let grace = match node.wait_for(at_its_end).await {
                Ok(node) if !step::is_over(&node, &source) => step::remaining_grace(&node, &source),
                _ => None,
            };
            sleep(grace.unwrap_or_default() + END_DELAY).await;
        };
        let mut over = std::pin::pin!(over);
        loop {
            let before = self.unsure();
            let next = tokio::select! {
                next = timeout(silence, lines.next(&mut self.position)) => next,
                // What is left is read without following, which cannot hang.
                () = &mut over => return Ok(StreamEnd::Failed(Failure::Broken("its end did not come".to_owned()))),
            };
            match next {
                Ok(Ok(Next::Block { block, gap })) => {
                    silence = SILENCE.0;
                    let newest = block.point();
                    if let Some(failure) = self.check_container(&block, gap, before).await {
                        return Ok(StreamEnd::Failed(failure));
                    }
                    self.hand_on(block, gap).await?;
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
                    if let Err(failure) = self.look_for_more().await {
                        return Ok(StreamEnd::Failed(failure));
                    }
                    silence = (silence * 2).min(SILENCE.1);
                }
            }
        }
    }

    /// Looks, past the stream that is followed, whether there is more than it gave.
    async fn look_for_more(&self) -> Result<(), Failure> {
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
            return Err(Failure::Broken("the stream fell silent".to_owned()));
        }
        Ok(())
    }

    /// The position, if a block may be of another container than the one that is asked for.
    ///
    /// Kubernetes cannot be asked for the log of a certain run of a container, only for the last one's and the one's before. So
    /// the log may be that of a run that nobody has heard of yet.
    fn unsure(&self) -> Option<Position> {
        let source = &self.container.source;
        (source.may_restart && !source.is_previous).then(|| self.position.clone())
    }

    /// Makes sure that a block that does not go on where the last one ended is of the same container. If that is not certain,
    /// the position is again what it was `before`, and the log is to be asked for again, perhaps as that of the previous run.
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
        // The kubelet knows of a new run before it tells anybody.
        sleep(REPORT_DELAY).await;
        let reason = match self.watch.refresh().await {
            Ok(()) if self.note_restarts() == 0 => return None,
            Ok(()) => "its container was started again".to_owned(),
            Err(error) => error.to_string(),
        };
        self.position = before;
        Some(Failure::Broken(reason))
    }

    /// Takes note that the container was started again, as often as is returned.
    fn note_restarts(&mut self) -> i32 {
        let source = &mut self.container.source;
        let node = self.watch.node(self.container.name.node);
        let restarts = step::restarts_since(&node.borrow(), source);
        if restarts > 0 {
            (source.is_previous, source.is_over) = (true, true);
        }
        restarts
    }

    async fn hand_on(&mut self, block: Block, gap: Option<i64>) -> Result<(), ReaderGone> {
        if let Some(since) = gap {
            self.say(rotated(since)).await?;
        }
        self.bytes += block.bytes.len() as u64;
        if block.pieces.is_empty() {
            return Ok(());
        }
        self.has_read = true;
        self.backoff = Backoff::default();
        self.say(Entry::Lines(Arc::new(block))).await
    }

    pub async fn say(&self, entry: Entry) -> Result<(), ReaderGone> {
        match &self.listener {
            Listener::Viewer(items) => {
                let item = LogItem::new(&self.container.name, entry, (0, 0));
                items.send(item).await.map_err(|_| ReaderGone)
            }
            Listener::Ring(ring) => {
                ring.push(entry);
                Ok(())
            }
        }
    }

    /// Waits before the next attempt, and says what is wrong when there was one already.
    pub async fn pause(&mut self, failure: Option<Failure>) -> Result<(), ReaderGone> {
        if let Some(failure) = failure {
            let reason = failure.reason();
            log::debug!("the log of {}: {reason}", self.container.source.pod);
            if !self.backoff.is_fresh() && !self.is_interrupted {
                self.is_interrupted = true;
                self.say(Entry::Interrupted(reason.to_owned())).await?;
            }
            // That it cannot be read may mean that it is gone, and a watch that is dead does not say so.
            if matches!(failure, Failure::Refused(_)) {
                drop(self.watch.refresh().await);
            }
        }
        sleep(self.backoff.next(rand::random())).await;
        Ok(())
    }

    pub async fn recover(&mut self) -> Result<(), ReaderGone> {
        if std::mem::take(&mut self.is_interrupted) {
            self.say(Entry::Resumed).await?;
        }
        Ok(())
    }

    /// Reads what there is, trying for as long as there is hope. `is_complete`: it may well be that there is nothing more, so
    /// a log that is gone is no loss.
    pub async fn read_rest(&mut self, is_complete: bool) -> Result<(), ReaderGone> {
        let began = Instant::now();
        loop {
            let Err(failure) = self.read_stream().await? else {
                return self.recover().await;
            };
            if self.is_hopeless(&failure, began).await {
                if !is_complete || !self.is_silence_right(&failure) {
                    let since = self.position.point().map(|point| point.time);
                    let reason = format!("its log cannot be read: {}", failure.reason());
                    self.say(Entry::Gap { since, reason }).await?;
                }
                return Ok(());
            }
            self.pause(Some(failure)).await?;
        }
    }

    /// Reads what there is when nothing will be read after it.
    ///
    /// When a kubelet goes away in the middle of a log, the API server ends its answer as if that had been all (`StreamObject` in
    /// `apiserver/pkg/endpoints/handlers/responsewriters/writers.go` copies and looks at no error; seen: 1.20). So the end is
    /// believed when it is found twice.
    pub async fn read_to_end(&mut self, is_complete: bool) -> Result<(), ReaderGone> {
        self.read_rest(is_complete).await?;
        let (is_over, is_long) = (self.container.source.is_over, self.bytes > LONG);
        let last = if is_over && !is_long {
            None
        } else {
            self.time_of_last(1).await
        };
        loop {
            let point = self.position.point();
            // Of a log that goes on, no more is wanted than there was.
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

    /// Whether there is no line behind the position, given the time of the log's last line. When in doubt, there is.
    async fn is_at_end(&self, last: Option<i64>) -> bool {
        let Some(point) = self.position.point() else {
            return false;
        };
        if last != Some(point.time) || point.offset.is_some() {
            return false;
        }
        // Whether it was the last of the lines with its time.
        let before = self.time_of_last(point.nth.saturating_add(2)).await;
        before.is_some_and(|before| before != point.time)
    }

    /// The time of the first of the last lines of the log, so many, if it can be known.
    async fn time_of_last(&self, lines: u32) -> Option<i64> {
        self.container.time_of_last(lines).await.ok().flatten()
    }

    /// Whether there is no use in trying to read the log again after a failure.
    pub async fn is_hopeless(&self, failure: &Failure, began: Instant) -> bool {
        let is_over = self.has_ended(Duration::ZERO, true).await;
        match failure {
            Failure::Refused(_) => is_over,
            Failure::Broken(_) if self.container.source.is_previous => {
                began.elapsed() > PATIENCE_WITH_PREVIOUS
            }
            Failure::Broken(_) => is_over && began.elapsed() > PATIENCE,
        }
    }

    /// Whether a log that cannot be read any more may be left without a word, given that it seemed to be read: it is gone, and
    /// its container was seen to end, or somebody stopped the task.
    fn is_silence_right(&self, failure: &Failure) -> bool {
        let node = self.watch.node(self.container.name.node);
        let node = node.borrow();
        let has_ended = step::has_terminated(&node, &self.container.source) || node.jobs.is_empty();
        matches!(failure, Failure::Refused(_)) && has_ended
    }

    /// Whether the container has ended, or does so in a moment. `with_pod`: or its pod has, which ends it.
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

/// The time, in nanoseconds since 1970.
pub fn now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or(i64::MAX)
}
