//! `ports`: numbers and ranges, merged as SkyPilot merges them (0.14.1, `sky/utils/resources_utils.py`, `simplify_ports`).

use serde_json::Value;

use super::super::shape::Got;

/// Reads a port, a range, several of them separated by commas, or a list of these; returns sorted ranges.
pub fn read(value: &Value) -> Result<Vec<String>, String> {
    let expected = || {
        format!(
            "expected a port, a range such as 8000-8010, or a list of such, got {}",
            Got(value)
        )
    };
    let items = match value {
        Value::Array(items) => items.iter().collect(),
        item => vec![item],
    };
    let mut ranges = Vec::new();
    for item in items {
        match item {
            Value::Number(_) => {
                let port = item.as_i64().ok_or_else(expected)?;
                ranges.push((port, port));
            }
            Value::String(text) => {
                for part in text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                {
                    ranges.push(range(part).ok_or_else(expected)?);
                }
            }
            _ => return Err(expected()),
        }
    }
    for (first, last) in &ranges {
        if first > last || !(1..=65535).contains(first) || *last > 65535 {
            return Err(format!(
                "{first}-{last} is not a range of ports from 1 to 65535"
            ));
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    let write = |(first, last)| match first == last {
        true => format!("{first}"),
        false => format!("{first}-{last}"),
    };
    Ok(merged.into_iter().map(write).collect())
}

fn range(text: &str) -> Option<(i64, i64)> {
    let number = |text: &str| text.trim().parse::<u32>().ok().map(i64::from);
    match text.split_once('-') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => number(text).map(|port| (port, port)),
    }
}
