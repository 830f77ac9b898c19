//! Types and parsers for the values of options.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use ipnet::IpNet;

use crate::api::{
    AccessMode, InvalidUser, Quantity, Since, TaskState, User, check_image_name, is_dns_label,
    is_dns_subdomain, is_label_key, read_cpus, read_memory, read_statuses,
};

/// The format of data: `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns with a header, for a person.
    Table,
    /// The same with more columns.
    Wide,
    /// One tab between cells, without a header, with whole values, for a pipe.
    Tsv,
    /// The server's document.
    Json,
    /// The same as YAML.
    Yaml,
    /// Ids, one a line.
    Name,
}

impl Format {
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// When the output has colours: `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// On a terminal, unless the environment says no.
    #[default]
    Auto,
    Always,
    Never,
}

impl FromStr for When {
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

/// What `completion` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    /// Candidates for a word, which the scripts of the shells ask for.
    Words,
}

impl FromStr for Shell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bash" => Ok(Self::Bash),
            "zsh" => Ok(Self::Zsh),
            "fish" => Ok(Self::Fish),
            "words" => Ok(Self::Words),
            _ => Err("expected bash, zsh or fish".to_owned()),
        }
    }
}

/// How the server knows the users who come to its port: `--auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    Header,
    Kubernetes,
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "header" => Ok(Self::Header),
            "kubernetes" => Ok(Self::Kubernetes),
            _ => Err("expected header or kubernetes".to_owned()),
        }
    }
}

/// A Pod Security Standard that pods have to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodSecurity {
    Restricted,
}

impl FromStr for PodSecurity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "restricted" => Ok(Self::Restricted),
            _ => Err("expected restricted: other standards admit all pods of tasks".to_owned()),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "tsv" => Ok(Self::Tsv),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            _ => Err("expected table, wide, tsv, json, yaml or name".to_owned()),
        }
    }
}

/// When a line of a log begins with its node: `--prefix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Only if the task has several nodes.
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

/// The format of `jobs logs`: `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// The records of the log in the order of their arrival, one a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

fn number<T: FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected {expected}"))
}

/// The name of a host, which stands in requests without the port.
pub(super) fn host(text: &str) -> Result<String, String> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_name = |part: &str| !part.is_empty() && part.chars().all(is_letter);
    match text.split('.').all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("expected a host name without a port, such as jobs.example.com".to_owned()),
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    number(text, "a port from 0 to 65535")
}

pub(super) fn num_nodes(text: &str) -> Result<u32, String> {
    number(text, "a number of nodes")
}

pub(super) fn num_tasks(text: &str) -> Result<u32, String> {
    number(text, "a number of tasks")
}

pub(super) fn rank(text: &str) -> Result<u32, String> {
    number(text, "the rank of a node, 0 for the first")
}

pub(super) fn tail(text: &str) -> Result<u32, String> {
    number(
        text,
        "a number of lines; without --tail all lines are printed",
    )
}

pub(super) fn statuses(text: &str) -> Result<Vec<TaskState>, String> {
    read_statuses(text)
}

/// A limit, which lets at least one through.
pub(super) fn positive<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let limit: T = number(text, "a whole number")?;
    (limit >= T::from(1))
        .then_some(limit)
        .ok_or_else(|| "expected at least 1".to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("expected a path".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

/// Reads `data:/mnt/data`.
pub(super) fn mount(text: &str) -> Result<(String, String), String> {
    let mount = text.split_once(':');
    let mount = mount.filter(|(name, path)| !name.is_empty() && path.starts_with('/'));
    mount
        .map(|(name, path)| (name.to_owned(), path.to_owned()))
        .ok_or_else(|| "expected the name of a volume and a path, such as data:/data".to_owned())
}

pub(super) fn namespace(text: &str) -> Result<String, String> {
    if is_dns_label(text) {
        return Ok(text.to_owned());
    }
    Err("expected lower-case letters, digits and `-`, at most 63".to_owned())
}

pub(super) fn image(text: &str) -> Result<String, String> {
    check_image_name(text).map(|()| text.to_owned())
}

/// The name of an object that has no namespace, such as a runtime class.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    match is_dns_subdomain(text) {
        true => Ok(text.to_owned()),
        false => Err("expected lower-case letters, digits, `-` and `.`".to_owned()),
    }
}

/// The beginning of the keys of labels.
pub(super) fn label_prefix(text: &str) -> Result<String, String> {
    match !text.is_empty() && is_label_key(&format!("{text}x")) {
        true => Ok(text.to_owned()),
        false => {
            Err("expected the beginning of the key of a label, such as example.com/".to_owned())
        }
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(Since::Ago(duration)) => Ok(duration),
        _ => Err("expected a duration such as 90s, 10m, 2h or 1d".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<Quantity, String> {
    let quantity = Quantity::parse(text).ok().filter(Quantity::is_positive);
    quantity.ok_or_else(|| "expected a size such as 1Mi".to_owned())
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text).ok().and_then(|size| size.bytes());
    bytes.ok_or_else(|| "expected a size such as 64Mi".to_owned())
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse().ok().or_else(address);
    network.ok_or_else(|| "expected a network such as 10.0.0.0/8, or an address".to_owned())
}

pub(super) fn user(text: &str) -> Result<User, String> {
    text.parse()
        .map_err(|invalid: InvalidUser| invalid.to_string())
}

pub(super) fn cpus(text: &str) -> Result<Quantity, String> {
    read_cpus(&text.into())
}

pub(super) fn memory(text: &str) -> Result<Quantity, String> {
    read_memory(&text.into())
}

pub(super) fn access_modes(text: &str) -> Result<Vec<AccessMode>, String> {
    text.split(',').map(|mode| mode.trim().parse()).collect()
}
