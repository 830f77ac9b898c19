//! Where in a node's log a viewer begins.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    LogItem, ReaderGone,
    block::LogSource,
    node::Follower,
    position::{Position, SECOND},
    reader::Reader,
    ring::Entry,
    step::{self, Source},
};
use crate::api::{LogCursor, LogPlace, LogPoint, LogRecord};

/// Why the log of a node is not there that had one.
pub const POD_GONE: &str = "its pod is gone";

/// Where in the log of a container to begin.
pub enum Start {
    /// At its beginning, or before its last lines.
    Fresh {
        tail: Option<u32>,
    },
    Behind(Option<LogPoint>),
}

impl Follower {
    /// Whether the viewer was cut off after it had got something of the node's log.
    pub fn has_place(&self) -> bool {
        matches!(self.place, Some(LogPlace::Pod { .. } | LogPlace::End))
    }

    pub fn cursor(&self, place: LogPlace) -> LogCursor {
        LogCursor {
            node: self.rank,
            place,
        }
    }

    fn sources(&self) -> Vec<Source> {
        step::sources(&self.sight.node(self.rank).borrow(), self.rank)
    }

    /// Decides where to begin, given what there is now, and leaves out what comes before.
    pub async fn first_start(&mut self) -> Result<Start, ReaderGone> {
        let mut sources = self.sources();
        let is_missing = match &self.place {
            Some(LogPlace::Pod { key, .. }) => sources.iter().all(|source| source.key() != *key),
            Some(LogPlace::Begin | LogPlace::End) => false,
            // What is told of later is read whole.
            None => self.query.tail.is_some() && sources.is_empty(),
        };
        if is_missing {
            self.refresh().await?;
            sources = self.sources();
        }
        let keys = |sources: &[Source]| sources.iter().map(Source::key).collect::<Vec<_>>();
        match self.place.clone() {
            None => {
                let tail = self.query.tail.filter(|_| !sources.is_empty());
                if tail.is_some() {
                    let earlier = sources.len() - 1;
                    self.read.extend(keys(&sources[..earlier]));
                } else if self.query.tail.is_some() {
                    // Whoever is cut off and asks again is to get all that has come meanwhile.
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
                let is_earlier = |source: &&Source| source.created <= since.unwrap_or(0);
                let earlier = sources.iter().filter(is_earlier);
                self.read.extend(earlier.map(Source::key));
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

    /// Makes sure that a place in the log is known if there is a line in it, wanted or not: those who read together know by its
    /// place what of the log somebody has.
    pub async fn find_place(&self, reader: &mut Reader) -> Result<(), ReaderGone> {
        if reader.position.point().is_some() || self.from == i64::MIN {
            return Ok(());
        }
        let began = Instant::now();
        let last = loop {
            match reader.container.time_of_last(1).await {
                Ok(last) => break last,
                Err(failure) if reader.is_hopeless(&failure, began).await => break None,
                Err(failure) => reader.pause(Some(failure)).await?,
            }
        };
        if let Some(last) = last {
            reader.since = reader.since.min(Some(last.div_euclid(SECOND)));
            reader.position = Position::start(reader.since, self.from, 0);
            reader.read_rest(false).await?;
        }
        Ok(())
    }
}
