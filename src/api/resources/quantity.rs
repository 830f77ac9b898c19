//! Amounts in SkyPilot's notation and in Kubernetes'.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::super::shape::Got;
use crate::k8s::quantity::{self, is_positive, is_quantity, is_size};

/// An amount: a Kubernetes quantity, and whether it is a minimum.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    text: String,
    /// SkyPilot's `4+`: at least this amount.
    pub at_least: bool,
}

impl Quantity {
    /// Reads a Kubernetes quantity.
    pub fn parse(text: &str) -> Result<Self, String> {
        if is_quantity(text) {
            return Ok(Self::exactly(text));
        }
        Err(format!("{text:?} is not a quantity such as 4, 500m or 4Gi"))
    }

    fn exactly(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            at_least: false,
        }
    }

    /// The quantity in Kubernetes' notation.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The number of bytes, rounded up; `None` if it does not fit.
    pub fn bytes(&self) -> Option<u64> {
        quantity::Quantity::parse(&self.text)?.bytes()
    }

    /// Whether the amount is above zero.
    pub fn is_positive(&self) -> bool {
        is_positive(&self.text)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plus = if self.at_least { "+" } else { "" };
        write!(f, "{}{plus}", self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text of a scalar, which YAML may have read as a number, and whether it ended with SkyPilot's `+`.
fn scalar(value: &Value) -> Option<(String, bool)> {
    let text = match value {
        // As in SkyPilot, nothing stands behind a `+`.
        Value::String(text) if text.ends_with(char::is_whitespace) && text.contains('+') => {
            return None;
        }
        Value::String(text) => text.trim().to_owned(),
        // A float is printed without an exponent and without a useless `.0`.
        Value::Number(number) => number.as_i64().map_or_else(
            || number.as_f64().map(|x| x.to_string()),
            |x| Some(x.to_string()),
        )?,
        _ => return None,
    };
    match text.strip_suffix('+') {
        // Nor does a space between a unit and it.
        Some(text) if text.trim_end().ends_with(char::is_alphabetic) => {
            Some((text.to_owned(), true))
        }
        Some(text) => Some((text.trim_end().to_owned(), true)),
        None => Some((text, false)),
    }
}

/// A number as Python's `float()` reads it, if it is finite. Digits may be joined by `_`.
fn finite(text: &str) -> Option<f64> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let joints = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_');
    let mut places = joints.map(|(at, _)| at);
    if !places.all(|at| at > 0 && is_digit(bytes.get(at - 1)) && is_digit(bytes.get(at + 1))) {
        return None;
    }
    let number = text.replace('_', "").parse::<f64>().ok();
    number.filter(|number| number.is_finite())
}

/// Reads an amount of CPUs: a number of cores, or a quantity such as `500m`.
///
/// # Errors
/// A message for the user.
pub fn read_cpus(value: &Value) -> Result<Quantity, String> {
    let expected = || {
        format!(
            "expected a number of cores such as 4, 0.5, 500m or 4+, got {}",
            Got(value)
        )
    };
    let (text, at_least) = scalar(value).ok_or_else(expected)?;
    let quantity = match (Quantity::parse(&text), finite(&text)) {
        (Ok(quantity), Some(_)) => quantity,
        (Ok(quantity), None) if text.ends_with('m') => quantity,
        // Python accepts spellings of numbers that Kubernetes refuses.
        (Err(_), Some(number)) => Quantity::exactly(number.to_string()),
        _ => return Err(expected()),
    };
    if !quantity.is_positive() {
        return Err(expected());
    }
    Ok(Quantity {
        at_least,
        ..quantity
    })
}

/// The number of gigabytes in one of SkyPilot's units, in any case. They are powers of 1024 (0.14.1,
/// `sky/utils/resources_utils.py`).
fn gigabytes_per(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "kb" | "ki" => 1.0 / (1024.0 * 1024.0),
        "mb" | "mi" => 1.0 / 1024.0,
        "" | "gb" | "gi" => 1.0,
        "tb" | "ti" => 1024.0,
        "pb" | "pi" => 1024.0 * 1024.0,
        _ => return None,
    })
}

/// Splits an amount into a number and one of SkyPilot's units.
fn split_unit(text: &str) -> (&str, &str) {
    let start = (text.len().checked_sub(2)).filter(|start| text.is_char_boundary(*start));
    match start.map(|start| text.split_at(start)) {
        Some((number, unit)) if gigabytes_per(unit).is_some() => (number.trim_end(), unit),
        _ => (text, ""),
    }
}

/// Whether a value is SkyPilot's `3x`: at least that many gigabytes of memory for each CPU.
pub(super) fn is_multiple(value: &Value) -> bool {
    let number = value
        .as_str()
        .and_then(|text| text.trim().strip_suffix('x'));
    let number = number.and_then(|number| finite(number.trim_end()));
    number.is_some_and(|number| number > 0.0)
}

/// Reads an amount of memory. Kubernetes' notation stays unchanged. A bare number and SkyPilot's units become decimal `G`, as in
/// SkyPilot's pods (0.14.1, `sky/clouds/kubernetes.py`).
///
/// # Errors
/// A message for the user.
pub fn read_memory(value: &Value) -> Result<Quantity, String> {
    let expected = || {
        format!(
            "expected an amount of memory such as 16, 16GB, 16Gi or 16+, got {}",
            Got(value)
        )
    };
    let (text, at_least) = scalar(value).ok_or_else(expected)?;
    let (number, unit) = split_unit(&text);
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi"]
        .into_iter()
        .find(|binary| binary.eq_ignore_ascii_case(unit));
    let quantity = match (binary, gigabytes_per(unit), finite(number)) {
        (Some(binary), ..) => {
            Quantity::parse(&format!("{number}{binary}")).map_err(|_| expected())?
        }
        (None, Some(factor), Some(amount)) => Quantity::exactly(format!("{}G", amount * factor)),
        _ => Quantity::parse(&text).map_err(|_| expected())?,
    };
    if !quantity.is_positive() || quantity.text.ends_with(['m', 'n', 'u']) {
        return Err(expected());
    }
    Ok(Quantity {
        at_least,
        ..quantity
    })
}

/// Reads the size of a volume. A bare number is in Gi and SkyPilot's `GB` is Gi, as in SkyPilot's volumes (0.14.1,
/// `sky/volumes/volume.py`, `sky/utils/resources_utils.py`). Kubernetes' notation stays unchanged.
///
/// # Errors
/// A message for the user.
pub fn read_volume_size(value: &Value) -> Result<String, String> {
    let expected = || {
        format!(
            "{} is not a size: expected a quantity such as 10Gi",
            Got(value)
        )
    };
    let (text, at_least) = scalar(value).ok_or_else(expected)?;
    let (number, unit) = split_unit(&text);
    let size = match (unit, text.as_bytes().last()) {
        ("", Some(b'0'..=b'9')) => format!("{text}Gi"),
        // Kubernetes knows only `k` in lower case, and only `Ki` in binary.
        (unit, _) if !unit.is_empty() => {
            format!("{number}{}i", unit[..1].to_ascii_uppercase())
        }
        _ => text,
    };
    if at_least || !is_size(&size) || size.ends_with(['m', 'n', 'u']) {
        return Err(expected());
    }
    Ok(size)
}

/// Writes memory as SkyPilot does: a bare number is in gigabytes.
pub(super) fn write_memory<S: Serializer>(
    memory: &Option<Quantity>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = memory.as_ref().map(ToString::to_string).unwrap_or_default();
    let (amount, plus) = match text.strip_suffix('+') {
        Some(amount) => (amount, "+"),
        None => (text.as_str(), ""),
    };
    let bare = amount
        .strip_suffix('G')
        .filter(|bare| finite(bare).is_some());
    serializer.collect_str(&format_args!("{}{plus}", bare.unwrap_or(amount)))
}

/// Reads a disk size in whole gigabytes. 256 is SkyPilot's default and counts as absent, as in SkyPilot.
pub(super) fn read_disk_size(value: &Value) -> Result<Option<u32>, String> {
    let expected = || {
        format!(
            "expected a whole number of gigabytes such as 100, 100GB or 1TB, got {}",
            Got(value)
        )
    };
    let text = match value {
        Value::Number(number) if number.is_u64() => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(expected()),
    };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = &text[digits.len()..];
    let unit = if unit == "G" { "gb" } else { unit };
    let amount: u32 = digits.parse().map_err(|_| expected())?;
    let size = f64::from(amount) * gigabytes_per(unit).ok_or_else(expected)?;
    if size.fract() != 0.0 || !(1.0..=f64::from(u32::MAX)).contains(&size) {
        return Err(expected());
    }
    Ok((size != 256.0).then_some(size as u32))
}
