//! End-to-end tests: the real binary, as server and as client, against a cluster.
//!
//! The default cluster is the sandbox. With `K8S_CLI_E2E=cluster` (`make e2e`) the tests run on the cluster that `KUBECONFIG`
//! names, each in a namespace of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod harness;

// Features.
mod access;
mod auth;
mod barrier;
mod completion;
mod corpus;
mod delete;
mod expire;
mod fail_fast;
mod files;
mod idempotency;
mod jobs;
mod list;
mod log_faults;
mod logs;
mod many_users;
mod names;
mod nodes;
mod pending;
mod pods;
mod registry;
mod removed;
mod rendezvous;
mod rerun;
mod run;
mod several;
mod shell;
mod signals;
mod soak;
mod socket;
mod status;
mod stop;
mod view;
mod volumes;
mod wait;

// Interfaces.
mod check;
mod cluster_access;
mod cluster_faults;
mod compare_api;
mod compare_jobs;
mod hostile;
mod http;
mod kubectl;
mod manifest;
mod metrics;
mod older;
mod other_servers;
mod output;
mod python_server;
mod recovery;
mod server;
mod server_access;
mod submission;
mod sweep;
mod time_limit;
mod tokens;

// Documentation and source rules.
mod help;
mod readme;
mod tidy;
