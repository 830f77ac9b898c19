//! Follows every node of a task at once, until the task has ended.
//!
//! ```text
//!                      one for each viewer            one for each container
//! Kubernetes ──────► Reader ──► Follower ──► items
//!      │                            ▲
//!      └───────────────────────────[│]──────────────── Reader ──► Ring
//!                                   └──────────────────────────────┘
//! ```
//!
//! A [`node::Follower`] decides what to do next from what was observed ([`step`], pure). What is in a container's log when a
//! viewer comes it reads for that viewer alone; then it joins the [`tail::Tail`] of the container, the one stream that all who
//! follow it share. Whoever is too slow for that goes back to reading alone, and comes again. Both know where they are in the log
//! ([`position`], pure), so that no step loses or repeats a line.

mod block;
mod container;
mod last_lines;
mod lines;
mod node;
mod position;
mod reader;
mod rest;
mod ring;
mod start;
mod step;
mod tail;
mod waiting;

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, atomic::AtomicBool},
};

use time::OffsetDateTime;
use tokio::{sync::mpsc, task::JoinSet};

#[cfg(test)]
pub use self::block::{Block, LogSource, Piece};
pub use self::{
    block::{LineText, LogLines},
    tail::Tails,
};
use self::{
    node::{Follower, Outcome},
    ring::Entry,
};
use super::{Error, Executor, Result, status, tasks::not_found, view::Sight};
use crate::api::{LogEnd, LogQuery, LogRecord, NodeStatus, Reason, Since, TaskId, User};

/// How many items may wait for a slow viewer. Each is at most a block of lines, so this bounds the memory of a stream.
const BUFFER: usize = 8;

/// What a viewer gets.
#[derive(Debug)]
pub enum LogItem {
    Lines(LogLines),
    Record(LogRecord<'static>),
}

impl LogItem {
    /// What a reader said, for a viewer who wants it from there on.
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

/// Nobody wants the items any more.
#[derive(Debug)]
struct ReaderGone;

impl Executor {
    /// The log of a task of `user`, ending with [`LogRecord::End`]. Dropping the receiver ends the work.
    ///
    /// # Errors
    /// When there is no such task, or `query` asks for nodes that it does not have.
    pub async fn logs(
        &self,
        user: &User,
        id: TaskId,
        query: LogQuery,
    ) -> Result<mpsc::Receiver<LogItem>> {
        let sight = self.sight(user, id).await?;
        let num_nodes = sight.num_nodes;
        let unknown = |(field, rank): (&str, u32)| {
            let last = num_nodes - 1;
            Error::new(
                Reason::Invalid,
                format!("{field}: task `{id}` has no node {rank}, only 0 to {last}"),
            )
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
        let executor = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = executor.follow(ranks, sight, query, &items) => (),
                () = items.closed() => (),
            }
        });
        Ok(receiver)
    }

    /// What is known of a task of `user`, shared with all who look at it.
    async fn sight(&self, user: &User, id: TaskId) -> Result<Arc<Sight>> {
        let key = (user.clone(), id);
        if self.view.is_fresh()
            && let Some(sight) = self.sights.get(&key, |sight| !sight.is_gone())
        {
            return Ok(sight);
        }
        let task = self.look_up(user, id).await?;
        let task = status::task(id, &task, Some(user), &self.namespace);
        let num_nodes = task.ok_or_else(|| not_found(id))?.metadata.num_nodes;
        let sight = self.sights.join(
            key,
            |sight| !sight.is_gone(),
            || Some(self.keep_in_sight(user, id, num_nodes)),
        );
        Ok(sight.expect("one was begun"))
    }

    /// Follows the nodes to their ends, then tells that of the task.
    async fn follow(
        &self,
        ranks: BTreeSet<u32>,
        sight: Arc<Sight>,
        query: LogQuery,
        items: &mpsc::Sender<LogItem>,
    ) {
        let num_nodes = sight.num_nodes;
        // That nobody reads any more is noticed by the caller.
        let say = async |record| drop(items.send(LogItem::Record(record)).await);
        say(LogRecord::Start { num_nodes }).await;
        let from = query.since.map_or(i64::MIN, nanoseconds);
        let query = Arc::new(query);
        let is_limit_told = Arc::new(AtomicBool::new(false));
        let executor = Arc::new(self.clone());
        let reads = self.tails.reads();
        let mut followers = JoinSet::new();
        for rank in ranks {
            let place = query.after.iter().rev().find(|cursor| cursor.node == rank);
            let follower = Follower {
                executor: executor.clone(),
                rank,
                query: query.clone(),
                from,
                sight: sight.clone(),
                items: items.clone(),
                place: place.map(|cursor| cursor.place.clone()),
                is_limit_told: is_limit_told.clone(),
                reads: reads.clone(),
                read: HashSet::new(),
                has_job: false,
            };
            followers.spawn(follower.run());
        }
        let outcomes = followers.join_all().await;
        let (status, reason) = conclude(&outcomes);
        say(LogRecord::End { status, reason }).await;
    }
}

/// The moment that is meant, in nanoseconds since 1970.
fn nanoseconds(since: Since) -> i64 {
    match since {
        Since::Ago(duration) => {
            let now = OffsetDateTime::now_utc().unix_timestamp_nanos();
            let ago = i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
            i64::try_from(now.saturating_sub(ago).max(0)).unwrap_or(i64::MAX)
        }
        Since::At(time) => time.unix_nanoseconds(),
    }
}

fn rfc3339(nanoseconds: i64) -> String {
    k8s_openapi::jiff::Timestamp::from_nanosecond(nanoseconds.into())
        .map_or_else(|_| nanoseconds.to_string(), |time| time.to_string())
}

/// What the ends of the nodes mean for the whole.
fn conclude(outcomes: &[Outcome]) -> (LogEnd, Option<String>) {
    if outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::Stopped))
    {
        return (LogEnd::Stopped, None);
    }
    let ended = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Ended(node) => Some(node.clone()),
        _ => None,
    });
    let ended: Vec<NodeStatus> = ended.collect();
    if let Some(node) = status::first_failure(&ended) {
        return (LogEnd::Failed, Some(describe(node, outcomes.len())));
    }
    let unfinished = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Unfinished(reason) => Some(reason.clone()),
        _ => None,
    });
    match unfinished {
        Some(reason) => (LogEnd::Unfinished, reason),
        None => (LogEnd::Completed, None),
    }
}

fn describe(node: &NodeStatus, num_nodes: usize) -> String {
    let reason = node.reason.as_deref().unwrap_or("for an unknown reason");
    match status::setup_failure(node) {
        Some(why) if num_nodes > 1 => format!("failed: {why}"),
        _ if num_nodes > 1 => format!("node-{} failed: {reason}", node.rank),
        _ => format!("failed: {reason}"),
    }
}

#[cfg(test)]
mod tests;
