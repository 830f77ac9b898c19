//! The Kubernetes objects that the program creates for a task.
//!
//! [`Submission`] holds all decisions about a task; [`job`], [`service`] and their neighbours turn it into objects. The golden
//! files under `fixtures/manifests` show the results. [`labels`] and [`names`] define how the program finds its objects again.
//!
//! All modules above import this one. It is pure: random values, the time and looked-up values are arguments. Nothing here reads an
//! object of Kubernetes; `observed` does that.

mod attempt;
mod barrier;
mod capacity;
mod defaults;
mod environment;
mod files;
mod gpus;
pub mod labels;
mod manifest;
pub mod names;
mod owned;
mod pod;
pub mod pod_config;
mod pod_rules;
mod pod_security;
mod script;
mod source;
mod submission;
#[cfg(test)]
mod tests;

pub use self::{
    attempt::{
        Attempt, MAX_RESTARTS, RESTARTS_PERIOD, Restarts, job_of_attempt, service_of_attempt,
    },
    capacity::{nodes as cluster_nodes, requests as requests_of_pod, shortage},
    defaults::Defaults,
    files::{Files, FilesPlace, KeptFiles, PART, check_claim, files_secret},
    gpus::{Placement, choose, place},
    manifest::job,
    names::Stem,
    owned::{claim, ephemeral_claims, secrets, service},
    pod::CONTAINER,
    pod_rules::PodRules,
    script::{FILES_FAILED, SETUP_FAILED, sets_command},
    source::{pack as pack_source, unpack as unpack_source},
    submission::{Found, Keyed, Origin, Submission, is_nonce},
};
