//! Follows one node: waits for its pod, has its log read, and learns how it ended.

use std::{collections::HashSet, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use super::{
    super::{list, status::Observed},
    container::{ContainerReader, ReaderGone},
    position::Position,
    step::{self, Source, Step},
};
use crate::api::{LogQuery, LogRecord, NodeStatus};

/// How long a log may go on after its task was stopped: what a task says as it shuts down is worth seeing, but a task that
/// ignores its SIGTERM is not worth waiting for.
const STOP_DRAIN: Duration = Duration::from_secs(5);
/// How long a container may take to be created before that is worth a word.
const USUAL_START: Duration = Duration::from_secs(10);

/// How it ended with a node.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Ended(NodeStatus),
    Stopped,
    /// It goes on, or did not start in time for this reason.
    Unfinished(Option<String>),
}

/// Reads one node's log into `records`.
pub struct Follower {
    pub pods: Api<Pod>,
    /// Selects the pods of the task.
    pub selector: String,
    pub rank: u32,
    pub query: LogQuery,
    pub observation: watch::Receiver<Observed>,
    pub records: mpsc::Sender<LogRecord>,
    /// The uids of the pods that were read to their ends.
    pub read: HashSet<String>,
}

impl Follower {
    pub async fn run(mut self) -> Outcome {
        match self.follow().await {
            Ok(outcome) => outcome,
            Err(ReaderGone) => Outcome::Unfinished(None),
        }
    }

    async fn follow(&mut self) -> Result<Outcome, ReaderGone> {
        let patience = Instant::now() + self.query.wait;
        let mut waiting = Waiting::default();
        loop {
            let step = step::next(&self.observation.borrow_and_update(), self.rank, &self.read);
            let step = match step {
                Step::Ended(_) if self.read.is_empty() => self.look_again(step).await,
                step => step,
            };
            match step {
                Step::Stopped => return Ok(Outcome::Stopped),
                Step::Ended(node) => {
                    self.send(LogRecord::NodeEnd {
                        node: self.rank,
                        status: node.status,
                        exit_code: node.exit_code,
                        reason: node.reason.clone(),
                    })
                    .await?;
                    return Ok(Outcome::Ended(node));
                }
                Step::Read(source) => {
                    self.read_source(&source).await?;
                    if !self.query.follow && !source.is_over {
                        return Ok(Outcome::Unfinished(None));
                    }
                    self.read.insert(source.uid);
                    continue;
                }
                Step::Wait(reason) if !self.query.follow => return Ok(Outcome::Unfinished(reason)),
                Step::Wait(reason) => waiting.is_for(reason),
            }
            if let Some(reason) = waiting.news() {
                let node = self.rank;
                self.send(LogRecord::Waiting { node, reason }).await?;
            }
            // Once a pod was read, what is waited for is the Job's verdict on it, however long that takes.
            let gives_up = self.read.is_empty().then_some(patience);
            let wakes = [gives_up, waiting.next_news()].into_iter().flatten().min();
            let changed = self.observation.changed();
            let changed = match wakes {
                Some(wakes) => timeout_at(wakes, changed).await,
                None => Ok(changed.await),
            };
            if matches!(changed, Ok(Err(_))) {
                return Err(ReaderGone);
            }
            if gives_up.is_some_and(|gives_up| Instant::now() >= gives_up) {
                let seconds = self.query.wait.as_secs();
                let why = waiting
                    .reason
                    .unwrap_or_else(|| "its pod has not started".to_owned());
                let reason = format!("node-{} did not start within {seconds} s: {why}", self.rank);
                return Ok(Outcome::Unfinished(Some(reason)));
            }
        }
    }

    /// Looks for pods that a node has whose Job has ended and that was never seen to run: the watches of Jobs and pods are
    /// not in step, so the Job's end may be known before its pod's beginning.
    async fn look_again(&self, ended: Step) -> Step {
        let params = ListParams::default().labels(&self.selector);
        match list(&self.pods, params, "pods").await {
            Ok((pods, _)) => {
                let mut observed = self.observation.borrow().clone();
                observed.pods = pods;
                step::next(&observed, self.rank, &self.read)
            }
            Err(error) => {
                log::warn!(
                    "node {} ended, its pod cannot be looked for: {error}",
                    self.rank
                );
                ended
            }
        }
    }

    /// Reads the log of a container to its end, or until a while after the task was stopped.
    async fn read_source(&mut self, source: &Source) -> Result<(), ReaderGone> {
        let mut reader = ContainerReader {
            pods: &self.pods,
            rank: self.rank,
            query: &self.query,
            source,
            observation: self.observation.clone(),
            records: &self.records,
            position: Position::default(),
            held: None,
        };
        tokio::select! {
            end = reader.read() => end,
            () = stopped(self.observation.clone(), self.rank) => Ok(()),
        }
    }

    async fn send(&self, record: LogRecord) -> Result<(), ReaderGone> {
        self.records.send(record).await.map_err(|_| ReaderGone)
    }
}

/// What a node waits for, and whether its reader knows.
#[derive(Default)]
struct Waiting {
    reason: Option<String>,
    since: Option<Instant>,
    is_told: bool,
}

impl Waiting {
    fn is_for(&mut self, reason: Option<String>) {
        if self.reason != reason {
            *self = Self {
                reason,
                since: Some(Instant::now()),
                is_told: false,
            };
        }
    }

    /// When there is something to tell. That a container is being created is no news until it takes long.
    fn next_news(&self) -> Option<Instant> {
        let reason = self.reason.as_deref().filter(|_| !self.is_told)?;
        let is_usual = matches!(reason, "ContainerCreating" | "PodInitializing");
        Some(
            self.since?
                + if is_usual {
                    USUAL_START
                } else {
                    Duration::ZERO
                },
        )
    }

    /// The reason, once, when it is time to tell it.
    fn news(&mut self) -> Option<String> {
        self.next_news().filter(|time| *time <= Instant::now())?;
        self.is_told = true;
        self.reason.clone()
    }
}

/// Returns a while after the node's Job is gone.
async fn stopped(mut observation: watch::Receiver<Observed>, rank: u32) {
    let is_stopped =
        |observed: &Observed| step::next(observed, rank, &HashSet::new()) == Step::Stopped;
    if observation.wait_for(is_stopped).await.is_ok() {
        tokio::time::sleep(STOP_DRAIN).await;
    }
}
