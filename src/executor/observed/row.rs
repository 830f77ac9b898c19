//! What is kept of the objects of Kubernetes: a row each, decoded straight from what it sends.
//!
//! A Job or a pod is several kilobytes of JSON, and a multiple of that once decoded whole; what is ever asked of it fits into a few
//! hundred bytes. So only that is decoded: the rest is skipped while it is read.
//!
//! ```text
//! JSON of an object ──► wire shape (only the fields named here) ──► row (what they say, in our words)
//! ```
//!
//! Pure: what rows mean together is decided in `status`, where they are kept is `view`.

mod claim;
mod event;
mod job;
mod pod;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::IgnoredAny};

pub use self::{
    claim::ClaimRow,
    event::EventRow,
    job::{JobRow, JobState},
    pod::{Container, PodRow},
};
use super::labels;
use crate::api::{TaskId, Timestamp, User};

/// A kind of object that is kept as rows.
pub trait Row: DeserializeOwned + Clone + Send + 'static {
    /// The path of its group and version, and its plural name in paths.
    const PATH: (&'static str, &'static str);
    /// What several of them are called.
    const KIND: &'static str;

    fn uid(&self) -> Uid;
    fn version(&self) -> Version;
    /// Whether it is being deleted: who looks for it does not find it any more.
    fn is_deleted(&self) -> bool;
}

/// What tells an object from every other one, also from one of the same name before or after it: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u128);

impl Uid {
    pub fn new(text: &str) -> Self {
        let digits = text.bytes().filter(|byte| *byte != b'-');
        let digits: Vec<u8> = digits.collect();
        let uuid = std::str::from_utf8(&digits)
            .ok()
            .filter(|digits| digits.len() == 32)
            .and_then(|digits| u128::from_str_radix(digits, 16).ok());
        // Kubernetes promises a UUID. Should another server break that promise, different texts stay different.
        Self(uuid.unwrap_or_else(|| {
            let hash = |seed: u8| {
                let mut hasher = DefaultHasher::new();
                (seed, text).hash(&mut hasher);
                u128::from(hasher.finish())
            };
            hash(0) << 64 | hash(1)
        }))
    }
}

impl std::fmt::Display for Uid {
    /// The UUID as Kubernetes writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:032x}", self.0);
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
        f.write_str(&groups.join("-"))
    }
}

impl std::fmt::Debug for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// When an object was last written, or how far a list or a watch has come: a number that grows with each write to objects of its
/// kind (Kubernetes enhancement 5504). 0 where a server does not say it as a number, which is before every other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64);

impl Version {
    pub fn new(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }

    /// Whether what was written at this version is newer than what was written at `known`. Where nobody can tell, it is.
    pub fn is_news(self, known: Self) -> bool {
        self.0 == 0 || known.0 == 0 || self > known
    }

    /// Whether what was written at this version is certain to be newer.
    pub fn is_newer_than(self, other: Self) -> bool {
        other.0 != 0 && self > other
    }

    /// Whether one who knows of everything up to `seen` knows of this.
    pub fn is_seen_at(self, seen: Self) -> bool {
        self.0 != 0 && self <= seen
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whose an object is. The label selects, the annotation decides: see `labels`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub label: Box<str>,
    /// The exact name; objects of the Python ancestor do not have it.
    pub exact: Option<Box<str>>,
}

impl Owner {
    fn of(meta: &Meta) -> Self {
        Self {
            label: meta.label(labels::USERNAME).unwrap_or_default().into(),
            exact: meta.annotation(labels::EXACT_USER).map(Into::into),
        }
    }

    /// The owners of all that is `user`'s.
    pub fn all_of(user: &User) -> [Self; 2] {
        [
            Self {
                label: labels::username(user).into(),
                exact: Some(user.as_str().into()),
            },
            Self {
                label: labels::ancestor_username(user).into(),
                exact: None,
            },
        ]
    }

    pub fn is(&self, user: &User) -> bool {
        match &self.exact {
            Some(exact) => **exact == *user.as_str(),
            None => *self.label == *labels::ancestor_username(user),
        }
    }
}

/// What is read of an object: of most kinds the same, with a spec and a status of their own.
#[derive(Deserialize)]
#[serde(bound(deserialize = "S: Default + Deserialize<'de>, T: Default + Deserialize<'de>"))]
struct Wire<S, T> {
    metadata: Meta,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: T,
}

/// What is read of the metadata of an object.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Meta {
    name: String,
    uid: String,
    resource_version: String,
    #[serde(deserialize_with = "moment")]
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<IgnoredAny>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Deserialize)]
struct OwnerReference {
    uid: String,
    #[serde(default)]
    controller: bool,
}

impl Meta {
    fn label(&self, key: &str) -> Option<&str> {
        Some(self.labels.as_ref()?.get(key)?)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        Some(self.annotations.as_ref()?.get(key)?)
    }

    /// The task that an object says it belongs to.
    fn task(&self) -> Option<TaskId> {
        self.label(labels::TASK_ID)?.parse().ok()
    }

    /// The node that an object says it belongs to.
    fn rank(&self) -> u32 {
        let rank = self.label(labels::NODE_IDX);
        rank.and_then(|rank| rank.parse().ok()).unwrap_or(0)
    }

    /// The rank of the node after whose failure this one was stopped.
    fn stopped_after(&self) -> Option<u32> {
        self.annotation(labels::STOPPED_AFTER)?.parse().ok()
    }

    /// When an object came to be: what we or the Python ancestor noted, which is finer than what Kubernetes notes.
    fn created_at(&self) -> Timestamp {
        let noted = self.annotation(labels::CREATED_AT);
        noted
            .and_then(|time| time.parse().ok())
            .or(self.creation_timestamp)
            .unwrap_or(Timestamp::EPOCH)
    }

    /// The object that made this one, and minds it.
    fn controller(&self) -> Option<Uid> {
        let owners = self.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|owner| owner.controller)?;
        Some(Uid::new(&owner.uid))
    }
}

/// A condition of a Job or a pod.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    last_transition_time: Option<Timestamp>,
}

impl Condition {
    fn is(&self, kind: &str, status: &str) -> bool {
        self.kind == kind && self.status == status
    }

    fn sentence(&self) -> Option<Box<str>> {
        sentence(self.reason.as_deref(), self.message.as_deref())
    }
}

/// What is read of a pod's spec.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    restart_policy: Option<String>,
    termination_grace_period_seconds: Option<i64>,
    volumes: Option<Vec<Volume>>,
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
    /// The names of the claims that a pod mounts.
    fn claims(self) -> Box<[Box<str>]> {
        let volumes = self.volumes.into_iter().flatten();
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim);
        claims.map(|claim| claim.claim_name).collect()
    }
}

/// Kubernetes' time as ours: the only place where the two meet. What is no time is none: one odd object must not hide all
/// others.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// What Kubernetes says in a word and a sentence, as one sentence.
fn sentence(reason: Option<&str>, message: Option<&str>) -> Option<Box<str>> {
    let given = |text: Option<&str>| {
        text.map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    // Runtimes say it in many words, but all with these (runc, crun).
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
    sentence.map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_uuids_and_stay_apart_if_not() {
        let uuid = "3f2a91bc-0000-4000-8000-0123456789ab";
        assert_eq!(Uid::new(uuid).to_string(), uuid);
        assert_ne!(Uid::new("uid-0"), Uid::new("uid-1"));
        assert_eq!(Uid::new("uid-0"), Uid::new("uid-0"));
    }

    #[test]
    fn the_annotation_decides_who_owns_an_object() {
        let user = |name: &str| -> User { name.parse().unwrap() };
        let owner = |exact: Option<&str>| Owner {
            label: "a-b.c".into(),
            exact: exact.map(Into::into),
        };
        assert!(owner(Some("a@b.c")).is(&user("a@b.c")));
        assert!(!owner(Some("a@b.c")).is(&user("a-b.c")));
        // The ancestor's objects do not say which of the two it was.
        assert!(owner(None).is(&user("a@b.c")) && owner(None).is(&user("a-b.c")));
        assert!(!owner(None).is(&user("ada")));
        for exact in [None, Some("a@b.c")] {
            assert!(Owner::all_of(&user("a@b.c")).contains(&owner(exact)));
        }
    }

    #[test]
    fn versions_are_numbers_or_always_news() {
        let version = Version::new;
        assert!(version("10").is_news(version("9")) && !version("10").is_news(version("10")));
        assert!(!version("9").is_news(version("10")));
        assert!(version("abc").is_news(version("10")) && version("9").is_news(version("abc")));
        assert!(version("9").is_seen_at(version("9")) && !version("10").is_seen_at(version("9")));
        assert!(!version("abc").is_seen_at(version("9")));
    }
}
