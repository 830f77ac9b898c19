//! The objects of Kubernetes as rows, and the status that they add up to.
//!
//! ```text
//! JSON of an object ──► row (job, pod, event, claim) ──► Observed (task) ──► TaskStatus, NodeStatus
//! ```
//!
//! `view`, `volumes`, `tasks` and `logs` import this module. It is pure and asks Kubernetes nothing. It keeps no state either: `view`
//! keeps the rows.

mod asked;
mod attempts;
mod barrier;
mod claim;
mod ends;
mod event;
mod job;
mod node;
mod pod;
mod reason;
mod recovery;
mod row;
mod source;
mod task;
#[cfg(test)]
mod tests;

pub use self::{
    asked::AskedRow,
    barrier::{Barrier, has_come, is_waiting, may_open},
    claim::ClaimRow,
    ends::{Ends, NodeEnd},
    event::{EventRow, EventText, Subject},
    job::{JobRow, JobState, KeyedJobRow},
    node::{node_status, pod_status, stopped_after},
    pod::{Container, Loss, PodRow, Start, could_not_start},
    reason::{first_failure, names_its_node, setup_failure},
    row::{Owner, Row},
    source::SourceRow,
    task::Observed,
};
