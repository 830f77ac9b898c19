//! The Kubernetes API over HTTP.
//!
//! `apiserver` checks the token, `request` parses the path, and `verbs` answers; `watch` and `pod_logs` answer with streams. Only
//! the sandbox's own `mod.rs` imports this wing, which reads and writes `objects` and reads the logs of the `kubelet`. It keeps
//! no object and runs no control loop.

mod apiserver;
mod discovery;
mod openapi;
mod pages;
mod patch;
mod pod_logs;
mod request;
mod reviews;
mod table;
mod verbs;
mod watch;

pub use apiserver::{ApiServer, serve};
pub use reviews::Reviews;
