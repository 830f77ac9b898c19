//! Cuts the bytes of a container's log into lines with times.
//!
//! On request, the kubelet puts an RFC 3339 time and a space before each line. A line may have any length and any bytes. So it is
//! passed on in pieces of limited size, and an unfinished line as soon as no more of it is there: the last layer, which writes to
//! the viewer, decides how long to hold it. Container runtimes cut long lines too, and old kubelets (seen: 1.20) put a time before
//! each of those pieces.

use std::io;

use futures::{AsyncBufRead, AsyncBufReadExt, FutureExt};
use k8s_openapi::jiff::Timestamp;

use super::{
    block::{Block, Piece},
    position::{Head, PieceNews, Position},
};

/// The largest piece of a line, without the beginning of a character from the piece before. The sizes at which runtimes cut lines are multiples of it (CRI-O: 8 KiB, containerd: 16 KiB), so
/// the times within a line stand at the beginnings of pieces.
const MAX_PIECE: usize = 8 * 1024;
/// The longest time with its space: `2026-11-22T02:11:01.359989251+09:00 `.
const MAX_STAMP: usize = 40;
/// The size of a block, in bytes, above which no more input is added to it.
const MAX_BLOCK: usize = 64 * 1024;

/// The next step of a log.
#[derive(Debug)]
pub enum Next {
    /// A block of lines, some of them new, perhaps none.
    Block {
        block: Block,
        /// The time of the last line before a possible gap in front of this block.
        gap: Option<i64>,
    },
    /// The kubelet has failed, with this message.
    Complaint(String),
    End,
}

/// Reads a log in blocks.
pub struct Lines<R> {
    reader: R,
    /// The bytes after the last whole line.
    rest: Vec<u8>,
    splitter: Splitter,
    /// The message of a kubelet that failed after the last block.
    complaint: Option<String>,
    is_over: bool,
    /// The number of pieces in the last block.
    expected: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            rest: Vec::new(),
            splitter: Splitter::default(),
            complaint: None,
            is_over: false,
            expected: 0,
        }
    }

    /// The next lines, as soon as there are any. Cancellation loses nothing.
    ///
    /// # Errors
    /// When the connection breaks. The bytes of an unfinished line are dropped; they will be read again.
    pub async fn next(&mut self, position: &mut Position) -> io::Result<Next> {
        loop {
            if let Some(complaint) = self.complaint.take() {
                return Ok(Next::Complaint(complaint));
            }
            if self.is_over {
                return Ok(Next::End);
            }
            let is_idle = !self.rest.is_empty() && self.reader.fill_buf().now_or_never().is_none();
            if is_idle && let Some(next) = self.split(Flush::Idle, position) {
                return Ok(next);
            }
            let chunk = self.reader.fill_buf().await?;
            self.is_over = chunk.is_empty();
            let mut length = chunk.len();
            self.rest.extend_from_slice(chunk);
            self.reader.consume_unpin(length);
            while length > 0 && self.rest.len() < MAX_BLOCK {
                let Some(chunk) = self.reader.fill_buf().now_or_never() else {
                    break;
                };
                // A reader returns an error only once.
                let chunk = chunk?;
                length = chunk.len();
                self.rest.extend_from_slice(chunk);
                self.reader.consume_unpin(length);
            }
            let flush = if self.is_over { Flush::End } else { Flush::No };
            if let Some(next) = self.split(flush, position) {
                return Ok(next);
            }
        }
    }

    /// Takes the whole lines off the input; `None` if there is none.
    fn split(&mut self, flush: Flush, position: &mut Position) -> Option<Next> {
        // A block usually has as many pieces as the one before it, and growing a vector copies it.
        let mut pieces = Vec::with_capacity(self.expected);
        let mut gap = None;
        let complaint = &mut self.complaint;
        let end = self.splitter.split(&mut self.rest, flush, |text, piece| {
            if piece.head == Head::Untimed && is_of_kubelet(text) {
                complaint.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
            }
            // The complaint is the last line of the stream.
            if complaint.is_some() {
                return;
            }
            let known = match position.advance(piece.head, text.len() as u64, piece.ends) {
                PieceNews::Known => return,
                PieceNews::New(known) => known,
                PieceNews::AfterGap(since) => {
                    gap = Some(since);
                    0
                }
            };
            let mut text = piece.text;
            // `known` is at most the length of the piece.
            text.start += known as usize;
            pieces.push(Piece {
                stamp: if known == 0 { piece.stamp } else { 0..0 },
                text,
                point: position.point(),
                offset: piece.offset + known,
                ends: piece.ends,
            });
        });
        if pieces.is_empty()
            && let Some(complaint) = self.complaint.take()
        {
            return Some(Next::Complaint(complaint));
        }
        if end == 0 {
            return None;
        }
        self.expected = pieces.len();
        let mut rest = Vec::with_capacity(end);
        rest.extend_from_slice(&self.rest[end..]);
        let mut bytes = std::mem::replace(&mut self.rest, rest);
        bytes.truncate(end);
        let block = Block { bytes, pieces };
        Some(Next::Block { block, gap })
    }
}

/// Whether to pass on an unfinished line.
#[derive(Clone, Copy, PartialEq)]
enum Flush {
    /// No: more of it is about to come.
    No,
    /// Yes: more of it comes later.
    Idle,
    /// Yes: the stream is over.
    End,
}

/// A line or a piece of one, as ranges in the input.
struct RawPiece {
    head: Head,
    stamp: std::ops::Range<usize>,
    text: std::ops::Range<usize>,
    offset: u64,
    ends: bool,
}

/// Finds lines in bytes. Pure.
#[derive(Default)]
struct Splitter {
    /// The number of bytes of the current line that were passed on; none between lines.
    offset: Option<usize>,
    /// The time of the line.
    began: i64,
    stamps: Stamps,
}

impl Splitter {
    /// Calls `each` for every piece, in order; returns the number of bytes that were used. The caller repeats the others with more
    /// input. A piece ends between two characters. If a time stands within a character, its first bytes replace the end of the time.
    fn split(
        &mut self,
        bytes: &mut [u8],
        flush: Flush,
        mut each: impl FnMut(&[u8], RawPiece),
    ) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            if rest.is_empty() {
                return used;
            }
            let offset = self.offset.unwrap_or(0);
            let until_stamp = MAX_PIECE - offset % MAX_PIECE;
            let is_within_char = |text: &[u8]| whole_chars(text) == 0;
            let carried = match rest.split_at_checked(until_stamp) {
                Some((head, [_, ..])) if is_within_char(head) => until_stamp,
                _ => 0,
            };
            let mut head = Head::Middle;
            let mut stamp = 0;
            if carried > 0 || offset.is_multiple_of(MAX_PIECE) {
                let found = self.stamps.read(&rest[carried..]);
                match (found, self.offset) {
                    // A program that prints a time usually composes it before the runtime stamps the line, so an earlier time is
                    // text.
                    (Stamp::Is { time, .. }, Some(_)) if time < self.began => (),
                    (Stamp::Is { length, .. }, Some(_)) => stamp = length,
                    (Stamp::Is { length, time }, None) => {
                        stamp = length;
                        self.began = time;
                        head = Head::Line(time);
                    }
                    // The rest of the time is still to come. At the end of a stream it never comes, and is no text.
                    (Stamp::Begins, None) if flush == Flush::End => return bytes.len(),
                    (Stamp::Begins, _) if flush != Flush::End => return used,
                    (Stamp::Begins | Stamp::IsNot, Some(_)) => (),
                    (Stamp::Begins | Stamp::IsNot, None) => head = Head::Untimed,
                }
            }
            let room = if carried > 0 { MAX_PIECE } else { until_stamp };
            let text = &rest[carried + stamp..];
            let window = &text[..text.len().min(room)];
            let newline = memchr::memchr(b'\n', window);
            let is_full = window.len() == room;
            let mut length = match newline {
                Some(length) => length,
                None if is_full || flush == Flush::Idle => whole_chars(window),
                None => window.len(),
            };
            if newline.is_none() {
                // A line without a time may be the beginning of a complaint of the kubelet.
                let is_early =
                    flush == Flush::No || (flush == Flush::Idle && head == Head::Untimed);
                match flush {
                    Flush::End if length == 0 => length = window.len(),
                    _ if length == 0 || (is_early && !is_full) => return used,
                    _ => (),
                }
                if length == 0 {
                    return bytes.len();
                }
            }
            let start = used + carried + stamp;
            let end = start + length;
            let stamp = match head {
                Head::Middle => 0..0,
                _ => used..start.saturating_sub(1).max(used),
            };
            bytes.copy_within(used..used + carried, start - carried);
            let text = start - carried..end;
            let piece = RawPiece {
                head,
                stamp,
                text: text.clone(),
                offset: offset as u64,
                ends: newline.is_some(),
            };
            each(&bytes[text], piece);
            used = end + usize::from(newline.is_some());
            self.offset = newline.is_none().then_some(offset + carried + length);
        }
    }
}

/// Parses times. Most times are in the same second as the one before, which is fast.
#[derive(Default)]
struct Stamps {
    /// `2026-11-22T02:11:01.`, and its nanoseconds since 1970.
    second: Option<([u8; 20], i64)>,
}

#[derive(Clone, Copy)]
enum Stamp {
    /// A time. `length` includes the space behind it, `time` is in nanoseconds since 1970.
    Is {
        length: usize,
        time: i64,
    },
    /// It may become a time with more input.
    Begins,
    IsNot,
}

impl Stamps {
    fn read(&mut self, bytes: &[u8]) -> Stamp {
        if let (Some((second, time)), Some(stamp)) = (&self.second, bytes.first_chunk::<31>())
            && stamp[..20] == *second
            && stamp[29..] == *b"Z "
            && let Some(nanoseconds) = digits(&stamp[20..29])
        {
            return Stamp::Is {
                length: stamp.len(),
                time: time + nanoseconds,
            };
        }
        let head = &bytes[..bytes.len().min(MAX_STAMP)];
        let Some(end) = head.iter().position(|byte| *byte == b' ') else {
            let may_be = |byte: &u8| byte.is_ascii_digit() || b"-:.TZ+".contains(byte);
            return if head.len() < MAX_STAMP && head.iter().all(may_be) {
                Stamp::Begins
            } else {
                Stamp::IsNot
            };
        };
        let time = std::str::from_utf8(&head[..end])
            .ok()
            .and_then(|stamp| stamp.parse::<Timestamp>().ok())
            .and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        let Some(time) = time else {
            return Stamp::IsNot;
        };
        if let (Some(second), Some(b"Z ")) = (head.first_chunk(), head.get(29..31)) {
            let nanoseconds = digits(&head[20..29]).unwrap_or(0);
            self.second = Some((*second, time - nanoseconds));
        }
        Stamp::Is {
            length: end + 1,
            time,
        }
    }
}

/// The length of a text without an incomplete last character.
fn whole_chars(text: &[u8]) -> usize {
    for (length, byte) in text.iter().rev().take(3).enumerate() {
        let of_char = match byte {
            0x80..0xc0 => continue,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf8 => 4,
            _ => return text.len(),
        };
        let length = length + 1;
        return text.len() - if length < of_char { length } else { 0 };
    }
    text.len()
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(number * 10 + i64::from(digit))
    })
}

/// Whether a line is a complaint of the kubelet, which it writes into the log stream when it fails half-way
/// (`pkg/kubelet/kuberuntime/kuberuntime_logs.go`, v1.20 to 1.36). Such a line has no time.
fn is_of_kubelet(line: &[u8]) -> bool {
    let complaints = [
        &b"rpc error: code = "[..],
        b"unable to retrieve container logs for ",
        b"failed to try resolving symlinks ",
    ];
    complaints
        .iter()
        .any(|complaint| line.starts_with(complaint))
}

#[cfg(test)]
mod tests;
