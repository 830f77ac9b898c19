//! The warnings that Kubernetes sends with an answer, in `Warning` headers. Pure.
//!
//! The form is `299 - "text"`, with `"` and `\` escaped (RFC 7234, and `ParseWarningHeaders` of Kubernetes 1.36,
//! `apimachinery/pkg/util/net/http.go`).

use http::HeaderMap;

/// The texts of all warnings, each once.
pub fn of(headers: &HeaderMap) -> Vec<String> {
    let mut texts = Vec::new();
    for header in headers.get_all("warning") {
        let Ok(mut rest) = header.to_str() else {
            continue;
        };
        while let Some((text, after)) = next(rest) {
            if !text.is_empty() && !texts.contains(&text) {
                texts.push(text);
            }
            rest = after;
        }
    }
    texts
}

/// The text of the first warning, and the rest of the header behind it.
fn next(header: &str) -> Option<(String, &str)> {
    let header = header.trim_start_matches([',', ' ']);
    let (code, rest) = header.split_once(' ')?;
    let (_agent, rest) = rest.split_once(' ')?;
    if code.len() != 3 || !code.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let quoted = rest.strip_prefix('"')?;
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(headers: &[&str]) -> Vec<String> {
        let headers = headers
            .iter()
            .map(|value| (http::header::WARNING, value.parse().unwrap()));
        of(&headers.collect())
    }

    #[test]
    fn each_warning_is_read_once() {
        let found = texts(&[
            r#"299 - "would violate PodSecurity \"restricted:latest\"""#,
            r#"299 - "a", 299 kubernetes "b""#,
            r#"299 - "a""#,
        ]);
        assert_eq!(
            found,
            [r#"would violate PodSecurity "restricted:latest""#, "a", "b"]
        );
    }

    #[test]
    fn an_invalid_header_is_ignored() {
        assert_eq!(
            texts(&["", "299", "299 -", "299 - a", "x - \"a\"", "299 - \"a"]),
            [""; 0]
        );
    }
}
