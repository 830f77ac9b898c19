//! `k8s-cli`: one binary with which a team runs `SkyPilot` task files on a Kubernetes cluster.
//!
//! `k8s-cli serve` is a REST server over an executor that turns each task into Jobs, one per node; every other command is a
//! thin blocking client of it. With `serve --sandbox` the cluster is a pretend one in the same process.
//!
//! ```text
//!                 main, serve
//!      ┌───────┬────┴────┬──────────┐
//!      ▼       ▼         ▼          ▼
//!     cli ◄─ client    server    sandbox
//!      │       │        │   │       │
//!      │       ▼        ▼   ▼       │
//!      └─────► api ◄──── executor   │
//!               └─────► k8s ◄─┴─────┘
//! ```
//!
//! `yaml` serves the client only, `line_writer` client and server, `backoff` client and executor. They import nothing of ours.
//!
//! Rules that `tests/e2e/tidy.rs` checks:
//!
//! - `client` knows the server only by HTTP: it imports neither `server` nor `executor`.
//! - No Kubernetes type crosses HTTP: `api` imports nothing of ours but `k8s`, and no Kubernetes crate.
//! - `executor` knows nothing of HTTP towards the user.
//! - `sandbox` knows nothing of tasks: it hands out a kubeconfig, and only `serve` can tell it from a real cluster.
//! - Only the edges read the clock, draw random numbers or print.
//!
//! # Glossary
//!
//! Kubernetes' own words (Job, Pod, label, selector, uid, phase, resource version) mean what they mean there. Beside them:
//!
//! | word | meaning |
//! |---|---|
//! | task | what a user submits; it has an id of 8 characters |
//! | definition | the task file, decoded |
//! | submission | a task about to be created, with all that is decided about it |
//! | node, rank | one member of a task, and its number from 0; a machine of the cluster is a *cluster node* |
//! | manifest | an object that is about to be sent to Kubernetes |
//! | volume, claim | a user's volume, and the `PersistentVolumeClaim` behind it |
//! | row | the few fields that are kept of a Kubernetes object |
//! | view | the rows of all tasks and volumes, kept up to date by watches |
//! | scope | the part of the cluster that a list was about |
//! | versions | how far the view has seen, and which objects were deleted |
//! | subscriber | a receiver of the changes of a task's nodes |
//! | follower | reads the log of one node for one viewer |
//! | run | one run of a container; a restart begins the next |
//! | block, piece | a part of a log as it came, and a line (or a part of one) in it |
//! | position, cursor | a place in a log, and the text that names it on the wire |
//! | ring, tail | the newest part of a log in memory, and the stream that fills it for all viewers |
//! | record | one line of a log stream: lines of the log, or a word about it |
//! | topic | a page of the manual: `k8s-cli help <topic>` |
//!
//! Four walkthroughs stand where their code begins: a task file in `client/task_file`, a log line in `executor/logs`, a row of a
//! list in `executor/view`, a Job of the sandbox in `sandbox`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stderr))]

// The words both ends of the wire share.
mod api;

// Rules of Kubernetes.
mod k8s;

// Parts that both ends of a connection use.
mod backoff;
mod line_writer;

// How task files are spelled.
mod yaml;

// What those words mean to Kubernetes.
mod executor;

// The two ends of the wire.
mod client;
mod server;

// The command line, and a cluster to try it on.
mod cli;
mod sandbox;

// All of it together.
mod serve;

#[cfg(test)]
mod golden;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use cli::{Cli, Command, EarlyExit};

fn main() -> ExitCode {
    match Cli::parse(env::args_os().skip(1)) {
        Ok(Command::Serve(args)) => serve::run(args),
        Ok(Command::Client(command)) => client::run(command),
        Err(EarlyExit::Answer(text)) => client::print(&text),
        Err(EarlyExit::Topic(text)) => client::page(text),
        Err(EarlyExit::Usage(text)) => {
            // A closed stderr is no error.
            drop(io::stderr().write_all(text.as_bytes()));
            ExitCode::from(2)
        }
    }
}
