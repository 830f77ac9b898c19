//! The files that travel with a task: the Secrets that hold their archive, and the volume through which a pod reads it. Pure.
//!
//! Files are often `.env` and keys, so they are in Secrets, never in `ConfigMaps`. A Secret holds at most 1 MiB, so the archive is cut.
//! An operator with a shared file system keeps large archives there instead: then a claim shows the archive to pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{
        KeyToPath, PersistentVolumeClaimVolumeSource, PodSpec, ProjectedVolumeSource, Secret,
        SecretProjection, Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Serialize};

use super::{
    names::Stem,
    owned::owned_by,
    submission::{Submission, is_nonce},
};
use crate::api::{Problem, TaskFiles, TaskId};

/// The bytes of an archive in one Secret.
pub const PART: usize = 900 * 1024;
/// The directory at which containers mount the parts of the archive. `files.sh` names it too.
const DIRECTORY: &str = "/.k8s-cli-files";
/// The name of the volume with the parts.
const VOLUME: &str = "k8s-cli-files";
/// The key of a part in its Secret.
const KEY: &str = "part";
/// More parts than any archive has. An annotation may have been written by others.
const MAX_PARTS: u32 = 100_000;

/// The archive of a task, as an annotation of its first Job describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptFiles {
    #[serde(flatten)]
    pub about: TaskFiles,
    #[serde(flatten)]
    pub place: FilesPlace,
    /// The nonce in the names of the Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The task whose id is in the names of the Secrets, if the tasks of a group share them: the first one of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<TaskId>,
}

/// The place of an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilesPlace {
    /// This number of Secrets.
    Secrets(u32),
    /// A file of this name in the directory of the operator.
    File(String),
}

/// The files of a task that is about to be created.
#[derive(Clone, Debug)]
pub struct Files {
    pub kept: KeptFiles,
    /// The claim that shows the directory of the operator, if the archive stands there.
    pub claim: Option<String>,
    /// The directories that the archive has: `home`, `root`.
    pub roots: Vec<&'static str>,
    /// Whether the working directory travels.
    pub has_workdir: bool,
}

impl KeptFiles {
    /// Reads the annotation; none if this program did not write it.
    pub fn parse(text: &str) -> Option<Self> {
        let kept: Self = serde_json::from_str(text).ok()?;
        let is_sane = !matches!(kept.place, FilesPlace::Secrets(parts) if parts > MAX_PARTS);
        let is_name = kept.nonce.as_deref().is_none_or(is_nonce);
        (is_sane && is_name).then_some(kept)
    }

    /// The names of its Secrets.
    pub fn secrets(&self, id: TaskId) -> impl Iterator<Item = String> + use<> {
        let parts = match self.place {
            FilesPlace::Secrets(parts) => parts,
            FilesPlace::File(_) => 0,
        };
        let stem = Stem::new(self.holder.unwrap_or(id), self.nonce.as_deref());
        (0..parts).map(move |part| stem.files_secret(part))
    }
}

impl Files {
    /// The volume with the archive.
    pub fn volume(&self, id: TaskId) -> Volume {
        let mut volume = Volume {
            name: VOLUME.to_owned(),
            ..Volume::default()
        };
        if let Some(claim) = &self.claim {
            volume.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                // The mount is read-only. A claim that is mounted read-only as a whole may not be mounted otherwise on the same machine.
                read_only: None,
            });
            return volume;
        }
        let secrets = self.kept.secrets(id).enumerate();
        let sources = secrets.map(|(part, name)| VolumeProjection {
            secret: Some(SecretProjection {
                name,
                items: Some(vec![KeyToPath {
                    key: KEY.to_owned(),
                    // The shell sorts them.
                    path: format!("{part:06}"),
                    ..KeyToPath::default()
                }]),
                optional: None,
            }),
            ..VolumeProjection::default()
        });
        volume.projected = Some(ProjectedVolumeSource {
            sources: Some(sources.collect()),
            ..ProjectedVolumeSource::default()
        });
        volume
    }

    /// The mount of the archive.
    pub fn mount(&self) -> VolumeMount {
        let (path, sub_path) = match &self.kept.place {
            FilesPlace::Secrets(_) => (DIRECTORY.to_owned(), None),
            FilesPlace::File(name) => (format!("{DIRECTORY}/archive"), Some(name.clone())),
        };
        VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: path,
            sub_path,
            read_only: Some(true),
            ..VolumeMount::default()
        }
    }
}

/// Checks that a pod, with the user's part merged into it, sees nothing of the operator's directory but the archive of its own task.
///
/// # Errors
/// The first volume or mount that would show more.
pub fn check_claim(pod: &PodSpec, claim: &str, files: Option<&Files>) -> Result<(), Problem> {
    let own = files.filter(|files| files.claim.is_some());
    let refuse = |field: &str, name: &str| {
        let message =
            format!("the claim `{claim}` holds the files of all tasks, so no task may mount it");
        Err(Problem::new(format!("{field}.{name}"), message))
    };
    let containers = pod
        .containers
        .iter()
        .chain(pod.init_containers.iter().flatten());
    let mounts = || {
        let mounts = containers.clone().map(|container| &container.volume_mounts);
        mounts.flatten().flatten()
    };
    for volume in pod.volumes.iter().flatten() {
        let mounted = volume.persistent_volume_claim.as_ref();
        let is_it = mounted.is_some_and(|mounted| mounted.claim_name == claim);
        if is_it && (own.is_none() || volume.name != VOLUME) {
            // A task file names its volumes by where they are mounted.
            let mount = mounts().find(|mount| mount.name == volume.name);
            return refuse(
                "volumes",
                mount.map_or(&volume.name, |mount| &mount.mount_path),
            );
        }
    }
    for mount in mounts() {
        if mount.name == VOLUME && own.is_some_and(|own| *mount != own.mount()) {
            return refuse("volumeMounts", &mount.mount_path);
        }
    }
    Ok(())
}

/// The Secret with one part of the archive.
pub fn files_secret(
    submission: &Submission,
    first_job: &ObjectMeta,
    part: u32,
    bytes: Vec<u8>,
) -> Secret {
    let name = submission.stem.files_secret(part);
    Secret {
        metadata: owned_by(first_job, name, submission),
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(bytes))])),
        // The data never changes, and kubelets do not watch an immutable Secret.
        immutable: Some(true),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_sees_only_the_archive_of_its_task() {
        use serde_json::{Value, from_value, json};
        let files = Files {
            kept: KeptFiles {
                about: TaskFiles {
                    size: 1,
                    sha256: "ab".to_owned(),
                },
                place: FilesPlace::File("ab-x".to_owned()),
                nonce: None,
                holder: None,
            },
            claim: Some("team".to_owned()),
            roots: vec!["home"],
            has_workdir: true,
        };
        let id = "ab12cd34".parse().unwrap();
        let own = |volumes: Value, mounts: Value| {
            let mut pod: PodSpec = from_value(json!({
                "volumes": volumes, "containers": [{"name": "task", "volumeMounts": mounts}],
            }))
            .unwrap();
            pod.volumes.get_or_insert_default().push(files.volume(id));
            let mounts = &mut pod.containers[0].volume_mounts;
            mounts.get_or_insert_default().push(files.mount());
            pod
        };
        let check = |pod: &PodSpec| check_claim(pod, "team", Some(&files));
        assert!(check(&own(json!([]), json!([]))).is_ok());
        let other = json!({"name": "v", "persistentVolumeClaim": {"claimName": "team"}});
        let pod = own(json!([other]), json!([]));
        assert_eq!(check(&pod).unwrap_err().field, "volumes.v");
        let pod = own(json!([other]), json!([{"name": "v", "mountPath": "/d"}]));
        assert_eq!(check(&pod).unwrap_err().field, "volumes./d");
        for mount in [
            json!({"name": "k8s-cli-files", "mountPath": "/x"}),
            json!({"name": "k8s-cli-files", "mountPath": "/x", "subPath": "other", "readOnly": true}),
            json!({"name": "k8s-cli-files", "mountPath": "/.k8s-cli-files/archive", "subPath": "ab-x"}),
        ] {
            let mut pod = own(json!([]), json!([mount]));
            assert!(check(&pod).is_err(), "{mount}");
            // The same in another container.
            let container = pod.containers[0].clone();
            pod.containers[0].volume_mounts = None;
            pod.init_containers = Some(vec![container]);
            assert!(check(&pod).is_err(), "{mount}");
        }
        let pod: PodSpec = from_value(json!({"volumes": [other], "containers": []})).unwrap();
        assert!(check_claim(&pod, "team", None).is_err());
        assert!(check_claim(&pod, "others", None).is_ok());
    }

    #[test]
    fn the_annotation_is_read_back() {
        let about = TaskFiles {
            size: 1_000_000,
            sha256: "ab".to_owned(),
        };
        for (place, nonce, holder, text) in [
            (
                FilesPlace::Secrets(2),
                Some("x1y2z"),
                Some("ab12cd34"),
                r#"{"size":1000000,"sha256":"ab","secrets":2,"nonce":"x1y2z","holder":"ab12cd34"}"#,
            ),
            (
                FilesPlace::File("ab-x".to_owned()),
                None,
                None,
                r#"{"size":1000000,"sha256":"ab","file":"ab-x"}"#,
            ),
        ] {
            let (about, nonce) = (about.clone(), nonce.map(str::to_owned));
            let holder = holder.map(|id| id.parse().unwrap());
            let kept = KeptFiles {
                about,
                place,
                nonce,
                holder,
            };
            assert_eq!(serde_json::to_string(&kept).unwrap(), text);
            assert_eq!(KeptFiles::parse(text), Some(kept));
        }
        let absurd = r#"{"size":1,"sha256":"ab","secrets":4000000000}"#;
        assert_eq!(KeptFiles::parse(absurd), None);
        let path = r#"{"size":1,"sha256":"ab","secrets":1,"nonce":"../x"}"#;
        assert_eq!(KeptFiles::parse(path), None);
        assert_eq!(KeptFiles::parse("true"), None);
    }
}
