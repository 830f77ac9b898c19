//! `k8s-cli`: one binary with which a team runs `SkyPilot` task files on a Kubernetes cluster.
//!
//! `k8s-cli serve` is a REST server over an executor that turns each task into Jobs, one per node. Every other command is a thin
//! blocking client of it. With `serve --sandbox` the cluster is a simulated one in the same process.
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
//! `yaml` serves the client only, `line_writer` client and server, `backoff`, `proxy`
//! and `certificate` client and executor. They import no other module.
//!
//! Rules that `tests/e2e/tidy.rs` checks:
//!
//! - `client` knows the server only by HTTP: it imports neither `server` nor `executor`.
//! - No Kubernetes type crosses HTTP: `api` imports only `k8s`, and no Kubernetes crate.
//! - `executor` knows nothing of HTTP towards the user.
//! - `sandbox` knows nothing of tasks: it provides a kubeconfig, and only `serve` knows that it is not a real cluster.
//! - Only the outer modules read the clock, draw random numbers or print.
//!
//! # Glossary
//!
//! Kubernetes' own terms (Job, Pod, label, selector, uid, phase, resource version) keep their meaning. Further terms:
//!
//! | word | meaning |
//! |---|---|
//! | task | the work that a user submits; it has an id of 8 characters |
//! | definition | the task file, decoded |
//! | submission | a task that is about to be created, with all decisions about it |
//! | node, rank | one member of a task, and its number from 0; a machine of the cluster is a *cluster node* |
//! | attempt | one run of all nodes of a task; after a failure, `job_recovery` may begin the next |
//! | files, archive | the files that travel with a task, and their packed form |
//! | manifest | an object that is about to be sent to Kubernetes |
//! | volume, claim | a user's volume, and the `PersistentVolumeClaim` behind it |
//! | row | the few fields of a Kubernetes object that the program uses |
//! | view | the rows of all tasks and volumes, kept up to date by watches |
//! | scope | the set of objects that a list covers |
//! | versions | the version that the view has reached, and the objects that were deleted |
//! | subscriber | a receiver of the changes of a task's nodes |
//! | follower | reads the log of one node for one viewer |
//! | run | one run of a container; a restart begins the next |
//! | block, piece | a part of a log as Kubernetes sent it, and a line (or a part of one) in it |
//! | position, cursor | a place in a log, and its form on the wire |
//! | ring, tail | the newest part of a log in memory, and the stream that fills it for all viewers |
//! | record | one line of a log stream: lines of the log, or a message about it |
//! | topic | a page of the manual: `k8s-cli help <topic>` |
//!
//! Four walkthroughs stand where their code begins: a task file in `client/task_file`, a log line in `executor/logs`, a row of a
//! list in `executor/view`, a Job of the sandbox in `sandbox`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stderr))]

// The contract between client and server.
mod api;

// Rules of Kubernetes.
mod k8s;

// Modules that client, server and executor share.
mod backoff;
mod certificate;
mod hidden;
mod line_writer;
mod proxy;

// The syntax of task files.
mod yaml;

// Tasks as Kubernetes objects.
mod executor;

// The two ends of the contract.
mod client;
mod server;

// The command line, and a simulated cluster.
mod cli;
mod sandbox;

// The server command.
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
