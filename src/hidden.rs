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
}
