//! Tests of printed lists and blocks: `fixtures/output/`.

use jiff::tz::{self, TimeZone};
use serde_json::json;

use super::*;
use crate::{api::TaskListResponse, client::tests::written, golden};

/// Four tasks: pending, running on some of its nodes, failed, and one in the form of the Python ancestor.
fn tasks() -> Vec<TaskStatus> {
    let body = json!({"tasks": [
        {
            "task_id": "pend0001", "name": "waits", "status": "pending", "created_at": "2025-10-05T12:33:56.000000",
            "updated_at": "2025-10-05T12:34:00.000000", "username": "ada",
            "reason": "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available",
            "metadata": {
                "job_name": "waits-pend0001", "namespace": "default", "num_nodes": 1, "node_jobs": ["waits-pend0001"],
                "succeeded_nodes": 0, "failed_nodes": 0, "running_nodes": 0, "pending_nodes": 1
            }
        },
        {
            "task_id": "runs0002", "name": "two\tcells\u{1b}[31m", "status": "running",
            "created_at": "2025-10-05T10:34:56.000000", "updated_at": "2025-10-05T10:40:00.000000", "username": "ada",
            "metadata": {
                "job_name": "two-runs0002", "namespace": "default", "num_nodes": 4,
                "node_jobs": ["two-runs0002-node-0", "two-runs0002-node-1", "two-runs0002-node-2", "two-runs0002-node-3"],
                "succeeded_nodes": 0, "failed_nodes": 0, "running_nodes": 1, "pending_nodes": 3
            }
        },
        {
            "task_id": "fail0003", "name": "train", "status": "failed", "created_at": "2025-10-04T12:34:56.000000",
            "updated_at": "2025-10-04T12:40:00.000000", "username": "ada",
            "reason": "node-1: exit code 137 (OOMKilled)",
            "metadata": {
                "job_name": "train-fail0003", "namespace": "default", "num_nodes": 2,
                "node_jobs": ["train-fail0003-node-0", "train-fail0003-node-1"],
                "succeeded_nodes": 1, "failed_nodes": 1, "running_nodes": 0, "pending_nodes": 0,
                "nodes": [
                    {"rank": 0, "job_name": "train-fail0003-node-0", "status": "completed", "pod_name": "p0", "exit_code": 0},
                    {"rank": 1, "job": "train-fail0003-node-1", "status": "failed", "pod": "p1", "host": "gpu-7", "exit_code": 137,
                     "signal": "SIGKILL", "started_at": "2025-10-04T12:35:01.000000", "finished_at": "2025-10-04T12:40:00.000000",
                     "restarts": 1, "reason": "exit code 137 (OOMKilled)"}
                ]
            },
            "events": [
                {"time": "2025-10-04T12:34:58.000000", "type": "Normal", "reason": "Scheduled", "message": "assigned to gpu-7\u{1b}",
                 "object": "Pod/p1", "count": 1},
                {"time": null, "type": "Warning", "reason": "BackOff", "message": "again", "object": "Pod/p1", "count": 3}
            ]
        },
        {
            "task_id": "old00004", "name": "old", "status": "completed", "created_at": "2025-09-01T00:00:00",
            "updated_at": "2025-09-01T00:00:00", "username": "user-example.com",
            "metadata": {"job_name": "old-old00004", "namespace": "default", "num_nodes": 1}
        }
    ]});
    serde_json::from_value::<TaskListResponse>(body)
        .unwrap()
        .tasks
}

fn now() -> Timestamp {
    "2025-10-05T12:34:56".parse().unwrap()
}

#[track_caller]
fn check_table(file: &str, columns: Columns) {
    let sheet = Sheet::default();
    let table = written(|out| table(out, &rows(&tasks(), false), columns, sheet, now()));
    golden::assert(&format!("output/{file}"), &table);
}

#[test]
fn a_table_fits_into_the_terminal() {
    for width in [60, 80, 200] {
        let sheet = Sheet {
            width: Some(width),
            has_colors: width == 80,
            ..Sheet::default()
        };
        let columns = Columns::default();
        let table = written(|out| table(out, &rows(&tasks(), false), columns, sheet, now()));
        golden::assert(&format!("output/jobs-list-{width}.table"), &table);
    }
}

#[test]
fn the_tasks_of_a_group_fit_into_the_terminal() {
    let long = "v".repeat(40);
    for (width, reason) in [
        (60, None),
        (60, Some("node-1: exit code 137 (OOMKilled)")),
        (80, Some("node-1: exit code 137 (OOMKilled)")),
    ] {
        let mut tasks = tasks();
        for (rank, task) in tasks.iter_mut().enumerate() {
            task.name = format!("train-{rank}");
            task.reason = reason.map(str::to_owned);
            // The widest of these columns.
            task.status = TaskState::Completed;
            task.metadata.num_nodes = 1;
            task.metadata.group = serde_json::from_value(json!({
                "group_id": "gr00up00", "rank": rank, "num_tasks": 4, "max_running": null,
                "parameters": {"lr": "0.001", "model": long, "seed": "17"},
            }))
            .unwrap();
        }
        let sheet = Sheet {
            width: Some(width),
            ..Sheet::default()
        };
        let rows = rows(&tasks, false);
        let table = written(|out| table(out, &rows, Columns::default(), sheet, now()));
        let file = match reason {
            None => format!("output/jobs-list-group-{width}.table"),
            Some(_) => format!("output/jobs-list-group-reasons-{width}.table"),
        };
        golden::assert(&file, &table);
        for line in table.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_table_lists_tasks_for_people() {
    check_table("jobs-list.table", Columns::default());
}

#[test]
fn a_table_of_all_users_names_the_user() {
    let columns = Columns {
        all_users: true,
        ..Columns::default()
    };
    check_table("jobs-list-all-users.table", columns);
}

#[test]
fn a_table_with_details_has_whole_names_and_jobs() {
    let columns = Columns {
        details: true,
        ..Columns::default()
    };
    check_table("jobs-list-details.table", columns);
}

#[test]
fn tab_separated_lines_list_tasks_for_scripts() {
    golden::assert("output/jobs-list.tsv", &written(|out| tsv(out, &tasks())));
}

#[test]
fn a_block_shows_one_task_for_people_and_for_scripts() {
    let clock = Clock {
        now: now(),
        zone: TimeZone::fixed(tz::offset(2)),
    };
    for task in &tasks()[1..] {
        let text = written(|out| block(out, task, Sheet::default(), &clock));
        golden::assert(&format!("output/jobs-status-{}.table", task.status), &text);
        let text = written(|out| lines(out, task));
        golden::assert(&format!("output/jobs-status-{}.tsv", task.status), &text);
    }
}

#[test]
fn a_node_shows_its_exit_code_and_reason() {
    for (exit_code, reason, expected) in [
        (None, None, None),
        (None, Some("Evicted"), Some("Evicted")),
        (Some(3), None, Some("exit code 3")),
        (
            Some(137),
            Some("OOMKilled"),
            Some("exit code 137 (OOMKilled)"),
        ),
        (
            Some(137),
            Some("exit code 137 (OOMKilled)"),
            Some("exit code 137 (OOMKilled)"),
        ),
        (
            Some(143),
            Some("time limit of 2h reached"),
            Some("time limit of 2h reached"),
        ),
    ] {
        assert_eq!(ending(exit_code, reason).as_deref(), expected);
    }
}
