//! `accelerators`: the number of GPUs of a node, and their type.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{super::shape::Got, MAX_ALTERNATIVES, alternatives::too_many};

/// The number of GPUs of a node, and their type.
#[derive(Clone, Debug, PartialEq)]
pub struct Accelerators {
    /// The type, as in `H100`; none for any type.
    pub name: Option<String>,
    pub count: u32,
}

/// The choices of `accelerators`. The first one is used, the others become alternatives of [`super::Resources`].
#[derive(Debug, PartialEq)]
pub(super) struct Choices {
    pub all: Vec<Accelerators>,
    /// Whether they are in the order of preference.
    pub is_ordered: bool,
}

impl Choices {
    /// Reads `H100:8`, `{H100: 8}`, several types in a mapping (without an order), or a list of texts (in the order of preference).
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected a GPU type and its count, as in H100 or H100:8, got {}",
                Got(value)
            )
        };
        let one = |text: &str| {
            if is_by_memory(text) {
                return Err(format!(
                    "{text:?} chooses GPUs by their memory, which takes SkyPilot's catalog: name the type, as in H100:8"
                ));
            }
            Accelerators::parse(text).ok_or_else(expected)
        };
        let number = match value {
            Value::Array(items) => items.len(),
            Value::Object(types) => types.len(),
            _ => 1,
        };
        if number > MAX_ALTERNATIVES {
            return Err(too_many(number));
        }
        let all = match value {
            Value::String(text) => vec![one(text.trim())?],
            Value::Array(items) => (items.iter())
                .map(|item| one(item.as_str().ok_or_else(expected)?.trim()))
                .collect::<Result<_, _>>()?,
            Value::Object(types) => (types.iter())
                .map(|(name, count)| match count {
                    // `{H100:8}` in flow style is a set of one.
                    Value::Null => one(name.trim()),
                    Value::Number(count) if !name.contains(':') => {
                        one(&format!("{}:{count}", name.trim()))
                    }
                    _ => Err(expected()),
                })
                .collect::<Result<_, _>>()?,
            Value::Number(count) => {
                return Err(format!(
                    "expected a GPU type and its count, as in H100:{count}; in quotes, \"{count}\" asks for any GPUs"
                ));
            }
            _ => return Err(expected()),
        };
        if all.is_empty() {
            return Err(expected());
        }
        let is_ordered = value.is_array();
        Ok(Self { all, is_ordered })
    }
}

impl Accelerators {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (Some(name.trim_end()), count.trim_start()),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => (None, text),
            None => (Some(text), "1"),
        };
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.len() <= 63
                && !name.chars().any(char::is_control)
        };
        let count: f64 = count
            .parse()
            .ok()
            .filter(|count| *count > 0.0 && *count <= 10_000.0)?;
        if !name.is_none_or(is_name) {
            return None;
        }
        Some(Self {
            name: name.map(str::to_owned),
            // A pod cannot have a part of a GPU; SkyPilot rounds up too.
            count: count.ceil() as u32,
        })
    }

    /// The accelerators in SkyPilot's form: `{H100: 8}`.
    pub(super) fn to_json(&self) -> Value {
        match &self.name {
            Some(name) => json!({name: self.count}),
            None => self.count.to_string().into(),
        }
    }
}

/// Writes the accelerators in the short form: `H100:8`.
impl fmt::Display for Accelerators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}:{}", self.count),
            None => write!(f, "{}", self.count),
        }
    }
}

/// Whether a text selects GPUs by memory: `80GB`, `80GB+:2`, `nvidia:80GB`.
fn is_by_memory(text: &str) -> bool {
    text.split(':').any(|part| {
        let part = part.trim_end_matches('+').to_ascii_lowercase();
        let digits = ["gb", "mb", "tb", "gi", "mi"]
            .iter()
            .find_map(|unit| part.strip_suffix(unit));
        digits.is_some_and(|digits| digits.parse::<f64>().is_ok())
    })
}

/// Writes the accelerators in SkyPilot's form.
impl Serialize for Accelerators {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.name {
            Some(name) => {
                let mut types = serializer.serialize_map(Some(1))?;
                types.serialize_entry(name, &self.count)?;
                types.end()
            }
            None => serializer.collect_str(&self.count),
        }
    }
}
