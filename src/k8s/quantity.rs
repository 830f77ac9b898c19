//! Quantities such as `500m`, `2` and `1Gi`: syntax, value, and canonical form.
//!
//! It follows Kubernetes, `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go`, v1.36: the API server stores `0.5` as
//! `500m` and `1024Mi` as `1Gi`.

use std::fmt::{self, Display};

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i128); 10] = [
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", NANO),
    ("k", 1_000 * NANO),
    ("M", 1_000_000 * NANO),
    ("G", 1_000_000_000 * NANO),
    ("T", 1_000_000_000_000 * NANO),
    ("P", 1_000_000_000_000_000 * NANO),
    ("E", 1_000_000_000_000_000_000 * NANO),
];
const BINARY: [(&str, i128); 6] = [
    ("Ki", NANO << 10),
    ("Mi", NANO << 20),
    ("Gi", NANO << 30),
    ("Ti", NANO << 40),
    ("Pi", NANO << 50),
    ("Ei", NANO << 60),
];

/// An amount in billionths.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    /// Whether the quantity has a unit with a power of 1024.
    is_binary: bool,
}

/// The parts of a quantity's text.
struct Spelling<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

/// Whether a text is a quantity of any size: a decimal number, then nothing, a suffix or an exponent.
pub fn is_quantity(text: &str) -> bool {
    Spelling::split(text).is_some()
}

/// Whether a text is a quantity above zero.
pub fn is_positive(text: &str) -> bool {
    Spelling::split(text).is_some_and(|spelling| {
        let mut digits = spelling.whole.bytes().chain(spelling.fraction.bytes());
        !spelling.is_negative && digits.any(|digit| digit != b'0')
    })
}

/// Whether a text is a number of bytes that Kubernetes can store: whole, above zero, and within 63 bits.
pub fn is_size(text: &str) -> bool {
    let nanos = Quantity::parse(text).map_or(0, Quantity::nanos);
    nanos % NANO == 0 && (1..=i128::from(i64::MAX)).contains(&(nanos / NANO))
}

impl<'a> Spelling<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let is_inner = |c: char| c.is_ascii_digit() || c == '.';
        let end = unsigned.find(|c| !is_inner(c)).unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_number = !(fraction.contains('.') || whole.is_empty() && fraction.is_empty());
        let has_unit = || {
            DECIMAL
                .iter()
                .chain(&BINARY)
                .any(|(name, _)| *name == suffix)
        };
        (is_number && (has_unit() || is_exponent(suffix))).then_some(Self {
            is_negative: text.starts_with('-'),
            whole,
            fraction,
            suffix,
        })
    }
}

fn is_exponent(suffix: &str) -> bool {
    let digits = suffix.strip_prefix(['e', 'E']);
    let digits = digits.map(|digits| digits.strip_prefix(['+', '-']).unwrap_or(digits));
    digits.is_some_and(|digits| {
        matches!(digits.len(), 1..=2) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Quantity {
    pub fn zero() -> Self {
        Self {
            nanos: 0,
            is_binary: false,
        }
    }

    /// Parses a quantity, and rounds up to billionths; `None` for an exponent outside -9..=18.
    pub fn parse(text: &str) -> Option<Self> {
        let spelling = Spelling::split(text)?;
        let (unit, is_binary) = unit(spelling.suffix)?;
        let mut nanos = digits(spelling.whole)?.checked_mul(unit)?;
        let mut place = unit;
        let mut has_rest = false;
        for digit in spelling.fraction.bytes() {
            has_rest |= (place == 0 || place % 10 != 0) && digit != b'0';
            place /= 10;
            nanos = nanos.checked_add(i128::from(digit - b'0') * place)?;
        }
        nanos = nanos.checked_add(i128::from(has_rest))?;
        Some(Self {
            nanos: if spelling.is_negative { -nanos } else { nanos },
            is_binary,
        })
    }

    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// The number of bytes, rounded up; `None` if it is negative or does not fit.
    pub fn bytes(self) -> Option<u64> {
        let whole = self.nanos / NANO + i128::from(self.nanos % NANO > 0);
        u64::try_from(whole).ok().filter(|_| self.nanos >= 0)
    }
}

impl Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |unit: &&(&str, i128)| self.nanos % unit.1 == 0;
        let binary = BINARY.iter().rev().find(divides);
        let units = match binary {
            Some(unit) if self.is_binary && self.nanos != 0 => Some(unit),
            _ => DECIMAL.iter().rev().find(divides),
        };
        match units {
            Some((suffix, unit)) if self.nanos != 0 => write!(f, "{}{suffix}", self.nanos / unit),
            _ => f.write_str("0"),
        }
    }
}

fn digits(text: &str) -> Option<i128> {
    if text.is_empty() {
        Some(0)
    } else {
        text.parse().ok()
    }
}

fn unit(suffix: &str) -> Option<(i128, bool)> {
    if let Some((_, unit)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((*unit, false));
    }
    if let Some((_, unit)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((*unit, true));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    match exponent {
        -9..=18 => Some((10_i128.pow(u32::try_from(exponent + 9).ok()?), false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, canonical: &str) {
        assert_eq!(
            Quantity::parse(text).unwrap().to_string(),
            canonical,
            "{text}"
        );
    }

    #[test]
    fn quantities_have_a_canonical_spelling() {
        check("0.5", "500m");
        check("2000m", "2");
        check("1024Mi", "1Gi");
        check("1.5Gi", "1536Mi");
        check("16G", "16G");
        check("1e3", "1k");
        check("0", "0");
        check("0.1m", "100u");
        check("0.01n", "1n");
        check("100", "100");
        check("-1", "-1");
    }

    #[test]
    fn other_text_is_not_a_quantity() {
        for text in ["", "lots", "1Zi", "1 Gi", "1.2.3", "Gi", "1e99"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_syntax_does_not_limit_the_value() {
        assert!(is_quantity("1e99") && is_positive("1e99"));
        assert!(is_quantity("-1") && !is_positive("-1"));
        assert!(is_quantity("0.0Gi") && !is_positive("0.0Gi"));
        assert!(!is_quantity("1e") && !is_quantity("1-2") && !is_positive("infG"));
    }
}
