//! Writes the lines of a log as records: what a server does most, and so by hand.

use serde::Serialize;

use super::LogPoint;

/// Writes the lines of one pod as records, many times as fast as [`super::LogRecord`]s one by one.
pub struct LineRecords {
    head: Vec<u8>,
    joined_head: Vec<u8>,
    /// The beginning of their cursors.
    cursor: Vec<u8>,
}

impl LineRecords {
    /// For the lines of a node's pod, which cursors know by a key of letters and digits.
    pub fn new(node: u32, pod: &str, key: &str) -> Self {
        let mut head = format!(r#"{{"type":"line","node":{node},"pod":"#).into_bytes();
        write_json(pod, &mut head);
        Self {
            head,
            joined_head: format!(r#"{{"type":"lines","node":{node},"text":""#).into_bytes(),
            cursor: format!(r#","cursor":"{node}-{key}-"#).into_bytes(),
        }
    }

    /// Writes one. `time` is RFC 3339 or empty, `point` the place behind the line if it has one.
    pub fn write(
        &self,
        time: &str,
        bytes: &[u8],
        is_partial: bool,
        point: Option<LogPoint>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.head);
        if !time.is_empty() {
            out.extend_from_slice(br#","time":""#);
            write_text(time, out);
            out.push(b'"');
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.extend_from_slice(br#","text":""#);
                write_text(text, out);
                out.push(b'"');
            }
            Err(_) => {
                let latin1: String = bytes.iter().copied().map(char::from).collect();
                out.extend_from_slice(br#","latin1":"#);
                write_json(&latin1, out);
            }
        }
        if is_partial {
            out.extend_from_slice(br#","partial":true"#);
        }
        self.end(point, out);
    }

    /// Begins a record of several lines: [`LineRecords::join`] writes them, [`LineRecords::end_joined`] ends it.
    pub fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.joined_head);
    }

    /// Writes a whole line, which comes without its newline, into the record that was begun.
    pub fn join(text: &str, out: &mut Vec<u8>) {
        write_text(text, out);
        out.extend_from_slice(b"\\n");
    }

    /// The same for a line in which nothing has to be escaped, which the caller knows.
    pub fn join_plain(line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\\n");
    }

    /// Ends the record that was begun; `point` is the place behind its last line.
    pub fn end_joined(&self, point: LogPoint, out: &mut Vec<u8>) {
        out.push(b'"');
        self.end(Some(point), out);
    }

    fn end(&self, point: Option<LogPoint>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.cursor);
        match point {
            // The most frequent cursor, without the slow way that `Display` is.
            Some(point) if point.offset.is_none() && point.latest == point.time => {
                write_json(&point.time, out);
                out.push(b'.');
                write_json(&point.nth, out);
            }
            Some(point) => out.extend_from_slice(point.to_string().as_bytes()),
            None => out.extend_from_slice(b"start"),
        }
        out.extend_from_slice(b"\"}\n");
    }
}

/// Writes what is between the quotes of a string. Most have nothing to escape, which is found out many bytes at a time.
fn write_text(text: &str, out: &mut Vec<u8>) {
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    if text
        .bytes()
        .fold(true, |plain, byte| plain & is_plain(byte))
    {
        out.extend_from_slice(text.as_bytes());
    } else {
        let quoted = serde_json::to_string(text).expect("text can be written into memory");
        out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
    }
}

fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("text and numbers can be written into memory");
}

#[cfg(test)]
mod tests {
    use super::{super::LogRecord, *};

    /// What is written by hand is what `serde` writes and reads, and comes out as it went in.
    #[test]
    fn lines_survive_the_wire() {
        let records = LineRecords::new(3, "train-\"x\"", "3f2a91bc");
        let point = |offset, latest| {
            Some(LogPoint {
                time: 5,
                nth: 2,
                offset,
                latest,
            })
        };
        for bytes in [
            &b"plain"[..],
            "smørrebrød".as_bytes(),
            b"\"quoted\" \\ \t \x01",
            b"\xff\xfe\x00\x80",
            b"",
        ] {
            for (point, cursor) in [
                (point(None, 5), "3-3f2a91bc-5.2"),
                (point(Some(7), 5), "3-3f2a91bc-5.2_7"),
                (point(None, 9), "3-3f2a91bc-5.2~9"),
                (None, "3-3f2a91bc-start"),
            ] {
                for (time, is_partial) in [("2026-11-22T02:11:01.4Z", true), ("", false)] {
                    let mut sent = Vec::new();
                    records.write(time, bytes, is_partial, point, &mut sent);
                    let json = sent.strip_suffix(b"\n").unwrap();
                    let record = LogRecord::from_json(json).unwrap();
                    assert_eq!(record, serde_json::from_slice(json).unwrap());
                    assert_eq!(serde_json::to_vec(&record).unwrap(), json);
                    let LogRecord::Line(line) = record else {
                        panic!("no line");
                    };
                    assert_eq!(*line.bytes(), *bytes);
                    assert_eq!((&*line.time, line.partial), (time, is_partial));
                    assert_eq!((line.node, &*line.cursor), (3, cursor));
                }
            }
        }
    }

    #[test]
    fn joined_lines_survive_the_wire() {
        let records = LineRecords::new(3, "train", "3f2a91bc");
        let point = LogPoint {
            time: 5,
            nth: 2,
            offset: None,
            latest: 5,
        };
        let lines = ["plain", "", "\"a\",\"cursor\":\"b\"}", "\\ \t\x01\r ø"];
        for lines in [&lines[..1], &lines] {
            let mut sent = Vec::new();
            records.begin(&mut sent);
            for line in lines {
                LineRecords::join(line, &mut sent);
            }
            records.end_joined(point, &mut sent);
            let json = sent.strip_suffix(b"\n").unwrap();
            let record = LogRecord::from_json(json).unwrap();
            assert_eq!(record, serde_json::from_slice(json).unwrap());
            assert_eq!(serde_json::to_vec(&record).unwrap(), json);
            let expected = LogRecord::Lines {
                node: 3,
                text: (lines.join("\n") + "\n").into(),
                cursor: "3-3f2a91bc-5.2".into(),
            };
            assert_eq!(record, expected);
        }
    }
}
