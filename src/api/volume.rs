//! Volumes: the definition of a user, and the answers of the server.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    Problem, TaskId, Timestamp, VolumeId,
    resources::read_volume_size,
    schema::{AMOUNT, of_json, or_null},
};
use crate::k8s::names::is_dns_subdomain;

/// Kubernetes' access modes of a volume.
#[expect(clippy::enum_variant_names, reason = "the words are not ours")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum AccessMode {
    ReadWriteOnce,
    ReadWriteMany,
    ReadOnlyMany,
    ReadWriteOncePod,
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of the variants are the wire form.
        write!(f, "{self:?}")
    }
}

impl FromStr for AccessMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ReadWriteOnce" => Ok(Self::ReadWriteOnce),
            "ReadWriteMany" => Ok(Self::ReadWriteMany),
            "ReadOnlyMany" => Ok(Self::ReadOnlyMany),
            "ReadWriteOncePod" => Ok(Self::ReadWriteOncePod),
            _ => Err(format!(
                "{text:?} is not an access mode: expected ReadWriteOnce, ReadWriteMany, ReadOnlyMany or ReadWriteOncePod"
            )),
        }
    }
}

/// `POST /volumes/create`: the volume that a user wants.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VolumeDefinition {
    /// The name by which tasks mount it: a DNS name of at most 63 characters.
    pub name: String,
    /// A Kubernetes quantity, as in `10Gi`.
    pub size: String,
    /// The cluster's default when not given.
    pub storage_class: Option<String>,
    /// `ReadWriteOnce` when not given.
    pub access_modes: Vec<AccessMode>,
}

impl VolumeDefinition {
    /// Reads and checks a definition.
    pub fn from_json(value: &Value) -> Result<Self, Vec<Problem>> {
        let Some(fields) = value.as_object() else {
            return Err(vec![Problem::new(
                "",
                "expected an object with `name` and `size`",
            )]);
        };
        let mut problems = Vec::new();
        let mut text = |field: &str| match fields.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                problems.push(Problem::new(
                    field,
                    format!("expected a string, got {other}"),
                ));
                None
            }
        };
        let (name, storage_class) = (text("name"), text("storage_class"));
        let access_modes = access_modes(fields.get("access_modes"), &mut problems);

        match &name {
            Some(name) if is_dns_subdomain(name) && name.len() <= 63 => (),
            Some(name) => problems.push(Problem::new(
                "name",
                format!(
                    "{name:?} is not a volume name: expected at most 63 lower-case letters, digits, `-` and `.`, \
                     beginning and ending with a letter or digit"
                ),
            )),
            None if fields.get("name").is_some_and(|name| !name.is_null()) => (),
            None => problems.push(Problem::new("name", "is required")),
        }
        let size = match fields.get("size").filter(|size| !size.is_null()) {
            Some(size) => read_volume_size(size)
                .map_err(|message| problems.push(Problem::new("size", message)))
                .ok(),
            None => {
                problems.push(Problem::new("size", "is required, as in 10Gi"));
                None
            }
        };
        if let Some(class) = storage_class
            .as_deref()
            .filter(|class| !is_dns_subdomain(class))
        {
            problems.push(Problem::new(
                "storage_class",
                format!("{class:?} is not the name of a storage class"),
            ));
        }
        problems.extend(
            fields
                .keys()
                .filter(|key| !FIELDS.contains(&key.as_str()))
                .map(|key| {
                    let known = FIELDS.join(", ");
                    Problem::new(key, format!("unknown field: expected one of {known}"))
                }),
        );

        match (name, size) {
            (Some(name), Some(size)) if problems.is_empty() => Ok(Self {
                name,
                size,
                storage_class,
                access_modes,
            }),
            _ => Err(problems),
        }
    }
}

impl PartialSchema for VolumeDefinition {
    fn schema() -> RefOr<Schema> {
        let modes = json!({
            "type": "array",
            "items": {"$ref": "#/components/schemas/AccessMode"},
            "minItems": 1,
            "description": "`ReadWriteOnce` if it is absent.",
        });
        let class = json!({
            "type": "string",
            "description": "The cluster's default if it is absent.",
            "pattern": DNS_SUBDOMAIN,
            "maxLength": 253,
        });
        of_json(json!({
            "type": "object",
            "description": "A volume that a user wants.",
            "required": ["name", "size"],
            "properties": {
                "name": {
                    "type": "string",
                    "description": "The name by which tasks mount it.",
                    "pattern": DNS_SUBDOMAIN,
                    "maxLength": 63,
                    "examples": ["data"],
                },
                "size": {
                    "type": ["string", "number"],
                    "description": "A quantity; a number is in Gi.",
                    "pattern": AMOUNT,
                    "examples": ["10Gi"],
                },
                "storage_class": or_null(class),
                "access_modes": or_null(modes),
            },
            "additionalProperties": false,
        }))
    }
}

impl ToSchema for VolumeDefinition {}

/// The form of a name, for the OpenAPI document.
const DNS_SUBDOMAIN: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";

const FIELDS: [&str; 4] = ["name", "size", "storage_class", "access_modes"];

fn access_modes(value: Option<&Value>, problems: &mut Vec<Problem>) -> Vec<AccessMode> {
    let modes = match value {
        None | Some(Value::Null) => return vec![AccessMode::ReadWriteOnce],
        Some(Value::Array(modes)) if !modes.is_empty() => modes,
        Some(other) => {
            problems.push(Problem::new(
                "access_modes",
                format!("expected a list of access modes, got {other}"),
            ));
            return Vec::new();
        }
    };
    let mut read = Vec::new();
    for (index, mode) in modes.iter().enumerate() {
        match mode.as_str().unwrap_or_default().parse() {
            Ok(mode) => read.push(mode),
            Err(message) => problems.push(Problem::new(format!("access_modes[{index}]"), message)),
        }
    }
    read
}

/// The state of a volume: the phase of its claim in Kubernetes, or that it is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum VolumePhase {
    Pending,
    Bound,
    Lost,
    /// It is deleted as soon as no pod uses it any more.
    Terminating,
}

impl fmt::Display for VolumePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of the variants are the wire form.
        write!(f, "{self:?}")
    }
}

/// `GET /volumes/{volume_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeStatus {
    pub volume_id: VolumeId,
    pub name: String,
    pub size: String,
    #[schema(required)]
    pub storage_class: Option<String>,
    pub access_modes: Vec<AccessMode>,
    pub status: VolumePhase,
    pub created_at: Timestamp,
    /// The owner, as in the `username` label.
    pub username: String,
    /// Why the volume is not bound, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The unfinished tasks that mount it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<TaskId>,
    pub metadata: VolumeMetadata,
}

/// The objects of a volume in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VolumeMetadata {
    /// The name of the claim.
    #[schema(required)]
    pub pvc_name: String,
    #[schema(required)]
    pub namespace: String,
}

/// `POST /volumes/create`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeCreateResponse {
    pub volume_id: VolumeId,
    /// Always `created`.
    pub status: String,
    pub message: String,
}

impl VolumeCreateResponse {
    pub fn new(volume_id: VolumeId) -> Self {
        Self {
            status: "created".to_owned(),
            message: format!("Volume created successfully with ID: {volume_id}"),
            volume_id,
        }
    }
}

/// `GET /volumes`: newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeListResponse {
    pub volumes: Vec<VolumeStatus>,
}

/// `DELETE /volumes/{volume_id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeDeleteResponse {
    pub volume_id: VolumeId,
    /// Always `deleted`.
    pub status: String,
    pub message: String,
}

impl VolumeDeleteResponse {
    pub fn new(volume_id: VolumeId) -> Self {
        Self {
            status: "deleted".to_owned(),
            message: format!("Volume {volume_id} deleted successfully"),
            volume_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::describe;
    use super::*;

    #[test]
    fn a_definition_gets_the_defaults() {
        let definition = VolumeDefinition::from_json(
            &json!({"name": "data", "size": "10Gi", "storage_class": null}),
        );
        let expected = VolumeDefinition {
            name: "data".to_owned(),
            size: "10Gi".to_owned(),
            storage_class: None,
            access_modes: vec![AccessMode::ReadWriteOnce],
        };
        assert_eq!(definition, Ok(expected));
    }

    #[test]
    fn all_problems_are_reported_together() {
        let value = json!({"name": "My_Vol", "size": "ten", "access_modes": ["ReadWriteOnce", "Sometimes"], "sise": 1});
        let problems = describe(&VolumeDefinition::from_json(&value).unwrap_err());
        for part in [
            "name: \"My_Vol\" is not",
            "size: \"ten\" is not",
            "access_modes[1]: \"Sometimes\"",
            "sise: unknown",
        ] {
            assert!(problems.contains(part), "{part} is missing in: {problems}");
        }
        let problems = describe(&VolumeDefinition::from_json(&json!({"size": 10})).unwrap_err());
        assert_eq!(problems, "name: is required");
        assert!(VolumeDefinition::from_json(&json!({"name": "a", "size": "-1Gi"})).is_err());
        assert!(VolumeDefinition::from_json(&json!([])).is_err());
    }
}
