//! The program as its users meet it: the real binary, as server and as client, against a cluster.
//!
//! Without further ado the cluster is the sandbox. With `K8S_CLI_E2E=cluster` (`make e2e`) it is the one that `KUBECONFIG`
//! names, and the same scenarios run there, each in a namespace of its own.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod harness;

// What a user does.
mod auth;
mod corpus;
mod fail_fast;
mod jobs;
mod log_faults;
mod logs;
mod many_users;
mod pending;
mod pods;
mod rendezvous;
mod view;
mod volumes;

// What a program sees.
mod http;
mod other_servers;
mod output;
mod server;

// What a reader is promised.
mod help;
mod readme;
mod tidy;
