//! The row of a Job with what its pod asks for, which the view does not keep. Pure.

use k8s_openapi::api::batch::v1::Job;
use serde::Deserialize;

use crate::{
    api::Amounts,
    executor::{cluster::Resource, objects::requests_of_pod},
};

#[derive(Debug, Deserialize)]
#[serde(from = "Job")]
pub struct AskedRow(pub Amounts);

impl Resource for AskedRow {
    const PATH: (&'static str, &'static str) = ("/apis/batch/v1", "jobs");
    const KIND: &'static str = "Jobs";
}

impl From<Job> for AskedRow {
    fn from(job: Job) -> Self {
        let spec = job.spec.and_then(|spec| spec.template.spec);
        Self(spec.as_ref().map(requests_of_pod).unwrap_or_default())
    }
}
