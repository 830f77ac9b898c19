//! The values that flags take, where a plain number or text is not enough.

use std::{str::FromStr, time::Duration};

use crate::api::{AccessMode, Since};

/// How data is printed: `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns with a header, for a person.
    Table,
    /// One tab between cells, no header, nothing cut, for a pipe.
    Tsv,
    /// The server's document.
    Json,
    /// The same as YAML.
    Yaml,
    /// Ids, one a line.
    Name,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "tsv" => Ok(Self::Tsv),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            _ => Err("expected table, tsv, json, yaml or name".to_owned()),
        }
    }
}

/// Whether each line of a log begins with its node: `--prefix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// When the task has several nodes.
    Auto,
    Always,
    Never,
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("expected auto, always or never".to_owned()),
        }
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(Since::Ago(duration)) => Ok(duration),
        _ => Err("expected a duration such as 90s, 10m, 2h or 1d".to_owned()),
    }
}

pub(super) fn access_modes(text: &str) -> Result<Vec<AccessMode>, String> {
    text.split(',').map(|mode| mode.trim().parse()).collect()
}
