//! Tests of the text that a terminal and a pipe get for given records.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::client::tests::Session;

const PLAIN: LineStyle = LineStyle {
    prefix: Prefix::Auto,
    timestamps: false,
    colors: false,
};

/// Shows records in a session; returns stdout, stderr and how the log ended.
fn show(
    mut session: Session,
    style: LineStyle,
    records: &[Value],
) -> (String, String, Option<LogEnd>) {
    let mut view = LogView::new("ab12cd34".parse().unwrap(), style, LogFormat::Text);
    let end = session.run(|context| show_all(&mut view, context, records));
    (session.out(), session.err(), end)
}

fn show_all(view: &mut LogView, context: &mut Context<'_>, records: &[Value]) -> Option<LogEnd> {
    let mut end = None;
    for record in records {
        let json = record.to_string();
        let record = LogRecord::from_json(json.as_bytes()).unwrap();
        end = end.or(view.show(context, record, json.as_bytes()).unwrap());
    }
    end
}

fn piped(style: LineStyle, records: &[Value]) -> String {
    show(Session::default(), style, records).0
}

fn start(num_nodes: u32) -> Value {
    json!({"type": "start", "num_nodes": num_nodes})
}

fn line(node: u32, text: &str) -> Value {
    json!({"type": "line", "node": node, "time": "2025-10-05T12:00:00.5Z", "text": text})
}

fn piece(node: u32, text: &str) -> Value {
    json!({"type": "line", "node": node, "time": "2025-10-05T12:00:00.5Z", "text": text, "partial": true})
}

#[test]
fn lines_of_one_node_are_unchanged() {
    let records = [
        start(1),
        line(0, "one"),
        line(0, ""),
        line(0, "t\tæ\u{1b}[31m"),
    ];
    assert_eq!(piped(PLAIN, &records), "one\n\nt\tæ\u{1b}[31m\n");
}

#[test]
fn bytes_that_are_not_utf8_are_unchanged() {
    let record = json!({"type": "line", "node": 0, "latin1": "\u{ff}\u{fe}\u{0}"});
    let mut session = Session::default();
    let mut view = LogView::new("ab12cd34".parse().unwrap(), PLAIN, LogFormat::Text);
    session.run(|context| show_all(&mut view, context, &[record]));
    assert_eq!(session.bytes(), b"\xff\xfe\x00\n");
}

#[test]
fn several_nodes_get_a_prefix() {
    let records = [start(2), line(0, "a"), line(1, "b")];
    assert_eq!(piped(PLAIN, &records), "node-0 | a\nnode-1 | b\n");
    let never = LineStyle {
        prefix: Prefix::Never,
        ..PLAIN
    };
    assert_eq!(piped(never, &records), "a\nb\n");
    let always = LineStyle {
        prefix: Prefix::Always,
        timestamps: true,
        ..PLAIN
    };
    assert_eq!(
        piped(always, &[start(1), line(0, "a")]),
        "node-0 | 2025-10-05T12:00:00.5Z a\n"
    );
}

#[test]
fn the_pieces_of_a_line_are_joined() {
    let timestamps = LineStyle {
        timestamps: true,
        ..PLAIN
    };
    let records = [
        start(2),
        piece(1, "10%"),
        piece(1, "..20%"),
        line(1, "..done"),
        line(1, "next"),
    ];
    assert_eq!(
        piped(timestamps, &records),
        "node-1 | 2025-10-05T12:00:00.5Z 10%..20%..done\nnode-1 | 2025-10-05T12:00:00.5Z next\n"
    );
}

#[test]
fn a_line_of_another_node_does_not_break_an_unfinished_line() {
    let records = [
        start(2),
        piece(0, "name? "),
        line(1, "other"),
        piece(0, "Ada"),
        line(0, "!"),
    ];
    assert_eq!(
        piped(PLAIN, &records),
        "node-1 | other\nnode-0 | name? Ada!\n"
    );
    let never = LineStyle {
        prefix: Prefix::Never,
        ..PLAIN
    };
    assert_eq!(piped(never, &records), "other\nname? Ada!\n");
}

#[test]
fn a_last_line_without_a_newline_gets_one() {
    let records = [
        start(1),
        piece(0, "no newline"),
        json!({"type": "end", "status": "completed"}),
    ];
    let (out, _, end) = show(Session::default(), PLAIN, &records);
    assert_eq!(out, "no newline\n");
    assert_eq!(end, Some(LogEnd::Completed));
}

#[test]
fn only_the_prefix_is_coloured() {
    let colors = LineStyle {
        colors: true,
        ..PLAIN
    };
    let records = [start(11), line(10, "a"), line(0, "b")];
    assert_eq!(
        piped(colors, &records),
        "\x1b[36mnode-10 | \x1b[0ma\n\x1b[36mnode-0 | \x1b[0mb\n"
    );
}

#[test]
fn a_reason_to_wait_is_printed_once_per_change() {
    let waiting = |reason: &str| json!({"type": "waiting", "node": 2, "reason": reason});
    let records = [
        start(4),
        waiting("ContainerCreating"),
        waiting("ContainerCreating"),
        json!({"type": "heartbeat"}),
        waiting("ErrImagePull: no\nsuch image"),
        json!({"type": "notice", "node": 2, "message": "its log was rotated away"}),
    ];
    let (out, err, end) = show(Session::default(), PLAIN, &records);
    assert_eq!(out, "");
    assert_eq!(
        err,
        "node-2: pending, ContainerCreating\nnode-2: pending, ErrImagePull: no\\nsuch image\nnode-2: its log was rotated away\n"
    );
    assert_eq!(end, None);
}

#[test]
fn a_reason_to_wait_is_printed_once_per_meaning() {
    let waiting = |reason: &str| json!({"type": "waiting", "node": 0, "reason": reason});
    let records = [
        start(1),
        waiting("Unschedulable: 0/12 nodes are available: 3 Insufficient cpu."),
        waiting("Unschedulable: 0/9 nodes are available: 2 Insufficient cpu."),
        waiting("Unschedulable: 0/9 nodes are available: 9 Insufficient memory."),
        waiting("FailedCreate: pods \"hello-ab12cd34-x2k9p\" is forbidden: exceeded quota"),
        waiting("FailedCreate: pods \"hello-ab12cd34-zzzzz\" is forbidden: exceeded quota"),
        waiting("ImagePullBackOff: Back-off pulling image \"a\""),
        waiting("ErrImagePull: dial tcp 10.0.0.1:443"),
        waiting("ImagePullBackOff: Back-off pulling image \"a\""),
        waiting("ErrImagePull: dial tcp 10.0.0.2:443"),
    ];
    let (_, err, _) = show(Session::default(), PLAIN, &records);
    let expected = [
        "Unschedulable: 0/12 nodes are available: 3 Insufficient cpu.",
        "Unschedulable: 0/9 nodes are available: 9 Insufficient memory.",
        "FailedCreate: pods \"hello-ab12cd34\" is forbidden: exceeded quota",
        "ImagePullBackOff: Back-off pulling image \"a\"",
        "ErrImagePull: dial tcp 10.0.0.1:443",
    ];
    let expected = expected.map(|reason| format!("node-0: pending, {reason}\n"));
    assert_eq!(err, expected.concat());
}

#[test]
fn a_reason_of_many_nodes_is_one_line() {
    let waiting =
        |node: u32, reason: &str| json!({"type": "waiting", "node": node, "reason": reason});
    let mut records = vec![start(1502)];
    let full = "Unschedulable: 0/12 nodes are available: 12 Insufficient cpu.";
    records.extend((0..1500).map(|node| waiting(node, full)));
    records.push(waiting(1500, "ContainerCreating"));
    records.push(waiting(1501, "Unschedulable: 1 node has a taint."));
    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
    let mut session = Session::default();
    let mut view = LogView::new("ab12cd34".parse().unwrap(), PLAIN, LogFormat::Text);
    view.clock = || *NOW;
    session.run(|context| show_all(&mut view, context, &records[..9]));
    assert_eq!(session.err(), "");
    session.run(|context| {
        show_all(&mut view, context, &records[9..]);
        view.tell_waiting(context).unwrap();
        show_all(&mut view, context, &records[1..]);
        view.tell_waiting(context).unwrap();
    });
    assert_eq!(
        session.err(),
        format!(
            "1,500 nodes: {full}\nnode-1500: pending, ContainerCreating\n\
             node-1501: pending, Unschedulable: 1 node has a taint.\n"
        )
    );
}

#[test]
fn the_last_messages_of_a_failed_task_name_its_nodes() {
    let records = [
        start(2),
        json!({"type": "node_end", "node": 0, "status": "completed", "exit_code": 0}),
        json!({"type": "node_end", "node": 1, "status": "failed", "exit_code": 137, "reason": "OOMKilled"}),
        json!({"type": "end", "status": "failed"}),
    ];
    let (_, err, end) = show(Session::default(), PLAIN, &records);
    assert_eq!(
        err,
        "task ab12cd34 failed: node-1 failed: exit code 137 (OOMKilled)\n"
    );
    assert_eq!(end, Some(LogEnd::Failed));

    let failed = |node: u32, reason: &str| json!({"type": "node_end", "node": node, "status": "failed", "exit_code": 1, "reason": reason});
    let mut records = vec![start(42)];
    records.extend((0..40).map(|node| failed(node, "exit code 1")));
    records.extend([40, 41].map(|node| {
        let mut end = failed(node, "stopped: node-39 failed first");
        end["stopped_after"] = json!(39);
        end
    }));
    records
        .push(json!({"type": "end", "status": "failed", "reason": "node-39 failed: exit code 1"}));
    let (_, err, _) = show(Session::default(), PLAIN, &records);
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 12, "{err}");
    assert_eq!(lines[0], "2 other nodes were stopped");
    assert_eq!(lines[1], "40 nodes failed, 10 of them:");
    assert_eq!(lines[2], "node-0 failed: exit code 1");
    assert_eq!(
        lines[11],
        "task ab12cd34 failed: node-39 failed: exit code 1"
    );

    let records = [
        start(2),
        failed(1, "setup exited with 1"),
        json!({"type": "end", "status": "failed", "reason": "failed: setup on node-1 exited with 1"}),
    ];
    let (_, err, _) = show(Session::default(), PLAIN, &records);
    assert_eq!(err, "task ab12cd34 failed: setup on node-1 exited with 1\n");

    let end = |reason: &str| json!({"type": "end", "status": "failed", "reason": reason});
    for (records, says) in [
        (
            vec![
                start(1),
                failed(0, "exit code 1"),
                end("failed: exit code 1"),
            ],
            "exit code 1",
        ),
        (vec![start(1), end("failed: exit code 1")], "exit code 1"),
        (
            vec![start(2), end("node-1 failed: exit code 1")],
            "node-1 failed: exit code 1",
        ),
    ] {
        let (_, err, _) = show(Session::default(), PLAIN, &records);
        assert_eq!(err, format!("task ab12cd34 failed: {says}\n"));
    }
}

#[test]
fn the_end_of_a_log_is_reported_to_those_who_follow_it() {
    let said = |status: &str, follows: bool, reports_success: bool| {
        let mut view = LogView::new("ab12cd34".parse().unwrap(), PLAIN, LogFormat::Text);
        (view.follows, view.reports_success) = (follows, reports_success);
        let mut session = Session::default();
        let records = [start(1), json!({"type": "end", "status": status})];
        session.run(|context| show_all(&mut view, context, &records));
        session.err()
    };
    assert_eq!(said("completed", true, true), "task ab12cd34 completed\n");
    assert_eq!(said("completed", true, false), "");
    let unfinished = "task ab12cd34 has not finished\n";
    assert_eq!(said("unfinished", false, false), unfinished);
    assert_eq!(
        said("unfinished", true, false),
        format!(
            "{unfinished}hint: the task goes on; `k8s-cli jobs logs ab12cd34` follows it again, \
             `k8s-cli jobs stop ab12cd34` stops it\n"
        )
    );
}

#[test]
fn a_pipe_gets_whole_lines_of_several_nodes() {
    for (mut session, num_nodes, may_show) in [
        (Session::default(), 1, true),
        (Session::default(), 2, false),
        (Session::at_a_terminal(""), 2, true),
    ] {
        let mut view = LogView::new("ab12cd34".parse().unwrap(), PLAIN, LogFormat::Text);
        let holds = session.run(|context| {
            show_all(&mut view, context, &[start(num_nodes), piece(0, "name? ")]);
            view.holds(context)
        });
        assert_eq!(holds, may_show, "{num_nodes} nodes");
    }
}

#[test]
fn a_terminal_repeats_the_prefix_after_a_carriage_return() {
    let records = [
        start(2),
        line(0, "10%\r20%\r\r30%\r"),
        line(0, "a\r"),
        line(0, "b"),
        json!({"type": "lines", "node": 1, "text": "1\r2\r\n3\r\n", "cursor": ""}),
        piece(1, "\r50%\r"),
        piece(1, "60%"),
        piece(1, "\r"),
        line(1, ""),
        line(1, "end"),
    ];
    let unchanged = "node-0 | 10%\r20%\r\r30%\r\nnode-0 | a\r\nnode-0 | b\nnode-1 | 1\r2\r\nnode-1 | 3\r\n\
                     node-1 | \r50%\r60%\r\nnode-1 | end\n";
    assert_eq!(piped(PLAIN, &records), unchanged);
    let (out, _, _) = show(Session::at_a_terminal(""), PLAIN, &records);
    assert_eq!(
        out,
        "node-0 | 10%\rnode-0 | 20%\r\rnode-0 | 30%\r\nnode-0 | a\r\nnode-0 | b\n\
         node-1 | 1\rnode-1 | 2\r\nnode-1 | 3\r\n\
         node-1 | \rnode-1 | 50%\rnode-1 | 60%\r\nnode-1 | end\n"
    );
    let never = LineStyle {
        prefix: Prefix::Never,
        ..PLAIN
    };
    let (out, _, _) = show(Session::at_a_terminal(""), never, &records);
    assert_eq!(
        out,
        unchanged.replace("node-0 | ", "").replace("node-1 | ", "")
    );
}

#[test]
fn a_log_that_cannot_be_read_is_reported_once_until_a_line_comes() {
    let interrupted = |reason: &str| json!({"type": "interrupted", "node": 0, "reason": reason});
    let records = [
        start(1),
        interrupted("a"),
        interrupted("a"),
        interrupted("b"),
        line(0, "one"),
        interrupted("b"),
    ];
    let (_, err, _) = show(Session::default(), PLAIN, &records);
    let reasons: Vec<_> = err
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(reasons, ["a", "b", "b"], "{err}");
}
