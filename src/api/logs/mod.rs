//! The query and the records of a log stream.
//!
//! `GET /tasks/{task_id}/logs` answers in one of two forms. `text/plain` is the log for people. NDJSON, for `Accept:
//! application/x-ndjson`, has one [`LogRecord`] a line. Records also say why a node waits, which lines may be missing, how the task
//! ended, and that the stream is complete. A stream without a [`LogRecord::End`] was cut.
//!
//! Every line has a [`LogCursor`]. A client that was cut off asks again with `after=` and the last cursor of each node, and gets
//! the lines behind these cursors: none twice, and none left out. A cursor is valid as long as its pod exists, also after a restart
//! of the server.

mod cursor;
mod query;
mod record;

pub use self::{
    cursor::{LogCursor, LogPlace, LogPoint},
    query::{DURATION, LogQuery, Since, parse_duration, read_bool},
    record::{LogEnd, LogLine, LogRecord, line_prefix},
};

/// The content type of a log for people and for curl.
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
/// The content type of a log for programs.
pub const NDJSON: &str = "application/x-ndjson";
