//! The body of `GET /tasks/{task_id}/logs`: writes the items of the executor as they arrive.

use std::{error, fmt, io, time::Duration};

use actix_web::{HttpResponse, http::header, web::Bytes};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc::Receiver;

use super::{Stopping, streams::OpenStream};
use crate::{
    api::{LogEnd, LogLine, LogPoint, LogRecord, NDJSON, PLAIN_TEXT, line_prefix},
    executor::{LogItem, LogLines},
    line_writer::LineWriter,
};

/// The interval of heartbeats in a silent stream of records. The shortest idle timeout of common load balancers is 30 s, twice as
/// long.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long an unfinished line is held back, so that lines of other nodes do not interrupt it.
const PROMPT_DELAY: Duration = Duration::from_millis(100);
/// The size above which waiting records are sent, in bytes.
const CHUNK: usize = 64 * 1024;

/// The form of a log.
pub enum Form {
    /// Text for people: the lines without other records.
    Text(Text),
    /// One JSON object a line.
    Records {
        /// Whether one record may hold several lines.
        joined: bool,
    },
}

impl Form {
    pub fn text(timestamps: bool, follow: bool) -> Self {
        Self::Text(Text {
            timestamps,
            follow,
            has_prefix: false,
            is_whole: false,
            lines: LineWriter::default(),
        })
    }

    fn content_type(&self) -> &'static str {
        match self {
            Self::Text(_) => PLAIN_TEXT,
            Self::Records { .. } => NDJSON,
        }
    }

    fn write(&mut self, item: &LogItem, out: &mut Vec<u8>) {
        match (self, item) {
            (Self::Text(text), item) => text.write(item, out).expect("memory can be written"),
            (Self::Records { joined }, LogItem::Lines(lines)) => write_records(lines, *joined, out),
            (Self::Records { .. }, LogItem::Record(record)) => write_record(record, out),
        }
    }

    /// Whether unfinished lines are held back that may be shown. The text of several nodes has whole lines only: a line that is
    /// shown unfinished is torn when another node writes.
    fn holds(&self) -> bool {
        matches!(self, Self::Text(text) if !text.has_prefix && text.lines.holds())
    }

    /// Whether the body may end as a complete one. Records have a last record for that, and text has nothing.
    fn is_whole(&self) -> bool {
        match self {
            Self::Text(text) => text.is_whole,
            Self::Records { .. } => true,
        }
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        if let Self::Text(text) = self {
            text.lines.release(out).expect("memory can be written");
        }
    }
}

fn write_record(record: &LogRecord<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, record).expect("a record can be written as JSON into memory");
    out.push(b'\n');
}

fn write_records(lines: &LogLines, joined: bool, out: &mut Vec<u8>) {
    let source = &lines.source;
    let node = source.node;
    // Complete lines that are not written yet, and the place behind the last one.
    let mut text = String::new();
    let mut last: Option<&LogPoint> = None;
    let write_joined = |text: &mut String, point: Option<&LogPoint>, out: &mut Vec<u8>| {
        if let Some(point) = point {
            let cursor = source.cursor(Some(*point)).to_string().into();
            let text = std::mem::take(text).into();
            write_record(&LogRecord::Lines { node, text, cursor }, out);
        }
    };
    for line in lines.iter() {
        // A piece needs the mark `partial`, and bytes that are not UTF-8 need `latin1`.
        let is_whole = joined && !line.is_partial && line.has_time();
        match (line.text, line.point.filter(|_| is_whole)) {
            (Some(whole), Some(point)) => {
                text.push_str(whole);
                text.push('\n');
                last = Some(point);
            }
            _ => {
                write_joined(&mut text, last.take(), out);
                let cursor = source.cursor(line.point.copied()).to_string();
                let (time, partial) = (line.time(), line.is_partial);
                let line = LogLine::new(node, &source.pod, time, line.bytes, partial, cursor);
                write_record(&LogRecord::Line(line), out);
            }
        }
    }
    write_joined(&mut text, last, out);
}

/// The state of a log in text form.
pub struct Text {
    timestamps: bool,
    /// Whether the log was asked for until the task ends.
    follow: bool,
    /// Whether each line begins with its node, which is so if there are several.
    has_prefix: bool,
    /// Whether the log has ended, and not because the task did not start in time.
    is_whole: bool,
    lines: LineWriter,
}

impl Text {
    fn write(&mut self, item: &LogItem, out: &mut Vec<u8>) -> io::Result<()> {
        match item {
            LogItem::Lines(lines) => {
                let node = lines.source.node;
                let prefix = if self.has_prefix {
                    line_prefix(node)
                } else {
                    String::new()
                };
                for line in lines.iter() {
                    let is_timed = self.timestamps && line.has_time();
                    let head = if is_timed {
                        format!("{prefix}{} ", line.time())
                    } else {
                        prefix.clone()
                    };
                    self.lines
                        .write(node, &head, line.bytes, line.is_partial, out)?;
                }
            }
            LogItem::Record(LogRecord::Start { num_nodes }) => self.has_prefix = *num_nodes > 1,
            // The next text of the node does not continue its unfinished line.
            LogItem::Record(
                LogRecord::Gap { node, .. }
                | LogRecord::Notice { node, .. }
                | LogRecord::NodeEnd { node, .. },
            ) => self.lines.end(*node, out)?,
            LogItem::Record(LogRecord::End { status, .. }) => {
                self.is_whole = !self.follow || *status != LogEnd::Unfinished;
                self.lines.end_all(out)?;
            }
            LogItem::Record(_) => (),
        }
        Ok(())
    }
}

/// The log was cut off. A body that ends with this error has no last chunk, so no client takes it for complete.
#[derive(Debug)]
pub struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the log was cut off")
    }
}

impl error::Error for Cut {}

/// Answers with a stream that ends with the items, or when the server stops. The body holds `open` until it is dropped, and counts
/// its bytes there.
pub fn respond(
    form: Form,
    items: Receiver<LogItem>,
    stopping: Stopping,
    open: OpenStream,
) -> HttpResponse {
    let content_type = form.content_type();
    let body = body(form, items, stopping.wait());
    let body = body.inspect(move |chunk| {
        let bytes = chunk.as_ref().map_or(0, Bytes::len);
        open.sent.inc_by(bytes as u64);
    });
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // A browser must not interpret the output of a task as a page.
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .streaming(body)
}

fn body(
    form: Form,
    items: Receiver<LogItem>,
    stop: impl Future<Output = ()>,
) -> impl Stream<Item = Result<Bytes, Cut>> {
    let state = Some((form, items, Box::pin(stop)));
    stream::unfold(state, |state| async move {
        let (mut form, mut items, mut stop) = state?;
        let chunk = tokio::select! {
            biased;
            () = &mut stop => None,
            chunk = chunk(&mut form, &mut items) => chunk,
        };
        match chunk {
            Some(chunk) => Some((Ok(chunk), Some((form, items, stop)))),
            None if form.is_whole() => None,
            None => {
                // After an error actix drops what it has not sent. It sends while the next chunk is pending.
                tokio::task::yield_now().await;
                Some((Err(Cut), None))
            }
        }
    })
}

/// The next items as bytes; none at their end.
async fn chunk(form: &mut Form, items: &mut Receiver<LogItem>) -> Option<Bytes> {
    let mut chunk = Vec::new();
    if items.len() > 1 {
        // With much to write, a small buffer would be copied again and again.
        chunk.reserve(2 * CHUNK);
    }
    // A record may be empty in this form, and an empty chunk would end the body.
    while chunk.is_empty() {
        let patience = if form.holds() {
            PROMPT_DELAY
        } else {
            HEARTBEAT
        };
        match tokio::time::timeout(patience, items.recv()).await {
            Ok(item) => form.write(&item?, &mut chunk),
            Err(_) if form.holds() => form.release(&mut chunk),
            Err(_) => form.write(&LogItem::Record(LogRecord::Heartbeat {}), &mut chunk),
        }
        while chunk.len() < CHUNK
            && let Ok(item) = items.try_recv()
        {
            form.write(&item, &mut chunk);
        }
    }
    Some(chunk.into())
}

#[cfg(test)]
mod tests;
