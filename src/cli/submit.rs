//! The arguments of the commands that start a task, or read a task file.

use std::{mem, time::Duration};

use argh::FromArgs;

use super::{Format, Reference, ServerOptions, value};
use crate::api::{Awaited, Sweep, SweepParameter};

/// Defines the arguments of a command that reads task files: its own arguments and the options that change a file. A macro,
/// because argh cannot share fields between commands.
macro_rules! with_changes {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        command! {
        $(#[$about])*
        pub struct $name {
            $($own)*

            /// set a variable: NAME=VALUE, or NAME to pass your own on; may be repeated
            #[argh(option, short = 'e', arg_name = "variable")]
            pub env: Vec<String>,

            /// set the variables of a dotenv file; may be repeated
            #[argh(option, arg_name = "file")]
            pub env_file: Vec<String>,

            /// set a secret: NAME=VALUE, or NAME to pass your own on; may be repeated
            #[argh(option, arg_name = "secret")]
            pub secret: Vec<String>,

            /// set the secrets of a dotenv file; may be repeated
            #[argh(option, arg_name = "file")]
            pub secret_file: Vec<String>,

            /// name of the task, instead of the name in the file
            #[argh(option, short = 'n')]
            pub name: Option<String>,

            /// number of nodes
            #[argh(option, arg_name = "count", from_str_fn(value::num_nodes))]
            pub num_nodes: Option<u32>,

            /// CPUs of each node, such as 4, 500m or 4+
            #[argh(option, arg_name = "amount")]
            pub cpus: Option<String>,

            /// memory of each node, such as 16, 16Gi or 16+
            #[argh(option, arg_name = "amount")]
            pub memory: Option<String>,

            /// GPUs of each node, such as H100:8
            #[argh(option, arg_name = "type:count")]
            pub gpus: Option<String>,

            /// container image
            #[argh(option, arg_name = "image")]
            pub image_id: Option<String>,

            /// working directory: a local one, which travels with the task, or an absolute path in the container
            #[argh(option, arg_name = "path")]
            pub workdir: Option<String>,

            /// the longest time that a node may run, such as 90s, 2h or 1d12h; or forever
            #[argh(option, arg_name = "duration")]
            pub time_limit: Option<String>,
        }
        }

        impl $name {
            /// Takes the options that change the file out of the arguments.
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
                    time_limit: self.time_limit.take(),
                }
            }
        }
    };
}

/// The options that change a task file, as the user typed them.
#[derive(Clone, Debug, Default, PartialEq)]
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
    pub time_limit: Option<String>,
}

/// Defines the arguments of a command that starts a task: its own arguments, how the task starts, and the options that change a file.
macro_rules! with_submission {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        with_changes! {
        $(#[$about])*
        pub struct $name {
            $($own)*

            /// do not follow the log
            #[argh(switch, short = 'd')]
            pub detach: bool,

            /// do not follow the log, and wait until the task is running, completed or finished
            #[argh(option, arg_name = "state")]
            pub wait_for: Option<Awaited>,

            /// with --wait-for: the longest time, such as 90s or 1h30m; then the task keeps running (default: forever)
            #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
            pub timeout: Option<Duration>,

            /// print the objects that the server would create, as YAML; create nothing
            #[argh(switch)]
            pub dry_run: bool,

            /// keep the other nodes running when a node fails
            #[argh(switch)]
            pub no_fail_fast: bool,

            /// let each node begin `run` when its own `setup` has ended
            #[argh(switch)]
            pub no_barrier: bool,

            /// start the task again when the cluster loses a node of it: a machine fails, or a pod is evicted or preempted
            #[argh(switch)]
            pub recover: bool,

            /// run the file once for each value of a variable: lr=0.1,0.01 or seed=1..5; repeated, for all combinations
            #[argh(option, arg_name = "variable=values")]
            pub sweep: Vec<SweepParameter>,

            /// run the file this many times; each task has its number in SKYPILOT_JOB_RANK
            #[argh(option, arg_name = "count", from_str_fn(value::num_tasks))]
            pub array: Option<u32>,

            /// with --sweep or --array: at most this many tasks run at a time
            #[argh(option, arg_name = "count", from_str_fn(value::num_tasks))]
            pub max_running: Option<u32>,

            /// the same key gives the same task for as long as it exists, however often it is submitted (default: a new one)
            #[argh(option, arg_name = "key")]
            pub idempotency_key: Option<String>,

            /// how long to wait for nodes that have not started; then the command ends and the task keeps running (default: 5m)
            #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
            pub wait: Option<Duration>,

            /// table, tsv, json, yaml or name; json and yaml need --detach or --dry-run; --dry-run has no table and tsv
            #[argh(option, short = 'o', arg_name = "format")]
            pub output: Option<Format>,

            /// URL of the server (default: $K8S_CLI_API_URL, else http://localhost:8000)
            #[argh(option, arg_name = "url")]
            pub api_url: Option<String>,

            /// act as this user (default: $K8S_CLI_USER, else the login)
            #[argh(option, long = "as", arg_name = "user")]
            pub as_user: Option<String>,

            /// run this command for a token of the cluster (default: $K8S_CLI_TOKEN, $K8S_CLI_TOKEN_COMMAND, the login)
            #[argh(option, arg_name = "command")]
            pub token_command: Option<String>,

            /// send this header too, `Name: value`, for a proxy; may be repeated; also $K8S_CLI_HEADERS, one a line
            #[argh(option, arg_name = "header")]
            pub header: Vec<String>,

            /// run this command for more headers, one a line (default: $K8S_CLI_HEADER_COMMAND)
            #[argh(option, arg_name = "command")]
            pub header_command: Option<String>,

            /// send a token over plain http to other machines too
            #[argh(switch)]
            pub insecure_http: bool,

            /// trust only the CAs in this file (default: $K8S_CLI_CA_FILE, else those of the system)
            #[argh(option, arg_name = "file")]
            pub ca_file: Option<std::path::PathBuf>,

            /// print no messages but errors
            #[argh(switch, short = 'q')]
            pub quiet: bool,
        }
        }
        server_options! { $name }

        impl $name {
            /// Takes the options about the start of the task out of the arguments.
            pub fn take_start(&mut self) -> StartOptions {
                StartOptions {
                    server: self.take_server(),
                    detach: self.detach,
                    wait_for: self.wait_for,
                    timeout: self.timeout,
                    dry_run: self.dry_run,
                    no_fail_fast: self.no_fail_fast,
                    no_barrier: self.no_barrier,
                    recover: self.recover,
                    sweep: mem::take(&mut self.sweep),
                    array: self.array,
                    max_running: self.max_running,
                    idempotency_key: self.idempotency_key.take(),
                    wait: self.wait,
                    output: self.output,
                }
            }
        }
    };
}

/// How a task starts.
#[derive(Debug)]
pub struct StartOptions {
    pub server: ServerOptions,
    pub detach: bool,
    pub wait_for: Option<Awaited>,
    pub timeout: Option<Duration>,
    pub dry_run: bool,
    pub no_fail_fast: bool,
    pub no_barrier: bool,
    pub recover: bool,
    pub sweep: Vec<SweepParameter>,
    pub array: Option<u32>,
    pub max_running: Option<u32>,
    pub idempotency_key: Option<String>,
    pub wait: Option<Duration>,
    pub output: Option<Format>,
}

impl StartOptions {
    /// The tasks that the file becomes, if it is not one.
    ///
    /// # Errors
    /// The options do not go together, as a sentence.
    pub fn sweep(&self) -> Result<Option<Sweep>, String> {
        let sweep = Sweep::new(self.sweep.clone(), self.array, self.max_running);
        sweep.map_err(|problems| {
            let lines = problems.iter().map(|problem| {
                let option = problem.field.replace('_', "-");
                format!("--{option}: {}", problem.message)
            });
            lines.collect::<Vec<_>>().join("; ")
        })
    }
}

impl Changes {
    /// The options that make these changes, but for those of secrets.
    pub fn to_options(&self) -> Vec<String> {
        let num_nodes = self.num_nodes.map(|num_nodes| num_nodes.to_string());
        let single = [
            ("--name", &self.name),
            ("--num-nodes", &num_nodes),
            ("--cpus", &self.cpus),
            ("--memory", &self.memory),
            ("--gpus", &self.gpus),
            ("--image-id", &self.image_id),
            ("--workdir", &self.workdir),
            ("--time-limit", &self.time_limit),
        ];
        let single = single
            .into_iter()
            .filter_map(|(option, value)| Some((option, value.as_ref()?)));
        let envs = self.env.iter().map(|env| ("--env", env));
        let files = self.env_file.iter().map(|file| ("--env-file", file));
        let all = files.chain(envs).chain(single);
        all.flat_map(|(option, value)| [option.to_owned(), value.clone()])
            .collect()
    }

    /// These changes, and then others, which win.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        self.env.extend(later.env);
        self.env_file.extend(later.env_file);
        self.secret.extend(later.secret);
        self.secret_file.extend(later.secret_file);
        Self {
            name: later.name.or(self.name),
            num_nodes: later.num_nodes.or(self.num_nodes),
            cpus: later.cpus.or(self.cpus),
            memory: later.memory.or(self.memory),
            gpus: later.gpus.or(self.gpus),
            image_id: later.image_id.or(self.image_id),
            workdir: later.workdir.or(self.workdir),
            time_limit: later.time_limit.or(self.time_limit),
            ..self
        }
    }
}

impl SubmitArgs {
    /// The arguments of a task that was submitted with these options; none if they are not options of this program.
    pub fn of_options(options: &[String]) -> Option<Self> {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Self::from_args(&["submit"], &[&options, &["--", "-"][..]].concat()).ok()
    }
}

with_submission! {
/// Start a task and follow its log.
#[argh(
    name = "submit",
    example = "{command_name} train.yaml\n{command_name} --detach --env LR=0.1 --gpus H100:8 train.yaml",
    note = "Ctrl-C while the log is followed leaves the task running.\nFields of the file: k8s-cli help task-file",
    error_code(0, "the task completed; with --detach: the task was accepted"),
    error_code(1, "the request failed"),
    error_code(100, "the task failed"),
    error_code(101, "the task has not finished"),
    error_code(103, "the task was stopped"),
    error_code(124, "the time of --timeout was over"),
    error_code(130, "interrupted; the task keeps running")
)]
pub struct SubmitArgs {
    /// the task file, `-` for standard input
    #[argh(positional)]
    pub file: String,

    /// submit without the files of `file_mounts`
    #[argh(switch)]
    pub ignore_file_mounts: bool,
}
}

with_submission! {
/// Start a task without a file: the command stands behind `--`.
#[argh(
    name = "run",
    example = "{command_name} -- python train.py --lr 0.1\n{command_name} --gpus L4:1 --volume data:/data --workdir . -- 'make && ./train'",
    note = "A command of one word is a line for bash. Several words are passed on as they are.",
    error_code(0, "the task completed; with --detach: the task was accepted"),
    error_code(1, "the request failed"),
    error_code(100, "the task failed"),
    error_code(101, "the task has not finished"),
    error_code(103, "the task was stopped"),
    error_code(124, "the time of --timeout was over"),
    error_code(130, "interrupted; the task keeps running")
)]
pub struct RunArgs {
    /// the command and its arguments
    #[argh(positional)]
    pub command: Vec<String>,

    /// mount one of your volumes: its name, a colon, and the path; may be repeated
    #[argh(option, arg_name = "name:path", from_str_fn(value::mount))]
    pub volume: Vec<(String, String)>,
}
}

with_submission! {
/// Start a task again, as it was submitted.
#[argh(
    name = "rerun",
    example = "{command_name} ab12cd34\n{command_name} --env LR=0.2 train",
    note = "The files of the task are packed again, from the directory in which it was submitted.\nSecrets are not kept: give them with --secret.",
    error_code(0, "the task completed; with --detach: the task was accepted"),
    error_code(1, "the request failed"),
    error_code(100, "the task failed"),
    error_code(101, "the task has not finished"),
    error_code(103, "the task was stopped"),
    error_code(124, "the time of --timeout was over"),
    error_code(130, "interrupted; the task keeps running")
)]
pub struct RerunArgs {
    /// the task: its id, the beginning of it (3 characters or more), its name, or @latest
    #[argh(positional)]
    pub id: Reference,
}
}

with_changes! {
/// Check task files, without a server.
#[argh(
    name = "validate",
    example = "{command_name} train.yaml\n{command_name} --env TOKEN=abc -o json a.yaml b.yaml",
    error_code(0, "all files are tasks"),
    error_code(1, "a file is not a task, or cannot be read")
)]
pub struct ValidateArgs {
    /// the task files, `-` for standard input
    #[argh(positional)]
    pub file: String,

    /// more files
    #[argh(positional, arg_name = "file")]
    pub files: Vec<String>,

    /// json or yaml: the parsed tasks; name: the names of the valid files
    #[argh(option, short = 'o', arg_name = "format")]
    pub output: Option<Format>,
}
}
