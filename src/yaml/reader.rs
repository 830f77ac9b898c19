//! Builds the tree from the parser's events, resolves anchors, merge keys and tags, and collects problems of the structure.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};

use super::{
    Atom, Content, Entry, MAX_COPIED, MAX_DEPTH, MAX_PROBLEMS, NODE, Node, Scalar, scalar, tag,
};

/// A problem of a text and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    /// The path in the document, such as `resources.any_of[0]`.
    pub path: String,
    pub message: String,
}

/// The documents of a text without those that are null, and the problems of their structure.
#[derive(Debug)]
pub struct Stream {
    pub documents: Vec<Node>,
    pub problems: Vec<Problem>,
}

/// Reads a text.
///
/// # Errors
/// The text is not YAML, or exceeds a limit. Problems of valid YAML, such as a key that is given twice, are in
/// [`Stream::problems`].
pub fn read(text: &str) -> Result<Stream, Problem> {
    let options = options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let whole = text;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_directives(text)?;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Composer {
        text,
        skipped: whole.len() - text.len(),
        ..Composer::default()
    };
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Problem {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            path: String::new(),
            message: error.info().to_string(),
        })?;
        reader.take(event, span)?;
    }
    let Composer {
        documents,
        problems,
        ..
    } = reader;
    Ok(Stream {
        documents,
        problems,
    })
}

/// Refuses unknown directives, which stand before the first document.
fn check_directives(text: &str) -> Result<(), Problem> {
    let before = text.lines().enumerate();
    let before = before.take_while(|(_, line)| line.is_empty() || line.starts_with(['%', '#']));
    for (index, line) in before {
        let Some(directive) = line.strip_prefix('%') else {
            continue;
        };
        let name = directive.split_whitespace().next().unwrap_or_default();
        if !matches!(name, "YAML" | "TAG") {
            return Err(Problem {
                line: index + 1,
                column: 1,
                path: String::new(),
                message: format!("unknown directive `%{}`", super::shortened(name)),
            });
        }
    }
    Ok(())
}

#[derive(Default)]
struct Composer<'a> {
    text: &'a str,
    /// The bytes before the text.
    skipped: usize,
    documents: Vec<Node>,
    problems: Vec<Problem>,
    /// The lists and mappings that have not ended.
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    copied: usize,
}

/// A list or mapping that has not ended.
struct Open {
    anchor: usize,
    line: usize,
    is_mapping: bool,
    /// The items of a list, or the keys and values of a mapping in turn.
    items: Vec<Node>,
    size: Size,
}

/// The value of an anchor.
struct Anchored {
    node: Node,
    size: Size,
}

/// The size of a copy of a node.
#[derive(Clone, Copy, Default)]
struct Size {
    cost: usize,
    depth: usize,
}

impl Composer<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let mut text = text.into_owned();
                if is_block && self.ends_without_newline(&text, span) {
                    text.pop();
                }
                let atom = self.atom(&text, is_plain, tag.as_deref(), span);
                let size = Size {
                    cost: NODE + text.len(),
                    depth: 0,
                };
                let node = Node {
                    line: span.start.line(),
                    content: Content::Scalar(Scalar {
                        source: text,
                        is_quoted: !is_plain,
                        atom,
                        place: self.place(span, is_block),
                    }),
                };
                self.close(anchor, node, size, span)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(anchor, false, tag.as_deref(), span)?
            }
            Event::MappingStart(_, anchor, tag) => self.open(anchor, true, tag.as_deref(), span)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(span)?,
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::DocumentStart(_, Some(version)) if version.major != 1 => {
                return Err(problem(
                    span,
                    format!(
                        "is YAML {}.{}, expected 1.1 or 1.2",
                        version.major, version.minor
                    ),
                ));
            }
            Event::DocumentEnd => self.anchors.clear(),
            _ => (),
        }
        Ok(())
    }

    /// The bytes of a scalar. The parser's span of a block scalar has its content and the white space behind it, but not its header.
    fn place(&self, span: Span, is_block: bool) -> Range<usize> {
        let mut place = span.byte_range().unwrap_or_default();
        if let Some(content) = self.text.get(place.clone()).filter(|_| is_block) {
            place.end = place.start + content.trim_end().len();
            let before = self.text[..place.start].trim_end();
            let line = before.rfind('\n').map_or(0, |end| end + 1);
            let header = before[line..].match_indices(['|', '>']);
            let mut header = header.filter(|(at, _)| is_block_header(&before[line + at + 1..]));
            if let Some((at, _)) = header.next() {
                place.start = line + at;
            }
        }
        place.start + self.skipped..place.end + self.skipped
    }

    /// Whether the parser added a newline to a block scalar that ends the text without one. libyaml, PyYAML's parser, adds none.
    fn ends_without_newline(&self, scalar: &str, span: Span) -> bool {
        let end = span.byte_range().map_or(0, |range| range.end);
        let is_last = self
            .text
            .get(end..)
            .is_some_and(|rest| rest.trim().is_empty());
        let last = self.text.rsplit('\n').next().unwrap_or_default();
        let Some(value) = scalar
            .strip_suffix('\n')
            .filter(|_| is_last && !last.is_empty())
        else {
            return false;
        };
        // A last line of blanks belongs to the scalar only if it is longer than the indentation.
        let value_last = value.rsplit('\n').next().unwrap_or_default();
        !last.trim().is_empty() || !value_last.is_empty() && value_last.trim().is_empty()
    }

    fn open(
        &mut self,
        anchor: usize,
        is_mapping: bool,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(problem(span, too_deep()));
        }
        let good: &[&str] = if is_mapping { &["map"] } else { &["seq"] };
        if let Some(tag) = tag.filter(|tag| !tag::is_one_of(tag, good)) {
            self.report(span.start.line(), None, tag::unknown(tag));
        }
        self.open.push(Open {
            anchor,
            line: span.start.line(),
            is_mapping,
            items: Vec::new(),
            size: Size {
                cost: NODE,
                depth: 1,
            },
        });
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), Problem> {
        let Some(Open {
            anchor,
            line,
            is_mapping,
            items,
            size,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let values = items
            .iter()
            .skip(usize::from(is_mapping))
            .step_by(1 + usize::from(is_mapping));
        for value in values {
            if value.is_merge_key() {
                let message = "`<<` is a key that merges mappings: put it in quotes".to_owned();
                self.report(value.line, None, message);
            }
        }
        let content = if is_mapping {
            Content::Mapping(self.mapping(items))
        } else {
            Content::List(items)
        };
        self.close(anchor, Node { line, content }, size, span)
    }

    /// Adds a complete node to its parent, or to the documents.
    fn close(&mut self, anchor: usize, node: Node, size: Size, span: Span) -> Result<(), Problem> {
        if anchor > 0 {
            self.count_copy(size, span)?;
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, size });
        }
        match self.open.last_mut() {
            Some(parent) => {
                parent.size.cost += size.cost;
                parent.size.depth = parent.size.depth.max(size.depth + 1);
                parent.items.push(node);
            }
            None if node.is_null() => (),
            None => self.documents.push(node),
        }
        Ok(())
    }

    /// Counts a copy that an anchor or an alias makes.
    fn count_copy(&mut self, size: Size, span: Span) -> Result<(), Problem> {
        self.copied += size.cost;
        if self.copied > MAX_COPIED {
            return Err(problem(span, "its aliases make it too large".to_owned()));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Problem> {
        let size = match self.anchors.get(&anchor) {
            Some(anchored) => anchored.size,
            None => {
                return Err(problem(
                    span,
                    "the alias is inside its own anchor".to_owned(),
                ));
            }
        };
        self.count_copy(size, span)?;
        if self.open.len() + size.depth > MAX_DEPTH {
            return Err(problem(span, too_deep()));
        }
        let node = self.anchors[&anchor].node.clone();
        self.close(0, node, size, span)
    }

    /// The value of a scalar. A scalar without a valid value is reported, and becomes text.
    fn atom(&mut self, text: &str, is_plain: bool, tag: Option<&Tag>, span: Span) -> Atom {
        // `mapping` handles a key `<<`.
        let is_merge = is_plain && text == "<<" && tag.is_none();
        let resolved = match tag {
            Some(tag) => tag::resolve(tag, text),
            None if is_merge || !is_plain => Ok(Atom::Text(text.to_owned())),
            None => scalar::resolve(text),
        };
        resolved.unwrap_or_else(|message| {
            self.report(span.start.line(), None, message);
            Atom::Text(text.to_owned())
        })
    }

    /// Turns keys and values into entries. Reports keys that are given twice, and replaces merge keys by the entries they merge.
    fn mapping(&mut self, items: Vec<Node>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(items.len() / 2);
        let mut merged = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let line = key.line;
            let Content::Scalar(key) = key.content else {
                self.report(
                    line,
                    None,
                    "a key must be text, not a list or a mapping".to_owned(),
                );
                continue;
            };
            if let Some(first) = lines.get(&key.source) {
                let message = format!("is given twice: first on line {first}");
                self.report(line, Some(&key.source), message);
                continue;
            }
            lines.insert(key.source.clone(), line);
            if key.source == "<<" && !key.is_quoted {
                self.merge(&mut merged, value);
            } else {
                entries.push(Entry { key, line, value });
            }
        }
        // A mapping's own keys win over merged keys, and earlier merged keys over later ones.
        let mut seen: HashSet<String> = lines.into_keys().collect();
        entries.extend(
            merged
                .into_iter()
                .filter(|entry: &Entry| seen.insert(entry.key.source.clone())),
        );
        entries
    }

    /// Adds the entries of a merge key: `<<: *defaults`, or a list of aliases.
    fn merge(&mut self, merged: &mut Vec<Entry>, value: Node) {
        match value.content {
            Content::Mapping(entries) => merged.extend(entries),
            Content::List(items)
                if items
                    .iter()
                    .all(|item| matches!(item.content, Content::Mapping(_))) =>
            {
                for item in items {
                    self.merge(merged, item);
                }
            }
            _ => self.report(value.line, None, "`<<` merges mappings only".to_owned()),
        }
    }

    /// Records a problem of the current node, or of a key in it.
    fn report(&mut self, line: usize, key: Option<&str>, message: String) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let mut path = String::new();
        for open in &self.open {
            match open.items.last().filter(|_| open.items.len() % 2 == 1) {
                _ if !open.is_mapping => path.push_str(&format!("[{}]", open.items.len())),
                // The current node is a key itself.
                None => (),
                Some(Node {
                    content: Content::Scalar(key),
                    ..
                }) => push_key(&mut path, &key.source),
                Some(_) => (),
            }
        }
        key.into_iter().for_each(|key| push_key(&mut path, key));
        self.problems.push(Problem {
            line,
            column: 1,
            path,
            message,
        });
    }
}

/// Whether a text is the rest of the first line of a block scalar, behind `|` or `>`.
fn is_block_header(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '+' || c == '-');
    rest.is_empty()
        || rest.starts_with([' ', '\t'])
            && matches!(rest.trim_start().chars().next(), None | Some('#'))
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

fn too_deep() -> String {
    format!("is nested deeper than {MAX_DEPTH} levels")
}

fn problem(span: Span, message: String) -> Problem {
    Problem {
        line: span.start.line(),
        column: span.start.col() + 1,
        path: String::new(),
        message,
    }
}
