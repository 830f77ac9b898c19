//! The command line: the arguments that the user typed, as data.
//!
//! The structs define the grammar, and their doc comments are the help. This module does no I/O: the client and `main` run
//! the commands.

// Texts for a terminal are not Markdown.
#![allow(clippy::doc_markdown, rustdoc::bare_urls, rustdoc::invalid_html_tags)]

/// Takes the options of `with server` out of the arguments of a command.
macro_rules! server_options {
    ($name:ident) => {
        impl $name {
            pub fn take_server(&mut self) -> crate::cli::ServerOptions {
                crate::cli::ServerOptions {
                    api_url: self.api_url.take(),
                    as_user: self.as_user.take(),
                    token_command: self.token_command.take(),
                    header: std::mem::take(&mut self.header),
                    header_command: self.header_command.take(),
                    insecure_http: self.insecure_http,
                    ca_file: self.ca_file.take(),
                    quiet: self.quiet,
                }
            }
        }
    };
}

/// Defines the arguments of a command. `with` adds the options that several commands have: `output`, and `server` or, for a
/// command that asks no server, `offline`. A macro, because argh cannot share fields between commands.
macro_rules! command {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        #[derive(FromArgs, Debug, PartialEq)]
        #[argh(subcommand, help_triggers("-h", "--help"))]
        $(#[$about])*
        pub struct $name { $($own)* }
    };
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* } with output $($more:ident)*) => {
        command! { $(#[$about])* pub struct $name { $($own)*
            /// table, wide, tsv, json, yaml or name (default: table on a terminal, else tsv)
            #[argh(option, short = 'o', arg_name = "format")]
            pub output: Option<Format>,
        } with $($more)* }
    };
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* } with server) => {
        command! { $(#[$about])* pub struct $name { $($own)*
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
            #[argh(option, arg_name = "file", from_str_fn($crate::cli::value::path))]
            pub ca_file: Option<std::path::PathBuf>,

            /// print no messages but errors
            #[argh(switch, short = 'q')]
            pub quiet: bool,
        }
        }
        server_options! { $name }
    };
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* } with offline) => {
        command! { $(#[$about])* pub struct $name { $($own)*
            /// accepted as in other commands; no server is asked
            #[argh(option, arg_name = "url")]
            pub api_url: Option<String>,
        } }
    };
}

/// The options of a command that asks a server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    pub api_url: Option<String>,
    pub as_user: Option<String>,
    pub token_command: Option<String>,
    pub header: Vec<String>,
    pub header_command: Option<String>,
    pub insecure_http: bool,
    pub ca_file: Option<std::path::PathBuf>,
    pub quiet: bool,
}

mod complete;
mod jobs;
mod man;
mod parse;
mod reference;
mod serve;
mod submit;
mod topics;
mod value;
mod volumes;

pub use complete::{Candidates, Objects, candidates};
pub use jobs::{
    DeleteArgs, JobsArgs, JobsCommand, ListArgs, LogsArgs, ShowArgs, StatusArgs, StopArgs, WaitArgs,
};
pub use man::pages;
pub use parse::EarlyExit;
pub use reference::Reference;
pub use submit::{Changes, RerunArgs, RunArgs, StartOptions, SubmitArgs, ValidateArgs};
pub use topics::role;
pub use value::{Auth, Format, LogFormat, PodSecurity, Prefix, Shell, When};
pub use volumes::{
    VolumeCreateArgs, VolumeDeleteArgs, VolumeListArgs, VolumeStatusArgs, VolumesArgs,
    VolumesCommand,
};

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;

use argh::{CommandInfo, FromArgs, SubCommand, SubCommands};

use crate::api::{Quantity, User};

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

/// The command that the user typed. There is one of it, so its size does not matter.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant)]
pub enum Command {
    Serve(ServeArgs),
    Client(ClientCommand),
}

/// A command of the client: every command but `serve`. There is one of it, so its size does not matter.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant)]
pub enum ClientCommand {
    Auth(AuthArgs),
    Jobs(JobsArgs),
    Volumes(VolumesArgs),
    Nodes(NodesArgs),
    Completion(CompletionArgs),
    Man(ManArgs),
    Manifest(ManifestArgs),
    DialStdio(DialStdioArgs),
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
        NodesArgs::COMMAND,
        CompletionArgs::COMMAND,
        ManArgs::COMMAND,
        ManifestArgs::COMMAND,
        DialStdioArgs::COMMAND,
    ];
}

command! {
    /// Print what runs the server: objects for kubectl, or a unit of systemd.
    #[argh(
        name = "manifest",
        example = "{command_name} --namespace team --auth kubernetes --image registry.example/k8s-cli:1 | kubectl apply -f -\n{command_name} --systemd"
    )]
    pub struct ManifestArgs {
        /// namespace of the server, and of all tasks and volumes (default: `default`)
        #[argh(
            option,
            default = "\"default\".to_owned()",
            from_str_fn(value::namespace)
        )]
        pub namespace: String,

        /// an image with the program `k8s-cli` (default: k8s-cli with the version of this program)
        #[argh(option, arg_name = "image", from_str_fn(value::image))]
        pub image: Option<String>,

        /// how the server knows its users: header, or kubernetes for tokens of the cluster (default: header)
        #[argh(option, arg_name = "way")]
        pub auth: Option<Auth>,

        /// print a unit file for a machine that the users log in to by ssh
        #[argh(switch)]
        pub systemd: bool,
    }
}

command! {
    /// Show the machines of the cluster, and what of them is free.
    #[argh(
        name = "nodes",
        example = "{command_name}\n{command_name} -o json",
        note = "Free is what no pod asks for. It is `unknown` if the server may not see the pods of other namespaces: k8s-cli help clusters."
    )]
    pub struct NodesArgs {} with output server
}

command! {
    /// Print what completes command lines in a shell.
    #[argh(
        name = "completion",
        example = "source <({command_name} bash)\n{command_name} zsh > ~/.zfunc/_k8s-cli\n{command_name} fish > ~/.config/fish/completions/k8s-cli.fish"
    )]
    pub struct CompletionArgs {
        /// bash, zsh or fish; `words` is for these: it prints what fits the last of the words behind `--`
        #[argh(positional)]
        pub shell: Shell,

        /// with `words`: the words of the command line
        #[argh(positional, arg_name = "word")]
        pub words: Vec<String>,
    }
}

command! {
    /// Write the pages of the manual for `man`.
    #[argh(
        name = "man",
        example = "{command_name} ~/.local/share/man && man k8s-cli-jobs-submit"
    )]
    pub struct ManArgs {
        /// the directory for the pages, which are put into its man1 and man7; it is made if it is not there
        #[argh(positional)]
        pub directory: PathBuf,
    }
}

command! {
    /// Connect standard input and output to the socket of a server; ssh runs it for clients on other machines.
    #[argh(name = "dial-stdio", example = "ssh jump-box {command_name}", note = "Clients: k8s-cli help security")]
    pub struct DialStdioArgs {
        /// the socket (default: /run/k8s-cli/k8s-cli.sock, else $XDG_RUNTIME_DIR/k8s-cli.sock)
        #[argh(option, arg_name = "path")]
        pub socket: Option<PathBuf>,
    }
}

command! {
    /// Run the API server.
    #[argh(
        name = "serve",
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

        /// say which rights the server has in the cluster, and what fails without them; then end
        #[argh(switch)]
        pub check: bool,

        /// start a small cluster whose pods are processes of this machine, to try things out
        #[argh(switch)]
        pub sandbox: bool,

        /// with --sandbox: rotate the log of a pod at this size, such as 1Mi (default: never)
        #[argh(option, arg_name = "size", from_str_fn(value::size))]
        pub sandbox_log_max_size: Option<Quantity>,

        /// with --sandbox: know the users in this file, with their tokens and rights: JSON, one user a line
        #[argh(option, arg_name = "file", from_str_fn(value::path))]
        pub sandbox_users: Option<PathBuf>,

        /// with --sandbox: begin with the Kubernetes objects in this file: JSON, one object a line
        #[argh(option, arg_name = "file", from_str_fn(value::path))]
        pub sandbox_objects: Option<PathBuf>,

        /// allow task files to set fields that reach beyond their pods, such as hostPath, privileged and service accounts
        #[argh(switch)]
        pub allow_pod_config: bool,

        /// make pods that a namespace with this Pod Security Standard admits: `restricted`
        #[argh(option, arg_name = "standard")]
        pub pod_security: Option<PodSecurity>,

        /// allow task files to name this runtime class, besides `nvidia`; may be repeated
        #[argh(option, arg_name = "name", from_str_fn(value::object_name))]
        pub runtime_class: Vec<String>,

        /// image of tasks that name none (default: `python:3.13-slim`)
        #[argh(option, arg_name = "image", from_str_fn(value::image))]
        pub default_image: Option<String>,

        /// CPUs of tasks that ask for none, such as 2 or 2+ (default: no request)
        #[argh(option, arg_name = "amount", from_str_fn(value::cpus))]
        pub default_cpus: Option<Quantity>,

        /// memory of tasks that ask for none, such as 4Gi or 4+ (default: no request)
        #[argh(option, arg_name = "amount", from_str_fn(value::memory))]
        pub default_memory: Option<Quantity>,

        /// most bytes of the files that travel with one task, packed (default: 16Mi; with --files-dir: 1Gi)
        #[argh(option, arg_name = "size", from_str_fn(value::bytes))]
        pub max_files_size: Option<u64>,

        /// most bytes of the files of all unfinished tasks that are kept in Secrets (default: 256Mi)
        #[argh(option, arg_name = "size", from_str_fn(value::bytes))]
        pub files_budget: Option<u64>,

        /// keep files of 1 MiB and more in this directory instead of Secrets
        #[argh(option, arg_name = "directory", from_str_fn(value::path))]
        pub files_dir: Option<PathBuf>,

        /// the claim that shows the directory of --files-dir to pods
        #[argh(option, arg_name = "name")]
        pub files_claim: Option<String>,

        /// most bytes of a request, without the files of a task (default: 2Mi)
        #[argh(option, arg_name = "size", from_str_fn(value::bytes))]
        pub max_body: Option<u64>,

        /// most nodes of a task (default: 10000)
        #[argh(option, arg_name = "number", from_str_fn(value::positive))]
        pub max_nodes: Option<u32>,

        /// most bytes of `setup` and `run` of a task (default: 900Ki)
        #[argh(option, arg_name = "size", from_str_fn(value::bytes))]
        pub max_script: Option<u64>,

        /// most variables of a task (default: 4096)
        #[argh(option, arg_name = "number", from_str_fn(value::positive))]
        pub max_envs: Option<usize>,

        /// most bytes of the variables of a task (default: 1Mi)
        #[argh(option, arg_name = "size", from_str_fn(value::bytes))]
        pub max_env_size: Option<u64>,

        /// most unfinished tasks of a user (default: no limit)
        #[argh(option, arg_name = "number", from_str_fn(value::positive))]
        pub max_tasks: Option<usize>,

        /// most tasks that a user may submit in a minute (default: no limit)
        #[argh(option, arg_name = "number", from_str_fn(value::positive))]
        pub max_submits: Option<usize>,

        /// delete tasks, with their logs, this long after they have finished, such as 7d (default: never)
        #[argh(option, arg_name = "duration", from_str_fn(value::duration))]
        pub ttl_after_finished: Option<Duration>,

        /// listen on this socket, and know users by the names that this machine has for them; `auto` is
        /// /run/k8s-cli/k8s-cli.sock, else $XDG_RUNTIME_DIR/k8s-cli.sock
        #[argh(option, arg_name = "path")]
        pub socket: Option<PathBuf>,

        /// with --socket: the user `ada` of this machine is `ada@` this domain
        #[argh(option, arg_name = "domain", from_str_fn(value::host))]
        pub socket_user_domain: Option<String>,

        /// speak TLS on the port, with the certificates in this file (PEM), which is read again when it changes
        #[argh(option, arg_name = "file", from_str_fn(value::path))]
        pub tls_cert: Option<PathBuf>,

        /// the key of --tls-cert (PEM)
        #[argh(option, arg_name = "file", from_str_fn(value::path))]
        pub tls_key: Option<PathBuf>,

        /// how users are known who come to the port: header, or kubernetes for tokens of the cluster (default: header)
        #[argh(option, arg_name = "way")]
        pub auth: Option<Auth>,

        /// with --auth kubernetes: the audience of the tokens; '' for that of the API server (default: k8s-cli)
        #[argh(option)]
        pub audience: Option<String>,

        /// the header that names the user (default: X-User)
        #[argh(option, arg_name = "name")]
        pub user_header: Option<String>,

        /// believe that header only of peers in this network, such as 10.0.0.0/8; may be repeated (default: of all)
        #[argh(option, arg_name = "network", from_str_fn(value::network))]
        pub trusted_proxy: Vec<IpNet>,

        /// let only this user act for all users; may be repeated (default: everybody; with --auth kubernetes, nobody over the socket)
        #[argh(option, arg_name = "user", from_str_fn(value::user))]
        pub admin: Vec<User>,

        /// also write the record of changes to this file: JSON, one object a line; SIGHUP opens it again
        #[argh(option, arg_name = "file", from_str_fn(value::path))]
        pub audit_log: Option<PathBuf>,

        /// do not install a program such as curl when a script calls it and the default image lacks it
        #[argh(switch)]
        pub no_install: bool,

        /// refuse labels of task files that do not begin with this prefix
        #[argh(option, arg_name = "prefix", from_str_fn(value::label_prefix))]
        pub label_prefix: Option<String>,

        /// over loopback: answer requests for this host name too, besides `localhost` and addresses; may be repeated
        #[argh(option, arg_name = "name", from_str_fn(value::host))]
        pub allowed_host: Vec<String>,

        /// answer `GET /metrics` on this address, as in 127.0.0.1:9090, and not on the port of the API
        #[argh(option, arg_name = "host:port")]
        pub metrics_address: Option<String>,

        /// let the metrics name users
        #[argh(switch)]
        pub metrics_per_user: bool,
    }
}

command! {
    /// Log in and out.
    #[argh(name = "auth", example = "{command_name} login ada@example.com\n{command_name} whoami")]
    pub struct AuthArgs {
        #[argh(subcommand)]
        pub command: AuthCommand,
    }
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum AuthCommand {
    Login(LoginArgs),
    Whoami(WhoamiArgs),
    Logout(LogoutArgs),
}

command! {
    /// Store your user name, or a token of the cluster.
    #[argh(
        name = "login",
        example = "{command_name} ada@example.com\nkubectl create token ada --audience k8s-cli | {command_name} --token-stdin"
    )]
    pub struct LoginArgs {
        /// your user name
        #[argh(positional)]
        pub user: Option<String>,

        /// read a token from standard input instead
        #[argh(switch)]
        pub token_stdin: bool,
    } with offline
}

command! {
    /// Print your user name, and on stderr how the server knows you.
    #[argh(name = "whoami", example = "{command_name}")]
    pub struct WhoamiArgs {} with server
}

command! {
    /// Delete the stored user name and token.
    #[argh(name = "logout", example = "{command_name}")]
    pub struct LogoutArgs {} with offline
}

#[cfg(test)]
mod tests;
