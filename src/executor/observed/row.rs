//! The parts that all rows share: metadata, owner, conditions, times.
//!
//! A row holds the few fields of a Kubernetes object that the program uses. A Job or a pod is several kilobytes of JSON, and a
//! multiple of that once decoded whole. A row takes a few hundred bytes, since only its fields are decoded and the others are
//! skipped.
//!
//! ```text
//! JSON of an object ──► wire shape (only the fields named here) ──► row
//! ```
//!
//! Pure. `task` folds the rows into a status; `view` keeps them.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::{
    api::{
        MAX_GROUP, MAX_NUM_NODES, TaskGroup, TaskId, TimeLimit, Timestamp, User, masked,
        username_label,
    },
    executor::{
        cluster::Resource,
        identity::{Uid, Version},
        objects::{labels, names},
    },
};

/// A kind of object that the view keeps as rows.
pub trait Row: Resource + Clone + Send + 'static {
    fn uid(&self) -> Uid;
    fn version(&self) -> Version;
    /// Whether it is being deleted, so that the program treats it as gone.
    fn is_deleted(&self) -> bool;
}

/// Implements [`Row`] for a struct with the fields `uid` and `version`, with the given [`Row::is_deleted`].
macro_rules! impl_row {
    ($row:ty, $is_deleted:expr) => {
        impl Row for $row {
            fn uid(&self) -> Uid {
                self.uid
            }

            fn version(&self) -> Version {
                self.version
            }

            fn is_deleted(&self) -> bool {
                $is_deleted(self)
            }
        }
    };
}
pub(super) use impl_row;

/// The owner of an object. The label selects, the annotation decides: see `labels`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub label: Box<str>,
    /// The exact name; none in objects of the Python predecessor.
    pub exact: Option<Box<str>>,
}

impl Owner {
    pub fn of(meta: &Meta) -> Self {
        Self {
            label: meta.label(labels::USERNAME).unwrap_or_default().into(),
            exact: meta.annotation(labels::EXACT_USER).map(Into::into),
        }
    }

    /// The owners of all objects of `user`: of this program's and of the predecessor's.
    pub fn all_of(user: &User) -> [Self; 2] {
        [
            Self {
                label: names::username(user).into(),
                exact: Some(user.as_str().into()),
            },
            Self {
                label: username_label(user.as_str()).into(),
                exact: None,
            },
        ]
    }

    /// Whether a pod of another owner may be of a Job of this one. Pods of older versions have no exact name.
    pub fn may_own(&self, pod: &Self) -> bool {
        pod == self || pod.exact.is_none() && pod.label == self.label
    }

    /// Whether the objects of this owner are `user`'s: one of [`Self::all_of`].
    pub fn is(&self, user: &User) -> bool {
        match &self.exact {
            Some(exact) => **exact == *user.as_str() && *self.label == *names::username(user),
            None => *self.label == *username_label(user.as_str()),
        }
    }
}

/// The decoded part of an object. Most kinds differ only in spec and status.
#[derive(Deserialize)]
#[serde(bound(deserialize = "S: Default + Deserialize<'de>, T: Default + Deserialize<'de>"))]
pub struct Wire<S, T> {
    #[serde(rename = "metadata")]
    pub meta: Meta,
    #[serde(default)]
    pub spec: S,
    #[serde(default)]
    pub status: T,
}

/// The decoded part of an object's metadata.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    #[serde(deserialize_with = "moment")]
    pub creation_timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "moment")]
    pub deletion_timestamp: Option<Timestamp>,
    deletion_grace_period_seconds: Option<i64>,
    pub labels: Option<BTreeMap<String, String>>,
    pub annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

/// A reference to an object that owns this one.
#[derive(Deserialize)]
pub struct OwnerReference {
    #[serde(default)]
    pub kind: String,
    pub uid: String,
    #[serde(default)]
    controller: bool,
}

impl Meta {
    pub fn label(&self, key: &str) -> Option<&str> {
        Some(self.labels.as_ref()?.get(key)?)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        Some(self.annotations.as_ref()?.get(key)?)
    }

    /// The moment at which its deletion was asked for. Its deletion timestamp is that at which the grace ends.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        let grace = self.deletion_grace_period_seconds.unwrap_or(0);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        Some(self.deletion_timestamp?.earlier(grace))
    }

    /// The id of the task that the labels name.
    pub fn task(&self) -> Option<TaskId> {
        self.label(labels::TASK_ID)?.parse().ok()
    }

    /// The rank of the node that the labels name, or 0.
    pub fn rank(&self) -> u32 {
        let rank = self.label(labels::NODE_IDX);
        rank.and_then(|rank| rank.parse().ok()).unwrap_or(0)
    }

    /// The number of the attempt that the labels name, or 1.
    pub fn attempt(&self) -> u32 {
        let attempt = self.label(labels::ATTEMPT);
        attempt.and_then(|number| number.parse().ok()).unwrap_or(1)
    }

    /// The rank of the node whose failure stopped this one.
    pub fn stopped_after(&self) -> Option<u32> {
        self.annotation(labels::STOPPED_AFTER)?.parse().ok()
    }

    /// The time of creation: that of our annotation, which has fractions of a second, else that of Kubernetes.
    pub fn created_at(&self) -> Timestamp {
        let noted = self.annotation(labels::CREATED_AT);
        noted
            .and_then(|time| time.parse().ok())
            .or(self.creation_timestamp)
            .unwrap_or(Timestamp::EPOCH)
    }

    /// The time at which the creation of the task of this first Job was given up.
    pub fn incomplete_since(&self) -> Option<Timestamp> {
        self.annotation(labels::INCOMPLETE_SINCE)?.parse().ok()
    }

    /// The number of nodes of its task, from an annotation.
    pub fn num_nodes(&self) -> Option<u32> {
        let number = self.annotation(labels::NUM_NODES)?.parse().ok()?;
        // The view allocates memory for each node, so it must not believe an absurd number in a foreign object.
        (1..=MAX_NUM_NODES).contains(&number).then_some(number)
    }

    /// The name of its task, from an annotation or a label.
    pub fn task_name(&self) -> Option<Box<str>> {
        let exact = self.annotation(labels::EXACT_TASK_NAME);
        exact
            .or_else(|| self.label(labels::TASK_NAME))
            .map(Into::into)
    }

    /// The place of its task in a group.
    pub fn group(&self) -> Option<TaskGroup> {
        let number = |key| self.annotation(key)?.parse::<u32>().ok();
        let parameters = self.annotation(labels::PARAMETERS)?;
        Some(TaskGroup {
            group_id: self.label(labels::GROUP)?.parse().ok()?,
            rank: number(labels::JOB_RANK)?,
            num_tasks: number(labels::NUM_JOBS).filter(|number| *number <= MAX_GROUP)?,
            max_running: number(labels::MAX_RUNNING),
            parameters: serde_json::from_str(parameters).ok()?,
        })
    }

    /// The object that controls this one.
    pub fn controller(&self) -> Option<&OwnerReference> {
        let mut owners = self.owner_references.iter().flatten();
        owners.find(|owner| owner.controller)
    }
}

/// A condition of a Job or a pod.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    pub last_transition_time: Option<Timestamp>,
}

impl Condition {
    pub fn is(&self, kind: &str, status: &str) -> bool {
        self.kind == kind && self.status == status
    }

    pub fn sentence(&self) -> Option<Box<str>> {
        sentence(self.reason.as_deref(), self.message.as_deref())
    }
}

/// The decoded part of a pod's spec.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    pub restart_policy: Option<String>,
    pub termination_grace_period_seconds: Option<i64>,
    active_deadline_seconds: Option<i64>,
    pub node_name: Option<Box<str>>,
    pub scheduler_name: Option<String>,
    pub containers: Vec<Named>,
    volumes: Option<Vec<Volume>>,
}

/// A part of a spec of which only the name is decoded.
#[derive(Deserialize)]
pub struct Named {
    pub name: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    persistent_volume_claim: Option<ClaimSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimSource {
    claim_name: Box<str>,
}

impl PodSpec {
    /// The longest time that a pod may run.
    pub fn time_limit(&self) -> Option<TimeLimit> {
        self.active_deadline_seconds
            .and_then(TimeLimit::from_seconds)
    }

    /// The names of the claims that a pod mounts.
    pub fn claims(self) -> Box<[Box<str>]> {
        let volumes = self.volumes.into_iter().flatten();
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim);
        claims.map(|claim| claim.claim_name).collect()
    }
}

/// Decodes a time of Kubernetes. An invalid time becomes `None`: one odd object must not make a whole list unreadable.
pub fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Joins the reason and the message of a status into one sentence.
pub fn sentence(reason: Option<&str>, message: Option<&str>) -> Option<Box<str>> {
    let given = |text: Option<&str>| {
        text.map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    // Container runtimes word the error differently, but all of them use these two phrases (runc, crun).
    let lacks_bash = |message: &str| {
        message.contains("\"/bin/bash\"") && message.contains("no such file or directory")
    };
    if message.is_some_and(lacks_bash) {
        return Some(
            "the image has no /bin/bash, with which the commands of a task are run".into(),
        );
    }
    let sentence = match (given(reason), given(message)) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => reason.or(message),
    };
    // An image or a volume may have a login in its address.
    sentence.map(|sentence| masked(&sentence).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_decides_about_the_owner() {
        let user = |name: &str| -> User { name.parse().unwrap() };
        let owner = |exact: Option<&str>| Owner {
            label: "a-b.c".into(),
            exact: exact.map(Into::into),
        };
        assert!(owner(Some("a@b.c")).is(&user("a@b.c")));
        assert!(!owner(Some("a@b.c")).is(&user("a-b.c")));
        // The label selects: lists do not find an object whose label is of another user.
        assert!(!owner(Some("ada")).is(&user("ada")));
        // `a@b` and `a-b` have the same label, and the predecessor's objects have no annotation.
        assert!(owner(None).is(&user("a@b.c")) && owner(None).is(&user("a-b.c")));
        assert!(!owner(None).is(&user("ada")));
        for exact in [None, Some("a@b.c")] {
            assert!(Owner::all_of(&user("a@b.c")).contains(&owner(exact)));
        }
    }
}
