//! The name of a task or a volume as a user types it.

use std::{fmt, str::FromStr};

/// The most characters of a reference: more than those of a name.
const LONGEST: usize = 253;

/// An id, the beginning of one, a name, or `@latest`. The client finds out which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    /// The reference to the newest unfinished task.
    pub const LATEST: &'static str = "@latest";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_valid = text == Self::LATEST || !text.is_empty() && text.chars().all(is_name);
        if is_valid && text.len() <= LONGEST {
            return Ok(Self(text.to_owned()));
        }
        Err("expected an id, the beginning of one, a name or @latest".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_references() {
        for text in ["ab12cd34", "ab1", "Train_v1.2-x", "@latest"] {
            assert_eq!(text.parse(), Ok(Reference(text.to_owned())));
        }
        for text in ["", "a/b", "a b", "@newest", "é", "a\n", &"x".repeat(254)] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }
}
