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
    super::{status::Observed, view::Sight},
    LogItem, ReaderGone,
    block::Block,
    container::{Container, Failure, Part, describe, next},
    lines::Next,
    position::Position,
    ring::{Entry, Ring, RingEnd},
    step,
};
use crate::api::Backoff;

/// How long the cluster may take to say that a container has ended whose log has, before it is opened again.
const END_DELAY: Duration = Duration::from_secs(2);
/// How long a kubelet may take to tell that it has started a container again.
const REPORT_DELAY: Duration = Duration::from_secs(5);
/// How long a followed log is silent before it is looked at by another way, first and at most.
const SILENCE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// How far a reader may fall behind before it stops to follow, in nanoseconds. The kubelet rotates logs every 10 s at most, and
/// one who follows and is more than a file behind is silently led past it; one who asks anew is not.
const LAG: i64 = 5_000_000_000;

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
    pub sight: Arc<Sight>,
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
        sight: Arc<Sight>,
    ) -> Self {
        Self {
            container,
            position,
            listener,
            sight,
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
        let sight = self.sight.clone();
        let (source, node) = (self.container.source.clone(), self.container.name.node);
        let over = async move {
            let mut node = sight.node(node);
            let at_its_end = |node: &Observed| {
                step::is_over(node, &source) || step::farewell(node, &source).is_some()
            };
            // An error means that nobody looks any more.
            let grace = match node.wait_for(at_its_end).await {
                Ok(node) if !step::is_over(&node, &source) => step::farewell(&node, &source),
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
        let reason = match self.sight.refresh().await {
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
        let node = self.sight.node(self.container.name.node);
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
                drop(self.sight.refresh().await);
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
