//! Random identifiers of objects: uids and the letters of generated names.

/// The letters of generated names: no vowels and no letters that look alike, as in Kubernetes' `rand.String`.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A random version 4 UUID.
pub fn new_uid() -> String {
    let bits: u128 = rand::random();
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Random letters that may end a name.
pub fn random_letters(count: usize) -> String {
    (0..count)
        .map(|_| char::from(NAME_LETTERS[rand::random_range(0..NAME_LETTERS.len())]))
        .collect()
}
