//! The keys of requests that may be sent twice: the ids and digests that follow from them. Pure.
//!
//! The id of what a request makes follows from its user and its key, so the same request finds what it has made before, on any server.
//! A digest of the request tells whether the second one is the same.

use std::{fmt::Write as _, str::FromStr};

use ring::{
    digest::{self, SHA256},
    hmac::{self, HMAC_SHA256},
};
use serde::Serialize;

use crate::api::{GroupId, TaskId, User};

/// The most characters of a key.
const MAX_LENGTH: usize = 255;

/// The value of a header `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestKey(String);

impl FromStr for RequestKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_sane = (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        match is_sane {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "expected 1 to {MAX_LENGTH} visible ASCII characters without spaces, such as a UUID"
            )),
        }
    }
}

impl RequestKey {
    /// The id of what a request of this key and `user` makes. `kind` keeps those of different kinds apart.
    pub fn id<T: FromStr>(&self, kind: &str, user: &User) -> T {
        id_of(&[kind, user.as_str(), &self.0])
    }

    /// The digest of a request. Whoever reads it and does not know the key cannot guess the secrets in the request.
    pub fn digest(&self, content: &impl Serialize) -> String {
        let content = serde_json::to_vec(content).unwrap_or_default();
        let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, self.0.as_bytes()), &content);
        let (half, _) = tag.as_ref().split_at(16);
        half.iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })
    }
}

/// The id of a task of a group.
pub fn member_id(group: GroupId, rank: u32) -> TaskId {
    id_of(&["member", group.as_str(), &rank.to_string()])
}

/// The id that follows from some texts.
fn id_of<T: FromStr>(texts: &[&str]) -> T {
    const DIGITS: u128 = 36;
    // No key and no user has a character of this value.
    let text = texts.join("\0");
    let hash = digest::digest(&SHA256, text.as_bytes());
    let (first, _) = hash.as_ref().split_at(16);
    let mut rest = u128::from_be_bytes(first.try_into().expect("16 bytes"));
    let mut id = String::with_capacity(8);
    for _ in 0..8 {
        let digit = u32::try_from(rest % DIGITS).unwrap_or_default();
        id.extend(char::from_digit(digit, DIGITS as u32));
        rest /= DIGITS;
    }
    let id = id.parse().ok();
    id.expect("eight digits of base 36 have the form of an id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{TaskId, VolumeId};

    fn user(name: &str) -> User {
        name.parse().unwrap()
    }

    #[test]
    fn an_id_follows_from_user_and_key() {
        let key: RequestKey = "k1".parse().unwrap();
        let id: TaskId = key.id("task", &user("ada"));
        // The value is fixed: other versions of the program have to find the same id.
        assert_eq!(id.as_str(), "gk46pfo0");
        assert_eq!(id, key.id("task", &user("ada")));
        assert_ne!(id, key.id("task", &user("bob")));
        assert_ne!(
            id,
            "k2".parse::<RequestKey>().unwrap().id("task", &user("ada"))
        );
        let volume: VolumeId = key.id("volume", &user("ada"));
        assert_ne!(volume.as_str(), id.as_str());
    }

    #[test]
    fn a_digest_follows_from_key_and_content() {
        let key: RequestKey = "k1".parse().unwrap();
        let digest = key.digest(&["a"]);
        assert_eq!(digest.len(), 32);
        assert_eq!(digest, key.digest(&["a"]));
        assert_ne!(digest, key.digest(&["b"]));
        assert_ne!(digest, "k2".parse::<RequestKey>().unwrap().digest(&["a"]));
    }

    #[test]
    fn odd_keys_are_refused() {
        for text in ["", "a b", "a\u{7f}", "ä", &"x".repeat(256)] {
            assert!(text.parse::<RequestKey>().is_err(), "{text}");
        }
        assert!("x".repeat(255).parse::<RequestKey>().is_ok());
    }
}
