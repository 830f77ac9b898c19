//! Prints tasks as a table, as tab-separated lines and as a block.

use std::io::{self, Write};

use super::{self as output, Columns, Sheet};
use crate::{
    api::{NodeStatus, TaskState, TaskStatus, Timestamp},
    cli::Format,
};

/// The titles of [`cells`].
pub const TITLES: [&str; 9] = [
    "ID",
    "NAME",
    "STATUS",
    "NODES",
    "CREATED",
    "USER",
    "JOB",
    "NAMESPACE",
    "REASON",
];

/// Prints the table for people. It has a column for reasons if a task has one.
pub fn table(
    out: &mut dyn Write,
    tasks: &[TaskStatus],
    columns: Columns,
    sheet: Sheet,
    now: Timestamp,
) -> io::Result<()> {
    let Columns { details, all_users } = columns;
    let users = details || all_users;
    let reasons = details || tasks.iter().any(|task| task.reason.is_some());
    let mut header = vec!["ID", "NAME", "STATUS", "NODES", "CREATED"];
    header.extend(users.then_some("USER"));
    if details {
        header.extend(["JOB", "NAMESPACE"]);
    }
    header.extend(reasons.then_some("REASON"));
    let rows = tasks.iter().map(|task| {
        let mut row = vec![
            task.task_id.to_string(),
            task.name.clone(),
            task.status.to_string(),
            nodes(task),
            output::ago(task.created_at, now),
        ];
        row.extend(users.then(|| task.username.clone()));
        if details {
            row.push(task.metadata.job_name.clone());
            row.push(task.metadata.namespace.clone());
        }
        row.extend(reasons.then(|| task.reason.clone().unwrap_or_default()));
        row
    });
    let sheet = Sheet {
        is_whole: details,
        ..sheet
    };
    output::table(out, sheet, &header, rows.collect())
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
    ]
}

/// Prints one task, with a line for each node. Keys without a value are left out.
pub fn block(out: &mut dyn Write, format: Format, task: &TaskStatus) -> io::Result<()> {
    let metadata = &task.metadata;
    let mut pairs = vec![
        ("id", task.task_id.to_string()),
        ("name", task.name.clone()),
        ("status", task.status.to_string()),
        ("reason", task.reason.clone().unwrap_or_default()),
        ("nodes", count(task)),
        ("created", task.created_at.to_string()),
        ("updated", task.updated_at.to_string()),
        ("user", task.username.clone()),
        ("job", metadata.job_name.clone()),
        ("namespace", metadata.namespace.clone()),
        (
            "files",
            metadata
                .files
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        ),
    ];
    pairs.retain(|(_, value)| !value.is_empty());
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let nodes = metadata
        .nodes
        .iter()
        .map(|node| (format!("node-{}", node.rank), self::node(node)));
    output::pairs(out, format, pairs.chain(nodes).collect())
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
        // The server's reason contains the exit code.
        (Some(_), Some(reason)) if reason.starts_with("exit code") => Some(reason.to_owned()),
        (Some(code), Some(reason)) => Some(format!("exit code {code} ({reason})")),
    }
}

#[cfg(test)]
mod tests;
