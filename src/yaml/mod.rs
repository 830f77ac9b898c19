//! YAML as people who write task files know it: YAML 1.1, the way SkyPilot's parser, PyYAML's `SafeLoader`, reads it.
//!
//! A text becomes a tree of [`Node`]s that remembers where each value stands and how it was spelled; `serde_yaml`, which keeps
//! neither, writes what is printed. Nothing here knows what a task is. The work is bounded by the length of the text:
//! aliases cannot multiply what they stand for beyond [`MAX_COPIED`], and nesting ends at [`MAX_DEPTH`].
//!
//! ```text
//! text ──► granit-parser's events ──► reader ──► Node
//!                                       └──► scalar   what a plain scalar means
//! Node ──► python                       Python's str() of it
//! data ──► serde_yaml ──► writer        text that means the same in YAML 1.1 and 1.2
//! ```

mod python;
mod reader;
mod scalar;
mod tag;
mod writer;

pub use reader::read;
pub use scalar::is_surprising_number;
pub use writer::to_string;

/// How deep lists and mappings may stand in each other: what a server's JSON parser takes, and more than a person writes.
const MAX_DEPTH: usize = 100;
/// How much the aliases of a document may add to it, in bytes of text and [`NODE`]s.
const MAX_COPIED: usize = 1024 * 1024;
/// What a node costs before its text.
const NODE: usize = 16;

/// The most problems that are told.
const MAX_PROBLEMS: usize = 50;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// From 1.
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
    /// Where the key stands, from 1.
    pub line: usize,
    pub value: Node,
}

/// A value that is neither list nor mapping.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// As it stands in the text, without quotes.
    pub source: String,
    pub is_quoted: bool,
    pub atom: Atom,
}

/// What a scalar means.
#[derive(Clone, Debug, PartialEq)]
pub enum Atom {
    Null,
    Bool(bool),
    Int(i128),
    /// A whole number of more digits than an `i128` has, without `+` and `_`.
    BigInt(String),
    Float(f64),
    Text(String),
    Date(String),
    /// As Python's `str()` writes a `datetime`.
    DateTime(String),
}

impl Scalar {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.atom {
            Atom::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Node {
    /// The line of what a field's path names, as in `resources.any_of[0].cpus`; of the nearest thing around it, where there is no
    /// such field.
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

    /// The value of a key, if it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Content::Mapping(entries) = &self.content else {
            return None;
        };
        let entry = entries.iter().find(|entry| entry.key.source == key)?;
        Some(&entry.value)
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

/// The beginning of a text that a message is to hold.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
