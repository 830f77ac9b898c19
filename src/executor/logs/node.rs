//! Follows one node for one viewer: waits for its pod, reads its log, and reports its end.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    LogItem, Logs, ViewerGone,
    beginning::{Beginning, may_have_been_rotated},
    block::LogSource,
    container::Container,
    last_lines::before_last_lines,
    position::{Position, SECOND},
    reader::{Listener, Reader, now},
    reads::Reads,
    ring::{Entry, Found, RingPlace, Taken},
    step::{self, ContainerRun, POD_GONE, Step},
    tail::Tail,
    wait_reason::WaitReason,
};
use crate::{
    api::{LogCursor, LogPlace, LogPoint, LogQuery, LogRecord, NodeStatus, Since},
    backoff::Backoff,
    executor::{cluster::Cluster, observed::Observed, view::TaskWatch},
};

/// How long a log is followed after the pod of a stopped task is gone, or should be.
const STOP_DRAIN: Duration = Duration::from_secs(5);
/// How long the shared stream of a container may take to reach the place of this viewer, before the viewer reads alone.
const JOIN_DELAY: Duration = Duration::from_secs(2);
/// The interval at which a log is read that cannot be followed.
const POLL: Duration = Duration::from_secs(2);
/// The pause after an attempt to join that brought nothing.
const RETRY: Duration = Duration::from_millis(250);
/// The longest age that Kubernetes is asked for, in seconds: a century. Kubernetes computes in nanoseconds of 64 bits, unchecked.
const MAX_AGE: i64 = 100 * 365 * 24 * 3600;
/// The greatest difference between the clocks of a cluster and of the server's machine, in nanoseconds.
const CLOCKS: i64 = 3600 * SECOND;
/// How long a pod may have ended before its Job does. After that Kubernetes is asked.
const JOB_END_DELAY: Duration = Duration::from_secs(5);

/// The place at which to begin the log of a container.
pub enum Start {
    /// At its beginning, or before its last lines.
    Fresh {
        tail: Option<u32>,
    },
    Behind(Option<LogPoint>),
}

/// The outcome of following a node.
#[derive(Debug, PartialEq)]
pub enum NodeOutcome {
    Ended(NodeStatus),
    Stopped,
    /// The node still runs, or did not start in time for this reason.
    Unfinished(Option<String>),
}

/// Reads one node's log for one viewer.
pub struct Follower {
    pub logs: Arc<Logs>,
    pub cluster: Cluster,
    pub rank: u32,
    pub query: Arc<LogQuery>,
    /// The time of the request, from which [`Since::Ago`] counts.
    pub began: Instant,
    pub watch: Arc<TaskWatch>,
    pub items: mpsc::Sender<LogItem>,
    /// The place at which the viewer was cut off.
    pub place: Option<LogPlace>,
    /// Whether the viewer has the notice that not every log can be followed.
    pub is_limit_reported: Arc<AtomicBool>,
    /// Whether the viewer has the notice about the nodes that the others wait for.
    pub is_barrier_reported: Arc<AtomicBool>,
    /// The attempts whose beginning the viewer has been told of.
    pub reported_attempts: Arc<Mutex<BTreeSet<u32>>>,
    /// The limit of this viewer's reads, for all nodes together.
    pub reads: Reads,
    /// The keys of the containers whose logs were read completely, or are not wanted.
    pub read: HashSet<String>,
    /// Whether the node has or had a Job. Without one, its task may still be being created.
    pub has_job: bool,
    /// Whether the viewer was there before the node's container.
    pub has_waited: bool,
}

impl Follower {
    pub async fn run(mut self) -> NodeOutcome {
        self.has_job = self.has_place();
        match self.follow().await {
            Ok(outcome) => outcome,
            Err(ViewerGone) => NodeOutcome::Unfinished(None),
        }
    }

    async fn follow(&mut self) -> Result<NodeOutcome, ViewerGone> {
        let mut patience = Instant::now() + self.query.wait;
        let mut waiting = WaitReason::default();
        let mut node = self.watch.node(self.rank);
        let mut start = Box::pin(self.first_start()).await?;
        Box::pin(self.report_lost_attempts()).await?;
        let mut last: Option<ContainerRun> = None;
        loop {
            let (mut next, knows_all_pods) = self.next_step(&mut node);
            if matches!(next, Step::Ended(_)) && !knows_all_pods {
                Box::pin(self.refresh()).await?;
                (next, _) = self.next_step(&mut node);
            }
            if next == Step::Stopped
                && let Some(status) = self.watch.end_without_job(self.rank)
            {
                next = Step::Ended(status);
            }
            if node.borrow().may_follow {
                // An attempt may begin after a pause of minutes.
                patience = Instant::now() + self.query.wait;
            }
            let mut limit = patience;
            match next {
                Step::Stopped if !self.has_job && !self.watch.is_gone() => {
                    let reason = Some("its Job does not exist yet".to_owned());
                    if !self.query.follow {
                        return Ok(NodeOutcome::Unfinished(reason));
                    }
                    waiting.set(reason);
                    // The watch of this node does not show that the other Jobs are gone, so the loop checks that again.
                    limit = limit.min(Instant::now() + POLL);
                }
                Step::Stopped => return Ok(NodeOutcome::Stopped),
                Step::Ended(status) => return Box::pin(self.end(status)).await,
                Step::Read(source) => {
                    Box::pin(self.report_new_container(&source, last.as_ref())).await?;
                    let start = std::mem::replace(&mut start, Start::Fresh { tail: None });
                    // Most nodes of a large task wait most of the time. Boxed futures allocate the memory for reading only when it
                    // is needed.
                    let is_first = last.is_none();
                    Box::pin(self.read_source(&source, start, is_first)).await?;
                    let is_ending = step::is_ending(&node.borrow(), &source, self.rank);
                    if !self.query.follow && !is_ending {
                        return Ok(NodeOutcome::Unfinished(None));
                    }
                    self.read.insert(source.key());
                    last = Some(source);
                    // Another attempt has as much time to begin.
                    patience = Instant::now() + self.query.wait;
                    continue;
                }
                Step::Wait(reason) if !self.query.follow => {
                    return Ok(NodeOutcome::Unfinished(reason));
                }
                Step::Wait(reason) => waiting.set(reason),
            }
            start = Start::Fresh { tail: None };
            self.has_waited = true;
            if let Some(reason) = waiting.due_report() {
                let node = self.rank;
                self.record(LogRecord::Waiting { node, reason }).await?;
            }
            if step::has_read_last(&node.borrow(), self.rank, &self.read) {
                // The node waits for the end of its Job, which may take any time.
                match timeout(JOB_END_DELAY, node.changed()).await {
                    Ok(changed) => changed.map_err(|_| ViewerGone)?,
                    Err(_) => drop(Box::pin(self.watch.refresh()).await),
                }
                continue;
            }
            let wakes = waiting
                .next_report()
                .map_or(limit, |report| report.min(limit));
            if let Ok(Err(_)) = timeout_at(wakes, node.changed()).await {
                return Err(ViewerGone);
            }
            if Instant::now() >= patience {
                let seconds = self.query.wait.as_secs();
                let why = waiting
                    .reason
                    .unwrap_or_else(|| "its pod has not started".to_owned());
                let reason = format!("node-{} did not start within {seconds} s: {why}", self.rank);
                return Ok(NodeOutcome::Unfinished(Some(reason)));
            }
        }
    }

    /// The next step, and whether all pods of the node are known at the same moment.
    fn next_step(&mut self, node: &mut watch::Receiver<Observed>) -> (Step, bool) {
        let observed = node.borrow_and_update();
        self.has_job |= !observed.jobs.is_empty();
        let next = step::next(&observed, self.rank, &self.read);
        (next, step::knows_all_pods(&observed, self.rank))
    }

    /// Sends the end of the node, and a gap if its log cannot be read any more.
    async fn end(&self, status: NodeStatus) -> Result<NodeOutcome, ViewerGone> {
        let node = self.rank;
        let has_read = !self.read.is_empty() || self.has_place();
        let observed = self.watch.node(node);
        let saw_all = self.has_waited && !self.watch.was_away_since(self.began.into_std());
        let missing = step::missing_log(&observed.borrow(), &status, saw_all);
        if let Some(reason) = missing.filter(|_| !has_read) {
            let (since, reason) = (None, reason.to_owned());
            self.record(LogRecord::Gap {
                node,
                since,
                reason,
            })
            .await?;
        }
        let cursor = self.cursor(LogPlace::End);
        self.record(LogRecord::NodeEnd {
            node,
            status: status.status,
            exit_code: status.exit_code,
            reason: status.reason.clone(),
            stopped_after: status.stopped_after,
            cursor: cursor.to_string(),
        })
        .await?;
        Ok(NodeOutcome::Ended(status))
    }

    /// Lists the task until that succeeds, so that the observed rows are recent.
    pub async fn refresh(&self) -> Result<(), ViewerGone> {
        let node = self.rank;
        let (mut backoff, mut is_interrupted) = (Backoff::default(), false);
        while let Err(error) = self.watch.refresh().await {
            if !backoff.is_fresh() && !is_interrupted {
                is_interrupted = true;
                let (node, reason) = (Some(node), error.to_string());
                self.record(LogRecord::Interrupted { node, reason }).await?;
            }
            tokio::select! {
                () = sleep(backoff.next(rand::random())) => (),
                () = self.watch.until_back() => (),
            }
        }
        if is_interrupted {
            self.record(LogRecord::Resumed { node: Some(node) }).await?;
        }
        Ok(())
    }

    /// Reads the log of a container to its end, or until a while after the task was stopped.
    async fn read_source(
        &mut self,
        source: &ContainerRun,
        start: Start,
        is_first: bool,
    ) -> Result<(), ViewerGone> {
        let container = Container {
            pods: self.cluster.api(),
            source: source.clone(),
            name: Arc::new(LogSource {
                node: self.rank,
                pod: source.pod.clone(),
                key: source.key(),
            }),
            reads: self.reads.clone(),
        };
        let listener = Listener::Viewer(self.items.clone());
        let position = Position::at(None);
        let mut reader = Reader::new(container, position, listener, self.watch.clone());
        reader.follows = self.query.follow;
        reader.is_witness = is_first && self.has_waited && !source.is_previous;
        if let (true, None, Some(started)) = (reader.is_witness, self.query.since, source.started) {
            reader.beginning = Some(Beginning {
                started,
                tried: Instant::now(),
                read: None,
                was_away: self.watch.was_away_since(self.began.into_std()),
            });
        }
        let node = self.watch.node(self.rank);
        tokio::select! {
            end = self.read_container(&mut reader, start) => end,
            () = stopped(node, self.rank) => Ok(()),
            gone = self.report_barrier(&source.pod) => Err(gone),
        }
    }

    async fn read_container(&self, reader: &mut Reader, start: Start) -> Result<(), ViewerGone> {
        let mut from = i64::MIN;
        let is_late_viewer = !self.has_waited
            && self.query.since.is_none()
            && matches!(start, Start::Fresh { tail: None });
        match start {
            Start::Behind(point) => reader.position = Position::at(point),
            Start::Fresh { tail } => {
                from = Box::pin(self.from(reader)).await?;
                reader.since = (from > i64::MIN).then(|| from.div_euclid(SECOND));
                let mut unwanted = 0;
                if let Some(tail) = tail {
                    let before = Box::pin(before_last_lines(reader, tail));
                    (reader.since, unwanted) = before.await?;
                }
                reader.position = Position::start(reader.since, from, unwanted);
            }
        }
        let mut is_first = true;
        loop {
            let source = &mut reader.container.source;
            source.is_over |= step::is_over(&self.watch.node(self.rank).borrow(), source);
            let mut is_last = source.is_over || !self.query.follow;
            is_last = is_last || !Box::pin(reader.read_rest()).await?;
            if is_last {
                Box::pin(reader.read_to_end()).await?;
            } else {
                Box::pin(self.find_place(reader, from)).await?;
            }
            if is_first && let Some(message) = about_beginning(reader, is_late_viewer) {
                let node = self.rank;
                self.record(LogRecord::Notice { node, message }).await?;
            }
            if std::mem::take(&mut is_first) && !reader.has_read {
                let name = &reader.container.name;
                self.record(LogRecord::Pod {
                    node: self.rank,
                    pod: name.pod.clone(),
                    cursor: name.cursor(reader.position.point()).to_string(),
                })
                .await?;
            }
            if is_last {
                return Ok(());
            }
            let point = reader.position.point();
            let has_reached = point.is_some_and(|point| point.latest >= from);
            if !has_reached && self.may_be_in_future(from) {
                // The lines to come may be too old, and the shared stream has all lines.
                sleep(POLL).await;
                continue;
            }
            let tails = &self.logs.tails;
            match tails.join(&reader.container, point, &self.watch) {
                Some(tail) => {
                    if self.follow_tail(reader, &tail).await? {
                        reader.container.source.is_over = true;
                        return Box::pin(reader.check_beginning(None)).await;
                    }
                    if reader.position.point() == point {
                        sleep(RETRY).await;
                    }
                }
                None => {
                    self.report_limit(tails.max_streams).await?;
                    sleep(POLL).await;
                }
            }
        }
    }

    /// Takes lines from the shared stream. Returns true at the end of the log, and false when this viewer is too far ahead or behind.
    async fn follow_tail(&self, reader: &mut Reader, tail: &Tail) -> Result<bool, ViewerGone> {
        let mut changes = tail.ring.changes();
        let deadline = Instant::now() + JOIN_DELAY;
        let mut place = loop {
            changes.mark_unchanged();
            match tail.ring.find(reader.position.point().as_ref()) {
                Found::At(place) => break place,
                Found::Never => return Ok(false),
                Found::Later if tail.ring.has_ended() => return Ok(false),
                // The log can be read, since this viewer has read it further.
                Found::Later => tail.ring.hurry(),
            }
            match timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => (),
                _ => return Ok(false),
            }
        };
        loop {
            changes.mark_unchanged();
            match tail.ring.take(place.number) {
                Taken::Entry(entry) => {
                    if let Entry::Lines(block) = &entry {
                        if let Some(point) = block.point() {
                            reader.position = Position::at(Some(point));
                        }
                        if let Some(first) = block.pieces.get(place.piece) {
                            let first = first.point.map(|point| point.time);
                            Box::pin(reader.check_beginning(first)).await?;
                        }
                    }
                    let is_empty =
                        matches!(&entry, Entry::Lines(block) if place.piece >= block.pieces.len());
                    if !is_empty {
                        let first = (place.piece, place.byte);
                        self.send(LogItem::new(&reader.container.name, entry, first))
                            .await?;
                    }
                    place = RingPlace::start(place.number + 1);
                }
                Taken::Nothing => {
                    if changes.changed().await.is_err() {
                        return Ok(false);
                    }
                }
                Taken::Missed => return Ok(false),
                Taken::Ended => return Ok(true),
            }
        }
    }

    /// Whether the first wanted time may be in the future, by whatever clock the lines get their times from.
    fn may_be_in_future(&self, from: i64) -> bool {
        // Kubernetes counts an age from the present.
        matches!(self.query.since, Some(Since::At(_))) && from > now().saturating_sub(CLOCKS)
    }

    async fn report_limit(&self, max_streams: usize) -> Result<(), ViewerGone> {
        if self.is_limit_reported.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let message = format!(
            "its log and perhaps others are read every {} s: the server follows {max_streams} logs at once; start it with a \
             higher `ulimit -n` for more",
            POLL.as_secs()
        );
        let node = self.rank;
        self.record(LogRecord::Notice { node, message }).await
    }

    pub async fn record(&self, record: LogRecord<'static>) -> Result<(), ViewerGone> {
        self.send(LogItem::Record(record)).await
    }

    pub async fn send(&self, item: LogItem) -> Result<(), ViewerGone> {
        self.items.send(item).await.map_err(|_| ViewerGone)
    }

    /// Whether the viewer already has a part of the node's log.
    pub fn has_place(&self) -> bool {
        matches!(self.place, Some(LogPlace::Pod { .. } | LogPlace::End))
    }

    pub fn cursor(&self, place: LogPlace) -> LogCursor {
        LogCursor {
            node: self.rank,
            place,
        }
    }

    fn sources(&self) -> Vec<ContainerRun> {
        step::sources(&self.watch.node(self.rank).borrow(), self.rank)
    }

    /// Decides where to begin, given the containers that exist now, and marks the earlier ones as read.
    pub async fn first_start(&mut self) -> Result<Start, ViewerGone> {
        let mut sources = self.sources();
        let is_missing = match &self.place {
            Some(LogPlace::Pod { key, .. }) => sources.iter().all(|source| source.key() != *key),
            Some(LogPlace::Begin | LogPlace::End) => false,
            // The logs of later containers are read completely.
            None => self.query.tail.is_some() && sources.is_empty(),
        };
        if is_missing {
            self.refresh().await?;
            sources = self.sources();
        }
        let keys =
            |sources: &[ContainerRun]| sources.iter().map(ContainerRun::key).collect::<Vec<_>>();
        match self.place.clone() {
            None => {
                let tail = self.query.tail.filter(|_| !sources.is_empty());
                if tail.is_some() {
                    let earlier = sources.len() - 1;
                    self.read.extend(keys(&sources[..earlier]));
                } else if self.query.tail.is_some() {
                    // A viewer that is cut off and asks again has to get all lines that came in the meantime.
                    self.record(LogRecord::Pod {
                        node: self.rank,
                        pod: String::new(),
                        cursor: self.cursor(LogPlace::Begin).to_string(),
                    })
                    .await?;
                }
                Ok(Start::Fresh { tail })
            }
            Some(LogPlace::Begin) => Ok(Start::Fresh { tail: None }),
            Some(LogPlace::End) => {
                self.read.extend(keys(&sources));
                Ok(Start::Fresh { tail: None })
            }
            Some(LogPlace::Pod { key, point }) => {
                if let Some(index) = sources.iter().position(|source| source.key() == key) {
                    self.read.extend(keys(&sources[..index]));
                    return Ok(Start::Behind(point));
                }
                let since = point.map(|point| point.time);
                let earlier = sources.iter().filter(|source| source.began_before(since));
                self.read.extend(earlier.map(ContainerRun::key));
                let source = Arc::new(LogSource {
                    node: self.rank,
                    pod: String::new(),
                    key,
                });
                let reason = POD_GONE.to_owned();
                self.send(LogItem::new(&source, Entry::Gap { since, reason }, (0, 0)))
                    .await?;
                Ok(Start::Fresh { tail: None })
            }
        }
    }

    /// The time of the first wanted lines of a container, in nanoseconds since 1970.
    async fn from(&self, reader: &mut Reader) -> Result<i64, ViewerGone> {
        let ago = match self.query.since {
            None => return Ok(i64::MIN),
            Some(Since::At(time)) => return Ok(time.unix_nanoseconds()),
            Some(Since::Ago(ago)) => ago,
        };
        loop {
            let elapsed = self.began.elapsed().as_secs();
            // Rather up to a second too early than too late.
            let seconds = ago
                .as_secs()
                .saturating_add(elapsed + u64::from(elapsed > 0));
            let seconds = i64::try_from(seconds).map_or(MAX_AGE, |seconds| seconds.min(MAX_AGE));
            match reader.container.time_of_last_seconds(seconds).await {
                Ok(from) => return Ok(from.unwrap_or(i64::MIN)),
                // The next read of the log reports the failure.
                Err(failure) if reader.is_final(&failure).await => return Ok(i64::MIN),
                Err(failure) => reader.pause(Some(failure)).await?,
            }
        }
    }

    /// Finds a place in the log if there is any line in it, even one before `from`. The shared stream needs a place to start from.
    async fn find_place(&self, reader: &mut Reader, from: i64) -> Result<(), ViewerGone> {
        if reader.position.point().is_some() || from == i64::MIN {
            return Ok(());
        }
        let last = loop {
            match reader.container.time_of_last(1).await {
                Ok(last) => break last,
                Err(failure) if reader.is_final(&failure).await => break None,
                Err(failure) => reader.pause(Some(failure)).await?,
            }
        };
        if let Some(last) = last {
            reader.since = reader.since.min(Some(last.div_euclid(SECOND)));
            reader.position = Position::start(reader.since, from, 0);
            reader.read_rest().await?;
        }
        Ok(())
    }
}

/// What a viewer who came after the beginning of a log is told about it.
fn about_beginning(reader: &Reader, is_late_viewer: bool) -> Option<String> {
    let source = &reader.container.source;
    if reader.is_empty() && may_have_been_rotated(source, now()) {
        return Some(
            "its log has no line: it printed none, or its lines were rotated away".to_owned(),
        );
    }
    let last = reader.position.point().filter(|_| is_late_viewer)?.latest;
    let seconds = reader.extent.missing_seconds(source, last)?;
    Some(format!(
        "its log begins {seconds} s after its container: lines before may have been rotated away"
    ))
}

/// Returns a while after the pod of a stopped node is gone, or should be.
async fn stopped(mut node: watch::Receiver<Observed>, rank: u32) {
    let stopping_time = {
        let Ok(node) = node.wait_for(|node| step::is_stopped(node, rank)).await else {
            return;
        };
        step::stopping_time(&node, rank)
    };
    if let Some(most) = stopping_time {
        let is_gone = node.wait_for(|node| step::stopping_time(node, rank).is_none());
        // The viewer gets the rest of the log, also if the machine of the pod does not answer.
        drop(timeout(most, is_gone).await);
    }
    sleep(STOP_DRAIN).await;
}
