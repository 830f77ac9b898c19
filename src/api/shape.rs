//! The shapes of fields in SkyPilot's schemas.
//!
//! Most of SkyPilot's fields have no effect here, but a mistake in one of them is reported all the same. Tables give each field a
//! shape to check it against. Only the fields with an effect have code of their own.

use serde_json::{Map, Value, json};

use super::{Problem, masked, schema};

/// From this number on, problems are counted and not described: a description may cost more than its field.
const MANY: usize = 50;

/// The shape of a value: the part of JSON Schema that SkyPilot's schemas use.
pub enum Shape {
    Any,
    Text,
    /// A text that a function accepts, and a description of such texts.
    TextLike(fn(&str) -> bool, &'static str),
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    Bool,
    /// A whole number in a range, also in the form `5.0`, as in JSON Schema.
    Integer(i64, i64),
    /// A number from this one on.
    From(f64),
    /// A number above zero.
    Positive,
    /// A list of at most this many items.
    List(&'static Shape, usize),
    /// A mapping with any keys, in which each key has a value.
    Map(&'static Shape),
    /// A mapping of one key.
    Single(&'static Shape),
    /// A mapping of these keys and no others.
    Fields(&'static [(&'static str, Shape)]),
    /// A mapping with these keys; the values of other keys are not checked.
    Open(&'static [(&'static str, Shape)]),
    /// The first of these shapes that has the value's type.
    Either(&'static [Shape]),
    /// This shape, and no null.
    Given(&'static Shape),
}

impl Shape {
    /// Checks a value, and adds to `problems`. A null counts as absent.
    pub fn check(&self, field: &str, value: &Value, problems: &mut Vec<Problem>) {
        if let Self::Given(shape) = self {
            return shape.check_given(field, value, problems);
        }
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
            (Self::List(_, most), Value::Array(items)) => {
                let message = format!("expected at most {most} items, got {}", items.len());
                problems.push(Problem::new(field, message));
            }
            (Self::Single(_), Value::Object(entries)) if entries.len() != 1 => refuse(),
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

    /// Whether a value has the type of the shape.
    fn is_kind_of(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Text | Self::TextLike(..) | Self::Word(_) => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::Integer(..) | Self::From(_) | Self::Positive => value.is_number(),
            Self::List(..) => value.is_array(),
            Self::Map(_) | Self::Single(_) | Self::Fields(_) | Self::Open(_) => value.is_object(),
            Self::Either(shapes) => shapes.iter().any(|shape| shape.is_kind_of(value)),
            Self::Given(shape) => shape.is_kind_of(value),
        }
    }

    /// The JSON Schema of the values that [`Shape::check`] accepts, or of some more: not every rule can be written as one.
    pub fn schema(&self) -> Value {
        match self {
            Self::Given(shape) => shape.schema_of_given(),
            Self::Any => schema::any(),
            shape => schema::or_null(shape.schema_of_given()),
        }
    }

    /// The same without null.
    fn schema_of_given(&self) -> Value {
        let fields = |known: &[(&str, Self)]| -> Map<String, Value> {
            let fields = known.iter();
            fields
                .map(|(key, shape)| ((*key).to_owned(), shape.schema()))
                .collect()
        };
        match self {
            Self::Any => schema::any(),
            Self::Text => json!({"type": "string"}),
            Self::TextLike(_, expected) => json!({"type": "string", "description": expected}),
            Self::Word(words) => json!({"type": "string", "pattern": schema::any_case(words)}),
            Self::Bool => json!({"type": "boolean"}),
            Self::Integer(least, most) => {
                let mut schema = json!({"type": "integer"});
                if *least != i64::MIN {
                    schema["minimum"] = (*least).into();
                }
                if *most != i64::MAX {
                    schema["maximum"] = (*most).into();
                }
                schema
            }
            Self::From(f64::NEG_INFINITY) => json!({"type": "number"}),
            Self::From(least) => json!({"type": "number", "minimum": least}),
            Self::Positive => json!({"type": "number", "exclusiveMinimum": 0}),
            Self::List(of, usize::MAX) => json!({"type": "array", "items": of.schema_of_given()}),
            Self::List(of, most) => {
                json!({"type": "array", "items": of.schema_of_given(), "maxItems": most})
            }
            Self::Map(of) => {
                json!({"type": "object", "additionalProperties": of.schema_of_given()})
            }
            Self::Single(of) => json!({
                "type": "object",
                "additionalProperties": of.schema_of_given(),
                "minProperties": 1,
                "maxProperties": 1,
            }),
            Self::Fields(known) => {
                json!({"type": "object", "properties": fields(known), "additionalProperties": false})
            }
            Self::Open(known) => json!({"type": "object", "properties": fields(known)}),
            Self::Either(shapes) => {
                let schemas: Vec<_> = shapes.iter().map(Self::schema_of_given).collect();
                json!({"anyOf": schemas})
            }
            Self::Given(shape) => shape.schema_of_given(),
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
            Self::Given(shape) => shape.describe(),
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

/// Refuses the unknown keys of a mapping.
pub fn refuse_unknown<'a>(
    field: &str,
    keys: impl Iterator<Item = &'a String>,
    known: impl Iterator<Item = &'a str> + Clone,
    problems: &mut Vec<Problem>,
) {
    for key in keys {
        if !known.clone().any(|known| known == key) {
            // The search for a similar key takes time.
            let message = match problems.len() {
                ..MANY => unknown_field(key, known.clone()),
                _ => "unknown field".to_owned(),
            };
            problems.push(Problem::new(join(field, key), message));
        }
    }
}

/// The path of a field inside another: `resources.cpus`. A key that is longer than any known one is shortened.
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

/// A whole number, also in the form `5.0`.
pub fn whole(value: &Value) -> Option<i64> {
    let float = || {
        value
            .as_f64()
            .filter(|x| x.fract() == 0.0 && x.abs() < 1e15)
    };
    value.as_i64().or_else(|| float().map(|x| x as i64))
}

/// A value in a message, shortened.
pub struct Got<'a>(pub &'a Value);

impl std::fmt::Display for Got<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Array(items) if items.len() > 4 => f.write_str("a list"),
            Value::Object(entries) if entries.len() > 4 => f.write_str("a mapping"),
            Value::Array(_) | Value::Object(_) | Value::String(_) => {
                let text = self.0.to_string();
                // Before it is cut: the end of a login might be missing.
                let text = masked(&text);
                let mut chars = text.chars();
                let start: String = chars.by_ref().take(120).collect();
                let rest = if chars.next().is_some() { "..." } else { "" };
                write!(f, "{start}{rest}")
            }
            scalar => write!(f, "{scalar}"),
        }
    }
}

/// The message for an unknown field, with the most similar known field.
fn unknown_field<'a>(field: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(field, known) {
        Some(known) => format!("unknown field, did you mean `{known}`?"),
        None => "unknown field".to_owned(),
    }
}

/// The known word that is most similar to a mistyped word, if one is similar enough.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, known) = known
        .map(|known| (edit_distance(word, known), known))
        .min()?;
    (distance * 3 <= known.len().max(3)).then_some(known)
}

/// The number of characters to insert, delete, replace, or swap with the next one to turn `a` into `b` (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let [a, b] = [a, b].map(|text| text.chars().take(64).collect::<Vec<_>>());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(from != to);
            let mut least = replaced.min(row[j] + 1).min(above[j + 1] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && b[j - 1] == *from {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = above;
        above = row;
    }
    above.last().copied().unwrap_or(0)
}
