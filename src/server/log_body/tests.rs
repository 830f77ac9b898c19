use std::sync::Arc;

use super::*;
use crate::{
    api::LogEnd,
    executor::{Block, LogSource, Piece},
};

const STAMP: &[u8] = b"2026-11-22T02:11:01.359989251Z ";
const TIME: i64 = 1_795_313_461_359_989_251;

/// Lines of node 0, all with the same time. The last one may be unfinished.
fn block(lines: &[&[u8]], is_whole: bool) -> LogItem {
    let (mut bytes, mut pieces) = (Vec::new(), Vec::new());
    for (nth, line) in (0..).zip(lines) {
        let ends = is_whole || nth + 1 < lines.len();
        let start = bytes.len() + STAMP.len();
        bytes.extend_from_slice(STAMP);
        bytes.extend_from_slice(line);
        pieces.push(Piece {
            stamp: start - STAMP.len()..start - 1,
            text: start..bytes.len(),
            point: Some(LogPoint {
                time: TIME,
                nth: u32::try_from(nth).unwrap(),
                offset: (!ends).then_some(line.len() as u64),
                latest: TIME,
            }),
            offset: 0,
            ends,
        });
        if ends {
            bytes.push(b'\n');
        }
    }
    let source = LogSource {
        node: 0,
        pod: "hello-x".to_owned(),
        key: "3f2a91bc".to_owned(),
    };
    let block = Arc::new(Block { bytes, pieces });
    LogItem::Lines(LogLines::new(Arc::new(source), block, (0, 0)))
}

/// Two lines, of which the second is unfinished.
fn lines() -> LogItem {
    block(&[b"a", b"\xff"], false)
}

fn written(mut form: Form, num_nodes: u32) -> Vec<u8> {
    let waiting = LogRecord::Waiting {
        node: 0,
        reason: "ContainerCreating".to_owned(),
    };
    let end = LogRecord::End {
        status: LogEnd::Completed,
        reason: None,
    };
    let mut out = Vec::new();
    for item in [
        LogItem::Record(LogRecord::Start { num_nodes }),
        LogItem::Record(waiting),
        lines(),
        LogItem::Record(LogRecord::Heartbeat {}),
        LogItem::Record(end),
    ] {
        form.write(&item, &mut out);
    }
    out
}

#[test]
fn text_is_the_output_of_the_task() {
    assert_eq!(written(Form::text(false, true), 1), b"a\n\xff\n");
    assert_eq!(
        written(Form::text(false, true), 2),
        b"node-0 | a\nnode-0 | \xff\n"
    );
    assert_eq!(
        written(Form::text(true, true), 2),
        b"node-0 | 2026-11-22T02:11:01.359989251Z a\nnode-0 | 2026-11-22T02:11:01.359989251Z \xff\n"
    );
}

#[test]
fn records_contain_all_items() {
    let expected = r#"{"type":"start","num_nodes":1}
{"type":"waiting","node":0,"reason":"ContainerCreating"}
{"type":"line","node":0,"pod":"hello-x","time":"2026-11-22T02:11:01.359989251Z","text":"a","cursor":"0-3f2a91bc-1795313461359989251.0"}
{"type":"line","node":0,"pod":"hello-x","time":"2026-11-22T02:11:01.359989251Z","latin1":"ÿ","partial":true,"cursor":"0-3f2a91bc-1795313461359989251.1_1"}
{"type":"heartbeat"}
{"type":"end","status":"completed"}
"#;
    let records = String::from_utf8(written(Form::Records { joined: false }, 1)).unwrap();
    assert_eq!(records, expected);

    let (before, line) = expected.split_once(r#"{"type":"line","#).unwrap();
    let (_, after) = line.split_once('\n').unwrap();
    let joined =
        r#"{"type":"lines","node":0,"text":"a\n","cursor":"0-3f2a91bc-1795313461359989251.0"}"#;
    let records = String::from_utf8(written(Form::Records { joined: true }, 1)).unwrap();
    assert_eq!(records, format!("{before}{joined}\n{after}"));
}

#[test]
fn joined_lines_equal_the_single_lines() {
    let plain: &[&[u8]] = &[b"plain", b"", b"~ {}"];
    let escaped: &[&[u8]] = &[
        b"plain",
        b"say \"a\\b\"",
        b"\tx\r",
        b"\x7f",
        "ø".as_bytes(),
        b"\x01",
    ];
    let bytes: &[&[u8]] = &[b"plain", b"\xff", b"plain"];
    for (lines, records) in [(plain, 1), (escaped, 1), (bytes, 3)] {
        let (mut form, mut out) = (Form::Records { joined: true }, Vec::new());
        form.write(&block(lines, true), &mut out);
        let (mut text, mut cursor) = (Vec::new(), String::new());
        let read = out.split_inclusive(|byte| *byte == b'\n');
        let read: Vec<_> = read
            .map(|json| LogRecord::from_json(&json[..json.len() - 1]).unwrap())
            .collect();
        assert_eq!(read.len(), records, "{lines:?}");
        for record in read {
            match record {
                LogRecord::Lines {
                    text: joined,
                    cursor: last,
                    ..
                } => {
                    text.extend_from_slice(joined.as_bytes());
                    cursor = last.into_owned();
                }
                LogRecord::Line(line) => {
                    text.extend_from_slice(&[&line.bytes(), &b"\n"[..]].concat())
                }
                other => panic!("{other:?}"),
            }
        }
        let expected: Vec<u8> = lines
            .iter()
            .flat_map(|line| [line, &b"\n"[..]].concat())
            .collect();
        assert_eq!(text, expected);
        assert!(
            cursor.ends_with(&format!(".{}", lines.len() - 1)),
            "{cursor}"
        );
    }
}
