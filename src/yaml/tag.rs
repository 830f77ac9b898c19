//! Tags: the few of YAML's own that say what a value is; all others have no meaning to PyYAML's `SafeLoader`, and none here.

use granit_parser::Tag;

use super::{Atom, scalar, shortened};

/// The meaning of a scalar with a tag.
///
/// # Errors
/// The tag has no meaning, or another than the text.
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
        _ => return Err(has_no_meaning(tag)),
    };
    resolved.ok_or_else(|| {
        format!(
            "`{}` is not what its tag `{}` says",
            shortened(text),
            tag.original()
        )
    })
}

/// Whether a tag is one of these of YAML's own, as `map` in `!!map`, or says nothing.
pub fn is_one_of(tag: &Tag, kinds: &[&str]) -> bool {
    // `core_suffix` knows YAML 1.2's tags, and `!!set` is of YAML 1.1.
    let (handle, suffix) = tag.parts();
    let name = format!("{handle}{suffix}");
    name == "!"
        || name
            .strip_prefix("tag:yaml.org,2002:")
            .is_some_and(|kind| kinds.contains(&kind))
}

/// The message for a tag that nobody knows.
pub fn has_no_meaning(tag: &Tag) -> String {
    format!("the tag `{}` has no meaning here", tag.original())
}
