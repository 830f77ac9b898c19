//! Prints tasks as a table, as tab-separated lines and as a block.

mod fold;
mod nodes;

use std::io::{self, Write};

pub use self::fold::{Row, rows};
use super::{self as output, Clock, Columns, Sheet};
use crate::{
    api::{
        NodeStatus, TaskEvent, TaskGroup, TaskState, TaskStatus, TimeLimit, Timestamp,
        short_username,
    },
    cli::Format,
};

/// The titles of [`cells`].
pub const TITLES: [&str; 11] = [
    "ID",
    "NAME",
    "STATUS",
    "NODES",
    "CREATED",
    "USER",
    "JOB",
    "NAMESPACE",
    "REASON",
    "GROUP",
    "PARAMETERS",
];

/// Prints the table for people. It has a column for reasons, and one for parameters, if a task has some.
pub fn table(
    out: &mut dyn Write,
    rows: &[Row<'_>],
    columns: Columns,
    sheet: Sheet,
    now: Timestamp,
) -> io::Result<()> {
    let Columns { details, all_users } = columns;
    let users = details || all_users;
    let has = |is_it: &dyn Fn(&TaskStatus) -> bool| {
        rows.iter()
            .any(|row| matches!(row, Row::Task(task) if is_it(task)))
    };
    let with_parameters = has(&|task| !parameters(task).is_empty());
    let reasons = details || has(&|task| task.reason.is_some());
    let mut header = vec!["ID", "NAME", "STATUS", "NODES", "CREATED"];
    header.extend(users.then_some("USER"));
    if details {
        header.extend(["JOB", "NAMESPACE"]);
    }
    header.extend(with_parameters.then_some("PARAMETERS"));
    header.extend(reasons.then_some("REASON"));
    let lines = rows.iter().map(|row| {
        let (task, mut line) = match row {
            Row::Task(task) => (
                *task,
                vec![
                    task.task_id.to_string(),
                    task.name.clone(),
                    task.status.to_string(),
                    nodes(task),
                    output::ago(task.created_at, now),
                ],
            ),
            Row::Group(group) => (
                group.first(),
                vec![
                    group.id.to_string(),
                    group.name(),
                    group.status().to_string(),
                    group.counts(),
                    output::ago(group.created_at(), now),
                ],
            ),
        };
        let own = |text: String| match row {
            Row::Task(_) => text,
            Row::Group(_) => String::new(),
        };
        line.extend(users.then(|| short_username(&task.username).to_owned()));
        if details {
            line.push(own(task.metadata.job_name.clone()));
            line.push(task.metadata.namespace.clone());
        }
        line.extend(with_parameters.then(|| own(parameters(task))));
        line.extend(reasons.then(|| own(nodes::reason(task).unwrap_or_default())));
        line
    });
    let sheet = Sheet {
        is_whole: details,
        ..sheet
    };
    output::table(out, sheet, &header, lines.collect())
}

/// The variables in which a task differs from the others of its group.
fn parameters(task: &TaskStatus) -> String {
    let group = task.metadata.group.as_ref();
    group.map_or_else(String::new, TaskGroup::describe)
}

/// How many of these tasks are in which state.
pub fn counts(tasks: &[TaskStatus]) -> String {
    fold::count(tasks.iter(), tasks.len())
}

/// Prints the lines for scripts.
pub fn tsv(out: &mut dyn Write, tasks: &[TaskStatus]) -> io::Result<()> {
    output::tsv(out, tasks.iter().map(|task| cells(task).into()))
}

/// The line for scripts. The columns do not depend on flags, and new ones are added at the end.
pub fn cells(task: &TaskStatus) -> [String; TITLES.len()] {
    [
        task.task_id.to_string(),
        task.name.clone(),
        task.status.to_string(),
        task.metadata.num_nodes.to_string(),
        task.created_at.to_string(),
        task.username.clone(),
        task.metadata.job_name.clone(),
        task.metadata.namespace.clone(),
        task.reason.clone().unwrap_or_default(),
        group(task),
        parameters(task),
    ]
}

/// The id of the group of a task.
fn group(task: &TaskStatus) -> String {
    let group = task.metadata.group.as_ref();
    group.map_or_else(String::new, |group| group.group_id.to_string())
}

/// Prints one task for scripts: a key and a value a line. The lines of nodes have more cells: pod, machine, start, end, number of
/// restarts and signal.
pub fn lines(out: &mut dyn Write, task: &TaskStatus) -> io::Result<()> {
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| time.to_string());
    let metadata = &task.metadata;
    let reason = task.reason.clone().unwrap_or_default();
    let (started, finished) = task.span();
    let created = task.created_at.to_string();
    let updated = task.updated_at.to_string();
    let mut pairs = vec![
        ("id", task.task_id.to_string()),
        ("name", task.name.clone()),
        ("status", task.status.to_string()),
        ("reason", reason),
        ("nodes", count(task)),
        ("created", created),
        ("updated", updated),
    ];
    pairs.extend(owner_pairs(task));
    pairs.extend([("started", time(started)), ("finished", time(finished))]);
    pairs.retain(|(_, value)| !value.is_empty());
    let pairs = pairs.into_iter();
    let pairs = pairs.map(|(key, value)| vec![key.to_owned(), value]);
    let nodes = metadata.nodes.iter().map(|node| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            format!("node-{}", node.rank),
            self::node(node),
            text(&node.pod),
            text(&node.host),
            time(node.started_at),
            time(node.finished_at),
            node.restarts.to_string(),
            text(&node.signal),
        ]
    });
    output::tsv(out, pairs.chain(nodes))
}

/// Prints one task for people: with times in their zone, equal nodes in one line, and the last events.
pub fn block(
    out: &mut dyn Write,
    task: &TaskStatus,
    sheet: Sheet,
    clock: &Clock,
) -> io::Result<()> {
    let (started, finished) = task.span();
    let took = started.map(|started| {
        let end = finished.unwrap_or(clock.now);
        output::duration(started.seconds_until(end))
    });
    let reason = nodes::reason(task);
    let mut pairs = vec![
        ("id", task.task_id.to_string()),
        ("name", task.name.clone()),
        ("status", task.status.to_string()),
        ("reason", reason.clone().unwrap_or_default()),
        ("nodes", count(task)),
        ("created", clock.show(task.created_at)),
        (
            "started",
            started.map_or_else(String::new, |started| clock.show(started)),
        ),
        ("duration", took.unwrap_or_default()),
        ("updated", clock.show(task.updated_at)),
    ];
    pairs.extend(owner_pairs(task));
    pairs.retain(|(_, value)| !value.is_empty());
    let pairs = pairs.into_iter();
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value));
    let nodes = nodes::lines(&task.metadata.nodes, reason.as_deref(), clock.now);
    output::pairs(out, Format::Table, sheet, pairs.chain(nodes).collect())?;
    events(out, task, clock)
}

fn owner_pairs(task: &TaskStatus) -> [(&'static str, String); 6] {
    let metadata = &task.metadata;
    let files = metadata.files.as_ref();
    [
        ("user", task.username.clone()),
        ("job", metadata.job_name.clone()),
        ("namespace", metadata.namespace.clone()),
        ("files", files.map_or_else(String::new, ToString::to_string)),
        ("group", group(task)),
        ("parameters", parameters(task)),
    ]
}

fn events(out: &mut dyn Write, task: &TaskStatus, clock: &Clock) -> io::Result<()> {
    // Of a task that has completed nobody asks why. What the reason says already is not repeated.
    if task.events.is_empty() || task.status == TaskState::Completed {
        return Ok(());
    }
    writeln!(out, "events:")?;
    let reason = task.reason.as_deref().unwrap_or_default();
    let is_news = |event: &&TaskEvent| event.message.is_empty() || !reason.contains(&event.message);
    let rows = task.events.iter().filter(is_news).map(|event| {
        let age = event.time.map(|time| output::ago(time, clock.now));
        let times = match event.count {
            0 | 1 => String::new(),
            count => format!(" ({count} times)"),
        };
        let text = format!("{}: {}{times}", event.object, event.message);
        vec![
            format!("  {}", age.unwrap_or_default()),
            event.reason.clone(),
            text,
        ]
    });
    let sheet = Sheet {
        has_header: false,
        is_whole: true,
        ..Sheet::default()
    };
    output::table(out, sheet, &["TIME", "EVENT", "MESSAGE"], rows.collect())
}

/// The number of nodes, with the number of those in the state of the task if not all are: `1/4 running`.
fn nodes(task: &TaskStatus) -> String {
    let metadata = &task.metadata;
    let same = match task.status {
        TaskState::Pending => metadata.pending_nodes,
        TaskState::Running | TaskState::Stopping => metadata.running_nodes,
        TaskState::Failed => metadata.failed_nodes,
        TaskState::Completed => metadata.succeeded_nodes,
    };
    if same == metadata.num_nodes || metadata.num_nodes <= 1 {
        return metadata.num_nodes.to_string();
    }
    format!("{same}/{} {}", metadata.num_nodes, task.status)
}

/// The nodes by state: `4 (1 running, 3 pending)`.
fn count(task: &TaskStatus) -> String {
    let metadata = &task.metadata;
    let states = [
        (metadata.failed_nodes, TaskState::Failed),
        (metadata.running_nodes, TaskState::Running),
        (metadata.pending_nodes, TaskState::Pending),
        (metadata.succeeded_nodes, TaskState::Completed),
    ];
    let states: Vec<_> = states
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    match states.as_slice() {
        [] => metadata.num_nodes.to_string(),
        states => format!("{} ({})", metadata.num_nodes, states.join(", ")),
    }
}

fn node(node: &NodeStatus) -> String {
    let exit_code = node.exit_code.filter(|code| *code != 0);
    match ending(exit_code, node.reason.as_deref()) {
        Some(why) => format!("{}: {why}", node.status),
        None => node.status.to_string(),
    }
}

/// The exit code and the reason of a node: `exit code 137 (OOMKilled)`.
pub fn ending(exit_code: Option<i32>, reason: Option<&str>) -> Option<String> {
    match (exit_code, reason) {
        (None, reason) => reason.map(str::to_owned),
        (Some(code), None) => Some(format!("exit code {code}")),
        // The server's reason contains the exit code, or explains it: Kubernetes ends a node at its limit with a signal.
        (Some(_), Some(reason))
            if reason.starts_with("exit code")
                || reason.contains("(exit code ")
                || TimeLimit::is_reached(reason) =>
        {
            Some(reason.to_owned())
        }
        (Some(code), Some(reason)) => Some(format!("exit code {code} ({reason})")),
    }
}

#[cfg(test)]
mod tests;
