//! A task in the words of Kubernetes: the objects that the program creates for it.
//!
//! [`Submission`] holds all that is decided about a task; [`job`], [`service`] and their neighbours turn it into objects. The
//! golden files under `fixtures/manifests` show the results. [`labels`] and [`names`] say how the program finds its objects again.
//!
//! Pure: what is random, timed or looked up comes in as an argument. Nothing here reads an object of Kubernetes; that is `observed`.

mod environment;
mod gpus;
pub mod labels;
mod manifest;
pub mod names;
mod owned;
mod pod;
pub mod pod_config;
mod script;
mod submission;
#[cfg(test)]
mod tests;

pub use self::{
    gpus::{Placement, place},
    manifest::job,
    owned::{claim, ephemeral_claims, secrets, service},
    pod::CONTAINER,
    script::SETUP_FAILED,
    submission::Submission,
};
