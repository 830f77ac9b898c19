//! Data to YAML that means the same to everybody.
//!
//! `serde_yaml` quotes what YAML 1.2 takes for something else than a text. What only YAML 1.1 does, `off` or `1_000` or a date,
//! it leaves bare, and most readers are of that kind: kubectl, PyYAML, [`super::read`].

use granit_parser::{Event, Parser, ScalarStyle};
use serde::{Serialize, de::IgnoredAny};

use super::{Atom, scalar::resolve};

/// Writes data as one document.
///
/// # Errors
/// `serde_yaml`'s, for data that YAML has no form for.
pub fn to_string(data: &impl Serialize) -> Result<String, serde_yaml::Error> {
    let yaml = serde_yaml::to_string(data)?;
    let mut safe = String::with_capacity(yaml.len() + yaml.len() / 8);
    let mut copied = 0;
    let mut parser = Parser::new_from_str(&yaml);
    // It does not fail on what was just written, and what is left would be copied as it is.
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

/// Whether a bare scalar is a text that some take for something else.
fn is_misread(text: &str) -> bool {
    // PyYAML does not, but Go's parsers do.
    let is_short_bool = matches!(text, "y" | "Y" | "n" | "N");
    let is_text = || matches!(resolve(text), Ok(Atom::Text(_)));
    // Numbers and the like are written as JSON has them, and no text stands bare that looks so.
    let is_data = || serde_json::from_str::<IgnoredAny>(text).is_ok();
    is_short_bool || (!is_text() && !is_data())
}
