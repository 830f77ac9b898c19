//! Progress bars of several nodes: the prefix of the node is repeated after each carriage return.

use std::{borrow::Cow, collections::BTreeSet};

/// The nodes whose unfinished line ends with a carriage return.
#[derive(Debug, Default)]
pub struct Returns(BTreeSet<u32>);

impl Returns {
    /// The text of a node with `prefix` after each carriage return, except at the end of a line. `is_new`: the text begins a line.
    /// `is_partial`: its last line continues in the next text of the node.
    pub fn repeat_prefix<'a>(
        &mut self,
        node: u32,
        prefix: &str,
        text: Cow<'a, [u8]>,
        is_new: bool,
        is_partial: bool,
    ) -> Cow<'a, [u8]> {
        let mut is_returned = self.0.remove(&node) && !is_new;
        if !is_returned && memchr::memchr(b'\r', &text).is_none() {
            return text;
        }
        let mut out = Vec::with_capacity(text.len() + prefix.len());
        for byte in text.iter() {
            match byte {
                b'\r' => is_returned = true,
                b'\n' => is_returned = false,
                _ if std::mem::take(&mut is_returned) => out.extend_from_slice(prefix.as_bytes()),
                _ => (),
            }
            out.push(*byte);
        }
        if is_returned && is_partial {
            self.0.insert(node);
        }
        out.into()
    }
}
