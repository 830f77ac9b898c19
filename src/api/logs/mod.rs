//! What a log stream is asked for, and the records it is made of.
//!
//! `GET /tasks/{task_id}/logs` answers in one of two forms. `text/plain` is the log as a person reads it. NDJSON, for
//! `Accept: application/x-ndjson`, has one [`LogRecord`] a line and can say what text cannot: why a node waits, what may be
//! missing, how it ended, and that the stream is complete. A stream without its [`LogRecord::End`] was cut.
//!
//! Every line has a [`LogCursor`]. Whoever was cut off asks again with `after=` and the last cursor of each node, and gets what
//! comes behind them: no line twice, and none is left out. Cursors hold for as long as their pods do, over restarts of the
//! server too.

mod cursor;
mod query;
mod record;

pub use self::{
    cursor::{LogCursor, LogPlace, LogPoint},
    query::{LogQuery, Since, read_bool},
    record::{LogEnd, LogLine, LogRecord, line_prefix},
};

/// The content type of a log for people and for curl.
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
/// The content type of a log for programs.
pub const NDJSON: &str = "application/x-ndjson";
