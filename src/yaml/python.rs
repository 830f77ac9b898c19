//! Converts a value to the text that Python's `str()` gives, because SkyPilot uses it for the variables in `envs`.

use super::{Atom, Content, Node, Scalar};

impl Scalar {
    /// `True` for `yes`, `8` for `010`, `None` for null.
    pub fn to_python(&self) -> String {
        match &self.atom {
            Atom::Null => "None".to_owned(),
            Atom::Bool(true) => "True".to_owned(),
            Atom::Bool(false) => "False".to_owned(),
            Atom::Int(number) => number.to_string(),
            Atom::Float(number) => float(*number),
            Atom::BigInt(text) | Atom::Text(text) | Atom::Date(text) | Atom::DateTime(text) => {
                text.clone()
            }
        }
    }
}

impl Node {
    /// `['a', 1]` for a list; for a scalar, its text.
    pub fn to_python(&self) -> String {
        match &self.content {
            Content::Scalar(scalar) => scalar.to_python(),
            _ => {
                let mut text = String::new();
                write_repr(&mut text, self);
                text
            }
        }
    }
}

/// Writes Python's `repr()`, which has quotes where `str()` has none.
fn write_repr(out: &mut String, node: &Node) {
    match &node.content {
        Content::Scalar(scalar) => write_scalar(out, scalar),
        Content::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_repr(out, item);
            }
            out.push(']');
        }
        Content::Mapping(entries) => {
            out.push('{');
            for (index, entry) in entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_scalar(out, &entry.key);
                out.push_str(": ");
                write_repr(out, &entry.value);
            }
            out.push('}');
        }
    }
}

fn write_scalar(out: &mut String, scalar: &Scalar) {
    match &scalar.atom {
        Atom::Text(text) => write_quoted(out, text),
        Atom::Date(date) => {
            let parts: Vec<_> = date
                .split('-')
                .map(|part| part.trim_start_matches('0'))
                .collect();
            out.push_str(&format!("datetime.date({})", parts.join(", ")));
        }
        _ => out.push_str(&scalar.to_python()),
    }
}

/// Python uses single quotes, and double quotes for a text that contains single quotes only.
fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c < ' ' || ('\u{7f}'..'\u{a0}').contains(&c) => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Python's `str()` of a float: the shortest exact digits, with an exponent below 1e-4 and from 1e16 on.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = number.to_string();
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}
