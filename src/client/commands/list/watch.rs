//! `k8s-cli jobs list --watch`: one long request, whose records are the tasks and their changes.
//!
//! On a terminal the table is drawn again in its place. Elsewhere each changed task is one more line. After a cut the list is
//! requested again, and what has not changed is not printed again.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use serde_json::json;

use super::Look;
use crate::{
    api::{ListQuery, ListRecord, TaskId, TaskState, TaskStatus, Timestamp},
    backoff::Backoff,
    cli::Format,
    client::{
        Context, Error, Exit,
        http::{ApiClient, describe_body},
        logs::{Event, LogFeed, may_come_back},
        output::{self, task_view},
    },
};

/// The longest pause between two attempts to reach the server.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// The longest record: more than a task of ten thousand nodes.
const MAX_RECORD: usize = 64 * 1024 * 1024;

/// Watches the list until the user presses Ctrl-C, or the server refuses.
pub fn run(
    context: &mut Context<'_>,
    client: &ApiClient,
    all_users: bool,
    query: &ListQuery,
    look: Look,
) -> Result<Exit, Error> {
    let mut feed = LogFeed::listen();
    let mut list = Watched::new(context, query.clone(), look);
    let mut backoff = Backoff::up_to(LONGEST_PAUSE);
    let mut is_away = false;
    loop {
        let (client_of_request, query) = (client.clone(), query.clone());
        feed.start(move || client_of_request.watch_tasks(all_users, &query));
        let event = match feed.next(context.out)? {
            Event::Begun { in_records: true } => {
                if std::mem::take(&mut is_away) {
                    context.say("connected again");
                }
                list.again = HashSet::new();
                list.is_synced = false;
                list.follow(context, client, &mut feed, &mut backoff)?
            }
            Event::Begun { in_records: false } => {
                return Err(client.not_ours("it cannot watch a list"));
            }
            event => event,
        };
        let cause = match event {
            Event::Interrupted => return Ok(Exit::Interrupted),
            Event::Failed(error) if list.rows.is_none() || !may_come_back(&error) => {
                return Err(error);
            }
            Event::Failed(error) => error.to_string(),
            Event::Broken(error) => describe_body(error),
            _ => "the server closed the connection".to_owned(),
        };
        if !std::mem::replace(&mut is_away, true) {
            context.say(&format!("the list was cut off: {cause}; trying again"));
        }
        if !feed.wait(backoff.next(rand::random()))? {
            return Ok(Exit::Interrupted);
        }
    }
}

/// A watched list.
struct Watched {
    query: ListQuery,
    look: Look,
    began: Instant,
    /// The tasks of the list; none before the first answer.
    rows: Option<HashMap<TaskId, Row>>,
    /// The tasks that this stream has named.
    again: HashSet<TaskId>,
    /// Whether this stream has named all.
    is_synced: bool,
    /// Whether the table of the first tasks was printed.
    has_printed: bool,
    /// The drawing, if there is one.
    screen: Option<Screen>,
}

/// A task of the list.
struct Row {
    task: TaskStatus,
    /// The line that was printed for it.
    line: String,
    /// Whether it had finished before its pods were removed.
    has_finished: bool,
}

impl Watched {
    fn new(context: &Context<'_>, query: ListQuery, look: Look) -> Self {
        let terminal = context.terminal;
        let draws = terminal.draws(context.env) && look.format.is_for_people();
        Self {
            query,
            look,
            began: Instant::now(),
            rows: None,
            again: HashSet::new(),
            is_synced: false,
            has_printed: false,
            screen: draws.then(Screen::default),
        }
    }

    /// Shows the records of a stream until it ends; returns the event of its end.
    fn follow(
        &mut self,
        context: &mut Context<'_>,
        client: &ApiClient,
        feed: &mut LogFeed,
        backoff: &mut Backoff,
    ) -> Result<Event, Error> {
        let mut unread = Vec::new();
        loop {
            let bytes = match feed.next_heartbeat(context.out)? {
                Event::Bytes(bytes) => bytes,
                event => return Ok(event),
            };
            backoff.reset();
            unread.extend_from_slice(&bytes);
            feed.reuse(bytes);
            let end = memchr::memrchr(b'\n', &unread).map_or(0, |end| end + 1);
            for line in unread[..end].split(|byte| *byte == b'\n') {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let record = serde_json::from_slice(line).map_err(|error| {
                    client.not_ours(&format!("a record of its list cannot be read: {error}"))
                })?;
                self.take(context, record)?;
            }
            unread.drain(..end);
            if unread.len() > MAX_RECORD {
                return Err(client.not_ours("a record of its list is longer than 64 MiB"));
            }
            self.draw(context)?;
        }
    }

    fn take(&mut self, context: &mut Context<'_>, record: ListRecord) -> Result<(), Error> {
        match record {
            ListRecord::Task { task } => {
                self.again.insert(task.task_id);
                self.put(context, task)
            }
            ListRecord::Gone { task_id, task } => self.remove(context, task_id, task),
            ListRecord::Synced {} => {
                self.is_synced = true;
                let rows = self.rows.get_or_insert_default();
                let gone: Vec<_> = rows.keys().copied().collect();
                let gone = gone.into_iter().filter(|id| !self.again.contains(id));
                for id in gone.collect::<Vec<_>>() {
                    self.remove(context, id, None)?;
                }
                self.print_first(context)
            }
            ListRecord::Heartbeat {} | ListRecord::Unknown => Ok(()),
        }
    }

    fn put(&mut self, context: &mut Context<'_>, task: TaskStatus) -> Result<(), Error> {
        let is_first = self.rows.as_ref().is_none_or(HashMap::is_empty);
        let line = self.line(&task, &task.status.to_string())?;
        let rows = self.rows.get_or_insert_default();
        let before = rows.remove(&task.task_id);
        let had_finished = before.as_ref().is_some_and(|before| before.has_finished);
        let is_removed = task.status == TaskState::Stopping;
        let row = Row {
            task: task.clone(),
            line: line.clone(),
            has_finished: task.status.is_terminal() || is_removed && had_finished,
        };
        rows.insert(task.task_id, row);
        if self.screen.is_some() || before.is_some_and(|before| before.line == line) {
            return Ok(());
        }
        if self.look.format.is_for_people() && !self.has_printed {
            // The first tasks are one table.
            return Ok(());
        }
        if is_first && self.look.format == Format::Tsv {
            self.look.print_titles(context)?;
        }
        if !self.look.format.is_for_people() {
            return Ok(context.out.write_all(line.as_bytes())?);
        }
        let now = context.now.later(self.began.elapsed());
        self.look
            .print(context, &[task_view::Row::Task(&task)], now)?;
        self.look.sheet.has_header = false;
        Ok(())
    }

    /// Prints the table of the first tasks, if one is printed and not drawn.
    fn print_first(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let is_table = self.look.format.is_for_people() && self.screen.is_none();
        if !is_table || std::mem::replace(&mut self.has_printed, true) {
            return Ok(());
        }
        let tasks = self.tasks();
        if tasks.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = tasks.iter().map(task_view::Row::Task).collect();
        let now = context.now.later(self.began.elapsed());
        self.look.print(context, &rows, now)?;
        self.look.sheet.has_header = false;
        Ok(context.out.flush()?)
    }

    /// The tasks in the order of the list.
    fn tasks(&self) -> Vec<TaskStatus> {
        let rows = self.rows.iter().flat_map(HashMap::values);
        let mut tasks: Vec<_> = rows.map(|row| row.task.clone()).collect();
        tasks.sort_by_cached_key(|task| self.query.sort.place(task));
        tasks
    }

    /// Removes a task from the list. `task` is its state, if it still exists.
    fn remove(
        &mut self,
        context: &mut Context<'_>,
        id: TaskId,
        task: Option<TaskStatus>,
    ) -> Result<(), Error> {
        let rows = self.rows.get_or_insert_default();
        let Some(last) = rows.remove(&id) else {
            return Ok(());
        };
        let status = match &task {
            Some(task) => task.status.to_string(),
            None if last.has_finished => "deleted".to_owned(),
            None => "stopped".to_owned(),
        };
        if self.screen.is_some() {
            return Ok(());
        }
        if self.look.format.is_for_people() {
            context.say(&format!("task {id} {status}"));
            return Ok(());
        }
        let line = self.line(&task.unwrap_or(last.task), &status)?;
        Ok(context.out.write_all(line.as_bytes())?)
    }

    /// The line of a task for scripts; for a table a text that changes with the task.
    fn line(&self, task: &TaskStatus, status: &str) -> Result<String, Error> {
        let mut line = Vec::new();
        match self.look.format {
            Format::Name => output::tsv(&mut line, [vec![task.task_id.to_string()]])?,
            Format::Json | Format::Yaml => {
                let mut document = json!(task);
                document["status"] = status.into();
                output::record(&mut line, self.look.format, &document)?;
            }
            _ => {
                let mut cells = task_view::cells(task);
                status.clone_into(&mut cells[2]);
                output::tsv(&mut line, [cells.into()])?;
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Draws the table, if it is one on a terminal and complete.
    fn draw(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if !self.is_synced {
            return Ok(());
        }
        let tasks = self.tasks();
        let Some(screen) = &mut self.screen else {
            return Ok(());
        };
        context.terminal.measure(context.env);
        self.look.sheet.width = context.terminal.width();
        let now: Timestamp = context.now.later(self.began.elapsed());
        let mut table = Vec::new();
        let Look {
            columns,
            folds,
            sheet,
            ..
        } = self.look;
        let tasks = task_view::rows(&tasks, folds);
        task_view::table(&mut table, &tasks, columns, sheet, now)?;
        let rows = context.terminal.size.map_or(usize::MAX, |(_, rows)| rows);
        let text = screen.draw(&String::from_utf8_lossy(&table), rows);
        context.out.write_all(text.as_bytes())?;
        Ok(context.out.flush()?)
    }
}

/// A text that is drawn again and again in the same place.
#[derive(Default)]
struct Screen {
    /// The number of its lines.
    lines: usize,
}

impl Screen {
    /// The codes that replace the text on a terminal with this number of rows.
    fn draw(&mut self, text: &str, rows: usize) -> String {
        // The cursor stands in a row of its own.
        let room = rows.saturating_sub(1).max(1);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() > room {
            let more = lines.len() - (room - 1);
            lines.truncate(room - 1);
            lines.push(format!("… and {more} more"));
        }
        let up = match self.lines {
            0 => String::new(),
            lines => format!("\x1b[{lines}F"),
        };
        self.lines = lines.len();
        let lines: String = lines.into_iter().map(|line| line + "\n").collect();
        // A line that is too long is not wrapped, or the next drawing would begin too low.
        format!("{up}\x1b[J\x1b[?7l{lines}\x1b[?7h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_replaces_the_one_before() {
        let mut screen = Screen::default();
        assert_eq!(screen.draw("a\nb\n", 9), "\x1b[J\x1b[?7la\nb\n\x1b[?7h");
        let drawn = screen.draw("a\nb\nc\nd\n", 4);
        assert_eq!(drawn, "\x1b[2F\x1b[J\x1b[?7la\nb\n… and 2 more\n\x1b[?7h");
        assert!(screen.draw("", 4).starts_with("\x1b[3F\x1b[J"));
        assert_eq!(screen.lines, 0);
    }
}
