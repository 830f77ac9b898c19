//! Follows a log over several streams.
//!
//! A stream without its last record was cut off: the server stopped, a proxy closed the connection, or the laptop slept. The
//! log is then requested again, behind the last cursor of each node, until its last record has come.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    time::{Duration, Instant},
};

use super::{
    feed::{Event, LogFeed},
    may_pass,
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

/// The longest record. The server cuts long lines into pieces of at most 8 KiB, so a longer record is not from our server.
const MAX_RECORD: usize = 8 * 1024 * 1024;
/// An unfinished line is shown after this long without any event. It is held back until then, so that lines of other nodes do
/// not break it.
const PROMPT_DELAY: Duration = Duration::from_millis(100);
/// The interval at which a terminal shows old unfinished lines, even if another line then breaks them: such a line may be a
/// prompt. A pipe gets whole lines.
const PROMPT_PACE: Duration = Duration::from_millis(60);
/// A connection that lasted this long resets the backoff.
const HEALTHY: Duration = Duration::from_secs(60);
/// The longest pause between two attempts to reach the server. A user who looks at the screen waits for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A log that is followed over several streams.
pub struct FollowedLog<'a> {
    client: &'a ApiClient,
    pub feed: LogFeed,
    pub id: TaskId,
    query: LogQuery,
    began: Instant,
    /// The cursor of the last line shown of each node.
    cursors: BTreeMap<u32, String>,
    has_started: bool,
    /// The nodes whose end was shown.
    ended: HashSet<u32>,
    pub view: LogView,
    backoff: Backoff,
}

/// The state of the connection to the server, as the user knows it.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Reported {
    Connected,
    Cut,
    /// The server does not answer, or refuses for a while.
    Away,
}

/// The end of one stream.
enum StreamEnd {
    /// The log is complete, as far as it was asked for.
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
            backoff: Backoff::up_to(LONGEST_PAUSE),
        }
    }

    /// Requests the log, and waits for its first event.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn begin(&mut self, context: &mut Context<'_>) -> io::Result<Event> {
        self.request();
        self.feed.next(context.out)
    }

    /// Requests the part of the log that was not shown.
    fn request(&mut self) {
        let mut query = self.query.clone();
        let elapsed = Duration::from_secs(self.began.elapsed().as_secs());
        query.wait = query.wait.saturating_sub(elapsed);
        if let Some(Since::Ago(ago)) = &mut query.since {
            // The same moment as in the first request; after a restart up to a second earlier, never later.
            *ago += elapsed + Duration::from_secs(self.has_started.into());
        }
        let after: Vec<_> = self.cursors.values().cloned().collect();
        let (client, id) = (self.client.clone(), self.id);
        self.feed.start(move || client.logs(&id, &query, &after));
    }

    /// Shows the stream that has begun, unless it was `cut`, and the following ones until one is complete.
    ///
    /// # Errors
    /// The server refuses the request, the task was deleted, the user pressed Ctrl-C, or stdout cannot be written.
    pub fn show(
        &mut self,
        context: &mut Context<'_>,
        mut cut: Option<Event>,
    ) -> Result<Exit, Error> {
        let mut reported = Reported::Connected;
        loop {
            let event = match cut.take() {
                Some(event) => event,
                None => {
                    let began = Instant::now();
                    match std::mem::replace(&mut reported, Reported::Connected) {
                        Reported::Connected => (),
                        before => self.view.resumed(context, before == Reported::Away)?,
                    }
                    match self.show_stream(context)? {
                        StreamEnd::Whole(end) => return Ok(end.into()),
                        StreamEnd::Cut(event) => {
                            if began.elapsed() > HEALTHY {
                                self.backoff.reset();
                            }
                            event
                        }
                    }
                }
            };
            let now = match event {
                Event::Failed(_) => Reported::Away,
                _ => Reported::Cut,
            };
            let cause = self.cause(event)?;
            if now > reported {
                let is_first = reported == Reported::Connected;
                reported = now;
                self.view
                    .interrupted(context, &cause, is_first, now == Reported::Away)?;
            }
            if !self.feed.wait(self.backoff.next(rand::random()))? {
                return Err(Event::Interrupted.into_error(&self.id));
            }
            self.request();
            cut = match self.feed.next(context.out)? {
                Event::Begun { in_records: true } => None,
                Event::Begun { in_records: false } => {
                    return Err(self.client.not_ours("its log cannot be resumed"));
                }
                event => Some(event),
            };
        }
    }

    /// The message of the event that cut a stream off.
    ///
    /// # Errors
    /// Another request is no use.
    fn cause(&self, event: Event) -> Result<String, Error> {
        match event {
            Event::Failed(Error::Api { status: 404, .. }) => Err(Error::TaskGone { id: self.id }),
            Event::Failed(error @ Error::Api { .. }) if !may_pass(&error) => Err(error),
            Event::Interrupted => Err(event.into_error(&self.id)),
            Event::Failed(error) => Ok(error.to_string()),
            Event::Broken(error) => Ok(describe_body(error)),
            Event::Ended | Event::Bytes(_) | Event::Begun { .. } => {
                Ok("the server closed the connection".to_owned())
            }
        }
    }

    fn show_stream(&mut self, context: &mut Context<'_>) -> Result<StreamEnd, Error> {
        let mut unfinished = Vec::new();
        let is_watched = context.terminal.out;
        let patience = if is_watched {
            PROMPT_PACE
        } else {
            PROMPT_DELAY
        };
        let mut last_release = Instant::now();
        loop {
            if is_watched && last_release.elapsed() > PROMPT_PACE {
                last_release = Instant::now();
                self.view.release_old(context)?;
            }
            if self.view.holds(context) && !self.feed.has_event_within(context.out, patience)? {
                self.view.release(context)?;
            }
            if let Some(due) = self.view.waiting_due() {
                let rest = due.saturating_duration_since(Instant::now());
                if rest.is_zero() || !self.feed.has_event_within(context.out, rest)? {
                    self.view.tell_waiting(context)?;
                }
            }
            let bytes = match self.feed.next_heartbeat(context.out)? {
                Event::Bytes(bytes) => bytes,
                event => return Ok(StreamEnd::Cut(event)),
            };
            let mut rest = bytes.as_slice();
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (record, more) = (&rest[..end], &rest[end + 1..]);
                rest = more;
                let end = if unfinished.is_empty() {
                    self.show_record(context, record)?
                } else {
                    unfinished.extend_from_slice(record);
                    let end = self.show_record(context, &unfinished)?;
                    unfinished.clear();
                    end
                };
                if let Some(end) = end {
                    return Ok(StreamEnd::Whole(end));
                }
            }
            if unfinished.len() + rest.len() > MAX_RECORD {
                return Err(self
                    .client
                    .not_ours("a record of its log is longer than 8 MiB"));
            }
            unfinished.extend_from_slice(rest);
            self.feed.reuse(bytes);
        }
    }

    /// Shows one record, unless an earlier stream had it. The last record returns how the log ended.
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
        let is_new = match &record {
            LogRecord::Start { .. } => !std::mem::replace(&mut self.has_started, true),
            LogRecord::Line(line) => {
                self.backoff.reset();
                self.remember(line.node, &line.cursor)?;
                true
            }
            LogRecord::Lines { node, cursor, .. } => {
                self.backoff.reset();
                self.remember(*node, cursor)?;
                true
            }
            LogRecord::Pod { node, cursor, .. } => {
                self.remember(*node, cursor)?;
                true
            }
            LogRecord::NodeEnd { node, cursor, .. } => {
                self.remember(*node, cursor)?;
                self.ended.insert(*node)
            }
            _ => true,
        };
        if !is_new {
            return Ok(None);
        }
        Ok(self.view.show(context, record, json)?)
    }

    /// Keeps the cursor of a node, behind which its log is requested again.
    ///
    /// # Errors
    /// The cursor cannot be a part of a URL.
    fn remember(&mut self, node: u32, cursor: &str) -> Result<(), Error> {
        if cursor.is_empty() {
            return Ok(());
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
        if !cursor.bytes().all(is_plain) {
            let problem = format!("the cursor {cursor:?} in its log cannot be sent back");
            return Err(self.client.not_ours(&problem));
        }
        let remembered = self.cursors.entry(node).or_default();
        remembered.clear();
        remembered.push_str(cursor);
        Ok(())
    }
}
