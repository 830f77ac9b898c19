//! The lives of real Jobs and pods, replayed: the states that a user sees, and the changes that follow.

use std::{fmt::Write as _, time::Instant};

use serde::Deserialize;
use serde_json::{Value, from_value};

use super::{Change, Target, plan};
use crate::{
    api::TaskStatus,
    executor::{
        identity::Version,
        observed::{EventRow, JobRow, PodRow, Row},
        view::{Table, View, ViewRow},
    },
    golden,
};

/// The recorded lives.
const LIVES: [&str; 16] = [
    "evicted",
    "init-fails",
    "job-orphaned",
    "native-sidecar",
    "no-configmap",
    "no-secret-key",
    "node-lost",
    "parallelism-zero",
    "pod-deadline",
    "pod-deleted",
    "preempted",
    "pull-never",
    "sidecar-fails",
    "sidecar-stays",
    "suspended-later",
    "terminates-slowly",
];

/// An event of a watch.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

fn merge<R: ViewRow>(view: &View, row: R, is_deleted: bool) {
    view.change::<R, _>(|table| table.merge_event(row, is_deleted, Instant::now()));
}

/// Merges an event of a watch; returns its version.
fn merge_event(view: &View, event: Event) -> Version {
    let is_deleted = event.kind == "DELETED";
    if event.object["kind"] == "Job" {
        let row: JobRow = from_value(event.object).unwrap();
        let version = row.version();
        merge(view, row, is_deleted);
        version
    } else {
        let row: PodRow = from_value(event.object).unwrap();
        let version = row.version();
        merge(view, row, is_deleted);
        version
    }
}

fn describe(status: Option<&TaskStatus>) -> String {
    let Some(status) = status else {
        return "gone".to_owned();
    };
    let node = &status.metadata.nodes[0];
    let mut text = status.status.to_string();
    if let Some(code) = node.exit_code {
        let _ = write!(text, ", exit code {code}");
    }
    if let Some(reason) = &status.reason {
        let _ = write!(text, ": {reason}");
    }
    text
}

fn describe_change(change: &Change) -> String {
    match change {
        Change::Note { ends, .. } => format!("note {}", serde_json::to_string(ends).unwrap()),
        Change::Stop { target, .. } => match target {
            Target::Pod(_) => "stop the pod".to_owned(),
            Target::Job(_) => "stop the Job".to_owned(),
        },
        Change::DeleteFiles { .. } => "delete the files".to_owned(),
        Change::Release { .. } => "release the pod".to_owned(),
    }
}

/// The states of a task, and the changes that it requires, one a line.
fn life(name: &str, reasons: &[EventRow]) -> String {
    let view = View::default();
    let mut lines: Vec<String> = Vec::new();
    let mut reasons = reasons.iter().peekable();
    let text = golden::read(&format!("recorded/lives/{name}.jsonl"));
    let mut id = None;
    let mut look = |view: &View, event: Option<Event>| {
        if let Some(event) = event {
            let label = event.object["metadata"]["labels"]["task-id"].clone();
            id = Some(from_value(label).unwrap());
            let version = merge_event(view, event);
            while let Some(reason) =
                reasons.next_if(|reason| !reason.version.is_newer_than(version))
            {
                merge(view, reason.clone(), false);
            }
        } else {
            for reason in reasons.by_ref() {
                merge(view, reason.clone(), false);
            }
        }
        let task = view.task(id.unwrap());
        let status = task
            .as_ref()
            .and_then(|task| task.status(id.unwrap(), None, "default"));
        let line = describe(status.as_ref());
        let changes = plan(&task.unwrap_or_default());
        let changes = changes.iter().flatten().map(describe_change);
        let changes: Vec<_> = changes.collect();
        let line = match changes.as_slice() {
            [] => line,
            changes => format!("{line}  -> {}", changes.join(", ")),
        };
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    };
    for line in text.lines() {
        look(&view, Some(serde_json::from_str(line).unwrap()));
    }
    look(&view, None);
    format!("{name}\n  {}\n", lines.join("\n  "))
}

#[test]
fn the_lives_of_recorded_tasks_have_the_expected_states() {
    let events = golden::read("recorded/lives/events.jsonl");
    let mut reasons: Vec<EventRow> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    reasons.sort_by_key(|reason| reason.version);
    let lives: String = LIVES.iter().map(|name| life(name, &reasons)).collect();
    golden::assert("observed/lives.txt", &lives);
}
