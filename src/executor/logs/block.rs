//! Lines of one container's log as they came, many at once and not copied: what readers, rings and viewers pass on.

use std::{ops::Range, sync::Arc};

use crate::api::{LogCursor, LogPlace, LogPoint};

/// A part of a log, as Kubernetes sent it, and where the lines in it are.
#[derive(Debug, Default)]
pub struct Block {
    pub bytes: Vec<u8>,
    pub pieces: Vec<Piece>,
}

/// A line, or a piece of a long one.
#[derive(Debug)]
pub struct Piece {
    /// Where its time stands; nowhere if it goes on with a line.
    pub stamp: Range<usize>,
    pub text: Range<usize>,
    /// The place behind it. A word of the kubelet's has that of the line before.
    pub point: Option<LogPoint>,
    /// How many bytes of the line come before it.
    pub offset: u64,
    /// Whether the line ends with it.
    pub ends: bool,
}

impl Block {
    /// What it takes in memory, about.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// The place behind it, if there is a line in it.
    pub fn point(&self) -> Option<LogPoint> {
        self.pieces.last()?.point
    }
}

/// A container whose log is read, as records name it.
#[derive(Debug)]
pub struct LogSource {
    pub node: u32,
    pub pod: String,
    /// Names the container in cursors: its pod's uid, shortened, and how often it was restarted.
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

/// Lines for one viewer.
#[derive(Clone, Debug)]
pub struct LogLines {
    pub source: Arc<LogSource>,
    block: Arc<Block>,
    /// The first piece that is for the viewer, and the first byte of it.
    first: (usize, usize),
}

/// One of them.
pub struct LogLineView<'a> {
    stamp: &'a [u8],
    pub bytes: &'a [u8],
    /// The same as text; none if it is not UTF-8.
    pub text: Option<&'a str>,
    pub point: Option<&'a LogPoint>,
    pub is_partial: bool,
}

impl LogLineView<'_> {
    /// RFC 3339; empty for what goes on with a line.
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
        // To check all lines at once takes a fraction of the time.
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
