//! The lines of several nodes, written one after the other without ever gluing two together.

use std::io::{self, Write};

use super::LogText;

/// Writes lines as they come. A line may come in pieces, and pieces of several nodes may come mixed.
#[derive(Debug, Default)]
pub struct LineWriter {
    /// The node whose line stands there without its end.
    open: Option<u32>,
}

impl LineWriter {
    /// Writes a line of a node, or a piece of one, after `head` where a new line begins.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(
        &mut self,
        node: u32,
        head: &str,
        text: &LogText,
        is_partial: bool,
        out: &mut (impl Write + ?Sized),
    ) -> io::Result<()> {
        if self.open != Some(node) {
            // Another node stopped in the middle of a line, at a prompt perhaps. It goes on in a line of its own.
            self.finish(out)?;
            out.write_all(head.as_bytes())?;
        }
        match text {
            LogText::Text(text) => out.write_all(text.as_bytes())?,
            LogText::Latin1(_) => out.write_all(&text.to_bytes())?,
        }
        self.open = Some(node);
        if is_partial { Ok(()) } else { self.finish(out) }
    }

    /// Ends the line that has no end yet, if there is one.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn finish(&mut self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        match self.open.take() {
            Some(_) => out.write_all(b"\n"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_line_are_joined_and_those_of_others_kept_apart() {
        let mut writer = LineWriter::default();
        let mut out = Vec::new();
        for (node, text, is_partial) in [
            (0, "a", false),
            (1, "long", true),
            (1, "er", false),
            (0, "name? ", true),
            (1, "b", false),
            (0, "ada", false),
        ] {
            let text = LogText::Text(text.to_owned());
            writer
                .write(node, &format!("{node}> "), &text, is_partial, &mut out)
                .unwrap();
        }
        writer.finish(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "0> a\n1> longer\n0> name? \n1> b\n0> ada\n"
        );
    }
}
