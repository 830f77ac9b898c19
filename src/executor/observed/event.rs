//! The row of an event. Only events say why a Job has no pod, or why a claim is pending. Pure.

use serde::Deserialize;

use super::row::{Meta, Row, impl_row, moment};
use crate::{
    api::Timestamp,
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
    /// The uid of the Job or claim that the event is about.
    pub object: Uid,
    pub last: Option<Timestamp>,
    pub why: Box<str>,
}

impl EventRow {
    /// Selects the events that say why a Job has no pod.
    pub const OF_JOBS: &'static str = "involvedObject.kind=Job,reason=FailedCreate";
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
    message: String,
    #[serde(default, deserialize_with = "moment")]
    last_timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct InvolvedObject {
    #[serde(default)]
    uid: String,
}

impl From<Wire> for EventRow {
    fn from(wire: Wire) -> Self {
        // `Error creating: pods "train-ab12cd34-x7x2v" is forbidden: exceeded quota: ...`: the name of a pod that does not exist is
        // left out.
        let message = wire.message.as_str();
        let why = message
            .split_once(" is forbidden: ")
            .map_or(message, |(_, why)| why);
        Self {
            uid: Uid::new(&wire.metadata.uid),
            version: Version::new(&wire.metadata.resource_version),
            object: Uid::new(&wire.involved_object.uid),
            last: wire.last_timestamp,
            why: why.into(),
        }
    }
}
