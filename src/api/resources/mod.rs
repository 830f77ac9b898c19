//! What one node of a task asks for, in SkyPilot's notation and in Kubernetes'.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Problem, definition::unknown_field};

/// `resources:` of a task file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerators: Option<Accelerators>,
    /// The container image, without SkyPilot's `docker:` prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// SkyPilot's other fields, as they were given: accepted, without effect.
    #[serde(flatten)]
    pub unused: Map<String, Value>,
}

/// SkyPilot's other fields of `resources` (SkyPilot 0.14.1, `sky/utils/schemas.py`).
const UNUSED: [&str; 23] = [
    "infra",
    "cloud",
    "region",
    "zone",
    "instance_type",
    "use_spot",
    "disk_size",
    "disk_tier",
    "network_tier",
    "local_disk",
    "max_hourly_cost",
    "ports",
    "labels",
    "autostop",
    "job_recovery",
    "priority",
    "priority_class",
    "any_of",
    "ordered",
    "accelerator_args",
    "ephemeral_storage",
    "volumes",
    "spot_recovery",
];
const USED: [&str; 5] = ["cpus", "memory", "accelerators", "gpus", "image_id"];

impl Resources {
    /// Reads `resources`, adding to `problems` what is wrong with it.
    pub(super) fn from_json(value: &Value, problems: &mut Vec<Problem>) -> Self {
        let mut resources = Self::default();
        let fields = match value {
            Value::Null => return resources,
            Value::Object(fields) => fields,
            other => {
                problems.push(Problem::new(
                    "resources",
                    format!("expected a mapping, got {other}"),
                ));
                return resources;
            }
        };
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let read = match key.as_str() {
                "cpus" => read_cpus(value).map(|cpus| resources.cpus = Some(cpus)),
                "memory" => read_memory(value).map(|memory| resources.memory = Some(memory)),
                "accelerators" | "gpus" if resources.accelerators.is_some() => {
                    Err("`accelerators` and `gpus` are the same field, give one".to_owned())
                }
                "accelerators" | "gpus" => Accelerators::from_json(value)
                    .map(|accelerators| resources.accelerators = Some(accelerators)),
                "image_id" => read_image(value).map(|image| resources.image_id = Some(image)),
                known if UNUSED.contains(&known) || known.starts_with('_') => {
                    resources.unused.insert(key.clone(), value.clone());
                    Ok(())
                }
                _ => Err(unknown_field(key, USED.iter().chain(&UNUSED))),
            };
            problems.extend(
                read.err()
                    .map(|message| Problem::new(format!("resources.{key}"), message)),
            );
        }
        resources
    }
}

/// An amount of something: a Kubernetes quantity, and whether more would do too.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    text: String,
    /// SkyPilot's `4+`: at least this much.
    pub at_least: bool,
}

impl Quantity {
    /// Reads what Kubernetes calls a quantity (apimachinery `pkg/api/resource/quantity.go`, v1.36): a decimal number, then
    /// nothing, a suffix, or an exponent.
    ///
    /// # Errors
    /// A message for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, suffix) = split_number(text);
        let is_exponent = |suffix: &str| {
            let digits = suffix
                .strip_prefix(['e', 'E'])
                .map(|digits| digits.strip_prefix(['+', '-']).unwrap_or(digits));
            digits.is_some_and(|digits| {
                matches!(digits.len(), 1..=2) && digits.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        if is_number(number) && (SUFFIXES.contains(&suffix) || is_exponent(suffix)) {
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

    /// Whether it is more than nothing.
    pub fn is_positive(&self) -> bool {
        let (number, _) = split_number(&self.text);
        !number.starts_with('-') && number.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
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

const SUFFIXES: [&str; 16] = [
    "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
];

/// Splits a number from what follows it.
fn split_number(text: &str) -> (&str, &str) {
    let is_number_byte = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-');
    let end = text
        .bytes()
        .position(|byte| !is_number_byte(byte))
        .unwrap_or(text.len());
    text.split_at(end)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// The text of a scalar that YAML may have read as a number, and whether it ended in SkyPilot's `+`.
fn scalar(value: &Value) -> Option<(String, bool)> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        // A float is printed without an exponent and without a useless `.0`.
        Value::Number(number) => number.as_i64().map_or_else(
            || number.as_f64().map(|x| x.to_string()),
            |x| Some(x.to_string()),
        )?,
        _ => return None,
    };
    match text.strip_suffix('+') {
        Some(text) => Some((text.trim_end().to_owned(), true)),
        None => Some((text, false)),
    }
}

fn read_cpus(value: &Value) -> Result<Quantity, String> {
    let expected = || format!("expected a number of cores such as 4, 0.5, 500m or 4+, got {value}");
    let (text, at_least) = scalar(value).ok_or_else(expected)?;
    let (_, suffix) = split_number(&text);
    let quantity = Quantity::parse(&text).map_err(|_| expected())?;
    if !quantity.is_positive() || !(matches!(suffix, "" | "m") || suffix.starts_with(['e', 'E'])) {
        return Err(expected());
    }
    Ok(Quantity {
        at_least,
        ..quantity
    })
}

/// Reads an amount of memory. Kubernetes' own notation stays as it is; a bare number and SkyPilot's units (any case, powers
/// of 1024 of a GB) become decimal `G`, as SkyPilot writes them into its pods (0.14.1, `sky/clouds/kubernetes.py`).
fn read_memory(value: &Value) -> Result<Quantity, String> {
    let expected =
        || format!("expected an amount of memory such as 16, 16GB, 16Gi or 16+, got {value}");
    let (text, at_least) = scalar(value).ok_or_else(expected)?;
    let (number, unit) = split_number(&text);
    let unit = unit.trim_start();
    let per_gigabyte = match unit.to_ascii_lowercase().as_str() {
        "" | "gb" => Some(1.0),
        "kb" => Some(1.0 / (1024.0 * 1024.0)),
        "mb" => Some(1.0 / 1024.0),
        "tb" => Some(1024.0),
        "pb" => Some(1024.0 * 1024.0),
        _ => None,
    };
    let quantity = match (per_gigabyte, number.parse::<f64>()) {
        (Some(factor), Ok(amount)) => Quantity::exactly(format!("{}G", amount * factor)),
        (Some(_), Err(_)) => return Err(expected()),
        (None, _) => {
            let binary = ["Ki", "Mi", "Gi", "Ti", "Pi"]
                .into_iter()
                .find(|binary| binary.eq_ignore_ascii_case(unit));
            Quantity::parse(&format!("{number}{}", binary.unwrap_or(unit)))
                .map_err(|_| expected())?
        }
    };
    if !quantity.is_positive() || quantity.text.ends_with(['m', 'n', 'u']) {
        return Err(expected());
    }
    Ok(Quantity {
        at_least,
        ..quantity
    })
}

fn read_image(value: &Value) -> Result<String, String> {
    let image = match value {
        Value::String(image) => image.as_str(),
        // SkyPilot's `{region: image}`: a cluster has no regions, so the only image it names is meant.
        Value::Object(images) if images.len() == 1 => images
            .values()
            .next()
            .and_then(Value::as_str)
            .unwrap_or_default(),
        other => {
            return Err(format!(
                "expected the name of a container image, got {other}"
            ));
        }
    };
    let image = image.strip_prefix("docker:").unwrap_or(image);
    if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{value} is not the name of a container image"));
    }
    Ok(image.to_owned())
}

/// How many GPUs a node gets, and of which type.
#[derive(Clone, Debug, PartialEq)]
pub struct Accelerators {
    /// The type, as in `H100`; any type when absent.
    pub name: Option<String>,
    pub count: u32,
}

impl Accelerators {
    fn from_json(value: &Value) -> Result<Self, String> {
        let expected = || format!("expected NAME, NAME:COUNT or COUNT, got {value}");
        match value {
            Value::String(text) => Self::parse(text.trim()).ok_or_else(expected),
            Value::Number(count) => Self::parse(&count.to_string()).ok_or_else(expected),
            Value::Object(types) if types.len() == 1 => {
                let (name, count) = types.iter().next().ok_or_else(expected)?;
                match count {
                    // `{H100:8}` in flow style is a set of one.
                    Value::Null => Self::parse(name).ok_or_else(expected),
                    count => Self::parse(&format!("{name}:{count}")).ok_or_else(expected),
                }
            }
            _ => Err(expected()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (Some(name), count),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => (None, text),
            None => (Some(text), "1"),
        };
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        let count: f64 = count
            .parse()
            .ok()
            .filter(|count| *count > 0.0 && *count <= 10_000.0)?;
        if !name.is_none_or(is_name) {
            return None;
        }
        Some(Self {
            name: name.map(str::to_owned),
            // A pod cannot have a part of a GPU; SkyPilot rounds up too.
            count: count.ceil() as u32,
        })
    }
}

impl fmt::Display for Accelerators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}:{}", self.count),
            None => write!(f, "{}", self.count),
        }
    }
}

impl Serialize for Accelerators {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
