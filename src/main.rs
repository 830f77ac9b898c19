//! `k8s-cli`: one binary with which a team runs `SkyPilot` task files on a Kubernetes cluster.
//!
//! `k8s-cli serve` is a REST server over an executor that turns each task into Jobs, one per node; every other command is a
//! thin blocking client of it. With `serve --sandbox` the cluster is a pretend one in the same process.
//!
//! ```text
//!                  main
//!      ┌───────┬────┴────┬──────────┐
//!      ▼       ▼         ▼          ▼
//!     cli ◄─ client    server    sandbox
//!      │       │        │   │       │
//!      │       ▼        ▼   ▼       │
//!      └─────► api ◄──── executor   │
//!               └─────► k8s ◄─┴─────┘
//! ```
//!
//! `k8s` holds rules of Kubernetes. `yaml` is used by the client only, `line_writer` by client and server, and `backoff` by client
//! and executor. These four import nothing of ours.
//!
//! What never happens, and `tests/e2e/tidy.rs` sees to it:
//!
//! - `client` knows the server only by HTTP: it imports neither `server` nor `executor`.
//! - No Kubernetes type crosses HTTP: `api` imports nothing of ours but `k8s`, and no Kubernetes crate.
//! - `executor` knows nothing of HTTP towards the user.
//! - `sandbox` knows nothing of tasks: it hands out a kubeconfig, and nothing but this file can tell it from a real cluster.
//!
//! Only the edges read the clock, draw random numbers or print.

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

#[cfg(test)]
mod golden;

use std::{
    borrow::Cow,
    env,
    error::Error,
    io::{self, Write},
    iter,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
};

use actix_web::rt::{
    System,
    signal::unix::{SignalKind, signal},
    spawn,
};

use api::Quantity;
use cli::{Cli, Command, EarlyExit, ServeArgs};
use executor::{ClusterConfig, Executor};
use sandbox::Sandbox;

fn main() -> ExitCode {
    match Cli::parse(env::args_os().skip(1)) {
        Ok(Command::Serve(args)) => {
            log_to_stderr();
            match serve(args) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    // Nobody is left to tell when stderr is closed.
                    drop(writeln!(
                        io::stderr(),
                        "k8s-cli: {}",
                        one_line(&with_cause(&*error))
                    ));
                    ExitCode::FAILURE
                }
            }
        }
        Ok(Command::Client(command)) => client::run(command),
        Err(EarlyExit::Answer(text)) => client::print(&text),
        Err(EarlyExit::Topic(text)) => client::page(text),
        Err(EarlyExit::Usage(text)) => {
            drop(io::stderr().write_all(text.as_bytes()));
            ExitCode::from(2)
        }
    }
}

/// An error and, unless it says it itself, what lies at the bottom of it, in one line.
fn with_cause(error: &dyn Error) -> String {
    let message = error.to_string();
    let bottom = iter::successors(error.source(), |cause: &&dyn Error| (*cause).source())
        .last()
        .map(ToString::to_string);
    match bottom {
        Some(cause) if !message.contains(&cause) && !cause.contains('\n') => {
            format!("{message}: {cause}")
        }
        _ => message,
    }
}

/// Serves until SIGINT or SIGTERM. The only place where server, executor and sandbox meet.
fn serve(args: ServeArgs) -> Result<(), Box<dyn Error>> {
    let ServeArgs {
        host,
        port,
        namespace,
        sandbox,
        sandbox_log_max_size,
        sandbox_objects,
        allow_pod_config,
    } = args;
    sandbox::raise_open_files_limit();
    let port = port.map_or_else(port_from_environment, Ok)?;
    // The sandbox gives everybody who reaches it a shell on this machine.
    let host = host.unwrap_or_else(|| if sandbox { "127.0.0.1" } else { "0.0.0.0" }.to_owned());
    let listener = server::bind(&host, port)
        .map_err(|error| format!("cannot listen on {host}:{port}: {error}"))?;
    let sandbox = if sandbox {
        let log_max_size = sandbox_log_max_size.as_ref().map(Quantity::as_str);
        let objects = sandbox_objects.as_deref();
        Some(start_sandbox(&namespace, log_max_size, objects)?)
    } else {
        None
    };
    let cluster = sandbox
        .as_ref()
        .map_or(ClusterConfig::Environment, |sandbox| {
            ClusterConfig::Kubeconfig(sandbox.kubeconfig())
        });
    System::new().block_on(async {
        let executor = Executor::connect(cluster, &namespace).await?;
        let executor = executor.allow_pod_config(allow_pod_config);
        let (viewer, watchman, creator) = (executor.clone(), executor.clone(), executor.clone());
        spawn(async move { viewer.keep_view().await });
        spawn(async move { watchman.fail_fast().await });
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let mut signalled = async || {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        };
        let stop = async {
            signalled().await;
            // The second time is an order.
            tokio::select! {
                () = creator.stop_creating() => (),
                () = signalled() => (),
            }
        };
        server::run(listener, executor, announce, stop).await?;
        Ok(())
    })
}

fn start_sandbox(
    namespace: &str,
    log_max_size: Option<&str>,
    objects: Option<&Path>,
) -> Result<Sandbox, String> {
    let sandbox = Sandbox::start(namespace, log_max_size, objects)
        .map_err(|error| format!("cannot start the sandbox: {error}"))?;
    let kubeconfig = sandbox.kubeconfig().display();
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(
        io::stderr(),
        "the sandbox is a cluster for kubectl too: export KUBECONFIG={kubeconfig}"
    ));
    Ok(sandbox)
}

fn port_from_environment() -> Result<u16, String> {
    match env::var("K8S_CLI_API_PORT") {
        Ok(port) if !port.is_empty() => port
            .parse()
            .map_err(|_| format!("K8S_CLI_API_PORT is {port:?}, which is not a port")),
        _ => Ok(8000),
    }
}

/// Says on stdout where the server listens. The tests, and scripts that ask for port 0, read this line.
fn announce(address: SocketAddr) {
    // A closed stdout does not keep the server from serving.
    drop(writeln!(io::stdout(), "listening on http://{address}"));
}

/// Logs to stderr, one `key=value` line an event; `RUST_LOG` chooses what, `info` unless it says otherwise.
fn log_to_stderr() {
    env_logger::Builder::from_env(
        env_logger::Env::default().default_filter_or("info,actix_server=warn,kube_client=off"),
    )
    .format(|out, record| {
        let time = api::Timestamp::from(time::OffsetDateTime::now_utc());
        let level = record.level().as_str().to_ascii_lowercase();
        let message = record.args().to_string();
        writeln!(out, "time={time}Z level={level} {}", one_line(&message))
    })
    .init();
}

/// A message as it may be logged: what came from elsewhere must not begin a line of its own, or speak to a terminal.
fn one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(char::is_control) {
        return message.into();
    }
    let escaped = message.chars().map(|c| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_is_one_line() {
        assert_eq!(super::one_line("a \"ø\""), "a \"ø\"");
        assert_eq!(super::one_line("a\n\x1b[31mb"), "a\\n\\u{1b}[31mb");
    }
}
