//! Fuzzes the records of a log stream: those that a server may send, and the lines that a task may print.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/api/mod.rs"]
mod api;
#[path = "../../../src/k8s/mod.rs"]
mod k8s;

use api::{LogLine, LogRecord};
use k8s_cli_fuzz::limit_time;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| limit_time(|| check(data)));

fn check(data: &[u8]) {
    if let Ok(record) = LogRecord::from_json(data) {
        let written = serde_json::to_vec(&record).expect("a record is JSON");
        let read = LogRecord::from_json(&written);
        assert_eq!(read.ok(), Some(record));
    }
    let line = LogLine::new(0, "pod", "", data, false, "0-begin".to_owned());
    let written = serde_json::to_vec(&LogRecord::Line(line)).expect("a line is JSON");
    assert!(!written.contains(&b'\n'));
    match LogRecord::from_json(&written) {
        Ok(LogRecord::Line(read)) => assert_eq!(*read.bytes(), *data),
        other => panic!("{other:?}"),
    }
}
