//! `k8s-cli jobs ...`: what is typed about tasks.
//!
//! The group is called `jobs` because SkyPilot's is; what it is about is a task everywhere else in the program.

use std::time::Duration;

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
    List(ListArgs),
    Status(StatusArgs),
    Stop(StopArgs),
    Logs(LogsArgs),
}

/// Start a task and follow its log.
#[derive(FromArgs, Debug, PartialEq)]
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

    /// table, tsv, json, yaml or name; json and yaml only with --detach
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,

    /// the server (default $K8S_CLI_API_URL, else http://localhost:8000)
    #[argh(option, arg_name = "url")]
    pub api_url: Option<String>,
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
    #[argh(option, arg_name = "lines")]
    pub tail: Option<u32>,

    /// only from then on: a duration such as 10m, or a time such as 2025-10-05T12:34:56Z
    #[argh(option)]
    pub since: Option<Since>,

    /// begin each line with its time
    #[argh(switch)]
    pub timestamps: bool,

    /// only this node, by its rank from 0; may be repeated
    #[argh(option, arg_name = "rank")]
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
