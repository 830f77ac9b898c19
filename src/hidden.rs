//! Characters that a terminal does not show as themselves. Pure.
//!
//! Control characters move the cursor. The marks of bidirectional text let a text read differently from what it is (CVE-2021-42574),
//! and characters without width make two texts look equal.

/// Whether a character has to be escaped before text from outside is printed.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes the hidden characters of a text in the notation of Rust.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Escapes the hidden characters of a JSON document but its line breaks: they can only be in strings, where JSON allows most of them.
pub fn escape_json(document: &str) -> String {
    let mut safe = String::with_capacity(document.len() + 1);
    for c in document.chars() {
        if is_hidden(c) && c != '\n' {
            // Characters beyond 16 bits have two.
            let units = &mut [0; 2];
            let units = c.encode_utf16(units).iter();
            safe.extend(units.map(|unit| format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_turns_or_hides_is_escaped() {
        for c in [
            '\u{61c}',
            '\u{200b}',
            '\u{200f}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{2028}',
            '\u{feff}',
            '\u{1b}',
            '\u{ad}',
            '\u{34f}',
            '\u{115f}',
            '\u{180e}',
            '\u{3164}',
            '\u{fff9}',
            '\u{e0041}',
        ] {
            let escaped = escape(&format!("a{c}b"));
            assert_eq!(escaped, format!("a{}b", c.escape_default()));
        }
        assert_eq!(escape("naïve — 日本語"), "naïve — 日本語");
    }

    #[test]
    fn escaped_json_is_the_same_document() {
        let text = "a\u{9b}b\u{202e}c\u{e0041}d日";
        let json = serde_json::json!({ "text": text }).to_string();
        let escaped = escape_json(&format!("{json}\n"));
        assert_eq!(
            escaped,
            "{\"text\":\"a\\u009bb\\u202ec\\udb40\\udc41d日\"}\n"
        );
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read["text"], text);
    }
}
