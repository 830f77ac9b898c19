//! Reads the log of one container to its end, and reopens streams that break.
//!
//! The end of a stream means nothing: connections break, proxies time out, kubelets restart. Only the cluster says that a container
//! has ended; then the rest of its log is read until its last line was seen twice ([`super::last_line`]). Silence of a stream means
//! nothing either, so the reader checks now and then whether the log has more. A log that cannot be read is tried again; [`Attempts`]
//! decides for how long.

use std::{future, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    LogItem, ViewerGone,
    attempts::{Attempts, Situation},
    beginning::{Beginning, Extent},
    block::Block,
    container::{Container, Failure, Part, describe, next},
    last_line::Progress,
    lines::Next,
    position::Position,
    ring::{Entry, Ring},
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

/// The longest pause before the next attempt. A kubelet rotates logs every 10 s at most, so a longer one loses more lines.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

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
    /// The expected beginning of the log, until it was read.
    pub beginning: Option<Beginning>,
    /// Whether the viewer was there before the container.
    pub is_witness: bool,
    /// Whether the log could not be read.
    has_given_up: bool,
    pub backoff: Backoff,
    /// The failed attempts since the last line.
    pub attempts: Attempts,
    pub is_interrupted: bool,
    /// Whether the log is read until its container ends, not only up to its present end.
    pub follows: bool,
    /// Whether the last followed stream that was not refused ended by itself.
    has_closed: bool,
    /// Whether the followed stream ended by itself, and the container with it.
    has_seen_end: bool,
    /// Whether any line was passed on.
    pub has_read: bool,
    /// The lines that were passed on.
    pub extent: Extent,
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
            beginning: None,
            is_witness: false,
            has_given_up: false,
            backoff: Backoff::up_to(LONGEST_PAUSE),
            attempts: Attempts::default(),
            is_interrupted: false,
            follows: true,
            has_closed: false,
            has_seen_end: false,
            has_read: false,
            extent: Extent::default(),
        }
    }

    /// Follows the log into a ring, to its end.
    pub async fn follow(&mut self, ring: &Ring) -> Result<(), ViewerGone> {
        loop {
            let began = Instant::now();
            let failure = match self.follow_stream().await? {
                // A stream that is behind skips the files between its own and the newest. A new request does not.
                StreamEnd::Behind => {
                    self.read_rest().await?;
                    continue;
                }
                StreamEnd::Closed => None,
                StreamEnd::Failed(failure) => Some(failure),
            };
            match &failure {
                None => self.has_closed = true,
                // The kubelet removes the container of a deleted pod before the pod is gone.
                Some(Failure::Refused(_)) => (),
                Some(_) => self.has_closed = false,
            }
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
                self.has_seen_end = self.has_closed && (!self.is_gone() || self.is_stopped());
                self.read_to_end().await?;
                ring.end();
                return Ok(());
            }
            if began.elapsed() > SILENCE.0 {
                self.backoff.reset();
            }
            self.pause(failure).await?;
        }
    }

    /// Reads one stream that is not followed, to its end.
    pub async fn read_stream(&mut self) -> Result<Result<(), Failure>, ViewerGone> {
        if self.note_restarts() > 1 {
            let reason = "its container was started again more than once".to_owned();
            return Ok(Err(Failure::Lost(reason)));
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
        self.check_beginning(None).await?;
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
        let mut has_begun = false;
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
                    has_begun = true;
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
                    // A kubelet ends the stream so, after the last line, when the container is removed (seen: 1.20).
                    self.has_closed |= has_begun;
                    return Ok(StreamEnd::Failed(Failure::Refused(reason)));
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
        if block.pieces.is_empty() {
            return Ok(());
        }
        let first = block.pieces.first().and_then(|piece| piece.point);
        self.check_beginning(first.map(|point| point.time)).await?;
        self.has_read = true;
        self.extent.first = self.extent.first.or(first.map(|point| point.time));
        self.extent.bytes += block.bytes.len() as u64;
        self.backoff.reset();
        self.attempts.reset();
        self.send(Entry::Lines(Arc::new(block))).await
    }

    /// Reports once if the beginning of the log may be missing, given the time of its first line.
    pub async fn check_beginning(&mut self, first: Option<i64>) -> Result<(), ViewerGone> {
        let Some(beginning) = &mut self.beginning else {
            return Ok(());
        };
        let is_late = beginning.is_late(Instant::now());
        if is_late && first.is_none() && !self.container.source.is_over {
            // The first line is still to come.
            return Ok(());
        }
        let is_missing = is_late && beginning.is_before(first);
        self.beginning = None;
        if !is_missing {
            return Ok(());
        }
        let reason = "its log could not be read at its beginning, and may have been rotated since";
        self.send(Entry::Gap {
            since: None,
            reason: reason.to_owned(),
        })
        .await
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
            // The container of a stopped task or of a deleted pod goes away, which is no interruption. A gap in its log is reported.
            let is_going = self.is_stopped() || self.is_being_deleted();
            if !self.backoff.is_fresh() && !self.is_interrupted && !is_going {
                self.is_interrupted = true;
                self.send(Entry::Interrupted(reason.to_owned())).await?;
            }
            // The container may be gone, and a dead watch does not show that.
            if matches!(failure, Failure::Refused(_)) && !self.is_over() {
                drop(self.watch.refresh().await);
            }
        }
        let hurried = async {
            match &self.listener {
                Listener::Viewer(_) => future::pending().await,
                Listener::Ring(ring) => ring.hurried().await,
            }
        };
        tokio::select! {
            () = sleep(self.backoff.next(rand::random())) => (),
            () = self.watch.until_back() => (),
            () = hurried => (),
        }
        Ok(())
    }

    /// After an attempt with success.
    pub async fn recover(&mut self) -> Result<(), ViewerGone> {
        self.attempts.reset();
        if std::mem::take(&mut self.is_interrupted) {
            self.send(Entry::Resumed).await?;
        }
        Ok(())
    }

    /// Reads the existing log of a container that runs. Returns false if that has ended, and its log could not be read.
    pub async fn read_rest(&mut self) -> Result<bool, ViewerGone> {
        while let Err(failure) = self.read_stream().await? {
            if self.has_ended(Duration::ZERO, true).await {
                return Ok(false);
            }
            self.pause(Some(failure)).await?;
        }
        self.recover().await?;
        Ok(true)
    }

    /// Reads the existing log for the last time. Of a container that runs, only the lines up to now are wanted.
    pub async fn read_to_end(&mut self) -> Result<(), ViewerGone> {
        let mut until = None;
        loop {
            let before = self.position.point();
            let failure = match self.read_stream().await? {
                Ok(()) => match self.progress().await {
                    Ok(Progress::End) => return self.recover().await,
                    Ok(Progress::Rotated) if let Some(since) = self.position.gap_at_end() => {
                        // Later lines of a container that runs are not wanted.
                        if self.is_over() || !self.has_read {
                            self.send(rotated(since)).await?;
                        }
                        return self.recover().await;
                    }
                    Ok(progress) => {
                        if let (Progress::More(last), false) = (progress, self.is_over()) {
                            until = until.or(Some(last));
                        }
                        let point = self.position.point();
                        if let (Some(until), Some(point)) = (until, point)
                            && point.latest > until
                        {
                            return self.recover().await;
                        }
                        if point != before {
                            continue;
                        }
                        Failure::Broken("Kubernetes sends less of it than it has".to_owned())
                    }
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            if self.is_final(&failure).await {
                return self.give_up(&failure).await;
            }
            self.pause(Some(failure)).await?;
        }
    }

    /// Compares the position with the last lines of the log.
    async fn progress(&self) -> Result<Progress, Failure> {
        let point = self.position.point();
        let mut count = point.map_or(0, |point| point.nth).saturating_add(3);
        let mut before = None;
        loop {
            let lines = self.container.last_lines(count).await?;
            let are_all = before.as_ref() == Some(&lines);
            let progress = lines.progress(point, self.since, are_all);
            if progress != Progress::Unclear || are_all {
                return Ok(progress);
            }
            before = Some(lines);
            count = count.saturating_mul(2);
        }
    }

    /// Reports that the rest of the log cannot be read. A pod that was deleted after the stream of its log had ended by itself has
    /// probably written no more.
    async fn give_up(&mut self, failure: &Failure) -> Result<(), ViewerGone> {
        self.has_given_up = true;
        if self.has_seen_end && self.is_gone() {
            return Ok(());
        }
        let since = self.position.point().map(|point| point.time);
        let reason = format!("its log cannot be read: {}", failure.reason());
        self.send(Entry::Gap { since, reason }).await
    }

    /// Counts a failed attempt; returns whether further ones cannot succeed.
    pub async fn is_final(&mut self, failure: &Failure) -> bool {
        let situation = self.situation(failure).await;
        self.attempts.give_up(situation, Instant::now())
    }

    async fn situation(&self, failure: &Failure) -> Situation {
        if matches!(failure, Failure::Lost(_)) {
            return Situation::Gone;
        }
        if self.container.source.is_previous {
            return Situation::Restarted;
        }
        if self.follows && !self.has_ended(Duration::ZERO, true).await {
            return Situation::Runs;
        }
        // A dead watch does not show that the pod is gone.
        let answers = self.watch.refresh().await.is_ok();
        match failure {
            Failure::Refused(_) if answers && self.is_gone() => Situation::Gone,
            _ if !self.follows => Situation::IsNotFollowed,
            _ if answers => Situation::Ended,
            _ => Situation::EndedWithoutAnswers,
        }
    }

    /// Whether the pod is gone, as far as the rows show.
    fn is_gone(&self) -> bool {
        let node = self.watch.node(self.container.name.node);
        step::is_gone(&node.borrow(), &self.container.source)
    }

    /// Whether the task was stopped, as far as the rows show.
    fn is_stopped(&self) -> bool {
        let node = self.watch.node(self.container.name.node);
        let observed = node.borrow();
        observed.jobs.is_empty() && !observed.may_follow
    }

    /// Whether the pod is being deleted, as far as the rows show.
    fn is_being_deleted(&self) -> bool {
        let node = self.watch.node(self.container.name.node);
        step::is_being_deleted(&node.borrow(), &self.container.source)
    }

    /// Whether the whole log was asked for, by a viewer who came after its beginning, and there is none.
    pub fn is_empty(&self) -> bool {
        let has_read = self.has_read || self.position.point().is_some();
        !has_read && self.since.is_none() && !self.is_witness && !self.has_given_up
    }

    fn is_over(&self) -> bool {
        self.container.source.is_over
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
