//! The row of a Job with the file of its task, which the view does not keep. Pure.

use serde::Deserialize;

use super::row::{Owner, Wire};
use crate::executor::{cluster::Resource, objects::labels};

#[derive(Debug, Deserialize)]
#[serde(from = "Wire<Nothing, Nothing>")]
pub struct SourceRow {
    pub owner: Owner,
    /// The annotation, if the Job has it.
    pub source: Option<Box<str>>,
}

impl Resource for SourceRow {
    const PATH: (&'static str, &'static str) = ("/apis/batch/v1", "jobs");
    const KIND: &'static str = "Jobs";
}

/// A part that is not read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Nothing {}

impl From<Wire<Nothing, Nothing>> for SourceRow {
    fn from(wire: Wire<Nothing, Nothing>) -> Self {
        Self {
            owner: Owner::of(&wire.meta),
            source: wire.meta.annotation(labels::SOURCE).map(Into::into),
        }
    }
}
