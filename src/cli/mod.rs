//! The command line: the arguments that the user typed, as data.
//!
//! The structs define the grammar, and their doc comments are the help. This module does no I/O: the client and `main` run
//! the commands.

// Texts for a terminal are not Markdown.
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
#[argh(
    help_triggers("-h", "--help"),
    example = "{command_name} serve --sandbox\n{command_name} jobs submit train.yaml\n{command_name} help task-file"
)]
pub struct Cli {
    /// print the version
    #[argh(switch)]
    version: bool,

    #[argh(subcommand)]
    command: Option<Command>,
}

/// The command that the user typed.
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one command, so its size does not matter"
)]
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

// argh derives flat enums only. On the command line, `serve` is beside the commands of the client.
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
#[argh(
    subcommand,
    name = "serve",
    help_triggers("-h", "--help"),
    example = "{command_name} --sandbox\n{command_name} --host 10.0.0.5 --namespace team",
    note = "The server believes the names of its users: k8s-cli help security"
)]
pub struct ServeArgs {
    /// address to listen on (default: 0.0.0.0, with --sandbox 127.0.0.1)
    #[argh(option)]
    pub host: Option<String>,

    /// port to listen on, 0 for any free port (default: $K8S_CLI_API_PORT, else 8000)
    #[argh(option, from_str_fn(value::port))]
    pub port: Option<u16>,

    /// namespace of all tasks and volumes (default: `default`)
    #[argh(
        option,
        default = "\"default\".to_owned()",
        from_str_fn(value::namespace)
    )]
    pub namespace: String,

    /// start a small cluster whose pods are processes of this machine, to try things out
    #[argh(switch)]
    pub sandbox: bool,

    /// with --sandbox: rotate the log of a pod at this size, such as 1Mi (default: never)
    #[argh(option, arg_name = "size", from_str_fn(value::size))]
    pub sandbox_log_max_size: Option<Quantity>,

    /// with --sandbox: begin with the Kubernetes objects in this file: JSON, one object a line
    #[argh(option, arg_name = "file")]
    pub sandbox_objects: Option<PathBuf>,

    /// allow task files to set fields that reach beyond their pods, such as hostPath, privileged and service accounts
    #[argh(switch)]
    pub allow_pod_config: bool,
}

/// Log in and out.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "auth",
    help_triggers("-h", "--help"),
    example = "{command_name} login ada@example.com\n{command_name} whoami"
)]
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

/// Store your user name.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "login",
    help_triggers("-h", "--help"),
    example = "{command_name} ada@example.com"
)]
pub struct LoginArgs {
    /// your user name
    #[argh(positional)]
    pub user: String,

    /// accepted as in other commands; no server is asked
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Print the stored user name.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "whoami",
    help_triggers("-h", "--help"),
    example = "{command_name}"
)]
pub struct WhoamiArgs {
    /// accepted as in other commands; no server is asked
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Delete the stored user name.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "logout",
    help_triggers("-h", "--help"),
    example = "{command_name}"
)]
pub struct LogoutArgs {
    /// accepted as in other commands; no server is asked
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

#[cfg(test)]
mod tests;
