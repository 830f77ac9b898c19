//! Writes data as YAML that has the same value in YAML 1.1 and 1.2.
//!
//! `serde_yaml` quotes a text that YAML 1.2 reads as another type. It does not quote a text that only YAML 1.1 reads so, such
//! as `off`, `1_000` or a date, but most readers use YAML 1.1: kubectl, PyYAML, [`super::read`].

use granit_parser::{Event, Parser, ScalarStyle};
use serde::{Serialize, de::IgnoredAny};

use super::{Atom, scalar::resolve};

/// Writes data as one document.
pub fn to_string(data: &impl Serialize) -> Result<String, serde_yaml::Error> {
    let yaml = serde_yaml::to_string(data)?;
    let mut safe = String::with_capacity(yaml.len() + yaml.len() / 8);
    let mut copied = 0;
    let mut parser = Parser::new_from_str(&yaml);
    // The parser accepts what `serde_yaml` writes. On an error, the rest would be copied without change.
    while let Some(Ok((event, span))) = parser.next_event() {
        if let Event::Scalar(text, ScalarStyle::Plain, ..) = event
            && is_misread(&text)
            && let Some(range) = span.byte_range()
        {
            safe.push_str(&yaml[copied..range.start]);
            safe.push('\'');
            safe.push_str(&text);
            safe.push('\'');
            copied = range.end;
        }
    }
    safe.push_str(&yaml[copied..]);
    Ok(safe)
}

/// Whether a plain scalar is a text that some parsers read as another type.
fn is_misread(text: &str) -> bool {
    // PyYAML reads these as text, but Go's parsers read them as booleans.
    let is_short_bool = matches!(text, "y" | "Y" | "n" | "N");
    let is_text = || matches!(resolve(text), Ok(Atom::Text(_)));
    // `serde_yaml` writes numbers, booleans and null as JSON does, and quotes texts that look like them.
    let is_data = || serde_json::from_str::<IgnoredAny>(text).is_ok();
    is_short_bool || (!is_text() && !is_data())
}
