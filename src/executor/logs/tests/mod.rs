//! The items of a task's log, from a scripted server.

mod beginning;
mod unreadable;

use std::time::{Duration, Instant};

use k8s_openapi::{
    jiff,
    serde_json::{self, Value, json},
};

use super::*;
use crate::{
    api::{Since, TaskState},
    executor::{
        identity::Version,
        observed::{EventRow, JobRow, PodRow},
        scripted_server,
        view::Table,
    },
};

fn ended(rank: u32, status: TaskState) -> NodeOutcome {
    NodeOutcome::Ended(NodeStatus {
        rank,
        status,
        job: format!("train-ab12cd34-node-{rank}"),
        pod: None,
        host: None,
        exit_code: None,
        signal: None,
        started_at: None,
        finished_at: None,
        restarts: 0,
        reason: (status == TaskState::Failed).then(|| "exit code 3".to_owned()),
        stopped_after: None,
    })
}

#[test]
fn the_nodes_decide_the_end_of_a_log() {
    let (done, failed) = (
        || ended(0, TaskState::Completed),
        || ended(1, TaskState::Failed),
    );
    assert_eq!(conclude(&[done(), done()]), (LogEnd::Completed, None));
    assert_eq!(
        conclude(&[done(), failed()]),
        (
            LogEnd::Failed,
            Some("node-1 failed: exit code 3".to_owned())
        )
    );
    assert_eq!(
        conclude(&[failed()]),
        (LogEnd::Failed, Some("failed: exit code 3".to_owned()))
    );
    assert_eq!(
        conclude(&[failed(), NodeOutcome::Stopped]),
        (LogEnd::Stopped, None)
    );
    let late = || NodeOutcome::Unfinished(Some("Unschedulable".to_owned()));
    assert_eq!(
        conclude(&[done(), late()]),
        (LogEnd::Unfinished, Some("Unschedulable".to_owned()))
    );
    assert_eq!(conclude(&[failed(), late()]).0, LogEnd::Failed);
}

/// A Job of a task, complete.
fn job(rank: u32, num_nodes: u32) -> Value {
    json!({
        "metadata": {
            "name": format!("j-{rank}"), "uid": format!("uid-j-{rank}"), "resourceVersion": "7",
            "labels": {"task-id": "ab12cd34", "username": "ada", "node-idx": rank.to_string()},
            "annotations": {"num-nodes": num_nodes.to_string(), "k8s-cli/user": "ada"},
        },
        "spec": {"backoffLimit": 0},
        "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
    })
}

/// The pod of [`job`].
fn pod(rank: u32) -> Value {
    let owner =
        json!({"kind": "Job", "name": "j", "uid": format!("uid-j-{rank}"), "controller": true});
    json!({
        "metadata": {
            "name": format!("p-{rank}"), "uid": format!("uid-p-{rank}"), "resourceVersion": "6", "ownerReferences": [owner],
            "labels": {"task-id": "ab12cd34", "node-idx": rank.to_string()},
        },
        "spec": {"restartPolicy": "Never"},
        "status": {"phase": "Succeeded", "containerStatuses": [{
            "name": "task", "restartCount": 0, "state": {"terminated": {"exitCode": 0}},
        }]},
    })
}

fn list(items: &[Value]) -> String {
    json!({"metadata": {"resourceVersion": "8"}, "items": items}).to_string()
}

/// Merges Jobs and pods into the view, as its watches would.
fn merge(live: &LiveView, jobs: &[Value], pods: &[Value]) {
    for row in jobs {
        let row: JobRow = serde_json::from_value(row.clone()).unwrap();
        live.view.change::<JobRow, _>(|table| table.put(row));
    }
    for row in pods {
        let row: PodRow = serde_json::from_value(row.clone()).unwrap();
        live.view.change::<PodRow, _>(|table| table.put(row));
    }
    live.view.change::<JobRow, _>(|table| {
        let version = Version::new("5");
        Table::<JobRow>::versions(table).has_listed(version, Instant::now());
        Table::<PodRow>::versions(table).has_listed(version, Instant::now());
        Table::<EventRow>::versions(table).has_listed(version, Instant::now());
    });
}

async fn logs(live: &LiveView, query: LogQuery) -> mpsc::Receiver<LogItem> {
    let (ada, id) = ("ada".parse().unwrap(), "ab12cd34".parse().unwrap());
    open(&Arc::new(Logs::new()), live, &ada, id, query)
        .await
        .unwrap()
}

/// The next item of a viewer, as text.
async fn next(items: &mut mpsc::Receiver<LogItem>) -> Option<String> {
    loop {
        return Some(match items.recv().await? {
            LogItem::Lines(lines) => {
                let lines = lines.iter().map(|line| [line.bytes, b"/"].concat());
                String::from_utf8(lines.collect::<Vec<_>>().concat()).unwrap()
            }
            LogItem::Record(LogRecord::Interrupted { reason, .. }) => reason,
            LogItem::Record(LogRecord::Waiting { node, reason }) => format!("{node}: {reason}"),
            LogItem::Record(LogRecord::Gap { reason, .. }) => format!("missing: {reason}"),
            LogItem::Record(LogRecord::Resumed { .. }) => "resumed".to_owned(),
            LogItem::Record(LogRecord::End { status, .. }) => format!("{status:?}"),
            LogItem::Record(LogRecord::Notice { message, .. }) => message,
            LogItem::Record(_) => continue,
        });
    }
}

async fn all(items: &mut mpsc::Receiver<LogItem>) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(words) = next(items).await {
        seen.push(words);
    }
    seen
}

/// The value of a parameter of a request.
fn parameter(request: &str, name: &str) -> Option<String> {
    let (_, value) = request.split_once(&format!("{name}="))?;
    Some(value.split(['&', ' ']).next().unwrap().replace("%3A", ":"))
}

const LINE: &str = "2026-01-02T03:04:05.6Z a line\n";

#[actix_rt::test]
async fn the_log_of_a_pod_that_no_watch_has_shown_is_waited_for() {
    let mut fails = [true, true].into_iter();
    let cluster = scripted_server::cluster(move |request| {
        if request.contains("/pods/p-0/log") {
            return Some(LINE.to_owned());
        }
        if request.contains("/jobs") {
            return Some(list(&[job(0, 1)]));
        }
        // Kubernetes cannot be reached at first.
        fails.next().is_none().then(|| list(&[pod(0)]))
    })
    .await;
    let live = LiveView::new(cluster);
    // One watch has shown the end of the Job, the other one has not shown its pod.
    merge(&live, &[job(0, 1)], &[]);
    assert_eq!(
        all(&mut logs(&live, LogQuery::default()).await).await,
        [
            "cannot list pods: Kubernetes cannot be reached",
            "resumed",
            "a line/",
            "Completed"
        ]
    );
}

#[actix_rt::test]
async fn a_job_that_does_not_exist_yet_is_waited_for() {
    let cluster = scripted_server::cluster(|request| {
        Some(match request {
            _ if request.contains("/log") => LINE.to_owned(),
            _ if request.contains("/jobs") => list(&[job(0, 2)]),
            _ => list(&[pod(0)]),
        })
    })
    .await;
    let live = LiveView::new(cluster);
    merge(&live, &[], &[]);
    let mut items = logs(&live, LogQuery::default()).await;
    let mut seen = [next(&mut items).await, next(&mut items).await];
    seen.sort();
    assert_eq!(
        seen.each_ref().map(Option::as_deref),
        [Some("1: its Job does not exist yet"), Some("a line/")]
    );
    merge(&live, &[job(1, 2)], &[pod(1)]);
    assert_eq!(all(&mut items).await, ["a line/", "Completed"]);
}

#[actix_rt::test]
async fn lines_after_a_cut_are_not_limited_by_tail() {
    let cluster = scripted_server::cluster(|request| {
        Some(match request {
            _ if request.contains("/log") => [LINE, LINE, LINE].concat(),
            _ if request.contains("/jobs") => list(&[job(0, 1)]),
            _ => list(&[]),
        })
    })
    .await;
    let live = LiveView::new(cluster);
    let mut active = job(0, 1);
    active["status"] = json!({});
    merge(&live, &[active], &[]);
    let query = || LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    let mut items = logs(&live, query()).await;
    let cursor = loop {
        if let LogItem::Record(LogRecord::Pod { cursor, .. }) = items.recv().await.unwrap() {
            break cursor.parse().unwrap();
        }
    };
    // The connection is cut, and the task ends.
    drop(items);
    merge(&live, &[job(0, 1)], &[pod(0)]);
    let again = LogQuery {
        after: vec![cursor],
        ..query()
    };
    assert_eq!(
        all(&mut logs(&live, again).await).await,
        ["a line/a line/a line/", "Completed"]
    );
}

#[actix_rt::test]
async fn the_clock_of_the_server_does_not_matter_for_an_age() {
    for ahead in [-60, 0, 60] {
        let clock = move || jiff::Timestamp::now() - jiff::SignedDuration::from_secs(ahead);
        let began = clock();
        let cluster = scripted_server::cluster(move |request| {
            let parameter = |name| parameter(request, name);
            let since = parameter("sinceTime").map(|time| time.parse().unwrap());
            let since = since.or_else(|| {
                let seconds = parameter("sinceSeconds")?.parse().unwrap();
                Some(clock() - jiff::SignedDuration::from_secs(seconds))
            });
            // One line every 10 s, the last one 5 s ago.
            let lines = (0..8).rev().map(|nth| (nth, nth * 10 + 5));
            let lines = lines.map(|(nth, age)| (nth, began - jiff::SignedDuration::from_secs(age)));
            let lines = lines.filter(|(_, time)| since.is_none_or(|since| *time >= since));
            let lines: Vec<_> = lines
                .map(|(nth, time)| format!("{time:.9} {nth}\n"))
                .collect();
            let last = parameter("tailLines").map_or(lines.len(), |tail| tail.parse().unwrap());
            Some(lines[lines.len().saturating_sub(last)..].concat())
        })
        .await;
        let live = LiveView::new(cluster);
        merge(&live, &[job(0, 1)], &[pod(0)]);
        for (ago, expected) in [
            (0, None),
            (3, None),
            (30, Some("2/1/0/")),
            (3600, Some("7/6/5/4/3/2/1/0/")),
        ] {
            let query = LogQuery {
                since: Some(Since::Ago(Duration::from_secs(ago))),
                ..LogQuery::default()
            };
            let expected: Vec<_> = expected.into_iter().chain(["Completed"]).collect();
            let seen = all(&mut logs(&live, query).await).await;
            assert_eq!(seen, expected, "{ahead} s ahead, the last {ago} s");
        }
    }
}

#[actix_rt::test]
async fn lines_before_a_time_are_left_out_whatever_the_clock_of_the_server_says() {
    // The clock of the pod's machine is a minute behind.
    let time = |ago: i64| jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60 + ago);
    let wanted = time(-30);
    let lines = format!("{:.9} old\n{:.9} new\n", time(0), time(-40));
    let mut active = job(0, 1);
    active["status"] = json!({});
    let mut running = pod(0);
    running["metadata"]["resourceVersion"] = "5".into();
    running["status"]["phase"] = "Running".into();
    running["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
    let (jobs, pods) = ([active.clone()], [running.clone()]);
    let mut shown = [String::new(), String::new()].into_iter();
    let cluster = scripted_server::cluster(move |request| {
        Some(match request {
            _ if request.contains("/jobs") => list(&jobs),
            _ if !request.contains("/log?") => list(&pods),
            // At first the log is empty.
            _ => shown.next().unwrap_or_else(|| lines.clone()),
        })
    })
    .await;
    let live = LiveView::new(cluster);
    merge(&live, &[active], &[running]);
    let query = LogQuery {
        since: Some(Since::At(wanted.to_string().parse().unwrap())),
        ..LogQuery::default()
    };
    let mut items = logs(&live, query).await;
    assert_eq!(next(&mut items).await.as_deref(), Some("new/"));
}
