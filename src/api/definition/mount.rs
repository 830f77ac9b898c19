//! `volumes` of a task file: the volumes and their mount paths.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{
    super::{
        Problem,
        resources::read_volume_size,
        shape::{Got, join},
        volume::AccessMode,
    },
    check_length,
};
use crate::k8s::names::is_dns_subdomain;

/// The most mounts of a task. Each may need a request to Kubernetes.
const MAX_MOUNTS: usize = 64;

/// The volume at a mount path.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumeMount {
    /// An existing volume, or a directory of it.
    Named {
        name: String,
        /// Relative to the volume's root.
        sub_path: Option<String>,
    },
    /// A volume that is created and deleted with the task.
    Ephemeral {
        /// A Kubernetes quantity, as in `10Gi`.
        size: String,
        storage_class: Option<String>,
        /// A Kubernetes access mode, as in [`AccessMode`].
        access_mode: Option<String>,
        labels: BTreeMap<String, String>,
    },
}

impl VolumeMount {
    /// The name of an existing volume.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named { name, .. } => Some(name),
            Self::Ephemeral { .. } => None,
        }
    }
}

/// Writes the mount in SkyPilot's form.
impl Serialize for VolumeMount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Named {
                name,
                sub_path: None,
            } => serializer.serialize_str(name),
            Self::Named {
                name,
                sub_path: Some(sub_path),
            } => {
                let mut fields = serializer.serialize_map(None)?;
                fields.serialize_entry("name", name)?;
                fields.serialize_entry("sub_path", sub_path)?;
                fields.end()
            }
            Self::Ephemeral {
                size,
                storage_class,
                access_mode,
                labels,
            } => {
                let mut config = BTreeMap::new();
                config.extend(
                    storage_class
                        .iter()
                        .map(|class| ("storage_class_name", class)),
                );
                config.extend(access_mode.iter().map(|mode| ("access_mode", mode)));
                let mut fields = serializer.serialize_map(None)?;
                fields.serialize_entry("size", size)?;
                if !labels.is_empty() {
                    fields.serialize_entry("labels", labels)?;
                }
                if !config.is_empty() {
                    fields.serialize_entry("config", &config)?;
                }
                fields.end()
            }
        }
    }
}

/// Reads `volumes` without its invalid entries.
pub(super) fn read(
    value: Option<&Value>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, VolumeMount> {
    let entries = match value {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(entries)) if entries.len() > MAX_MOUNTS => {
            let message = format!(
                "{} volumes, and a task can have {MAX_MOUNTS}",
                entries.len()
            );
            problems.push(Problem::new("volumes", message));
            return BTreeMap::new();
        }
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            problems.push(Problem::new(
                "volumes",
                format!(
                    "expected a mapping of mount paths to volumes, got {}",
                    Got(other)
                ),
            ));
            return BTreeMap::new();
        }
    };
    let mut mounts = BTreeMap::new();
    for (path, value) in entries {
        let field = join("volumes", path);
        let mount_path = match read_path(path) {
            Ok(path) => path,
            Err(message) => {
                problems.push(Problem::new(field, message));
                continue;
            }
        };
        match read_mount(value) {
            Ok(mount) if !mounts.contains_key(&mount_path) => {
                mounts.insert(mount_path, mount);
            }
            Ok(_) => problems.push(Problem::new(field, "is mounted twice")),
            Err(message) => problems.push(Problem::new(field, message)),
        }
    }
    mounts
}

/// The beginning of the names of the directories in which a node has its script and its files.
const OWN: &str = ".k8s-cli";

/// The absolute path of a mount path. `~` is `/root`, the home directory of the usual user of an image.
fn read_path(path: &str) -> Result<String, String> {
    check_length(path)?;
    let absolute = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("/root{rest}"),
        _ => path.to_owned(),
    };
    let is_path = absolute.starts_with('/')
        && absolute.len() > 1
        && !absolute.contains(':')
        && !absolute.chars().any(char::is_control)
        && !absolute.split('/').any(|part| matches!(part, "." | ".."));
    if is_path {
        // `/data` and `/data/` are one directory.
        let parts: Vec<&str> = absolute
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        if parts.first().is_some_and(|first| first.starts_with(OWN)) {
            return Err(format!("is a directory of the program's own: no `/{OWN}*`"));
        }
        Ok(format!("/{}", parts.join("/")))
    } else {
        Err(
            "is not a mount path: expected an absolute path but `/`, without `.`, `..` and `:`"
                .to_owned(),
        )
    }
}

fn read_mount(value: &Value) -> Result<VolumeMount, String> {
    match value {
        Value::String(name) => Ok(VolumeMount::Named {
            name: read_name(name)?,
            sub_path: None,
        }),
        Value::Object(fields) if fields.contains_key("size") => read_ephemeral(fields),
        Value::Object(fields) if fields.contains_key("name") => read_named(fields),
        other => Err(format!(
            "expected the name of a volume, {{name, sub_path}} or {{size}}, got {}",
            Got(other)
        )),
    }
}

fn read_name(name: &str) -> Result<String, String> {
    check_length(name)?;
    if is_dns_subdomain(name) {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is not the name of a volume"))
    }
}

fn read_named(fields: &Map<String, Value>) -> Result<VolumeMount, String> {
    refuse_others(fields, &["name", "sub_path"])?;
    let sub_path = text(fields, "sub_path")?;
    check_length(sub_path.as_deref().unwrap_or_default())?;
    // The rule of Kubernetes (`pkg/apis/core/validation/validation.go`, validateLocalDescendingPath).
    let is_inside =
        |path: &String| !path.starts_with('/') && !path.split('/').any(|part| part == "..");
    if !sub_path.as_ref().is_none_or(is_inside) {
        return Err("`sub_path` must be relative and without `..`".to_owned());
    }
    Ok(VolumeMount::Named {
        name: read_name(&text(fields, "name")?.unwrap_or_default())?,
        sub_path: sub_path.filter(|path| !path.is_empty()),
    })
}

fn read_ephemeral(fields: &Map<String, Value>) -> Result<VolumeMount, String> {
    refuse_others(fields, &["size", "type", "labels", "config"])?;
    if let Some(kind) = text(fields, "type")?.filter(|kind| kind != "k8s-pvc") {
        return Err(format!(
            "the volume type {kind:?} is not known here: expected k8s-pvc"
        ));
    }
    let empty = Map::new();
    let mapping = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Ok(&empty),
        Some(Value::Object(mapping)) => Ok(mapping),
        Some(other) => Err(format!("`{key}`: expected a mapping, got {}", Got(other))),
    };
    let config = mapping("config")?;
    refuse_others(config, &["storage_class_name", "access_mode"])?;
    let access_mode = text(config, "access_mode")?;
    if let Some(mode) = &access_mode {
        mode.parse::<AccessMode>()?;
    }
    let mut labels = BTreeMap::new();
    for key in mapping("labels")?.keys() {
        labels.insert(
            key.clone(),
            text(mapping("labels")?, key)?.unwrap_or_default(),
        );
    }
    Ok(VolumeMount::Ephemeral {
        size: read_volume_size(&fields["size"])?,
        storage_class: text(config, "storage_class_name")?,
        access_mode,
        labels,
    })
}

fn text(fields: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}`: expected text, got {}", Got(other))),
    }
}

fn refuse_others(fields: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(other) => Err(format!(
            "`{other}` is not known here: expected {}",
            known.join(", ")
        )),
        None => Ok(()),
    }
}
