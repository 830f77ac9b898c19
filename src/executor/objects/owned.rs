//! The objects of a task beside its Jobs, which the first Job owns; and the claims of volumes, which have no owner.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
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
use serde_json::json;

use super::{
    labels, names,
    submission::{NODE_IPS, Submission},
};
use crate::api::{
    AccessMode, RegistryLogin, Timestamp, User, VolumeDefinition, VolumeId, VolumeMount,
};

/// The headless Service of a task with several nodes, through which they find each other.
///
/// It publishes addresses of pods that are not ready, since the nodes of a task wait for each other.
pub fn service(submission: &Submission, first_job: &ObjectMeta) -> Service {
    let name = submission.stem.service();
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

/// The Secrets of a task: one for the values of its `secrets`, one for its script if the Jobs do not hold it, and one for its login to a
/// registry.
pub fn secrets(submission: &Submission, first_job: &ObjectMeta) -> Vec<Secret> {
    let own = (!submission.task.secrets.is_empty()).then(|| secret(submission, first_job));
    let script = script_secret(submission, first_job);
    let registry = registry_secret(submission, first_job);
    own.into_iter().chain(script).chain(registry).collect()
}

/// The Secret with which Kubernetes pulls the image of the task.
fn registry_secret(submission: &Submission, first_job: &ObjectMeta) -> Option<Secret> {
    let RegistryLogin {
        server,
        username,
        password,
    } = submission.registry_login.as_ref()?;
    let auth = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let login = json!({ "username": username, "password": password, "auth": auth });
    let config = json!({ "auths": { server: login } }).to_string();
    let data = (".dockerconfigjson".to_owned(), ByteString(config.into()));
    Some(Secret {
        metadata: owned_by(first_job, submission.stem.registry_secret(), submission),
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        data: Some(BTreeMap::from([data])),
        immutable: Some(true),
        ..Secret::default()
    })
}

fn secret(submission: &Submission, first_job: &ObjectMeta) -> Secret {
    let name = submission.stem.secret();
    let data = submission.task.secrets.iter();
    let data = data.map(|(name, value)| (name.clone(), ByteString(value.clone().into_bytes())));
    Secret {
        metadata: owned_by(first_job, name, submission),
        data: Some(data.collect()),
        // The data never changes, and kubelets do not watch an immutable Secret.
        immutable: Some(true),
        ..Secret::default()
    }
}

/// The Secret that holds the script of a task, if the Jobs do not hold it.
fn script_secret(submission: &Submission, first_job: &ObjectMeta) -> Option<Secret> {
    let mut data = submission.script.files()?.clone();
    let names = submission.node_names.clone();
    data.extend(names.map(|names| (NODE_IPS.to_owned(), names)));
    let name = submission.stem.script_secret();
    Some(Secret {
        metadata: owned_by(first_job, name, submission),
        string_data: Some(data),
        immutable: Some(true),
        ..Secret::default()
    })
}

/// The claims of a task's ephemeral volumes.
pub fn ephemeral_claims(
    submission: &Submission,
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
        // The program finds volumes by these labels, so a user must not set them.
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

pub(super) fn owned_by(
    first_job: &ObjectMeta,
    name: String,
    submission: &Submission,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        labels: Some(submission.labels()),
        annotations: Some(submission.annotations()),
        // Kubernetes refuses an owner without a uid, so a Job that is not created yet (a dry run) owns nothing.
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

/// The claim behind a volume. `request` is the digest of the request, if a key has decided the id.
pub fn claim(
    id: &VolumeId,
    user: &User,
    volume: &VolumeDefinition,
    created_at: Timestamp,
    request: Option<String>,
) -> PersistentVolumeClaim {
    let VolumeDefinition {
        name,
        size,
        storage_class,
        access_modes,
    } = volume;
    let annotations = [
        (labels::CREATED_AT.to_owned(), created_at.to_string()),
        (labels::EXACT_USER.to_owned(), user.to_string()),
    ];
    let request = request.map(|request| (labels::REQUEST.to_owned(), request));
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{id}")),
            labels: Some(BTreeMap::from([
                (labels::VOLUME.to_owned(), "true".to_owned()),
                (labels::VOLUME_ID.to_owned(), id.to_string()),
                (labels::VOLUME_NAME.to_owned(), name.clone()),
                (labels::USERNAME.to_owned(), names::username(user)),
            ])),
            annotations: Some(annotations.into_iter().chain(request).collect()),
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
