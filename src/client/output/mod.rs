//! The output formats: tables, tab-separated lines, JSON and YAML.
//!
//! Another user may have written the text that the server sends, so every function here escapes control characters
//! (CVE-2021-25743 was this bug in kubectl). The commands, the errors and the log view import this module. Log lines are not
//! escaped, and are not printed here.

mod clock;
mod table;
pub mod task_view;

use std::{
    fmt,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use self::{
    clock::{Clock, duration},
    table::{Sheet, table},
};
use crate::{
    api::Timestamp,
    cli::Format,
    client::error::Error,
    hidden::{self, is_hidden},
    yaml,
};

/// The optional columns of a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns {
    pub details: bool,
    /// Whether each row names its user.
    pub all_users: bool,
}

/// Escapes control characters, line breaks and the characters that change the direction of writing, so that a text is safe
/// for a terminal and stays in one cell.
pub fn escape(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    hidden::escape(text)
}

/// Prints rows with one tab between cells, for `cut -f`.
pub fn tsv(out: &mut dyn Write, rows: impl IntoIterator<Item = Vec<String>>) -> io::Result<()> {
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| escape(cell)).collect();
        writeln!(out, "{}", cells.join("\t"))?;
    }
    Ok(())
}

/// Prints one object, a line per key.
pub fn pairs(
    out: &mut dyn Write,
    format: Format,
    sheet: Sheet,
    pairs: Vec<(String, String)>,
) -> io::Result<()> {
    if !format.is_for_people() {
        return tsv(out, pairs.into_iter().map(|(key, value)| vec![key, value]));
    }
    let width = pairs.iter().map(|(key, _)| key.chars().count()).max();
    let width = width.unwrap_or(0) + 1;
    for (key, value) in pairs {
        let value = match sheet.has_colors && key == "status" {
            true => table::paint(&value),
            false => escape(&value),
        };
        let line = format!("{:width$}  {value}", format!("{key}:"));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints the server's answer as JSON or YAML.
pub fn document(out: &mut dyn Write, format: Format, body: &[u8]) -> Result<(), Error> {
    // `serde_yaml::Value` keeps unknown keys and the server's order of keys, which `serde_json::Value` loses.
    let document: serde_yaml::Value = serde_json::from_slice(body).map_err(io::Error::from)?;
    if format == Format::Yaml {
        out.write_all(as_yaml(&document)?.as_bytes())?;
    } else {
        writeln!(out, "{}", as_json(&document)?)?;
    }
    Ok(())
}

/// A document as YAML, or as JSON if it has hidden characters: YAML has no escapes outside of quotes, and JSON is YAML, too.
fn as_yaml(document: &impl Serialize) -> Result<String, Error> {
    let text = yaml::to_string(document).map_err(io::Error::other)?;
    if text.contains(|c| is_hidden(c) && c != '\n') {
        return Ok(as_json(document)? + "\n");
    }
    Ok(text)
}

fn as_json(document: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    Ok(hidden::escape_json(&json))
}

/// Prints the object that was made, and flushes: the command may be interrupted before it prints anything else.
pub fn made(
    out: &mut dyn Write,
    format: Format,
    kind: &str,
    id: &dyn fmt::Display,
    how: &str,
    body: &[u8],
) -> Result<(), Error> {
    let written = match format {
        Format::Table | Format::Wide => writeln!(out, "{kind} {id} {how}").map_err(Error::from),
        Format::Tsv | Format::Name => writeln!(out, "{id}").map_err(Error::from),
        format => document(out, format, body),
    };
    let flushed = written.and_then(|()| Ok(out.flush()?));
    flushed.map_err(|error| error.after(format!("{kind} {id} was {how}")))
}

/// Prints the names of objects as `kubectl -o name` does: `job.batch/train-ab12cd34`.
pub fn object_names(out: &mut dyn Write, objects: &[Value]) -> io::Result<()> {
    for object in objects {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or_default().to_lowercase();
        let group = text("/apiVersion").and_then(|version| version.split_once('/'));
        let group = group.map_or_else(String::new, |(group, _)| format!(".{group}"));
        let name = text("/metadata/name").unwrap_or_default();
        writeln!(out, "{}", escape(&format!("{kind}{group}/{name}")))?;
    }
    Ok(())
}

/// Prints objects as a stream of YAML documents for `kubectl apply -f -`.
pub fn yaml_stream(out: &mut dyn Write, objects: &[Value]) -> Result<(), Error> {
    for object in objects {
        write!(out, "---\n{}", as_yaml(object)?)?;
    }
    Ok(())
}

/// Prints one of many documents: JSON in one line, or a YAML document.
pub fn record(out: &mut dyn Write, format: Format, document: &Value) -> Result<(), Error> {
    if format == Format::Yaml {
        return yaml_stream(out, std::slice::from_ref(document));
    }
    let json = serde_json::to_string(document).map_err(io::Error::from)?;
    Ok(writeln!(out, "{}", hidden::escape_json(&json))?)
}

/// An age in one unit, as kubectl rounds it: `5m ago`.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    // The server's clock may be ahead of the client's.
    let seconds = time.seconds_until(now).max(0);
    match seconds {
        0..=119 => format!("{seconds}s ago"),
        120..=7199 => format!("{}m ago", seconds / 60),
        7200..=172_799 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86400),
    }
}

/// Shortens a text to at most `width` columns, the last one being `…` if the text was longer.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut columns = 0;
    let fits = text.chars().take_while(|c| {
        columns += c.width().unwrap_or(0);
        columns < width
    });
    fits.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::written;

    #[test]
    fn line_breaks_in_cells_are_escaped() {
        let rows = vec![vec![
            "a\tb".to_owned(),
            "c\nd".to_owned(),
            "é\u{9b}\u{202e}".to_owned(),
        ]];
        let lines = written(|out| tsv(out, rows));
        assert_eq!(lines, "a\\tb\tc\\nd\té\\u{9b}\\u{202e}\n");
    }

    #[test]
    fn hidden_characters_are_escaped_in_documents() {
        let object = serde_json::json!({"a": "b\u{202e}c"});
        let body = object.to_string();
        let of_document = |format| {
            let mut out = Vec::new();
            document(&mut out, format, body.as_bytes()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let mut stream = Vec::new();
        yaml_stream(&mut stream, &[object]).unwrap();
        let stream = String::from_utf8(stream).unwrap();
        for text in [of_document(Format::Json), of_document(Format::Yaml), stream] {
            assert!(
                text.contains("b\\u202ec") && text.ends_with("}\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn pairs_are_aligned_for_people_and_plain_for_pipes() {
        let both = || {
            vec![
                ("id".to_owned(), "ab12cd34".to_owned()),
                ("created".to_owned(), String::new()),
            ]
        };
        let table = written(|out| pairs(out, Format::Table, Sheet::default(), both()));
        assert_eq!(table, "id:       ab12cd34\ncreated:\n");
        let lines = written(|out| pairs(out, Format::Tsv, Sheet::default(), both()));
        assert_eq!(lines, "id\tab12cd34\ncreated\t\n");
    }

    #[test]
    fn json_and_yaml_escape_control_characters() {
        let body = "{\"z\":\"\u{9b}31m\\u001b\",\"a\":1}".as_bytes();
        let json = written(|out| document(out, Format::Json, body));
        assert_eq!(json, "{\n  \"z\": \"\\u009b31m\\u001b\",\n  \"a\": 1\n}\n");
        let yaml = written(|out| document(out, Format::Yaml, body));
        assert_eq!(yaml, "z: \"\\x9B31m\\e\"\na: 1\n");
    }

    #[test]
    fn object_names_are_those_of_kubectl() {
        let objects = serde_json::json!([
            {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "a"}},
            {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "b"}},
        ]);
        let names = written(|out| object_names(out, objects.as_array().unwrap()));
        assert_eq!(names, "job.batch/a\nservice/b\n");
    }

    #[test]
    fn an_age_has_one_unit() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2025-10-05T12:00:00");
        for (time, expected) in [
            ("2025-10-05T12:00:07", "0s ago"),
            ("2025-10-05T11:58:01", "119s ago"),
            ("2025-10-05T11:58:00", "2m ago"),
            ("2025-10-05T09:59:00", "2h ago"),
            ("2025-10-01T12:00:00", "4d ago"),
        ] {
            assert_eq!(ago(at(time), now), expected);
        }
    }

    #[test]
    fn a_shortened_text_ends_with_an_ellipsis() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("smørrebrød", 5), "smør…");
    }
}
