//! Tags. As in PyYAML's `SafeLoader`, only those of YAML itself that give the type of a value are known.

use granit_parser::Tag;

use super::{Atom, scalar, shortened};

/// The value of a scalar with a tag.
///
/// # Errors
/// The tag is unknown, or does not fit the text.
pub fn resolve(tag: &Tag, text: &str) -> Result<Atom, String> {
    let number = |atom| match atom {
        Atom::Int(number) => Atom::Float(number as f64),
        atom => atom,
    };
    let resolved = match tag.core_suffix() {
        _ if tag.original() == "!" => return Ok(Atom::Text(text.to_owned())),
        Some("str") => return Ok(Atom::Text(text.to_owned())),
        Some("null") => return Ok(Atom::Null),
        Some("int") => scalar::resolve(text)
            .ok()
            .filter(|atom| matches!(atom, Atom::Int(_) | Atom::BigInt(_))),
        Some("float") => scalar::resolve(text)
            .ok()
            .map(number)
            .filter(|atom| matches!(atom, Atom::Float(_))),
        Some("bool") => scalar::resolve(text)
            .ok()
            .filter(|atom| matches!(atom, Atom::Bool(_))),
        _ if is_one_of(tag, &["timestamp"]) => scalar::resolve(text)
            .ok()
            .filter(|atom| matches!(atom, Atom::Date(_) | Atom::DateTime(_))),
        _ => return Err(unknown(tag)),
    };
    resolved.ok_or_else(|| {
        format!(
            "`{}` does not fit its tag `{}`",
            shortened(text),
            tag.original()
        )
    })
}

/// Whether a tag is `!`, or one of these tags of YAML itself, such as `map` for `!!map`.
pub fn is_one_of(tag: &Tag, kinds: &[&str]) -> bool {
    // `core_suffix` knows the tags of YAML 1.2, and `!!set` is a tag of YAML 1.1.
    let (handle, suffix) = tag.parts();
    let name = format!("{handle}{suffix}");
    name == "!"
        || name
            .strip_prefix("tag:yaml.org,2002:")
            .is_some_and(|kind| kinds.contains(&kind))
}

/// The message for an unknown tag.
pub fn unknown(tag: &Tag) -> String {
    format!("the tag `{}` has no meaning here", tag.original())
}
