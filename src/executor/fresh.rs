//! Random ids and the current time. The other modules of the executor get both as arguments, so they stay testable.

use std::str::FromStr;

use rand::{RngExt, distr::Uniform};
use time::OffsetDateTime;

use crate::api::Timestamp;

/// A random id: eight characters of `[a-z0-9]`.
pub fn id<T: FromStr>() -> T {
    let id = characters(8).parse().ok();
    id.expect("a random id has the form of an id")
}

/// A random part of names: see `Stem`.
pub fn nonce() -> String {
    characters(5)
}

fn characters(count: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let positions = Uniform::new(0, ALPHABET.len()).expect("the alphabet is not empty");
    rand::rng()
        .sample_iter(positions)
        .take(count)
        .map(|position| char::from(ALPHABET[position]))
        .collect()
}

/// The current time.
pub fn now() -> Timestamp {
    OffsetDateTime::now_utc().into()
}
