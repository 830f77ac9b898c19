//! The query of a URL.

use std::fmt::Write as _;

/// Writes pairs as the query of a URL: `a=b&c=d%20e`.
pub fn encode_query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(key);
        query.push('=');
        for byte in value.bytes() {
            // The characters that no part of a URL gives a meaning (RFC 3986, section 2.3).
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                query.push(byte.into());
            } else {
                write!(query, "%{byte:02X}").expect("memory can be written");
            }
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_letters_digits_and_four_signs_are_encoded() {
        let pairs = [("a", "b c&d=é".to_owned()), ("e", "x-1._~*".to_owned())];
        assert_eq!(encode_query(pairs), "a=b%20c%26d%3D%C3%A9&e=x-1._~%2A");
        assert_eq!(encode_query([]), "");
    }
}
