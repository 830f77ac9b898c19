//! `k8s-cli jobs ...`: what is typed about tasks.
//!
//! The group is called `jobs` because SkyPilot's is; what it is about is a task everywhere else in the program.

use std::{mem, time::Duration};

use argh::FromArgs;

use super::{Format, LogFormat, Prefix, value};
use crate::api::{Since, TaskId};

/// Submit, watch and stop tasks.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "jobs", help_triggers("-h", "--help"))]
pub struct JobsArgs {
    #[argh(subcommand)]
    pub command: JobsCommand,
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum JobsCommand {
    Submit(SubmitArgs),
    Validate(ValidateArgs),
    List(ListArgs),
    Status(StatusArgs),
    Stop(StopArgs),
    Logs(LogsArgs),
}

/// Defines the arguments of a command that reads task files: its own, and what may be changed about a file. argh has no way to
/// share fields.
macro_rules! with_changes {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        #[derive(FromArgs, Debug, PartialEq)]
        $(#[$about])*
        pub struct $name {
            $($own)*

            /// set a variable: NAME=VALUE, or NAME to pass yours on; may be repeated
            #[argh(option, arg_name = "variable")]
            pub env: Vec<String>,

            /// set the variables of a dotenv file; may be repeated
            #[argh(option, arg_name = "file")]
            pub env_file: Vec<String>,

            /// set a secret: NAME=VALUE, or NAME to pass yours on; may be repeated
            #[argh(option, arg_name = "secret")]
            pub secret: Vec<String>,

            /// set the secrets of a dotenv file; may be repeated
            #[argh(option, arg_name = "file")]
            pub secret_file: Vec<String>,

            /// use this name, not the file's
            #[argh(option)]
            pub name: Option<String>,

            /// use so many nodes
            #[argh(option, arg_name = "count", from_str_fn(value::num_nodes))]
            pub num_nodes: Option<u32>,

            /// ask for so many CPUs, as in 4, 500m or 4+
            #[argh(option, arg_name = "amount")]
            pub cpus: Option<String>,

            /// ask for so much memory, as in 16, 16Gi or 16+
            #[argh(option, arg_name = "amount")]
            pub memory: Option<String>,

            /// ask for these GPUs, as in H100:8
            #[argh(option, arg_name = "type:count")]
            pub gpus: Option<String>,

            /// use this container image
            #[argh(option, arg_name = "image")]
            pub image_id: Option<String>,

            /// work in this directory
            #[argh(option, arg_name = "path")]
            pub workdir: Option<String>,
        }

        impl $name {
            /// What is to be changed about the file, leaving nothing.
            pub fn take_changes(&mut self) -> Changes {
                Changes {
                    env: mem::take(&mut self.env),
                    env_file: mem::take(&mut self.env_file),
                    secret: mem::take(&mut self.secret),
                    secret_file: mem::take(&mut self.secret_file),
                    name: self.name.take(),
                    num_nodes: self.num_nodes.take(),
                    cpus: self.cpus.take(),
                    memory: self.memory.take(),
                    gpus: self.gpus.take(),
                    image_id: self.image_id.take(),
                    workdir: self.workdir.take(),
                }
            }
        }
    };
}

/// What the command line changes about a task file, as it was typed.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub env: Vec<String>,
    pub env_file: Vec<String>,
    pub secret: Vec<String>,
    pub secret_file: Vec<String>,
    pub name: Option<String>,
    pub num_nodes: Option<u32>,
    pub cpus: Option<String>,
    pub memory: Option<String>,
    pub gpus: Option<String>,
    pub image_id: Option<String>,
    pub workdir: Option<String>,
}

with_changes! {
/// Start a task and follow its log.
#[argh(
    subcommand,
    name = "submit",
    help_triggers("-h", "--help"),
    note = "Ctrl-C while the log is followed leaves the task running.",
    error_code(0, "the task completed, or with --detach: was accepted"),
    error_code(1, "the request failed"),
    error_code(100, "the task failed"),
    error_code(101, "the task has not finished"),
    error_code(103, "the task was stopped"),
    error_code(130, "interrupted")
)]
pub struct SubmitArgs {
    /// the task file, `-` for standard input
    #[argh(positional)]
    pub file: String,

    /// do not follow the log
    #[argh(switch, short = 'd')]
    pub detach: bool,

    /// print the objects that the server would create, as YAML, and create nothing
    #[argh(switch)]
    pub dry_run: bool,

    /// when a node fails, let the others go on
    #[argh(switch)]
    pub no_fail_fast: bool,

    /// how long to wait for nodes that have not started before the log is given up; the task goes on (default 5m)
    #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
    pub wait: Option<Duration>,

    /// table, tsv, json, yaml or name; json and yaml only with --detach or --dry-run, which knows no table and tsv
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}
}

with_changes! {
/// Check task files, without a server.
#[argh(
    subcommand,
    name = "validate",
    help_triggers("-h", "--help"),
    error_code(0, "all files are tasks"),
    error_code(1, "some file is not a task, or cannot be read")
)]
pub struct ValidateArgs {
    /// the task files, `-` for standard input
    #[argh(positional)]
    pub file: String,

    /// more files
    #[argh(positional, arg_name = "file")]
    pub files: Vec<String>,

    /// json or yaml: what was understood, too; name: the files that are tasks
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,
}
}

/// List tasks, newest first.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "list", help_triggers("-h", "--help"))]
pub struct ListArgs {
    /// show more columns
    #[argh(switch)]
    pub details: bool,

    /// include the tasks of every user
    #[argh(switch)]
    pub all_users: bool,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Show one task and its nodes.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"))]
pub struct StatusArgs {
    /// the task's id
    #[argh(positional)]
    pub id: TaskId,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Stop one task, or all that have not finished.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "stop", help_triggers("-h", "--help"))]
pub struct StopArgs {
    /// the task's id
    #[argh(positional)]
    pub id: Option<TaskId>,

    /// stop every task of yours that has not finished
    #[argh(switch)]
    pub all: bool,

    /// with --all: the tasks of every user
    #[argh(switch)]
    pub all_users: bool,

    /// table, tsv, json, yaml or name (default: table on a terminal, else tsv)
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}

/// Print what a task prints, until it ends.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "logs",
    help_triggers("-h", "--help"),
    error_code(0, "the task completed"),
    error_code(1, "the request failed"),
    error_code(100, "the task failed"),
    error_code(101, "the task has not finished"),
    error_code(102, "there is no such task"),
    error_code(103, "the task was stopped"),
    error_code(130, "interrupted; the task goes on")
)]
pub struct LogsArgs {
    /// the task's id
    #[argh(positional)]
    pub id: TaskId,

    /// go on until the task ends (the default)
    #[argh(switch, short = 'f')]
    pub follow: bool,

    /// print what there is and end
    #[argh(switch)]
    pub no_follow: bool,

    /// only the last lines of each node
    #[argh(option, arg_name = "lines", from_str_fn(value::tail))]
    pub tail: Option<u32>,

    /// only from then on: a duration such as 10m, or a time such as 2025-10-05T12:34:56Z
    #[argh(option)]
    pub since: Option<Since>,

    /// begin each line with its time
    #[argh(switch)]
    pub timestamps: bool,

    /// only this node, by its rank from 0; may be repeated
    #[argh(option, arg_name = "rank", from_str_fn(value::rank))]
    pub node: Vec<u32>,

    /// begin each line with its node: auto (when there are several), always or never
    #[argh(option, default = "Prefix::Auto")]
    pub prefix: Prefix,

    /// how long to wait for nodes that have not started (default 5m)
    #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
    pub wait: Option<Duration>,

    /// text, or json: one record a line, with what is said of the log too (default text)
    #[argh(option, short = 'o', arg_name = "format", default = "LogFormat::Text")]
    pub output: LogFormat,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
}
