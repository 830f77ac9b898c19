//! Fuzzes the splitter of logs: the lines do not depend on the chunks in which the log arrives. The first byte is their size.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/api/mod.rs"]
mod api;
#[path = "../../../src/k8s/mod.rs"]
mod k8s;

/// The part of the executor that splits logs.
#[path = "../../../src/executor"]
mod executor {
    pub mod logs {
        pub mod block;
        pub mod lines;
        pub mod position;
    }
}

use executor::logs::{
    lines::{Lines, Next},
    position::Position,
};
use futures::{executor::block_on, io::BufReader};
use k8s_cli_fuzz::limit_time;
use libfuzzer_sys::fuzz_target;

/// A line: its time, and its bytes.
type Line = (Vec<u8>, Vec<u8>);

fuzz_target!(|data: &[u8]| {
    if let Some((chunk, log)) = data.split_first() {
        limit_time(|| check(usize::from(*chunk).max(1), log));
    }
});

fn check(chunk: usize, log: &[u8]) {
    let whole = read(64 * 1024, log, Position::at(None));
    assert_eq!(read(chunk, log, Position::at(None)), whole);
    let text: usize = whole.0.iter().map(|(_, text)| text.len()).sum();
    assert!(text <= log.len());
}

/// The lines of a log, and the complaint at its end.
fn read(chunk: usize, log: &[u8], mut position: Position) -> (Vec<Line>, Option<String>) {
    let mut lines = Lines::new(BufReader::with_capacity(chunk, log));
    let mut read: Vec<Line> = Vec::new();
    let mut is_open = false;
    loop {
        match block_on(lines.next(&mut position)).expect("memory can be read") {
            Next::Block { block, .. } => {
                for piece in &block.pieces {
                    let stamp = &block.bytes[piece.stamp.clone()];
                    let text = &block.bytes[piece.text.clone()];
                    match read.last_mut() {
                        Some((_, line)) if is_open && stamp.is_empty() && piece.offset > 0 => {
                            line.extend_from_slice(text);
                        }
                        _ => read.push((stamp.to_vec(), text.to_vec())),
                    }
                    is_open = !piece.ends;
                }
            }
            Next::Complaint(complaint) => return (read, Some(complaint)),
            Next::End => return (read, None),
        }
    }
}
