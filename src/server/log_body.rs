//! The body of `GET /tasks/{task_id}/logs`: records from the executor, written as they arrive.

use std::{convert::Infallible, io, time::Duration};

use actix_web::{HttpResponse, http::header, web::Bytes};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc::Receiver;

use super::Stopping;
use crate::api::{LineWriter, LogRecord, NDJSON, PLAIN_TEXT, line_prefix};

/// How often a silent stream of records says that it is alive: twice within the shortest idle timeout of the usual load
/// balancers, 30 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How much is gathered from records that wait already before it is sent.
const CHUNK: usize = 64 * 1024;

/// How records are written.
pub enum Form {
    /// As a person reads them, without the records that say something about the log.
    Text(Text),
    /// One JSON object a line.
    Records,
}

impl Form {
    pub fn text(timestamps: bool) -> Self {
        Self::Text(Text {
            timestamps,
            has_prefix: false,
            lines: LineWriter::default(),
        })
    }

    fn content_type(&self) -> &'static str {
        match self {
            Self::Text(_) => PLAIN_TEXT,
            Self::Records => NDJSON,
        }
    }

    fn write(&mut self, record: &LogRecord, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => text.write(record, out).expect("memory can be written"),
            Self::Records => {
                serde_json::to_writer(&mut *out, record)
                    .expect("a record can be written as JSON into memory");
                out.push(b'\n');
            }
        }
    }
}

/// A log as text, as far as it was written.
pub struct Text {
    timestamps: bool,
    /// Whether lines say which node they are of: when there are several.
    has_prefix: bool,
    lines: LineWriter,
}

impl Text {
    fn write(&mut self, record: &LogRecord, out: &mut Vec<u8>) -> io::Result<()> {
        match record {
            LogRecord::Start { num_nodes } => self.has_prefix = *num_nodes > 1,
            LogRecord::Line {
                node,
                time,
                text,
                partial,
            } => {
                let mut head = if self.has_prefix {
                    line_prefix(*node)
                } else {
                    String::new()
                };
                if let Some(time) = time.as_ref().filter(|_| self.timestamps) {
                    head += time;
                    head.push(' ');
                }
                self.lines.write(*node, &head, text, *partial, out)?;
            }
            _ => (),
        }
        Ok(())
    }
}

/// Answers with a stream that ends with the records, or when the server stops.
pub fn respond(form: Form, records: Receiver<LogRecord>, stopping: Stopping) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, form.content_type()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // A browser must not take what a task printed for a page.
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .streaming(chunks(form, records).take_until(stopping.wait()))
}

fn chunks(
    form: Form,
    records: Receiver<LogRecord>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((form, records), |(mut form, mut records)| async move {
        let mut chunk = Vec::new();
        // A record may come to nothing in this form; an empty chunk would end the body.
        while chunk.is_empty() {
            let record = match tokio::time::timeout(HEARTBEAT, records.recv()).await {
                Ok(record) => record?,
                Err(_) => LogRecord::Heartbeat {},
            };
            form.write(&record, &mut chunk);
            while chunk.len() < CHUNK
                && let Ok(record) = records.try_recv()
            {
                form.write(&record, &mut chunk);
            }
        }
        Some((Ok(Bytes::from(chunk)), (form, records)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{LogEnd, LogText};

    fn line(node: u32, text: &str) -> LogRecord {
        LogRecord::Line {
            node,
            time: Some("2026-11-22T02:11:01.359989251Z".to_owned()),
            text: LogText::Text(text.to_owned()),
            partial: false,
        }
    }

    #[track_caller]
    fn check(mut form: Form, num_nodes: u32, expected: &str) {
        let mut out = Vec::new();
        let waiting = LogRecord::Waiting {
            node: 0,
            reason: "ContainerCreating".to_owned(),
        };
        let end = LogRecord::End {
            status: LogEnd::Completed,
            reason: None,
        };
        for record in [
            LogRecord::Start { num_nodes },
            waiting,
            line(0, "a"),
            LogRecord::Heartbeat {},
            end,
        ] {
            form.write(&record, &mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn text_is_nothing_but_what_the_task_printed() {
        check(Form::text(false), 1, "a\n");
        check(Form::text(false), 2, "node-0 | a\n");
        check(
            Form::text(true),
            2,
            "node-0 | 2026-11-22T02:11:01.359989251Z a\n",
        );
    }

    #[test]
    fn records_say_everything() {
        let expected = "{\"type\":\"start\",\"num_nodes\":1}\n\
            {\"type\":\"waiting\",\"node\":0,\"reason\":\"ContainerCreating\"}\n\
            {\"type\":\"line\",\"node\":0,\"time\":\"2026-11-22T02:11:01.359989251Z\",\"text\":\"a\"}\n\
            {\"type\":\"heartbeat\"}\n\
            {\"type\":\"end\",\"status\":\"completed\"}\n";
        check(Form::Records, 1, expected);
    }
}
