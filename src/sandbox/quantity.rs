//! Quantities such as `500m`, `2`, `1Gi`: parsing, comparing, and the one canonical way to write each.
//!
//! Separate because it is pure arithmetic. It follows Kubernetes,
//! `staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go`, v1.36: a server stores `0.5` as `500m` and `1024Mi` as `1Gi`.

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

/// An amount in billionths, and whether it was written in powers of 1024.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    binary: bool,
}

impl Quantity {
    pub fn zero() -> Quantity {
        Quantity {
            nanos: 0,
            binary: false,
        }
    }

    /// Parses any spelling; fractions of a billionth round up.
    pub fn parse(text: &str) -> Option<Quantity> {
        let start = text.strip_prefix(['+', '-']).unwrap_or(text);
        let length = start
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(start.len());
        let (number, suffix) = start.split_at(length);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let (unit, binary) = unit(suffix)?;
        let mut nanos = digits(whole)?.checked_mul(unit)?;
        let mut place = unit;
        let mut rest = false;
        for digit in fraction.bytes() {
            rest |= place % 10 != 0 && digit != b'0';
            place /= 10;
            nanos = nanos.checked_add(i128::from(digit - b'0') * place)?;
        }
        nanos += i128::from(rest);
        Some(Quantity {
            nanos: if text.starts_with('-') { -nanos } else { nanos },
            binary,
        })
    }

    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// Returns the whole number, rounded up; none if it is negative or too big to be one of bytes.
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
            Some(unit) if self.binary && self.nanos != 0 => Some(unit),
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
    fn quantities_are_written_as_the_server_does() {
        check("0.5", "500m");
        check("2000m", "2");
        check("1024Mi", "1Gi");
        check("1.5Gi", "1536Mi");
        check("16G", "16G");
        check("1e3", "1k");
        check("0", "0");
        check("0.1m", "100u");
        check("100", "100");
        check("-1", "-1");
    }

    #[test]
    fn nonsense_is_not_a_quantity() {
        for text in ["", "lots", "1Zi", "1 Gi", "1.2.3", "Gi", "1e99"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }
}
