//! Follows the logs of all nodes of a task until the task has ended.
//!
//! ```text
//!                      one for each viewer            one for each container
//! Kubernetes ──────► Reader ──► Follower ──► items
//!      │                            ▲
//!      └───────────────────────────[│]──────────────── Reader ──► Ring
//!                                   └──────────────────────────────┘
//! ```
//!
//! # A log line, from the pod to the screen
//!
//! 1. The container writes it, its runtime puts the time before it, and the kubelet serves it to [`container::Container::open`].
//! 2. [`lines::Lines`] cuts the bytes into pieces, and asks [`position::Position`] which of them are new.
//! 3. The pieces of one read are a [`block::Block`], which is not copied again.
//! 4. Until a viewer has caught up, [`reader::Reader`] sends it the blocks of a read of its own.
//! 5. Then one [`tail::Tail`] a container reads into a [`ring::Ring`], and each [`node::Follower`] takes blocks from there.
//! 6. A [`LogItem`] goes through the channel of [`open`] to `server::log_body`, one channel a viewer.
//! 7. `log_body` writes a record, with a cursor behind the line, or text for `curl`.
//! 8. `client::logs` reads the records; after a cut it asks again with the last cursor of each node.
//! 9. Its view puts `node-0 | ` before the line, and holds an unfinished line for a moment.
//! 10. The line is on the screen exactly once, whatever connection broke on the way.
//!
//! A [`node::Follower`] decides on its next step from the observed rows ([`step`], pure). It reads the existing log for its viewer
//! alone. Then it joins the [`tail::Tail`] of the container, the one stream that all its followers share. A viewer that is too slow
//! for the ring reads alone again, and joins later. Both know their place in the log ([`position`], pure), so that no step loses or
//! repeats a line. Only the façade imports this module. It knows neither the form of a log on the wire nor that on the screen.

mod attempts;
mod barrier;
mod beginning;
mod block;
mod container;
mod last_line;
mod last_lines;
mod lines;
mod node;
mod position;
mod reader;
mod reads;
mod ring;
mod runs;
mod shared;
mod step;
mod tail;
mod wait_reason;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};

pub use self::block::LogLines;
#[cfg(test)]
pub use self::block::{Block, LogSource, Piece};
use self::{
    node::{Follower, NodeOutcome},
    ring::Entry,
    shared::Shared,
    tail::Tails,
};
use crate::{
    api::{LogEnd, LogQuery, LogRecord, NodeStatus, Reason, TaskId, User},
    executor::{
        cluster::Cluster,
        error::{Error, Result},
        observed::{first_failure, names_its_node, setup_failure},
        view::{LiveView, TaskWatch},
    },
};

/// How many items may wait for a slow viewer. Each is at most a block of lines, so this bounds the memory of a stream.
const BUFFER: usize = 8;

/// An item of a log, for a viewer.
#[derive(Debug)]
pub enum LogItem {
    Lines(LogLines),
    Record(LogRecord<'static>),
}

impl LogItem {
    /// An entry of a reader as an item, from the given piece and byte on.
    fn new(source: &Arc<block::LogSource>, entry: Entry, first: (usize, usize)) -> Self {
        let node = source.node;
        match entry {
            Entry::Lines(block) => Self::Lines(LogLines::new(source.clone(), block, first)),
            Entry::Gap { since, reason } => Self::Record(LogRecord::Gap {
                node,
                since: since.map(rfc3339),
                reason,
            }),
            Entry::Interrupted(reason) => Self::Record(LogRecord::Interrupted {
                node: Some(node),
                reason,
            }),
            Entry::Resumed => Self::Record(LogRecord::Resumed { node: Some(node) }),
        }
    }
}

/// The viewer has closed the channel of items.
#[derive(Debug)]
struct ViewerGone;

/// The tasks and containers whose logs are followed.
pub struct Logs {
    watches: Shared<(User, TaskId, Option<u32>), TaskWatch>,
    tails: Tails,
}

impl Logs {
    pub fn new() -> Self {
        Self {
            watches: Shared::default(),
            tails: Tails::new(),
        }
    }

    /// The watch on a task of `user`, or on one attempt of it, which all its viewers share.
    async fn watch(
        &self,
        live: &LiveView,
        user: &User,
        id: TaskId,
        attempt: Option<u32>,
    ) -> Result<Arc<TaskWatch>> {
        let key = (user.clone(), id, attempt);
        if live.view.is_fresh()
            && let Some(watch) = self.watches.get(&key, |watch| !watch.is_gone())
        {
            return Ok(watch);
        }
        let task = live.task(user, id).await?;
        if let Some(attempt) = attempt {
            let jobs = task.jobs.iter().filter(|job| job.owner.is(user));
            let last = jobs.map(|job| job.attempt).max().unwrap_or(1);
            if attempt > last {
                let message = format!("attempt: task `{id}` has had {last} so far, not {attempt}");
                return Err(Error::new(Reason::Invalid, message));
            }
        }
        let task = task.status(id, Some(user), &live.cluster.namespace);
        let task = task.ok_or_else(|| Error::no_such_task(id))?;
        let num_nodes = task.metadata.num_nodes;
        let watch = self.watches.join(
            key,
            |watch| !watch.is_gone(),
            || Some(live.watch_task(user, id, num_nodes, attempt)),
        );
        Ok(watch.expect("one was begun"))
    }
}

/// The log of a task of `user`, as a channel that ends with [`LogRecord::End`]. Dropping the receiver ends the work.
pub async fn open(
    logs: &Arc<Logs>,
    live: &LiveView,
    user: &User,
    id: TaskId,
    query: LogQuery,
) -> Result<mpsc::Receiver<LogItem>> {
    let watch = logs.watch(live, user, id, query.attempt).await?;
    let num_nodes = watch.num_nodes();
    let unknown = |(field, rank): (&str, u32)| {
        let known = match num_nodes {
            1 => "only node 0".to_owned(),
            _ => format!("only 0 to {}", num_nodes - 1),
        };
        let message = format!("{field}: task `{id}` has no node {rank}, {known}");
        Error::new(Reason::Invalid, message)
    };
    let nodes = query.nodes.iter().map(|rank| ("node", *rank));
    let after = query.after.iter().map(|cursor| ("after", cursor.node));
    if let Some(named) = nodes.chain(after).find(|(_, rank)| *rank >= num_nodes) {
        return Err(unknown(named));
    }
    let ranks: BTreeSet<u32> = match query.nodes.as_slice() {
        [] => (0..num_nodes).collect(),
        nodes => nodes.iter().copied().collect(),
    };
    let (items, receiver) = mpsc::channel(BUFFER);
    let (logs, cluster) = (logs.clone(), live.cluster.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = follow(&logs, &cluster, ranks, watch, query, &items) => (),
            () = items.closed() => (),
        }
    });
    Ok(receiver)
}

/// Follows the nodes to their ends, and sends the end of the task.
async fn follow(
    logs: &Arc<Logs>,
    cluster: &Cluster,
    ranks: BTreeSet<u32>,
    watch: Arc<TaskWatch>,
    query: LogQuery,
    items: &mpsc::Sender<LogItem>,
) {
    let num_nodes = watch.num_nodes();
    // The caller notices a closed channel.
    let send = async |record| drop(items.send(LogItem::Record(record)).await);
    send(LogRecord::Start { num_nodes }).await;
    let query = Arc::new(query);
    let is_limit_reported = Arc::new(AtomicBool::new(false));
    let is_barrier_reported = Arc::new(AtomicBool::new(false));
    let reported_attempts = Arc::new(Mutex::new(BTreeSet::from([1])));
    let reads = logs.tails.reads();
    let mut followers = JoinSet::new();
    for rank in ranks {
        let place = query.after.iter().rev().find(|cursor| cursor.node == rank);
        let follower = Follower {
            logs: logs.clone(),
            cluster: cluster.clone(),
            rank,
            query: query.clone(),
            began: Instant::now(),
            watch: watch.clone(),
            items: items.clone(),
            place: place.map(|cursor| cursor.place.clone()),
            is_limit_reported: is_limit_reported.clone(),
            is_barrier_reported: is_barrier_reported.clone(),
            reported_attempts: reported_attempts.clone(),
            reads: reads.clone(),
            read: HashSet::new(),
            has_job: false,
            has_waited: false,
        };
        followers.spawn(follower.run());
    }
    let outcomes = followers.join_all().await;
    let (status, reason) = conclude(&outcomes);
    send(LogRecord::End { status, reason }).await;
}

fn rfc3339(nanoseconds: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_nanosecond(nanoseconds.into())
        .map_or_else(|_| nanoseconds.to_string(), |time| time.to_string())
}

/// The end of the log, from the ends of its nodes.
fn conclude(outcomes: &[NodeOutcome]) -> (LogEnd, Option<String>) {
    if outcomes
        .iter()
        .any(|outcome| matches!(outcome, NodeOutcome::Stopped))
    {
        return (LogEnd::Stopped, None);
    }
    let ended = outcomes.iter().filter_map(|outcome| match outcome {
        NodeOutcome::Ended(node) => Some(node.clone()),
        _ => None,
    });
    let ended: Vec<NodeStatus> = ended.collect();
    if let Some(node) = first_failure(&ended) {
        return (LogEnd::Failed, Some(describe(node, outcomes.len())));
    }
    let unfinished = outcomes.iter().find_map(|outcome| match outcome {
        NodeOutcome::Unfinished(reason) => Some(reason.clone()),
        _ => None,
    });
    match unfinished {
        Some(reason) => (LogEnd::Unfinished, reason),
        None => (LogEnd::Completed, None),
    }
}

fn describe(node: &NodeStatus, num_nodes: usize) -> String {
    let reason = node.reason.as_deref().unwrap_or("for an unknown reason");
    match setup_failure(node) {
        Some(why) if num_nodes > 1 => format!("failed: {why}"),
        _ if num_nodes > 1 && !names_its_node(reason) => {
            format!("node-{} failed: {reason}", node.rank)
        }
        _ => format!("failed: {reason}"),
    }
}

#[cfg(test)]
mod tests;
