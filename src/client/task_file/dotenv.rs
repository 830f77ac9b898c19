//! Parses files of variables, for `--env-file` and `--secret-file`.
//!
//! The syntax is that of python-dotenv 1.1, which SkyPilot uses: `NAME=value`, `export NAME=value`, quotes, comments. A
//! `${NAME}` outside of single quotes is replaced by an earlier variable of the file, or by one of the caller's environment.

use std::collections::HashMap;

/// The longest value, after replacement.
const MAX_VALUE: usize = 1024 * 1024;

/// Parses the variables of a text, in their order. `outer` looks up the caller's environment.
///
/// # Errors
/// The first invalid line, counted from 1, and its problem.
pub fn parse(
    text: &str,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, (usize, &'static str)> {
    let mut variables = Vec::new();
    let mut earlier: HashMap<String, String> = HashMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(variables);
        }
        if rest.starts_with('#') {
            rest = after_line(rest);
            continue;
        }
        let line = || text[..text.len() - rest.len()].matches('\n').count() + 1;
        let (variable, more) = variable(rest).map_err(|message| (line(), message))?;
        if let Some((name, value, is_literal)) = variable {
            let lookup = |name: &str| earlier.get(name).cloned().or_else(|| outer(name));
            let value = match is_literal {
                true => value,
                false => interpolate(&value, lookup).ok_or_else(|| (line(), "is too long"))?,
            };
            earlier.insert(name.clone(), value.clone());
            variables.push((name, value));
        }
        rest = more;
    }
}

/// A name, its value, and whether the value is literal.
type Variable = Option<(String, String, bool)>;

/// Parses the first variable of a text; returns the text after its line. A name without `=` has no value, and is left out.
fn variable(text: &str) -> Result<(Variable, &str), &'static str> {
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start_matches([' ', '\t']),
        _ => text,
    };
    let end = text.find(['=', '\n', '#']).unwrap_or(text.len());
    let name = text[..end].trim().trim_matches('\'');
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("expected NAME=value");
    }
    let Some(value) = text[end..].strip_prefix('=') else {
        return Ok((None, after_line(&text[end..])));
    };
    let value = value.trim_start_matches([' ', '\t']);
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let (line, rest) = value.split_once('\n').unwrap_or((value, ""));
        let end = match line.starts_with('#') {
            true => 0,
            false => line.find(" #").unwrap_or(line.len()),
        };
        let value = line[..end].trim_end().to_owned();
        return Ok((Some((name.to_owned(), value, false)), rest));
    };
    let (value, rest) = quoted(&value[1..], quote).ok_or("its quotes do not end")?;
    let behind = rest.lines().next().unwrap_or_default().trim();
    if !behind.is_empty() && !behind.starts_with('#') {
        return Err("expected nothing behind the quotes");
    }
    Ok((
        Some((name.to_owned(), value, quote == '\'')),
        after_line(rest),
    ))
}

/// Parses up to the closing quote. A backslash escapes the quote and itself; double quotes also have `\n`, `\r` and `\t`.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' => {
                let (_, escaped) = chars.next()?;
                match escaped {
                    'n' if quote == '"' => value.push('\n'),
                    'r' if quote == '"' => value.push('\r'),
                    't' if quote == '"' => value.push('\t'),
                    escaped if escaped == quote || escaped == '\\' => value.push(escaped),
                    escaped => value.extend(['\\', escaped]),
                }
            }
            c => value.push(c),
        }
    }
    None
}

/// Replaces `${NAME}` and `${NAME:-default}`; a missing variable becomes its default, or nothing. `None` if it gets too long.
fn interpolate(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inner, behind)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            break;
        };
        let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
        out.push_str(&lookup(name).unwrap_or_else(|| default.to_owned()));
        if out.len() > MAX_VALUE {
            return None;
        }
        rest = behind;
    }
    Some(out + rest)
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}
