//! The row of an event. Only events say why a Job has no pod, why a claim is pending, and why a pod hangs in `ContainerCreating`. Pure.

use serde::Deserialize;

use super::row::{Meta, Row, impl_row, moment};
use crate::{
    api::{TaskEvent, Timestamp, masked},
    executor::{
        cluster::Resource,
        identity::{Uid, Version},
    },
};

/// The fields of an event that the program uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire")]
pub struct EventRow {
    pub uid: Uid,
    pub version: Version,
    pub subject: Subject,
    /// The uid of the object that the event is about.
    pub object: Uid,
    /// The name of that object.
    pub name: Box<str>,
    pub last: Option<Timestamp>,
    pub why: Box<str>,
    /// Whether it says why the object does not get on.
    pub is_reason: bool,
}

/// The kind of the object of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Job,
    Pod,
    Claim,
    Other,
}

/// The reasons of pods that do not start. They follow the kubelet and its volume manager (Kubernetes 1.36, `pkg/kubelet/events`).
const OF_PODS: [&str; 8] = [
    "FailedMount",
    "FailedAttachVolume",
    "FailedMapVolume",
    "FailedCreatePodSandBox",
    "FailedCreatePodContainer",
    "FailedPrepareDynamicResources",
    "NetworkNotReady",
    "FailedValidation",
];

impl EventRow {
    /// Selects the events that may say why an object does not get on. Field selectors know no "or", so it leaves out the reasons of
    /// objects that do get on.
    pub const REASONS: &'static str = "reason!=Scheduled,reason!=Pulling,reason!=Pulled,reason!=Created,reason!=Started,reason!=Killing,\
         reason!=SuccessfulCreate,reason!=SuccessfulDelete,reason!=Completed,reason!=BackOff,reason!=FailedScheduling,reason!=Unhealthy,\
         reason!=ScalingReplicaSet";
    /// Selects the events about claims.
    pub const OF_CLAIMS: &'static str = "involvedObject.kind=PersistentVolumeClaim";
}

impl Resource for EventRow {
    const PATH: (&'static str, &'static str) = ("/api/v1", "events");
    const KIND: &'static str = "events";
}

impl_row!(EventRow, |_| false);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    metadata: Meta,
    involved_object: InvolvedObject,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    count: Option<u32>,
    #[serde(default, deserialize_with = "moment")]
    last_timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    event_time: Option<Timestamp>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct InvolvedObject {
    kind: String,
    name: String,
    uid: String,
}

impl From<Wire> for EventRow {
    fn from(wire: Wire) -> Self {
        let subject = match wire.involved_object.kind.as_str() {
            "Job" => Subject::Job,
            "Pod" => Subject::Pod,
            "PersistentVolumeClaim" => Subject::Claim,
            _ => Subject::Other,
        };
        let reason = wire.reason.unwrap_or_default();
        let message = wire.message.unwrap_or_default();
        // `Error creating: pods "train-ab12cd34-x7x2v" is forbidden: exceeded quota: ...`: the name of a pod that does not exist is
        // left out.
        let why = match (subject, message.split_once(" is forbidden: ")) {
            (Subject::Job, Some((_, why))) if why.starts_with("violates PodSecurity") => {
                format!(
                    "{why}: its administrator can start the server with `serve --pod-security restricted`"
                )
            }
            (Subject::Job, Some((_, why))) => why.to_owned(),
            (Subject::Pod, _) => format!("{reason}: {message}"),
            _ => message.clone(),
        };
        let is_reason = match subject {
            Subject::Job => reason == "FailedCreate",
            Subject::Pod => {
                OF_PODS.contains(&reason.as_str())
                    && wire.count.unwrap_or(1) >= attempts(&reason, &message)
            }
            Subject::Claim => !reason.ends_with("Succeeded") && reason != "Provisioning",
            Subject::Other => false,
        };
        Self {
            uid: Uid::new(&wire.metadata.uid),
            version: Version::new(&wire.metadata.resource_version),
            subject,
            object: Uid::new(&wire.involved_object.uid),
            name: wire.involved_object.name.into(),
            last: wire.last_timestamp,
            why: masked(&why).into(),
            is_reason,
        }
    }
}

/// An event as a user reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire")]
pub struct EventText {
    pub object: Uid,
    pub event: TaskEvent,
}

impl Resource for EventText {
    const PATH: (&'static str, &'static str) = EventRow::PATH;
    const KIND: &'static str = EventRow::KIND;
}

impl From<Wire> for EventText {
    fn from(wire: Wire) -> Self {
        let InvolvedObject { kind, name, uid } = wire.involved_object;
        Self {
            object: Uid::new(&uid),
            event: TaskEvent {
                // Newer programs give the time of an event in another field.
                time: wire.last_timestamp.or(wire.event_time),
                kind: wire.kind.unwrap_or_default(),
                reason: wire.reason.unwrap_or_default(),
                message: masked(wire.message.unwrap_or_default().trim()).into_owned(),
                object: format!("{kind}/{name}"),
                count: wire.count.unwrap_or(1),
            },
        }
    }
}

/// The number of failed attempts after which a failure of a pod is worth a word: many heal by themselves.
///
/// A kubelet repeats a mount after 0.5, 1, 2, 4, ... seconds, so that the number of attempts tells the time that has passed without
/// comparing clocks: the third comes after 1.5 s, the seventh after 31 s. A Secret that was just made is unknown to the kubelet's
/// cache for a few seconds.
fn attempts(reason: &str, message: &str) -> u32 {
    let caches = [
        "failed to sync secret cache",
        "failed to sync configmap cache",
    ];
    match reason {
        _ if caches.iter().any(|phrase| message.contains(phrase)) => 7,
        "FailedMount" | "FailedMapVolume" => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn reason(kind: &str, reason: &str, message: &str, count: u32) -> Option<String> {
        let event: EventRow = from_value(json!({
            "metadata": { "name": "e", "uid": "u", "resourceVersion": "1" },
            "involvedObject": { "kind": kind, "name": "o", "uid": "o" },
            "reason": reason, "message": message, "count": count,
        }))
        .unwrap();
        event.is_reason.then(|| event.why.into())
    }

    #[test]
    fn a_mount_that_fails_again_and_again_is_a_reason() {
        let missing = "MountVolume.SetUp failed for volume \"x\" : configmap \"absent\" not found";
        assert_eq!(reason("Pod", "FailedMount", missing, 2), None);
        let text = format!("FailedMount: {missing}");
        assert_eq!(reason("Pod", "FailedMount", missing, 3), Some(text));
        let heals = "failed to sync secret cache: timed out waiting for the condition";
        assert_eq!(reason("Pod", "FailedMount", heals, 6), None);
        assert!(reason("Pod", "FailedMount", heals, 7).is_some());
        let sandbox = "failed to setup network for sandbox";
        assert!(reason("Pod", "FailedCreatePodSandBox", sandbox, 1).is_some());
    }

    #[test]
    fn events_of_objects_that_get_on_are_no_reasons() {
        assert_eq!(reason("Pod", "Preempting", "x", 9), None);
        let probe = "Startup probe failed: ";
        assert_eq!(reason("Pod", "Unhealthy", probe, 99), None);
        assert_eq!(reason("Job", "TooManyActivePods", "x", 1), None);
        assert_eq!(
            reason("PersistentVolumeClaim", "ProvisioningSucceeded", "x", 1),
            None
        );
        assert_eq!(reason("Service", "FailedMount", "x", 9), None);
    }
}
