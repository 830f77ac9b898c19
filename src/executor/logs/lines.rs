//! The bytes of a pod's log, cut into lines with their times.
//!
//! The kubelet puts an RFC 3339 time and a space before each line when asked. A line may be of any length and hold any bytes,
//! so it is handed on in pieces of bounded size. Container runtimes cut long lines too, and older kubelets (seen: 1.20) put a
//! time before each of those pieces as well.

use std::io;

use futures::{AsyncBufRead, AsyncBufReadExt};

/// The most that is held of one line. Where the runtimes cut lines is a multiple of it (CRI-O: 8 KiB, containerd: 16 KiB), so
/// the times within a line stand at the beginnings of pieces.
const MAX_PIECE: usize = 8 * 1024;
/// A time and its space are shorter: `2026-11-22T02:11:01.359989251+09:00 `.
const MAX_TIME: usize = 40;

/// A line, or a piece of a long one.
#[derive(Debug, PartialEq)]
pub struct Piece {
    /// When the container runtime took the line, as the kubelet wrote it; only with a line's first piece.
    pub time: Option<String>,
    pub bytes: Vec<u8>,
    /// Whether the line goes on in the next piece.
    pub is_partial: bool,
    /// Whether the stream ended before the line did: its end is still to come, or was cut off, or there is none.
    pub is_unterminated: bool,
}

/// Cuts a log into pieces.
pub struct Lines<R> {
    reader: R,
    is_mid_line: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            is_mid_line: false,
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks. What was read of a line by then is given up: it will be read again.
    pub async fn next(&mut self) -> io::Result<Option<Piece>> {
        let mut bytes = Vec::new();
        // The time is taken off as soon as it must be there, so that it does not count.
        let mut time = None;
        let mut limit = MAX_TIME;
        let (is_partial, is_unterminated) = loop {
            if bytes.len() == limit && limit == MAX_TIME {
                time = take_time(&mut bytes);
                limit = MAX_PIECE;
            }
            if bytes.len() == limit {
                break (true, false);
            }
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                if bytes.is_empty() && time.is_none() {
                    return Ok(None);
                }
                break (false, true);
            }
            let room = (limit - bytes.len()).min(chunk.len());
            match chunk[..room].iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    bytes.extend_from_slice(&chunk[..end]);
                    self.reader.consume_unpin(end + 1);
                    break (false, false);
                }
                None => {
                    bytes.extend_from_slice(&chunk[..room]);
                    self.reader.consume_unpin(room);
                }
            }
        };
        if limit == MAX_TIME {
            time = take_time(&mut bytes);
        }
        let is_first = !std::mem::replace(&mut self.is_mid_line, is_partial);
        Ok(Some(Piece {
            time: time.filter(|_| is_first),
            bytes,
            is_partial,
            is_unterminated,
        }))
    }
}

/// Takes the time off the beginning of a line. A line that the log begins in the middle of has none.
fn take_time(line: &mut Vec<u8>) -> Option<String> {
    // `2026-11-22T02:11:01.359989251Z`, or with an offset such as `+09:00` in place of the `Z`.
    let end = line.iter().take(MAX_TIME).position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(&line[..end]).ok()?;
    time.parse::<k8s_openapi::jiff::Timestamp>().ok()?;
    let time = time.to_owned();
    line.drain(..=end);
    Some(time)
}

#[cfg(test)]
mod tests {
    use futures::io::BufReader;

    use super::*;

    fn pieces(log: &[u8]) -> Vec<Piece> {
        actix_rt::System::new().block_on(async {
            // A small buffer, so that lines cross its edges.
            let mut lines = Lines::new(BufReader::with_capacity(7, log));
            let mut pieces = Vec::new();
            while let Some(piece) = lines.next().await.unwrap() {
                pieces.push(piece);
            }
            pieces
        })
    }

    fn piece(time: Option<&str>, bytes: &[u8], is_partial: bool) -> Piece {
        Piece {
            time: time.map(str::to_owned),
            bytes: bytes.to_vec(),
            is_partial,
            is_unterminated: false,
        }
    }

    #[test]
    fn a_line_is_split_from_its_time() {
        let (utc, tokyo) = (
            "2026-11-22T02:11:01.359989251Z",
            "2026-11-22T11:11:02.000000001+09:00",
        );
        assert_eq!(
            pieces(format!("{utc} one\n{tokyo}  two \n{utc} \nno time\n{utc} last").as_bytes()),
            [
                piece(Some(utc), b"one", false),
                piece(Some(tokyo), b" two ", false),
                piece(Some(utc), b"", false),
                piece(None, b"no time", false),
                Piece {
                    is_unterminated: true,
                    ..piece(Some(utc), b"last", false)
                },
            ]
        );
        assert_eq!(pieces(b""), []);
    }

    #[test]
    fn any_bytes_are_a_line() {
        assert_eq!(
            pieces(b"\xff\x00\r50%\r\x1b[0m\n\n"),
            [
                piece(None, b"\xff\x00\r50%\r\x1b[0m", false),
                piece(None, b"", false)
            ]
        );
    }

    #[test]
    fn times_within_a_long_line_are_not_its_text() {
        let time = "2026-11-22T02:11:01.359989251Z";
        for cut in [8 * 1024, 16 * 1024] {
            let text = vec![b'x'; 5 * 8 * 1024 + 100];
            let log: Vec<u8> = text
                .chunks(cut)
                .flat_map(|chunk| [format!("{time} ").as_bytes(), chunk].concat())
                .collect();
            let pieces = pieces(&[&log[..], b"\n"].concat());
            assert_eq!(
                pieces.iter().filter(|piece| piece.time.is_some()).count(),
                1
            );
            let joined: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| piece.bytes.clone())
                .collect();
            assert!(joined == text, "cut at {cut}");
        }
    }

    #[test]
    fn a_long_line_comes_in_pieces() {
        let time = "2026-11-22T02:11:01.359989251Z";
        let text = vec![b'x'; 2 * MAX_PIECE];
        let mut log = format!("{time} ").into_bytes();
        log.extend(&text);
        log.extend(b"\nnext\n");
        let pieces = pieces(&log);
        assert_eq!(
            pieces
                .iter()
                .map(|piece| piece.is_partial)
                .collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(pieces[0].time.as_deref(), Some(time));
        assert!(pieces[1..].iter().all(|piece| piece.time.is_none()));
        let joined: Vec<u8> = pieces[..3]
            .iter()
            .flat_map(|piece| piece.bytes.clone())
            .collect();
        assert!(joined == text);
    }
}
