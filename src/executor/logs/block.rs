//! Blocks of log lines from one container, which readers, rings and viewers share without a copy.

use std::{ops::Range, sync::Arc};

use crate::api::{LogCursor, LogPlace, LogPoint};

/// A part of a log, as Kubernetes sent it, and the positions of the lines in it.
#[derive(Debug, Default)]
pub struct Block {
    pub bytes: Vec<u8>,
    pub pieces: Vec<Piece>,
}

/// A line, or a part of a long line.
#[derive(Debug)]
pub struct Piece {
    /// The range of its time; empty if it continues a line.
    pub stamp: Range<usize>,
    pub text: Range<usize>,
    /// The place behind it in the log. A message of the kubelet has the place of the line before.
    pub point: Option<LogPoint>,
    /// The number of bytes of its line before it.
    pub offset: u64,
    /// Whether it ends its line.
    pub ends: bool,
}

impl Block {
    /// The approximate size in memory, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// The place behind its last line; none if it has no line.
    pub fn point(&self) -> Option<LogPoint> {
        self.pieces.last()?.point
    }
}

/// The container of a log, as log records name it.
#[derive(Debug)]
pub struct LogSource {
    pub node: u32,
    pub pod: String,
    /// Identifies the container in cursors: the uid of its pod, shortened, and the number of restarts.
    pub key: String,
}

impl LogSource {
    pub fn cursor(&self, point: Option<LogPoint>) -> LogCursor {
        LogCursor {
            node: self.node,
            place: LogPlace::Pod {
                key: self.key.clone(),
                point,
            },
        }
    }
}

/// The lines of a block for one viewer.
#[derive(Clone, Debug)]
pub struct LogLines {
    pub source: Arc<LogSource>,
    block: Arc<Block>,
    /// The first piece for the viewer, and the first byte of that piece.
    first: (usize, usize),
}

/// One piece of [`LogLines`].
pub struct LogLineView<'a> {
    stamp: &'a [u8],
    pub bytes: &'a [u8],
    /// The bytes as text; none if they are not UTF-8.
    pub text: Option<&'a str>,
    pub point: Option<&'a LogPoint>,
    pub is_partial: bool,
}

impl LogLineView<'_> {
    /// The time in RFC 3339; empty if the piece continues a line.
    pub fn time(&self) -> &str {
        std::str::from_utf8(self.stamp).unwrap_or_default()
    }

    pub fn has_time(&self) -> bool {
        !self.stamp.is_empty()
    }
}

impl LogLines {
    pub fn new(source: Arc<LogSource>, block: Arc<Block>, first: (usize, usize)) -> Self {
        Self {
            source,
            block,
            first,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = LogLineView<'_>> {
        let (first, skip) = self.first;
        let bytes = &self.block.bytes;
        // One check of all bytes is much faster than one check a line.
        let whole = std::str::from_utf8(bytes).ok();
        let text = move |range: Range<usize>| {
            let text = whole.and_then(|whole| whole.get(range.clone()));
            text.or_else(|| std::str::from_utf8(&bytes[range]).ok())
        };
        let pieces = self.block.pieces[first..].iter().enumerate();
        pieces.map(move |(index, piece)| {
            let skip = if index == 0 { skip } else { 0 };
            let stamp = if skip == 0 { piece.stamp.clone() } else { 0..0 };
            let range = piece.text.start + skip..piece.text.end;
            LogLineView {
                stamp: &bytes[stamp],
                bytes: &bytes[range.clone()],
                text: text(range),
                point: piece.point.as_ref(),
                is_partial: !piece.ends,
            }
        })
    }
}
