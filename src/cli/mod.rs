//! The command line: what the user typed, as data.
//!
//! The structs are the grammar, their doc comments the help. Nothing is done here; the client and `main` do it.

// What is written for a terminal is not Markdown.
#![allow(clippy::doc_markdown, rustdoc::bare_urls, rustdoc::invalid_html_tags)]

mod jobs;
mod parse;
mod topics;
mod value;
mod volumes;

pub use jobs::{
    Changes, JobsArgs, JobsCommand, ListArgs, LogsArgs, StatusArgs, StopArgs, SubmitArgs,
    ValidateArgs,
};
pub use parse::EarlyExit;
pub use value::{Format, LogFormat, Prefix};
pub use volumes::{
    VolumeCreateArgs, VolumeDeleteArgs, VolumeListArgs, VolumeStatusArgs, VolumesArgs,
    VolumesCommand,
};

use std::path::PathBuf;

use argh::{CommandInfo, FromArgs, SubCommand, SubCommands};

use crate::api::Quantity;

/// Run SkyPilot task files on a Kubernetes cluster.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help"))]
pub struct Cli {
    /// print the version
    #[argh(switch)]
    version: bool,

    #[argh(subcommand)]
    command: Option<Command>,
}

/// The command that the user typed.
#[derive(Debug, PartialEq)]
pub enum Command {
    Serve(ServeArgs),
    Client(ClientCommand),
}

/// A command of the client: every command but `serve`.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum ClientCommand {
    Auth(AuthArgs),
    Jobs(JobsArgs),
    Volumes(VolumesArgs),
}

// argh can derive a flat enum only. On the command line, `serve` stands beside the commands of the client.
impl FromArgs for Command {
    fn from_args(names: &[&str], args: &[&str]) -> Result<Self, argh::EarlyExit> {
        if names.last() == Some(&ServeArgs::COMMAND.name) {
            ServeArgs::from_args(names, args).map(Self::Serve)
        } else {
            ClientCommand::from_args(names, args).map(Self::Client)
        }
    }
}

impl SubCommands for Command {
    const COMMANDS: &'static [&'static CommandInfo] = &[
        ServeArgs::COMMAND,
        AuthArgs::COMMAND,
        JobsArgs::COMMAND,
        VolumesArgs::COMMAND,
    ];
}

/// Run the API server.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "serve", help_triggers("-h", "--help"))]
pub struct ServeArgs {
    /// address to listen on (default 0.0.0.0, with --sandbox 127.0.0.1)
    #[argh(option)]
    pub host: Option<String>,

    /// port to listen on, 0 for any free one (default $K8S_CLI_API_PORT, else 8000)
    #[argh(option, from_str_fn(value::port))]
    pub port: Option<u16>,

    /// namespace that tasks and volumes live in (default `default`)
    #[argh(
        option,
        default = "\"default\".to_owned()",
        from_str_fn(value::namespace)
    )]
    pub namespace: String,

    /// run tasks as local processes, without a cluster: for trying out
    #[argh(switch)]
    pub sandbox: bool,

    /// with --sandbox: start a pod's log afresh rather than let it grow beyond this, as in 1Mi (default: never)
    #[argh(option, arg_name = "size", from_str_fn(value::size))]
    pub sandbox_log_max_size: Option<Quantity>,

    /// with --sandbox: a file of Kubernetes objects that are there from the beginning, as JSON, one a line
    #[argh(option, arg_name = "file")]
    pub sandbox_objects: Option<PathBuf>,

    /// let task files set what reaches beyond their pods: hostPath, privileged, service accounts and the like
    #[argh(switch)]
    pub allow_pod_config: bool,
}

/// Log in and out.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "auth", help_triggers("-h", "--help"))]
pub struct AuthArgs {
    #[argh(subcommand)]
    pub command: AuthCommand,
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum AuthCommand {
    Login(LoginArgs),
    Whoami(WhoamiArgs),
    Logout(LogoutArgs),
}

/// Remember who you are.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "login", help_triggers("-h", "--help"))]
pub struct LoginArgs {
    /// your user name
    #[argh(positional)]
    pub user: String,

    /// taken like everywhere, but no server is asked
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Print who is logged in.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "whoami", help_triggers("-h", "--help"))]
pub struct WhoamiArgs {
    /// taken like everywhere, but no server is asked
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Forget who you are.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "logout", help_triggers("-h", "--help"))]
pub struct LogoutArgs {
    /// taken like everywhere, but no server is asked
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

#[cfg(test)]
mod tests;
