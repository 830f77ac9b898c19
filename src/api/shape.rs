//! The shapes that SkyPilot's schemas give to fields, as a table can hold them.
//!
//! Most of SkyPilot's fields do nothing here, but a file with a mistake in one of them is a mistake all the same. Each is checked
//! against its shape in a table; only what this program uses is read by code of its own.

use serde_json::{Map, Value};

use super::Problem;

/// From here on problems are counted, not described: nobody reads them, and a description may cost more than the field.
const MANY: usize = 50;

/// What a value must look like: as much of JSON Schema as SkyPilot's schemas use.
pub enum Shape {
    Any,
    Text,
    /// A text that a function accepts; then what it should have been.
    TextLike(fn(&str) -> bool, &'static str),
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    Bool,
    /// A whole number, also one written `5.0`, as JSON Schema has it.
    Integer(i64, i64),
    /// A number from this one on.
    From(f64),
    /// A number above zero.
    Positive,
    /// A list, of at most so many items.
    List(&'static Shape, usize),
    /// A mapping of any keys, all of which have values.
    Map(&'static Shape),
    /// A mapping of one key.
    Single(&'static Shape),
    /// A mapping of these keys and no others.
    Fields(&'static [(&'static str, Shape)]),
    /// A mapping of these keys, and others that are not looked at.
    Open(&'static [(&'static str, Shape)]),
    /// The first of these whose kind of value it is.
    Either(&'static [Shape]),
}

impl Shape {
    /// Adds to `problems` what is wrong with a value. A null is a value that is not there.
    pub fn check(&self, field: &str, value: &Value, problems: &mut Vec<Problem>) {
        if value.is_null() || problems.len() > MANY {
            return;
        }
        let mut refuse = || {
            problems.push(Problem::new(
                field,
                format!("expected {}, got {}", self.describe(), Got(value)),
            ));
        };
        match (self, value) {
            (Self::Any, _) => (),
            (Self::Text, Value::String(_)) | (Self::Bool, Value::Bool(_)) => (),
            (Self::TextLike(is_good, _), Value::String(text)) if is_good(text) => (),
            (Self::Word(words), Value::String(text))
                if words.iter().any(|word| word.eq_ignore_ascii_case(text)) => {}
            (Self::Integer(least, most), _)
                if whole(value).is_some_and(|number| (*least..=*most).contains(&number)) => {}
            (Self::Positive, Value::Number(number)) if number.as_f64().is_some_and(|x| x > 0.0) => {
            }
            (Self::From(least), Value::Number(number))
                if number.as_f64().is_some_and(|x| x >= *least) => {}
            (Self::List(of, most), Value::Array(items)) if items.len() <= *most => {
                for (index, item) in items.iter().enumerate() {
                    of.check_given(&format!("{field}[{index}]"), item, problems);
                }
            }
            (Self::Single(_), Value::Object(entries)) if entries.len() > 1 => refuse(),
            (Self::Map(of) | Self::Single(of), Value::Object(entries)) => {
                for (key, value) in entries {
                    of.check_given(&join(field, key), value, problems);
                }
            }
            (Self::Fields(known), Value::Object(entries)) => {
                check_fields(known, field, entries, problems);
                refuse_unknown(
                    field,
                    entries.keys(),
                    known.iter().map(|(key, _)| *key),
                    problems,
                );
            }
            (Self::Open(known), Value::Object(entries)) => {
                check_fields(known, field, entries, problems);
            }
            (Self::Either(shapes), _) => {
                match shapes.iter().find(|shape| shape.is_kind_of(value)) {
                    Some(shape) => shape.check(field, value, problems),
                    None => refuse(),
                }
            }
            _ => refuse(),
        }
    }

    /// Checks a value that must not be null.
    fn check_given(&self, field: &str, value: &Value, problems: &mut Vec<Problem>) {
        match (self, value) {
            (Self::Any, _) => (),
            (_, Value::Null) if problems.len() <= MANY => {
                let message = format!("expected {}, got nothing", self.describe());
                problems.push(Problem::new(field, message));
            }
            _ => self.check(field, value, problems),
        }
    }

    /// Whether a value is of the kind that is looked at more closely.
    fn is_kind_of(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Text | Self::TextLike(..) | Self::Word(_) => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::Integer(..) | Self::From(_) | Self::Positive => value.is_number(),
            Self::List(..) => value.is_array(),
            Self::Map(_) | Self::Single(_) | Self::Fields(_) | Self::Open(_) => value.is_object(),
            Self::Either(shapes) => shapes.iter().any(|shape| shape.is_kind_of(value)),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Text => "text".to_owned(),
            Self::TextLike(_, expected) => (*expected).to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Bool => "true or false".to_owned(),
            Self::Integer(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Self::Integer(least, i64::MAX) => format!("a whole number from {least} on"),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::From(f64::NEG_INFINITY) => "a number".to_owned(),
            Self::From(least) => format!("a number from {least} on"),
            Self::Positive => "a number above 0".to_owned(),
            Self::List(_, usize::MAX) => "a list".to_owned(),
            Self::List(_, most) => format!("a list of at most {most}"),
            Self::Single(_) => "a mapping of one key".to_owned(),
            Self::Map(_) | Self::Fields(_) | Self::Open(_) => "a mapping".to_owned(),
            Self::Either(shapes) => shapes
                .iter()
                .map(Self::describe)
                .collect::<Vec<_>>()
                .join(", or "),
        }
    }
}

fn check_fields(
    known: &[(&str, Shape)],
    field: &str,
    entries: &Map<String, Value>,
    problems: &mut Vec<Problem>,
) {
    for (key, shape) in known {
        if let Some(value) = entries.get(*key) {
            shape.check(&join(field, key), value, problems);
        }
    }
}

/// Refuses the keys of a mapping that nobody knows.
pub fn refuse_unknown<'a>(
    field: &str,
    keys: impl Iterator<Item = &'a String>,
    known: impl Iterator<Item = &'a str> + Clone,
    problems: &mut Vec<Problem>,
) {
    for key in keys {
        if !known.clone().any(|known| known == key) {
            // Looking for what was meant takes a moment.
            let message = match problems.len() {
                ..MANY => unknown_field(key, known.clone()),
                _ => "unknown field".to_owned(),
            };
            problems.push(Problem::new(join(field, key), message));
        }
    }
}

/// The path of a field in another: `resources.cpus`. Of a key that is longer than any that means something, the beginning is
/// enough.
pub fn join(field: &str, key: &str) -> String {
    const LONG: usize = 250;
    let key = match key.char_indices().nth(LONG) {
        Some((end, _)) => &key[..end],
        None => key,
    };
    match field {
        "" => key.to_owned(),
        field => format!("{field}.{key}"),
    }
}

/// A whole number, also one written `5.0`.
pub fn whole(value: &Value) -> Option<i64> {
    let float = || {
        value
            .as_f64()
            .filter(|x| x.fract() == 0.0 && x.abs() < 1e15)
    };
    value.as_i64().or_else(|| float().map(|x| x as i64))
}

/// A value in a message: as it is, but not at any length.
pub struct Got<'a>(pub &'a Value);

impl std::fmt::Display for Got<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Array(items) if items.len() > 4 => f.write_str("a list"),
            Value::Object(entries) if entries.len() > 4 => f.write_str("a mapping"),
            Value::Array(_) | Value::Object(_) | Value::String(_) => {
                let text = self.0.to_string();
                let mut chars = text.chars();
                let start: String = chars.by_ref().take(120).collect();
                let rest = if chars.next().is_some() { "..." } else { "" };
                write!(f, "{start}{rest}")
            }
            scalar => write!(f, "{scalar}"),
        }
    }
}

/// The message for a field that nobody knows, with the known field that it looks like.
fn unknown_field<'a>(field: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(field, known) {
        Some(known) => format!("unknown field, did you mean `{known}`?"),
        None => "unknown field".to_owned(),
    }
}

/// The known word that a mistyped word looks like, if there is one.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, known) = known
        .map(|known| (edit_distance(word, known), known))
        .min()?;
    (distance * 3 <= known.len().max(3)).then_some(known)
}

/// How many characters have to be inserted, deleted or replaced to make `b` of `a` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
