//! The row of a claim, and the status of its volume. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::row::{Owner, Row, Wire, impl_row};
use crate::{
    api::{AccessMode, Timestamp, VolumeId, VolumeMetadata, VolumePhase, VolumeStatus},
    executor::{
        cluster::Resource,
        identity::{Uid, Version},
        objects::labels,
    },
};

/// The fields of a claim that the program uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire<Spec, Status>")]
pub struct ClaimRow {
    pub uid: Uid,
    pub version: Version,
    pub name: Box<str>,
    pub is_deleted: bool,
    /// The id and the name of its volume, from its labels; none if it is not the claim of a volume.
    pub volume: Option<(VolumeId, Box<str>)>,
    /// Whether it belongs to a volume or a task. Other claims are free to use.
    pub is_taken: bool,
    pub owner: Owner,
    pub created_at: Timestamp,
    /// The digest of the request that made it, if a key has decided its id.
    pub request: Option<Box<str>>,
    pub size: Box<str>,
    pub storage_class: Option<Box<str>>,
    pub access_modes: Vec<String>,
    pub phase: VolumePhase,
}

impl ClaimRow {
    /// The status of its volume; `None` if it is not the claim of a volume.
    pub fn status(&self, namespace: &str) -> Option<VolumeStatus> {
        let (volume_id, name) = self.volume.clone()?;
        let modes = self.access_modes.iter();
        Some(VolumeStatus {
            volume_id,
            name: name.into(),
            size: self.size.to_string(),
            storage_class: self.storage_class.as_deref().map(str::to_owned),
            access_modes: modes
                .filter_map(|mode| mode.parse::<AccessMode>().ok())
                .collect(),
            status: match self.is_deleted {
                true => VolumePhase::Terminating,
                false => self.phase,
            },
            created_at: self.created_at,
            username: self.owner.label.to_string(),
            reason: None,
            used_by: Vec::new(),
            metadata: VolumeMetadata {
                pvc_name: self.name.to_string(),
                namespace: namespace.to_owned(),
            },
        })
    }
}

impl Resource for ClaimRow {
    const PATH: (&'static str, &'static str) = ("/api/v1", "persistentvolumeclaims");
    const KIND: &'static str = "volumes";
}

// A claim that is being deleted exists until no pod uses it any more.
impl_row!(ClaimRow, |_| false);

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    access_modes: Option<Vec<String>>,
    resources: Resources,
    storage_class_name: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resources {
    requests: Option<BTreeMap<String, Box<str>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    phase: Option<String>,
}

impl From<Wire<Spec, Status>> for ClaimRow {
    fn from(wire: Wire<Spec, Status>) -> Self {
        let Wire { meta, spec, status } = wire;
        let id = meta.label(labels::VOLUME_ID).and_then(|id| id.parse().ok());
        let size = spec.resources.requests;
        Self {
            uid: Uid::new(&meta.uid),
            version: Version::new(&meta.resource_version),
            is_deleted: meta.deletion_timestamp.is_some(),
            volume: id.and_then(|id| Some((id, meta.label(labels::VOLUME_NAME)?.into()))),
            is_taken: [labels::VOLUME, labels::TASK]
                .iter()
                .any(|label| meta.label(label).is_some()),
            owner: Owner::of(&meta),
            created_at: meta.created_at(),
            request: meta.annotation(labels::REQUEST).map(Into::into),
            size: size
                .and_then(|mut size| size.remove("storage"))
                .unwrap_or_default(),
            storage_class: spec.storage_class_name,
            access_modes: spec.access_modes.unwrap_or_default(),
            phase: match status.phase.as_deref() {
                Some("Bound") => VolumePhase::Bound,
                Some("Lost") => VolumePhase::Lost,
                _ => VolumePhase::Pending,
            },
            name: meta.name.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn a_recorded_claim_gives_the_status_of_a_volume() {
        let claims: Vec<ClaimRow> = golden::items("recorded/persistentvolumeclaims.json");
        let volumes: Vec<_> = claims
            .iter()
            .filter_map(|claim| claim.status("default"))
            .collect();
        golden::assert("observed/volumes.yaml", &golden::to_yaml(&volumes));
    }
}
