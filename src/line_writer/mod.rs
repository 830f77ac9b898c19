//! Writes the lines of several nodes to one output without mixing them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

/// The most bytes of unfinished lines that are held back, of all nodes together.
const MAX_HELD: usize = 1024 * 1024;

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Whether it was held back already at the last call of [`LineWriter::release_old`].
    is_old: bool,
}

/// Writes lines as they arrive. Lines may arrive in pieces, and pieces of several nodes may alternate. So a line is held back until
/// it is complete, until [`LineWriter::release`] is called because it stays unfinished, or until it is too long.
#[derive(Debug, Default)]
pub struct LineWriter {
    /// The node whose unfinished line is the last one in the output.
    open: Option<u32>,
    /// The nodes whose unfinished line was ended, because another text had to be written.
    torn: BTreeSet<u32>,
    /// The unfinished lines that are held back, by node.
    held: BTreeMap<u32, Held>,
    held_size: usize,
    /// A buffer for lines with their heads, which are written at once.
    written: Vec<u8>,
}

impl LineWriter {
    /// Writes a line of a node, or a piece of one. `head` comes before each new line.
    pub fn write(
        &mut self,
        node: u32,
        head: &str,
        text: &[u8],
        is_partial: bool,
        out: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        if self.open == Some(node) {
            out.write_all(text)?;
            if !is_partial {
                self.open = None;
                out.write_all(b"\n")?;
            }
            return Ok(());
        }
        // The rest of a torn line gets a line of its own, unless only its newline was missing.
        if self.torn.remove(&node) && text.is_empty() && !is_partial {
            return Ok(());
        }
        if is_partial {
            let held = self.held.entry(node).or_insert_with(|| {
                self.held_size += head.len();
                let (bytes, is_old) = (head.into(), false);
                Held { bytes, is_old }
            });
            held.bytes.extend_from_slice(text);
            self.held_size += text.len();
            if self.held_size > MAX_HELD {
                self.release(out)?;
            }
            return Ok(());
        }
        let begun = self.held.remove(&node);
        self.end_open(out)?;
        match &begun {
            Some(begun) => {
                out.write_all(&begun.bytes)?;
                self.held_size -= begun.bytes.len();
            }
            None => out.write_all(head.as_bytes())?,
        }
        out.write_all(text)?;
        out.write_all(b"\n")
    }

    /// Writes several lines of a node, each with its newline. The first one may continue a line.
    pub fn write_lines(
        &mut self,
        node: u32,
        head: &str,
        lines: &[u8],
        out: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        let mut rest = lines;
        if self.is_within(node)
            && let Some(end) = memchr::memchr(b'\n', rest)
        {
            self.write(node, head, &rest[..end], false, out)?;
            rest = &rest[end + 1..];
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.end_open(out)?;
        let (mut rest, last) = rest.split_at(memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1));
        if head.is_empty() {
            out.write_all(rest)?;
            rest = b"";
        }
        self.written.clear();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, more) = rest.split_at(end + 1);
            self.written.extend_from_slice(head.as_bytes());
            self.written.extend_from_slice(line);
            rest = more;
        }
        out.write_all(&self.written)?;
        if last.is_empty() {
            return Ok(());
        }
        self.write(node, head, last, true, out)
    }

    /// Whether a part of this node's line has arrived, so that the next piece needs no head.
    pub fn is_within(&self, node: u32) -> bool {
        self.open == Some(node) || self.held.contains_key(&node)
    }

    /// Whether unfinished lines are held back.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Writes the lines that are held back, unfinished, since one of them may be a prompt.
    pub fn release(&mut self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        for held in self.held.values_mut() {
            held.is_old = true;
        }
        self.release_old(out)
    }

    /// The same, only for lines that were held back at the last call already. A caller with a steady interval delays an unfinished
    /// line by one or two intervals, however many lines other nodes write.
    pub fn release_old(&mut self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        for (node, held) in std::mem::take(&mut self.held) {
            if !held.is_old {
                let is_old = true;
                self.held.insert(node, Held { is_old, ..held });
                continue;
            }
            self.held_size -= held.bytes.len();
            // The last line in the output may be an unfinished one of another node.
            self.end_open(out)?;
            out.write_all(&held.bytes)?;
            self.open = Some(node);
        }
        Ok(())
    }

    /// Ends the line of a node, if it is unfinished.
    pub fn end(&mut self, node: u32, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        if self.is_within(node) {
            self.write(node, "", b"", false, out)?;
        }
        self.torn.remove(&node);
        Ok(())
    }

    /// Ends every unfinished line.
    pub fn end_all(&mut self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.release(out)?;
        self.end_open(out)
    }

    /// Ends the last line in the output, if it is unfinished.
    pub fn end_open(&mut self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        match self.open.take() {
            Some(node) => {
                self.torn.insert(node);
                out.write_all(b"\n")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
