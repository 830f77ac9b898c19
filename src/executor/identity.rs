//! Uids and resource versions of Kubernetes objects, as numbers. Pure.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

/// The uid of an object, a UUID. Two objects of the same name have different uids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u128);

impl Uid {
    pub fn new(text: &str) -> Self {
        let digits = text.bytes().filter(|byte| *byte != b'-');
        let digits: Vec<u8> = digits.collect();
        let uuid = std::str::from_utf8(&digits)
            .ok()
            .filter(|digits| digits.len() == 32)
            .and_then(|digits| u128::from_str_radix(digits, 16).ok());
        // Kubernetes promises a UUID. For any other text, a hash keeps different uids apart.
        Self(uuid.unwrap_or_else(|| {
            let hash = |seed: u8| {
                let mut hasher = DefaultHasher::new();
                (seed, text).hash(&mut hasher);
                u128::from(hasher.finish())
            };
            hash(0) << 64 | hash(1)
        }))
    }
}

impl fmt::Display for Uid {
    /// The UUID as Kubernetes writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
        f.write_str(&groups.join("-"))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The `resourceVersion` of an object, a list or a watch: a number that grows with each write to objects of its kind (Kubernetes
/// enhancement 5504). A text that is not a number becomes 0, the unknown version, which sorts before all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

impl Version {
    pub fn new(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }

    /// Whether this version is newer than `known`. If either version is unknown, the answer is yes.
    pub fn is_news(self, known: Self) -> bool {
        self.0 == 0 || known.0 == 0 || self > known
    }

    /// Whether this version is certain to be newer than `other`.
    pub fn is_newer_than(self, other: Self) -> bool {
        other.0 != 0 && self > other
    }

    /// Whether a watch that has reached `seen` has shown this version.
    pub fn is_seen_at(self, seen: Self) -> bool {
        self.0 != 0 && self <= seen
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_uuids_or_hashes() {
        let text = "0f5b8b0e-7c5c-4f0e-8f53-0123456789ab";
        assert_eq!(Uid::new(text).to_string(), text);
        assert_ne!(Uid::new("a"), Uid::new("b"));
        assert_eq!(Uid::new("a"), Uid::new("a"));
    }

    #[test]
    fn versions_are_compared_as_numbers_and_unknown_ones_are_news() {
        let version = Version::new;
        assert!(version("10").is_news(version("9")) && !version("9").is_news(version("9")));
        assert!(!version("9").is_news(version("10")));
        assert!(version("abc").is_news(version("10")) && version("9").is_news(version("abc")));
        assert!(version("9").is_seen_at(version("9")) && !version("10").is_seen_at(version("9")));
        assert!(!version("abc").is_seen_at(version("9")));
    }
}
