//! The value of a plain scalar: `yes` is true, `010` is 8, `12:30:45` is 45045, and `1e1` is text.
//!
//! The rules are those of PyYAML 6.0.2: `resolver.py` (the type of a form) and `constructor.py` (its value).

use super::{Atom, shortened};

/// The value of a plain scalar.
///
/// # Errors
/// The text has the form of a number or a date, but is not a valid one. PyYAML fails, too.
pub fn resolve(text: &str) -> Result<Atom, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Atom::Null),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Atom::Bool(true));
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Atom::Bool(false));
        }
        "=" | "<<" => {
            return Err(format!(
                "`{text}` has a special meaning in YAML: put it in quotes"
            ));
        }
        _ => (),
    }
    let begins_as_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    if !text.starts_with(begins_as_number) {
        return Ok(Atom::Text(text.to_owned()));
    }
    if let Some(float) = float(text) {
        return Ok(Atom::Float(float));
    }
    if let Some(int) = int(text)? {
        return Ok(int);
    }
    if let Some(date) = timestamp(text) {
        return date.ok_or_else(|| {
            format!(
                "`{}` looks like a date, but is not a valid one: put it in quotes",
                shortened(text)
            )
        });
    }
    Ok(Atom::Text(text.to_owned()))
}

/// Whether a number has a form that only YAML 1.1 reads as this number.
pub fn is_surprising_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let is_octal = digits.len() > 1 && digits.starts_with('0') && !digits.contains(['.', 'x', 'b']);
    is_octal || digits.contains(['_', ':']) || digits.starts_with("0b")
}

/// `[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?`, `\.[0-9][0-9_]*([eE][-+][0-9]+)?`, sexagesimals, infinities and NaN.
fn float(text: &str) -> Option<f64> {
    let (negative, digits) = sign(text);
    let signed = |number: f64| if negative { -number } else { number };
    match digits {
        ".inf" | ".Inf" | ".INF" => return Some(signed(f64::INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return (digits.len() == text.len()).then_some(f64::NAN),
        _ => (),
    }
    if let Some((whole, last)) = digits.rsplit_once(':') {
        let (seconds, fraction) = last.split_once('.')?;
        let all = sexagesimal(whole, seconds, |first| {
            first.starts_with(|c: char| c.is_ascii_digit())
        })?;
        let fraction: f64 = match fraction.replace('_', "").as_str() {
            "" => 0.0,
            fraction if is_digits(fraction) => format!("0.{fraction}").parse().ok()?,
            _ => return None,
        };
        return Some(signed(all as f64 + fraction));
    }
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, "+0"),
    };
    let is_exponent = exponent.strip_prefix(['+', '-']).is_some_and(is_digits);
    let (whole, fraction) = mantissa.split_once('.')?;
    let is_loose = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let begins_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let is_form = match whole {
        "" => digits.len() == text.len() && begins_with_digit(fraction) && is_loose(fraction),
        whole => begins_with_digit(whole) && is_loose(whole) && is_loose(fraction),
    };
    if !is_form || !is_exponent {
        return None;
    }
    let number: f64 = digits.replace('_', "").parse().ok()?;
    Some(signed(number))
}

fn int(text: &str) -> Result<Option<Atom>, String> {
    let (negative, digits) = sign(text);
    let signed = |number: i128| Atom::Int(if negative { -number } else { number });
    let radix = |digits: &str, radix: u32| {
        let clean = digits.replace('_', "");
        i128::from_str_radix(&clean, radix)
            .map(|number| Some(signed(number)))
            .map_err(|_| format!("`{}` is not a valid number", shortened(text)))
    };
    let all = |digits: &str, good: fn(u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| byte == b'_' || good(byte))
    };
    if let Some(bits) = digits
        .strip_prefix("0b")
        .filter(|bits| all(bits, |byte| matches!(byte, b'0' | b'1')))
    {
        return radix(bits, 2);
    }
    if let Some(hex) = digits
        .strip_prefix("0x")
        .filter(|hex| all(hex, |byte| byte.is_ascii_hexdigit()))
    {
        return radix(hex, 16);
    }
    if digits == "0" {
        return Ok(Some(Atom::Int(0)));
    }
    if let Some(octal) = digits.strip_prefix('0') {
        let is_octal = all(octal, |byte| matches!(byte, b'0'..=b'7'));
        return if is_octal { radix(digits, 8) } else { Ok(None) };
    }
    if let Some((whole, last)) = digits.rsplit_once(':') {
        return Ok(sexagesimal(whole, last, |first| {
            first.starts_with(|c: char| matches!(c, '1'..='9'))
        })
        .map(signed));
    }
    if !digits.starts_with(|c: char| matches!(c, '1'..='9'))
        || !all(digits, |byte| byte.is_ascii_digit())
    {
        return Ok(None);
    }
    let clean = digits.replace('_', "");
    Ok(Some(match clean.parse() {
        Ok(number) => signed(number),
        Err(_) if negative => Atom::BigInt(format!("-{clean}")),
        Err(_) => Atom::BigInt(clean),
    }))
}

/// Reads a number of base 60, such as `1:30:05` as 5405. Every part but the first has one or two digits.
fn sexagesimal(whole: &str, last: &str, is_first: fn(&str) -> bool) -> Option<i128> {
    let mut parts = whole.split(':').chain([last]);
    let first = parts.next()?;
    if !is_first(first)
        || !first
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    {
        return None;
    }
    let mut total: i128 = first.replace('_', "").parse().ok()?;
    for part in parts {
        let is_part =
            is_digits(part) && (part.len() == 1 || part.len() == 2 && part.as_bytes()[0] <= b'5');
        if !is_part {
            return None;
        }
        total = total.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    Some(total)
}

/// A date or a date with a time, as Python writes it. The inner `None` is a text of the right form that is not a valid date.
fn timestamp(text: &str) -> Option<Option<Atom>> {
    let bytes = text.as_bytes();
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    rest = rest.strip_prefix('-')?;
    let (month, month_length) = (digits(&mut rest, 1, 2)?, rest.len());
    rest = rest.strip_prefix('-')?;
    let day = digits(&mut rest, 1, 2)?;
    if rest.is_empty() {
        // A date without a time has all its digits; otherwise it is text.
        let is_full = bytes.len() == 10 && month_length == 3;
        return is_full.then(|| is_date(year, month, day).then(|| Atom::Date(text.to_owned())));
    }
    let blanks = rest.trim_start_matches([' ', '\t']);
    rest = match rest.strip_prefix(['T', 't']) {
        Some(time) => time,
        None if blanks.len() < rest.len() => blanks,
        None => return None,
    };
    let hour = digits(&mut rest, 1, 2)?;
    rest = rest.strip_prefix(':')?;
    let minute = digits(&mut rest, 2, 2)?;
    rest = rest.strip_prefix(':')?;
    let second = digits(&mut rest, 2, 2)?;
    let mut micros = String::new();
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits: String = fraction[..fraction.len() - rest.len()]
            .chars()
            .take(6)
            .collect();
        if digits.bytes().any(|digit| digit != b'0') {
            micros = format!(".{digits:0<6}");
        }
    }
    let zone = zone(rest.trim_start_matches([' ', '\t']))?;
    let is_time = hour < 24 && minute < 60 && second < 60;
    let written = zone
        .filter(|_| is_date(year, month, day) && is_time)
        .map(|zone| {
            Atom::DateTime(format!(
                "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{micros}{zone}"
            ))
        });
    Some(written)
}

/// The time zone as Python writes it: empty, or an offset such as `+02:00`.
fn zone(text: &str) -> Option<Option<String>> {
    let sign = match text {
        "" => return Some(Some(String::new())),
        "Z" => return Some(Some("+00:00".to_owned())),
        text if text.starts_with('-') => '-',
        text if text.starts_with('+') => '+',
        _ => return None,
    };
    let mut rest = &text[1..];
    let hours = digits(&mut rest, 1, 2)?;
    let minutes = match rest.strip_prefix(':') {
        Some(mut minutes) => {
            let number = digits(&mut minutes, 2, 2)?;
            rest = minutes;
            number
        }
        None => 0,
    };
    let total = hours * 60 + minutes;
    let sign = if total == 0 { '+' } else { sign };
    let written = format!("{sign}{:02}:{:02}", total / 60, total % 60);
    rest.is_empty()
        .then(|| (total < 24 * 60).then_some(written))
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    };
    year > 0 && (1..=12).contains(&month) && (1..=days).contains(&day)
}

/// Removes a number of `least` to `most` digits from the beginning of a text.
fn digits(text: &mut &str, least: usize, most: usize) -> Option<u32> {
    let count = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();
    if count < least {
        return None;
    }
    let (number, rest) = text.split_at(count);
    *text = rest;
    number.parse().ok()
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
