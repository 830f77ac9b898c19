//! A log that is followed over as many streams as it takes.
//!
//! A stream without its last record was cut: by the server's end, a proxy, a laptop that slept. Then the log is asked for again,
//! behind the last cursor of each node, until it has come to its end.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    time::{Duration, Instant},
};

use super::{
    feed::{Event, LogFeed},
    view::LogView,
};
use crate::{
    api::{LogEnd, LogQuery, LogRecord, Since, TaskId},
    backoff::Backoff,
    client::{
        Context, Error, Exit,
        http::{ApiClient, describe_body},
    },
};

/// The longest record. The server cuts long lines into pieces of at most 8 KiB, so what is longer was not sent by it.
const MAX_RECORD: usize = 8 * 1024 * 1024;
/// How long everything has to be quiet before an unfinished line is shown: it is held back so that lines of other nodes do not
/// tear it.
const PROMPT_DELAY: Duration = Duration::from_millis(100);
/// How often a terminal is shown the lines that have become old unfinished, even if that tears them: somebody may have to answer
/// one. What reads a pipe wants whole lines.
const PROMPT_PACE: Duration = Duration::from_millis(60);
/// How long a connection has to last to be a good one.
const HEALTHY: Duration = Duration::from_secs(60);

/// A log that is followed, over as many streams as it takes.
pub struct FollowedLog<'a> {
    client: &'a ApiClient,
    pub feed: LogFeed,
    pub id: TaskId,
    query: LogQuery,
    began: Instant,
    /// How much of each node was shown.
    cursors: BTreeMap<u32, String>,
    has_started: bool,
    /// The nodes that were said to have ended.
    ended: HashSet<u32>,
    pub view: LogView,
    backoff: Backoff,
}

/// How one stream ended.
enum StreamEnd {
    /// With the task, or what of it was wanted.
    Whole(LogEnd),
    Cut(Event),
}

impl<'a> FollowedLog<'a> {
    pub fn new(
        client: &'a ApiClient,
        feed: LogFeed,
        view: LogView,
        id: TaskId,
        query: LogQuery,
    ) -> Self {
        Self {
            client,
            feed,
            id,
            query,
            began: Instant::now(),
            cursors: BTreeMap::new(),
            has_started: false,
            ended: HashSet::new(),
            view,
            backoff: Backoff::default(),
        }
    }

    /// Asks for the log, and waits for the first that comes of it.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn begin(&mut self, context: &mut Context<'_>) -> io::Result<Event> {
        self.ask();
        self.feed.next(context.out)
    }

    /// Asks for what was not shown yet.
    fn ask(&mut self) {
        let mut query = self.query.clone();
        let elapsed = Duration::from_secs(self.began.elapsed().as_secs());
        query.wait = query.wait.saturating_sub(elapsed);
        if let Some(Since::Ago(ago)) = &mut query.since {
            // The same moment as at first, and rather too early than too late.
            *ago += elapsed + Duration::from_secs(self.has_started.into());
        }
        let after = self.cursors.values().cloned().collect();
        self.feed.start(self.client.clone(), self.id, query, after);
    }

    /// Shows the stream that has begun, unless it was `cut`, and those that follow it until one comes to its end.
    ///
    /// # Errors
    /// The server refuses, the task is gone, or the reader had enough.
    pub fn show(
        &mut self,
        context: &mut Context<'_>,
        mut cut: Option<Event>,
    ) -> Result<Exit, Error> {
        let mut is_told = false;
        loop {
            let event = match cut.take() {
                Some(event) => event,
                None => {
                    let began = Instant::now();
                    if std::mem::take(&mut is_told) {
                        self.view.resumed(context)?;
                    }
                    match self.show_stream(context)? {
                        StreamEnd::Whole(end) => return Ok(end.into()),
                        StreamEnd::Cut(event) => {
                            if began.elapsed() > HEALTHY {
                                self.backoff = Backoff::default();
                            }
                            event
                        }
                    }
                }
            };
            let cause = self.cause(event)?;
            if !std::mem::replace(&mut is_told, true) {
                self.view.interrupted(context, &cause)?;
            }
            if !self.feed.wait(self.backoff.next(rand::random()))? {
                return Err(Event::Interrupted.into_error(&self.id));
            }
            self.ask();
            cut = match self.feed.next(context.out)? {
                Event::Begun { in_records: true } => None,
                Event::Begun { in_records: false } => {
                    return Err(self.client.not_ours("its log cannot be resumed"));
                }
                event => Some(event),
            };
        }
    }

    /// What cut a stream off, if there is hope for another.
    fn cause(&self, event: Event) -> Result<String, Error> {
        match event {
            Event::Failed(Error::Api { status: 404, .. }) => Err(Error::TaskGone { id: self.id }),
            Event::Failed(
                error @ Error::Api {
                    status: 401 | 403, ..
                },
            ) => Err(error),
            Event::Interrupted => Err(event.into_error(&self.id)),
            Event::Failed(error) => Ok(error.to_string()),
            Event::Broken(error) => Ok(describe_body(error)),
            Event::Ended | Event::Bytes(_) | Event::Begun { .. } => {
                Ok("the server closed the connection".to_owned())
            }
        }
    }

    fn show_stream(&mut self, context: &mut Context<'_>) -> Result<StreamEnd, Error> {
        let mut begun = Vec::new();
        let is_watched = context.terminal.out;
        let patience = if is_watched {
            PROMPT_PACE
        } else {
            PROMPT_DELAY
        };
        let mut looked = Instant::now();
        loop {
            if is_watched && looked.elapsed() > PROMPT_PACE {
                looked = Instant::now();
                self.view.release_old(context)?;
            }
            if self.view.holds(context) && !self.feed.is_there_within(context.out, patience)? {
                self.view.release(context)?;
            }
            let bytes = match self.feed.next_heartbeat(context.out)? {
                Event::Bytes(bytes) => bytes,
                event => return Ok(StreamEnd::Cut(event)),
            };
            let mut rest = bytes.as_slice();
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (record, more) = (&rest[..end], &rest[end + 1..]);
                rest = more;
                let end = if begun.is_empty() {
                    self.show_record(context, record)?
                } else {
                    begun.extend_from_slice(record);
                    let end = self.show_record(context, &begun)?;
                    begun.clear();
                    end
                };
                if let Some(end) = end {
                    return Ok(StreamEnd::Whole(end));
                }
            }
            if begun.len() + rest.len() > MAX_RECORD {
                return Err(self
                    .client
                    .not_ours("a record of its log is longer than 8 MiB"));
            }
            begun.extend_from_slice(rest);
            self.feed.reuse(bytes);
        }
    }

    /// Shows one record, unless an earlier stream had it; returns how the log ended if it is the last.
    fn show_record(
        &mut self,
        context: &mut Context<'_>,
        json: &[u8],
    ) -> Result<Option<LogEnd>, Error> {
        if json.trim_ascii().is_empty() {
            return Ok(None);
        }
        let record = LogRecord::from_json(json).map_err(|error| {
            self.client
                .not_ours(&format!("a record of its log cannot be read: {error}"))
        })?;
        let is_news = match &record {
            LogRecord::Start { .. } => !std::mem::replace(&mut self.has_started, true),
            LogRecord::Line(line) => {
                self.backoff = Backoff::default();
                remember(&mut self.cursors, line.node, &line.cursor);
                true
            }
            LogRecord::Lines { node, cursor, .. } => {
                self.backoff = Backoff::default();
                remember(&mut self.cursors, *node, cursor);
                true
            }
            LogRecord::Pod { node, cursor, .. } => {
                remember(&mut self.cursors, *node, cursor);
                true
            }
            LogRecord::NodeEnd { node, cursor, .. } => {
                remember(&mut self.cursors, *node, cursor);
                self.ended.insert(*node)
            }
            _ => true,
        };
        if !is_news {
            return Ok(None);
        }
        Ok(self.view.show(context, record, json)?)
    }
}

fn remember(cursors: &mut BTreeMap<u32, String>, node: u32, cursor: &str) {
    if cursor.is_empty() {
        return;
    }
    let remembered = cursors.entry(node).or_default();
    remembered.clear();
    remembered.push_str(cursor);
}
