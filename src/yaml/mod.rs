//! Reads YAML 1.1 as SkyPilot does, which uses PyYAML's `SafeLoader`, and writes YAML.
//!
//! A text becomes a tree of [`Node`]s that keeps the line and the spelling of each value. `serde_yaml` keeps neither, so it
//! only writes. The work is limited: aliases add at most [`MAX_COPIED`] to a document, and nesting ends at [`MAX_DEPTH`].
//! The fields of a task are not known here.
//!
//! ```text
//! text ──► granit-parser's events ──► reader ──► Node
//!                                       └──► scalar   the value of a plain scalar
//! Node ──► python                       the text that Python's str() gives
//! data ──► serde_yaml ──► writer        text with the same value in YAML 1.1 and 1.2
//! ```

mod python;
mod reader;
mod scalar;
mod tag;
mod writer;

use std::ops::Range;

pub use reader::read;
pub use scalar::is_surprising_number;
pub use writer::to_string;

/// The deepest nesting of lists and mappings. The server's JSON parser accepts it, and no task file needs more.
const MAX_DEPTH: usize = 100;
/// The most bytes that the aliases of a document may add to it, with [`NODE`] for each node.
const MAX_COPIED: usize = 1024 * 1024;
/// The bytes that a node counts in addition to its text.
const NODE: usize = 16;

/// The most problems that are reported.
const MAX_PROBLEMS: usize = 50;

/// A value and its line.
#[derive(Clone, Debug)]
pub struct Node {
    /// Counted from 1.
    pub line: usize,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Scalar,
    /// The line of the key, counted from 1.
    pub line: usize,
    pub value: Node,
}

/// A value that is neither list nor mapping.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The source text, without quotes.
    pub source: String,
    pub is_quoted: bool,
    pub atom: Atom,
    /// The bytes of the text that it takes, with its quotes, or with the header of a block but without the white space at its end.
    pub place: Range<usize>,
}

/// The value of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Atom {
    Null,
    Bool(bool),
    Int(i128),
    /// A whole number that is too large for an `i128`, without `+` and `_`.
    BigInt(String),
    Float(f64),
    Text(String),
    Date(String),
    /// As Python's `str()` writes a `datetime`.
    DateTime(String),
}

impl Scalar {
    /// The text of a scalar that is text.
    pub fn text(&self) -> Option<&str> {
        match &self.atom {
            Atom::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Node {
    /// The line of a field by its path, such as `resources.any_of[0].cpus`. If the field does not exist, the line of the nearest
    /// parent that does.
    pub fn line_of(&self, path: &str) -> Option<usize> {
        match &self.content {
            Content::Mapping(entries) => {
                let found = entries.iter().find_map(|entry| {
                    let rest = path.strip_prefix(entry.key.source.as_str())?;
                    let is_whole = rest.is_empty() || rest.starts_with(['.', '[']);
                    is_whole.then_some((entry, rest.strip_prefix('.').unwrap_or(rest)))
                });
                let (entry, rest) = found?;
                entry.value.line_of(rest).or(Some(entry.line))
            }
            Content::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                let rest = rest.strip_prefix('.').unwrap_or(rest);
                item.line_of(rest).or(Some(item.line))
            }
            Content::Scalar(_) => None,
        }
    }

    /// The value of a key, if the node is a mapping that has the key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Content::Mapping(entries) = &self.content else {
            return None;
        };
        let entry = entries.iter().find(|entry| entry.key.source == key)?;
        Some(&entry.value)
    }

    /// Whether it is `<<` without quotes.
    fn is_merge_key(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.source == "<<" && !scalar.is_quoted)
    }

    pub fn is_null(&self) -> bool {
        matches!(
            &self.content,
            Content::Scalar(Scalar {
                atom: Atom::Null,
                ..
            })
        )
    }
}

/// The beginning of a text, for a message.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
