//! `k8s-cli jobs ...`: the arguments of the commands about tasks.
//!
//! The group is called `jobs` because SkyPilot's group is. Everywhere else in the program the word is task.

use std::time::Duration;

use argh::FromArgs;

use super::{
    Format, LogFormat, Prefix, Reference, RerunArgs, RunArgs, SubmitArgs, ValidateArgs, When, value,
};
use crate::api::{Awaited, Since, Sort, TaskState};

command! {
    /// Submit, watch and stop tasks.
    #[argh(name = "jobs", example = "{command_name} submit train.yaml\n{command_name} list")]
    pub struct JobsArgs {
        #[argh(subcommand)]
        pub command: JobsCommand,
    }
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum JobsCommand {
    Submit(SubmitArgs),
    Run(RunArgs),
    Validate(ValidateArgs),
    List(ListArgs),
    Status(StatusArgs),
    Show(ShowArgs),
    Rerun(RerunArgs),
    Stop(StopArgs),
    Logs(LogsArgs),
    Wait(WaitArgs),
    Delete(DeleteArgs),
}

command! {
    /// List tasks, newest first.
    #[argh(
        name = "list",
        example = "{command_name}\n{command_name} --status pending,running --watch\n{command_name} --all-users --since 2h -o json",
        note = "Columns and formats: k8s-cli help scripts"
    )]
    pub struct ListArgs {
        /// only tasks in these states, separated by commas: pending, running, stopping, failed, completed
        #[argh(option, short = 's', arg_name = "states", from_str_fn(value::statuses))]
        pub status: Option<Vec<TaskState>>,

        /// only tasks whose name matches; `*` is any text and `?` any character
        #[argh(option, arg_name = "pattern")]
        pub name: Option<String>,

        /// only tasks of this user, who may be another one
        #[argh(option, arg_name = "user")]
        pub user: Option<String>,

        /// only the tasks of this group (its id, the beginning of it, or its name), each in a row; without it a group has one row on a terminal
        #[argh(option, arg_name = "id")]
        pub group: Option<Reference>,

        /// only tasks that were created since: a duration such as 2h, or a time such as 2025-10-05T12:34:56Z
        #[argh(option, arg_name = "time")]
        pub since: Option<Since>,

        /// at most this number of tasks
        #[argh(option, arg_name = "number", from_str_fn(value::positive))]
        pub limit: Option<usize>,

        /// the order: created, updated, name, status or user (default: created)
        #[argh(option, arg_name = "key", default = "Sort::default()")]
        pub sort: Sort,

        /// show more columns, as `-o wide` does
        #[argh(switch, short = 'd')]
        pub details: bool,

        /// include the tasks of all users
        #[argh(switch, short = 'A')]
        pub all_users: bool,

        /// stay, and show each change; in a pipe each changed task is one more line
        #[argh(switch, short = 'w')]
        pub watch: bool,

        /// print the titles of the columns in a pipe too
        #[argh(switch)]
        pub headers: bool,

        /// print no titles
        #[argh(switch)]
        pub no_headers: bool,

        /// colours: auto, always or never (default: auto, on a terminal)
        #[argh(option, arg_name = "when", default = "When::Auto")]
        pub color: When,
    } with output server
}

command! {
    /// Show tasks and their nodes.
    #[argh(name = "status", example = "{command_name} ab12cd34\n{command_name} -o json ab12cd34")]
    pub struct StatusArgs {
        /// the task: its id, the beginning of it (3 characters or more), its name, or @latest
        #[argh(positional)]
        pub id: Reference,

        /// more tasks
        #[argh(positional, arg_name = "id")]
        pub ids: Vec<Reference>,

        /// colours: auto, always or never (default: auto, on a terminal)
        #[argh(option, arg_name = "when", default = "When::Auto")]
        pub color: When,
    } with output server
}

command! {
    /// Print the file of a task, as it was submitted.
    #[argh(
        name = "show",
        example = "{command_name} ab12cd34 > train.yaml",
        note = "The values of secrets are left out."
    )]
    pub struct ShowArgs {
        /// the task: its id, the beginning of it (3 characters or more), its name, or @latest
        #[argh(positional)]
        pub id: Reference,
    } with output server
}

command! {
    /// Stop tasks, or all that have not finished.
    #[argh(
        name = "stop",
        example = "{command_name} ab12cd34 x9d3k2vb\n{command_name} --all",
        note = "Deletes the Jobs of the task, and with them their logs. The processes get SIGTERM, and SIGKILL after their grace period."
    )]
    pub struct StopArgs {
        /// the tasks or groups: their ids or names; at a terminal the beginnings of ids too
        #[argh(positional, arg_name = "id")]
        pub ids: Vec<Reference>,

        /// stop all your tasks that have not finished
        #[argh(switch, short = 'a')]
        pub all: bool,

        /// with --all: stop the tasks of all users
        #[argh(switch, short = 'A')]
        pub all_users: bool,

        /// return at once; the default is to wait until the processes have ended
        #[argh(switch)]
        pub no_wait: bool,

        /// with --all-users: do not ask
        #[argh(switch)]
        pub yes: bool,
    } with output server
}

command! {
    /// Print the log of a task, until the task ends.
    #[argh(
        name = "logs",
        example = "{command_name} ab12cd34\n{command_name} --no-follow --since 10m --node 0 ab12cd34",
        note = "Gaps, resuming and records: k8s-cli help logs",
        error_code(0, "the task completed"),
        error_code(1, "the request failed"),
        error_code(100, "the task failed"),
        error_code(101, "the task has not finished"),
        error_code(102, "there is no such task"),
        error_code(103, "the task was stopped"),
        error_code(130, "interrupted; the task keeps running")
    )]
    pub struct LogsArgs {
        /// the task: its id, the beginning of it (3 characters or more), its name, or @latest
        #[argh(positional)]
        pub id: Reference,

        /// the id or the name is that of a group: print the logs of its tasks, one after the other
        #[argh(switch)]
        pub group: bool,

        /// follow the log until the task ends (the default)
        #[argh(switch, short = 'f')]
        pub follow: bool,

        /// print the log so far, then end
        #[argh(switch)]
        pub no_follow: bool,

        /// print only this number of lines, the last of each node
        #[argh(option, arg_name = "lines", from_str_fn(value::tail))]
        pub tail: Option<u32>,

        /// print only newer lines: a duration such as 10m, or a time such as 2025-10-05T12:34:56Z
        #[argh(option)]
        pub since: Option<Since>,

        /// begin each line with its time
        #[argh(switch)]
        pub timestamps: bool,

        /// print only the node of this rank, from 0; may be repeated
        #[argh(option, arg_name = "rank", from_str_fn(value::rank))]
        pub node: Vec<u32>,

        /// print only this attempt of a task that was started again, from 1
        #[argh(option, arg_name = "number")]
        pub attempt: Option<u32>,

        /// begin each line with its node: auto (with several nodes), always or never
        #[argh(option, default = "Prefix::Auto")]
        pub prefix: Prefix,

        /// how long to wait for nodes that have not started (default: 5m)
        #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
        pub wait: Option<Duration>,

        /// text, or json: one record a line, with gaps and pauses as records (default: text)
        #[argh(option, short = 'o', arg_name = "format", default = "LogFormat::Text")]
        pub output: LogFormat,
    } with server
}

command! {
    /// Wait until tasks have ended, or have reached a state.
    #[argh(
        name = "wait",
        example = "{command_name} ab12cd34\n{command_name} --for running --timeout 10m ab12cd34 x9d3k2vb",
        note = "Ctrl-C ends the waiting only.",
        error_code(0, "the tasks have reached the state; with --any: one of them"),
        error_code(1, "the request failed"),
        error_code(100, "a task failed"),
        error_code(102, "there is no such task"),
        error_code(103, "a task was stopped"),
        error_code(124, "the time was over")
    )]
    pub struct WaitArgs {
        /// the task: its id, the beginning of it (3 characters or more), its name, or @latest; or that of a group
        #[argh(positional)]
        pub id: Reference,

        /// more tasks
        #[argh(positional, arg_name = "id")]
        pub ids: Vec<Reference>,

        /// the state: running, completed or finished (default: finished)
        #[argh(option, long = "for", arg_name = "state", default = "Awaited::default()")]
        pub awaited: Awaited,

        /// wait for one of the tasks only
        #[argh(switch)]
        pub any: bool,

        /// the longest time, such as 90s, 1h30m or forever (default: forever)
        #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
        pub timeout: Option<Duration>,
    } with output server
}

command! {
    /// Delete finished tasks, with their logs.
    #[argh(
        name = "delete",
        example = "{command_name} ab12cd34 x9d3k2vb\n{command_name} --finished --older-than 7d",
        note = "A task that has not finished is stopped first: k8s-cli jobs stop."
    )]
    pub struct DeleteArgs {
        /// the tasks or groups: their ids or names; at a terminal the beginnings of ids too
        #[argh(positional, arg_name = "id")]
        pub ids: Vec<Reference>,

        /// delete all your finished tasks
        #[argh(switch)]
        pub finished: bool,

        /// with --finished: only tasks that ended before this time, such as 12h or 7d
        #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
        pub older_than: Option<Duration>,

        /// with --finished: only tasks whose name matches; `*` is any text and `?` any character
        #[argh(option, arg_name = "pattern")]
        pub name: Option<String>,

        /// with --finished: do not ask
        #[argh(switch)]
        pub yes: bool,
    } with output server
}
