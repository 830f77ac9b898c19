//! What belongs to a task beside its Jobs, and goes with the first of them; and the claims of volumes, which go with nothing.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{
        PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret, Service, ServiceSpec,
        VolumeResourceRequirements,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};

use super::Submission;
use crate::{
    api::{AccessMode, Timestamp, User, VolumeDefinition, VolumeId, VolumeMount},
    executor::labels,
};

/// The headless Service of a task with several nodes, by which they find each other.
///
/// Names resolve before the pods are ready, since the nodes of a task wait for each other.
pub fn service(submission: &Submission<'_>, first_job: &ObjectMeta) -> Service {
    let name = labels::service_name(submission.id);
    let selector = (labels::TASK_ID.to_owned(), submission.id.to_string());
    Service {
        metadata: owned_by(first_job, name, submission),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(BTreeMap::from([selector])),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Secret of a task that has `secrets`: the only object in which their values stand.
pub fn secret(submission: &Submission<'_>, first_job: &ObjectMeta) -> Secret {
    let name = labels::secret_name(submission.id);
    let data = submission.task.secrets.iter();
    let data = data.map(|(name, value)| (name.clone(), ByteString(value.clone().into_bytes())));
    Secret {
        metadata: owned_by(first_job, name, submission),
        data: Some(data.collect()),
        // Nobody changes it, and a kubelet need not watch it.
        immutable: Some(true),
        ..Secret::default()
    }
}

/// The claims of a task's ephemeral volumes.
pub fn ephemeral_claims(
    submission: &Submission<'_>,
    first_job: &ObjectMeta,
) -> Vec<PersistentVolumeClaim> {
    let mounts = submission.task.volumes.iter();
    let claim = |(path, mount): (&String, &VolumeMount)| {
        let VolumeMount::Ephemeral {
            size,
            storage_class,
            access_mode,
            labels: wanted,
        } = mount
        else {
            return None;
        };
        let name = submission.claims.get(path)?.clone();
        let mut metadata = owned_by(first_job, name, submission);
        let own = metadata.labels.get_or_insert_default();
        // Another's volume is found by its labels.
        for (key, value) in wanted.iter().filter(|(key, _)| !labels::is_ours(key)) {
            own.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let default = AccessMode::ReadWriteOnce.to_string();
        let modes = vec![access_mode.clone().unwrap_or(default)];
        Some(PersistentVolumeClaim {
            metadata,
            spec: Some(claim_spec(size, storage_class.as_ref(), modes)),
            ..PersistentVolumeClaim::default()
        })
    };
    mounts.filter_map(claim).collect()
}

pub fn owned_by(first_job: &ObjectMeta, name: String, submission: &Submission<'_>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        labels: Some(submission.labels()),
        annotations: Some(submission.annotations()),
        // A Job that is not there yet owns nothing: Kubernetes takes no owner without a uid.
        owner_references: first_job.uid.clone().map(|uid| {
            vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name: first_job.name.clone().unwrap_or_default(),
                uid,
                ..OwnerReference::default()
            }]
        }),
        ..ObjectMeta::default()
    }
}

/// The claim behind a volume.
pub fn claim(
    id: &VolumeId,
    user: &User,
    volume: &VolumeDefinition,
    created_at: Timestamp,
) -> PersistentVolumeClaim {
    let VolumeDefinition {
        name,
        size,
        storage_class,
        access_modes,
    } = volume;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{id}")),
            labels: Some(BTreeMap::from([
                (labels::VOLUME.to_owned(), "true".to_owned()),
                (labels::VOLUME_ID.to_owned(), id.to_string()),
                (labels::VOLUME_NAME.to_owned(), name.clone()),
                (labels::USERNAME.to_owned(), labels::username(user)),
            ])),
            annotations: Some(BTreeMap::from([
                (labels::CREATED_AT.to_owned(), created_at.to_string()),
                (labels::EXACT_USER.to_owned(), user.to_string()),
            ])),
            ..ObjectMeta::default()
        },
        spec: Some(claim_spec(
            size,
            storage_class.as_ref(),
            access_modes.iter().map(ToString::to_string).collect(),
        )),
        ..PersistentVolumeClaim::default()
    }
}

fn claim_spec(
    size: &str,
    storage_class: Option<&String>,
    access_modes: Vec<String>,
) -> PersistentVolumeClaimSpec {
    let storage = ("storage".to_owned(), Quantity(size.to_owned()));
    PersistentVolumeClaimSpec {
        access_modes: Some(access_modes),
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([storage])),
            ..VolumeResourceRequirements::default()
        }),
        storage_class_name: storage_class.cloned(),
        ..PersistentVolumeClaimSpec::default()
    }
}
