//! Prints the records of a log: lines on stdout, messages on stderr.

mod returns;
mod waiting;

use std::{borrow::Cow, io, time::Instant};

use self::{returns::Returns, waiting::Waiting};
use crate::{
    api::{LogEnd, LogRecord, TaskId, TaskState, line_prefix},
    cli::{LogFormat, Prefix},
    client::{
        Context,
        output::{self, task_view},
    },
    line_writer::LineWriter,
};

/// The most failed nodes that are named.
const MAX_FAILURES: usize = 10;

/// The style of the lines.
#[derive(Clone, Copy, Debug)]
pub struct LineStyle {
    pub prefix: Prefix,
    pub timestamps: bool,
    pub colors: bool,
}

/// The state of a log that is being shown.
pub struct LogView {
    id: TaskId,
    style: LineStyle,
    format: LogFormat,
    /// Whether the log is followed until the task ends.
    pub follows: bool,
    /// Whether a message reports that the task has completed.
    pub reports_success: bool,
    /// The beginning of each line, which tells the task from others.
    pub label: Option<String>,
    num_nodes: u32,
    lines: LineWriter,
    returns: Returns,
    waiting: Waiting,
    /// The clock by which reasons are collected.
    clock: fn() -> Instant,
    /// The failed nodes with their reasons, in the order in which their logs ended.
    failures: Vec<String>,
    /// The number of nodes that were stopped because another one failed.
    stopped: usize,
    /// The last message that a log cannot be read, until a line comes.
    interrupted: Option<String>,
}

impl LogView {
    pub fn new(id: TaskId, style: LineStyle, format: LogFormat) -> Self {
        Self {
            id,
            style,
            format,
            follows: true,
            reports_success: false,
            label: None,
            num_nodes: 1,
            lines: LineWriter::default(),
            returns: Returns::default(),
            waiting: Waiting::default(),
            clock: Instant::now,
            failures: Vec::new(),
            stopped: 0,
            interrupted: None,
        }
    }

    /// Shows one record, which was received as `json`. The last record returns how the log ended.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn show(
        &mut self,
        context: &mut Context<'_>,
        record: LogRecord<'_>,
        json: &[u8],
    ) -> io::Result<Option<LogEnd>> {
        if self.format == LogFormat::Json {
            if !matches!(record, LogRecord::Heartbeat {}) {
                context.out.write_all(json)?;
                context.out.write_all(b"\n")?;
            }
            return Ok(match record {
                LogRecord::End { status, .. } => Some(status),
                _ => None,
            });
        }
        match record {
            LogRecord::Start { num_nodes } => self.num_nodes = num_nodes,
            LogRecord::Line(line) => {
                self.interrupted = None;
                let node = line.node;
                let is_new = !self.lines.is_within(node);
                let head = if is_new {
                    self.head(node, &line.time)
                } else {
                    String::new()
                };
                let text = self.on_screen(context, node, line.bytes(), is_new, line.partial);
                self.lines
                    .write(node, &head, &text, line.partial, context.out)?;
            }
            LogRecord::Lines { node, text, .. } => {
                self.interrupted = None;
                let head = self.head(node, "");
                let is_new = !self.lines.is_within(node);
                let text = text.as_bytes().into();
                let text = self.on_screen(context, node, text, is_new, false);
                self.lines.write_lines(node, &head, &text, context.out)?;
            }
            LogRecord::Waiting { node, reason } => {
                let now = (self.clock)();
                self.waiting
                    .add(&self.id, self.num_nodes, node, &reason, now);
                if self.waiting_due().is_some_and(|due| due <= now) {
                    self.tell_waiting(context)?;
                }
            }
            LogRecord::Gap {
                node,
                since,
                reason,
            } => {
                // The next text does not continue the unfinished line.
                self.lines.end(node, context.out)?;
                let since = since.map_or_else(String::new, |since| format!(" after {since}"));
                self.tell(
                    context,
                    &format!("node-{node}: lines{since} may be missing: {reason}"),
                )?;
            }
            LogRecord::Interrupted { node, reason } => {
                let prefix = node.map_or_else(String::new, |node| format!("node-{node}: "));
                let message =
                    format!("{prefix}its log cannot be read at the moment, trying again: {reason}");
                if self.interrupted.as_ref() != Some(&message) {
                    self.tell(context, &message)?;
                    self.interrupted = Some(message);
                }
            }
            LogRecord::Notice { node, message } => {
                self.lines.end(node, context.out)?;
                self.tell(context, &format!("node-{node}: {message}"))?;
            }
            LogRecord::NodeEnd {
                node,
                status,
                exit_code,
                reason,
                stopped_after,
                ..
            } => {
                self.lines.end(node, context.out)?;
                if status == TaskState::Failed {
                    match reason.as_deref().and_then(|reason| reason.split_once(' ')) {
                        _ if stopped_after.is_some() => self.stopped += 1,
                        Some(("setup", how)) => {
                            self.failures
                                .push(format!("failed: setup on node-{node} {how}"));
                        }
                        // It names the node.
                        Some(("the", rest)) if rest.starts_with("Job of ") => {
                            self.failures.push(format!("failed: the {rest}"));
                        }
                        // It is about the whole task.
                        Some(("incomplete:", rest)) => {
                            let why = format!("failed: incomplete: {rest}");
                            if !self.failures.contains(&why) {
                                self.failures.push(why);
                            }
                        }
                        _ => {
                            let why = task_view::ending(exit_code, reason.as_deref());
                            let why = why.map_or_else(String::new, |why| format!(": {why}"));
                            self.failures.push(format!("node-{node} failed{why}"));
                        }
                    }
                }
            }
            LogRecord::End { status, reason } => {
                self.lines.end_all(context.out)?;
                self.tell_waiting(context)?;
                self.end(context, status, reason.as_deref())?;
                return Ok(Some(status));
            }
            LogRecord::Pod { .. }
            | LogRecord::Resumed { .. }
            | LogRecord::Heartbeat {}
            | LogRecord::Unknown => (),
        }
        Ok(None)
    }

    /// Reports that the connection to the server was lost, or that the server is away. Programs get only the first report.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn interrupted(
        &mut self,
        context: &mut Context<'_>,
        cause: &str,
        is_first: bool,
        is_away: bool,
    ) -> io::Result<()> {
        match self.format {
            LogFormat::Text if is_away => {
                self.tell(context, &format!("{cause}; trying again until it is back"))
            }
            LogFormat::Text => self.tell(context, &format!("{cause}; resuming the log from here")),
            LogFormat::Json if !is_first => Ok(()),
            LogFormat::Json => self.record(
                context,
                &LogRecord::Interrupted {
                    node: None,
                    reason: cause.to_owned(),
                },
            ),
        }
    }

    /// Reports to programs that the connection is back, and to people if the server was away. After a short cut they see the lines
    /// that follow.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn resumed(&mut self, context: &mut Context<'_>, was_away: bool) -> io::Result<()> {
        match self.format {
            LogFormat::Text if was_away => {
                self.tell(context, "the server is back; the log continues")
            }
            LogFormat::Text => Ok(()),
            LogFormat::Json => self.record(context, &LogRecord::Resumed { node: None }),
        }
    }

    /// The time at which [`Self::tell_waiting`] is to be called.
    pub fn waiting_due(&self) -> Option<Instant> {
        self.waiting.due()
    }

    /// Reports the new reasons for which nodes wait.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn tell_waiting(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let messages = self.waiting.take();
        messages
            .iter()
            .try_for_each(|message| self.tell(context, message))
    }

    fn record(&self, context: &mut Context<'_>, record: &LogRecord<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut *context.out, record)?;
        context.out.write_all(b"\n")
    }

    /// Whether unfinished lines are held back that may be shown. With several nodes, a pipe gets whole lines only, because the
    /// next line of another node would break an unfinished one.
    pub fn holds(&self, context: &Context<'_>) -> bool {
        self.lines.holds() && (self.num_nodes == 1 || context.terminal.out)
    }

    /// Shows the unfinished lines.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn release(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.lines.release(context.out)
    }

    /// Shows the lines that were held back already at the last call: see [`LineWriter::release_old`].
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn release_old(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.lines.release_old(context.out)
    }

    /// Shows the unfinished lines. On a terminal it also ends an open line, so that the next text begins a new one.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub fn finish(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.tell_waiting(context)?;
        self.lines.release(context.out)?;
        self.break_line(context)
    }

    fn break_line(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if context.terminal.out {
            self.lines.end_open(context.out)?;
        }
        context.out.flush()
    }

    /// The text of a node for the screen. On a terminal a carriage return would let the next text overwrite the prefix.
    fn on_screen<'t>(
        &mut self,
        context: &Context<'_>,
        node: u32,
        text: Cow<'t, [u8]>,
        is_new: bool,
        is_partial: bool,
    ) -> Cow<'t, [u8]> {
        if !context.terminal.out {
            return text;
        }
        let prefix = self.head(node, "");
        if prefix.is_empty() {
            return text;
        }
        let returns = &mut self.returns;
        returns.repeat_prefix(node, &prefix, text, is_new, is_partial)
    }

    /// The prefix and the timestamp before a line of a node.
    fn head(&self, node: u32, time: &str) -> String {
        let is_wanted = match self.style.prefix {
            Prefix::Auto => self.num_nodes > 1,
            Prefix::Always => true,
            Prefix::Never => false,
        };
        let prefix = match (is_wanted, self.style.colors) {
            (false, _) => String::new(),
            (true, false) => line_prefix(node),
            (true, true) => format!("\x1b[{}m{}\x1b[0m", color(node), line_prefix(node)),
        };
        let prefix = match &self.label {
            Some(label) => format!("{} | {prefix}", output::escape(label)),
            None => prefix,
        };
        if self.style.timestamps && !time.is_empty() {
            format!("{prefix}{} ", output::escape(time))
        } else {
            prefix
        }
    }

    /// Writes a message to stderr, after flushing stdout.
    fn tell(&mut self, context: &mut Context<'_>, message: &str) -> io::Result<()> {
        self.break_line(context)?;
        context.say(&output::escape(message));
        Ok(())
    }

    /// Reports how the task ended. For a failed task it names the failed nodes.
    fn end(
        &mut self,
        context: &mut Context<'_>,
        end: LogEnd,
        reason: Option<&str>,
    ) -> io::Result<()> {
        let id = self.id;
        let suffix = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        match end {
            LogEnd::Completed if self.reports_success => {
                self.tell(context, &format!("task {id} completed"))
            }
            LogEnd::Completed => context.out.flush(),
            LogEnd::Stopped => self.tell(context, &format!("task {id} was stopped{suffix}")),
            LogEnd::Unfinished => {
                self.tell(context, &format!("task {id} has not finished{suffix}"))?;
                if self.follows {
                    let hint = format!(
                        "hint: the task goes on; `k8s-cli jobs logs {id}` follows it again, `k8s-cli jobs stop {id}` stops it"
                    );
                    self.tell(context, &hint)?;
                }
                Ok(())
            }
            LogEnd::Failed => {
                let mut failures = std::mem::take(&mut self.failures);
                // A reader sees the last line first, so the last line names the node that failed first.
                let first = failures.iter().position(|why| reason == Some(why));
                // The failed node may be one whose log was not asked for; the reason then names it.
                let first = match (first, failures.is_empty()) {
                    (Some(first), _) => failures.remove(first),
                    (None, false) => failures.remove(failures.len() - 1),
                    (None, true) => reason.unwrap_or_default().to_owned(),
                };
                let total = failures.len() + 1;
                failures.truncate(MAX_FAILURES - 1);
                match self.stopped {
                    0 => (),
                    1 => self.tell(context, "1 other node was stopped")?,
                    stopped => {
                        self.tell(context, &format!("{stopped} other nodes were stopped"))?
                    }
                }
                if total > MAX_FAILURES {
                    let message = format!("{total} nodes failed, {MAX_FAILURES} of them:");
                    self.tell(context, &message)?;
                }
                for why in &failures {
                    self.tell(context, why)?;
                }
                self.tell(context, &self.failed(&first))
            }
        }
    }

    /// The message that the task failed because of `why`, which is empty if no reason is known.
    fn failed(&self, why: &str) -> String {
        let id = self.id;
        let mut why = why.strip_prefix("failed: ").unwrap_or(why);
        // The only node need not be named.
        if self.num_nodes == 1 {
            let rest = why.strip_prefix("node-0 failed");
            why = rest.map_or(why, |rest| rest.trim_start_matches(": "));
        }
        match why {
            "" => format!("task {id} failed"),
            why => format!("task {id} failed: {why}"),
        }
    }
}

/// The colour of a node, always the same one: cyan, green, yellow, magenta, blue or a bright form. Red is kept for errors.
fn color(node: u32) -> u8 {
    const COLORS: [u8; 10] = [36, 32, 33, 35, 34, 96, 92, 93, 95, 94];
    COLORS[node as usize % COLORS.len()]
}

#[cfg(test)]
mod tests;
