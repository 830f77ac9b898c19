//! The errors of the client with their messages and hints, and the exit codes.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{config, http::NO_SOCKET_THERE, task_file::Finding};
use crate::api::{GroupId, LeftOut, LogEnd, TaskId, masked};

/// The exit codes of the program. Those from 100 on report how a followed task ended; they are those of `JobExitCode`
/// (`sky/exceptions.py` of `SkyPilot` 0.14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    TaskFailed,
    TaskUnfinished,
    TaskNotFound,
    TaskStopped,
    TimedOut,
    Interrupted,
}

impl Exit {
    /// The exit code as a number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::TaskFailed => 100,
            Self::TaskUnfinished => 101,
            Self::TaskNotFound => 102,
            Self::TaskStopped => 103,
            // That of `timeout` of coreutils.
            Self::TimedOut => 124,
            // 128 + SIGINT, as in shells.
            Self::Interrupted => 130,
        }
    }
}

impl From<LogEnd> for Exit {
    fn from(end: LogEnd) -> Self {
        match end {
            LogEnd::Completed => Self::Done,
            LogEnd::Failed => Self::TaskFailed,
            LogEnd::Stopped => Self::TaskStopped,
            LogEnd::Unfinished => Self::TaskUnfinished,
        }
    }
}

/// The reason why a command failed.
#[derive(Debug)]
pub enum Error {
    /// The server refused the request; `detail` is the server's own sentence.
    Api {
        status: u16,
        detail: String,
        /// The reason in a word; none from another server than this program's.
        reason: Option<String>,
    },
    /// The server does not know dry runs or sweeps.
    Lacks {
        url: String,
        /// What it does not know.
        what: &'static str,
        /// The task that it has started.
        started: Option<TaskId>,
    },
    /// The server does not take files.
    NoFiles {
        url: String,
    },
    /// A repository or a URL cannot be fetched.
    Fetch {
        url: String,
        problem: String,
    },
    /// The files of a task are larger than the server takes.
    TooManyFiles {
        most: String,
        why: String,
        /// The largest files, each on a line of its own.
        largest: String,
    },
    /// No connection to the server.
    Unreachable {
        url: String,
        /// The proxy in between.
        proxy: Option<String>,
        cause: String,
    },
    /// The certificate of the server is not trusted, or TLS fails in another way.
    Untrusted {
        url: String,
        cause: String,
    },
    /// The server speaks TLS, and its URL begins with `http://`, or the reverse.
    WrongScheme {
        url: String,
        /// The URL that may be meant.
        right: String,
    },
    /// The server did not answer, or its answer broke off.
    NoAnswer {
        url: String,
        cause: String,
        /// Whether the request was one that changes something.
        may_have_acted: bool,
        /// Whether the connection broke, not the patience.
        is_cut: bool,
    },
    /// The answer does not follow the contract.
    NotOurServer {
        url: String,
        problem: String,
    },
    /// The server does not know the path in its URL.
    NoSuchPath {
        url: String,
        /// The URL without its path.
        right: String,
    },
    /// The answer is a redirect.
    Moved {
        url: String,
        location: String,
    },
    /// A log ended without its last record.
    Cut {
        id: TaskId,
        cause: String,
    },
    /// The task whose log was asked for does not exist.
    TaskNotFound {
        detail: String,
    },
    /// No object has the id or the name that the user typed.
    NoSuch {
        detail: String,
    },
    /// The user typed a name that several objects have, or the beginning of several ids.
    Several {
        typed: String,
        kind: &'static str,
        candidates: Vec<String>,
        /// How many are not named.
        more: usize,
    },
    /// The user named a group where a task is meant.
    Group {
        id: GroupId,
        /// Whether the command prints a log.
        wants_log: bool,
    },
    /// The server has no file of the task.
    NoSource {
        id: TaskId,
        left_out: Option<LeftOut>,
    },
    /// The files of the task are not on this machine.
    Elsewhere {
        id: TaskId,
        directory: String,
        host: String,
    },
    /// The task existed when its log began, and does not exist now.
    TaskGone {
        id: TaskId,
    },
    /// The user pressed Ctrl-C while following a log. The task keeps running.
    Detached {
        id: TaskId,
    },
    /// The configured URL is not the URL of a server.
    BadUrl {
        url: String,
        origin: &'static str,
        problem: &'static str,
    },
    NotLoggedIn,
    /// There is no usable token, or there are no usable headers.
    Credentials(String),
    /// The login file exists, but names no user.
    LoginFile {
        path: PathBuf,
        problem: String,
    },
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set, so the login file cannot be located.
    NoHome,
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The task file could not be read as YAML; the place is `file:line:column`.
    Yaml {
        place: String,
        problem: String,
    },
    /// The task file is YAML, but not a task.
    TaskFile {
        name: String,
        findings: Vec<Finding>,
    },
    /// The command line was parsed, but its parts contradict each other or a value is invalid.
    Usage(String),
    /// Deleting needs a confirmation, and stdin is not a terminal.
    CannotAsk {
        subject: String,
    },
    /// The user did not confirm.
    NotConfirmed,
    /// Standard output cannot be written.
    Output(io::Error),
    /// Something was created, but its id cannot be written to standard output.
    Unprinted {
        made: String,
        source: io::Error,
    },
}

impl Error {
    /// The error of an action on a file or a directory.
    pub fn file(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// Adds to an output error that something was `made`, because the output was to name it.
    #[must_use]
    pub fn after(self, made: String) -> Self {
        match self {
            Self::Output(source) => Self::Unprinted { made, source },
            other => other,
        }
    }

    /// Whether the server does not have the object of the request.
    pub fn is_about_missing(&self) -> bool {
        matches!(
            self,
            Self::TaskNotFound { .. } | Self::Group { .. } | Self::Api { status: 404, .. }
        )
    }

    /// The error of a command that watches a task, and has a code of its own for one that does not exist.
    #[must_use]
    pub fn of_watched_task(self) -> Self {
        match self {
            Self::NoSuch { detail } => Self::TaskNotFound { detail },
            other => other,
        }
    }

    /// The exit code for this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::BadUrl { .. } => Exit::Usage,
            Self::TaskFile { findings, .. } if findings.iter().all(Finding::is_about_flag) => {
                Exit::Usage
            }
            Self::TaskNotFound { .. } => Exit::TaskNotFound,
            Self::TaskGone { .. } => Exit::TaskStopped,
            Self::Detached { .. } => Exit::Interrupted,
            // The reader of the pipe has closed it, as in `jobs list | head -1`, which is not a failure.
            Self::Output(source) | Self::Unprinted { source, .. }
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Exit::Done
            }
            Self::Output(_)
            | Self::Unprinted { .. }
            | Self::Api { .. }
            | Self::Lacks { .. }
            | Self::NoFiles { .. }
            | Self::Fetch { .. }
            | Self::TooManyFiles { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::WrongScheme { .. }
            | Self::NoAnswer { .. }
            | Self::NotOurServer { .. }
            | Self::NoSuchPath { .. }
            | Self::Moved { .. }
            | Self::Cut { .. }
            | Self::NotLoggedIn
            | Self::Credentials(_)
            | Self::LoginFile { .. }
            | Self::NoHome
            | Self::File { .. }
            | Self::Yaml { .. }
            | Self::TaskFile { .. }
            | Self::CannotAsk { .. }
            | Self::NoSource { .. }
            | Self::Elsewhere { .. }
            | Self::NoSuch { .. }
            | Self::Several { .. }
            | Self::Group { .. }
            | Self::NotConfirmed => Exit::Failed,
        }
    }

    /// A hint on what the user can do, for errors that have one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotLoggedIn => {
                "log in with `k8s-cli auth login <user>`, or with a token by `k8s-cli auth login --token-stdin`"
            }
            Self::LoginFile { .. } => "write a new one with `k8s-cli auth login <user>`",
            Self::NoHome => "set HOME",
            Self::Unreachable { proxy: Some(_), .. } => {
                "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY set the proxy, NO_PROXY the hosts without one"
            }
            Self::Untrusted { cause, .. }
                if cause.contains("unknown issuer") || cause.contains("not trusted") =>
            {
                "--ca-file or K8S_CLI_CA_FILE name a file with the CAs to trust, SSL_CERT_DIR a folder of them"
            }
            Self::Lacks {
                started: Some(id), ..
            } => return Some(format!("stop it with `k8s-cli jobs stop {id}`")),
            Self::WrongScheme { right, .. } | Self::NoSuchPath { right, .. } => {
                return Some(format!("type --api-url {right}"));
            }
            Self::Unreachable { cause, .. } if cause.contains("SSL_CERT_FILE") => {
                "SSL_CERT_FILE names a file with the CAs to trust in PEM, SSL_CERT_DIR a folder of them"
            }
            Self::Unreachable { url, cause, .. }
                if config::is_of_ssh(url) && !cause.contains(NO_SOCKET_THERE) =>
            {
                return None;
            }
            Self::Unreachable { url, cause, .. }
                if config::knows_user(url) && cause.contains("permission denied") =>
            {
                "the socket is for other users, or its directory is: ask who runs the server"
            }
            Self::Unreachable { url, .. } if config::knows_user(url) => {
                "`k8s-cli serve --socket PATH` opens a socket there, in a directory that lets its users in; --api-url or K8S_CLI_API_URL name it, as in ssh://jump-box/PATH"
            }
            Self::Unreachable { .. } => {
                "start one with `k8s-cli serve`, or try `k8s-cli serve --sandbox`; --api-url or K8S_CLI_API_URL set its URL"
            }
            Self::NoAnswer {
                may_have_acted: true,
                ..
            } => "the server may have made the change: check before you try again",
            Self::NotOurServer { .. } | Self::Moved { .. } => {
                "--api-url or K8S_CLI_API_URL set the URL of the server"
            }
            Self::BadUrl { url, .. } => {
                return Some(match config::meant(url) {
                    Some(meant) => format!("type {meant}"),
                    None => "a URL looks like http://localhost:8000, ssh://jump-box or unix:///run/k8s-cli/k8s-cli.sock".to_owned(),
                });
            }
            Self::CannotAsk { .. } => "--force deletes without asking",
            Self::TooManyFiles { .. } => {
                "name files that may stay here in `.skyignore`, or put them into a volume: `k8s-cli help files`"
            }
            Self::NoFiles { .. } => {
                "update the server; without `workdir` and with --ignore-file-mounts the task needs no files"
            }
            Self::NoSource { .. } | Self::Elsewhere { .. } => {
                "submit it again from its file: `k8s-cli jobs submit`"
            }
            Self::Group { id, wants_log } => {
                return Some(match wants_log {
                    true => {
                        format!("print the logs of its tasks with `k8s-cli jobs logs --group {id}`")
                    }
                    false => format!("see its tasks with `k8s-cli jobs list --group {id}`"),
                });
            }
            Self::Cut { id, .. } => {
                return Some(format!(
                    "the task may go on; read its log again with `k8s-cli jobs logs {id}`"
                ));
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api { detail, .. } | Self::TaskNotFound { detail } | Self::NoSuch { detail } => {
                f.write_str(detail)
            }
            Self::NoSource { id, left_out } => {
                write!(f, "the file of task {id} is not kept")?;
                let why = left_out.and_then(LeftOut::why);
                why.map_or(Ok(()), |why| write!(f, ", because {why}"))
            }
            Self::Elsewhere {
                id,
                directory,
                host,
            } => write!(
                f,
                "the files of task {id} travelled from `{directory}` on `{host}`, which is not here"
            ),
            Self::Group { id, .. } => write!(f, "`{id}` is a group of tasks, not one"),
            Self::Several {
                typed,
                kind,
                candidates,
                more,
            } => {
                write!(f, "`{typed}` means several {kind}s:")?;
                for candidate in candidates {
                    write!(f, "\n  {candidate}")?;
                }
                match more {
                    0 => Ok(()),
                    more => write!(f, "\n  and {more} more"),
                }
            }
            Self::Unreachable {
                url,
                proxy: Some(proxy),
                cause,
            } => write!(
                f,
                "cannot reach the server at {url} through the proxy {proxy}: {cause}"
            ),
            Self::Unreachable { url, cause, .. } => {
                write!(f, "cannot reach the server at {url}: {cause}")
            }
            Self::NoFiles { url } => write!(
                f,
                "the server at {url} takes no files, so `workdir` and `file_mounts` cannot travel; nothing was sent"
            ),
            Self::Fetch { url, problem } => write!(f, "cannot fetch {url}: {problem}"),
            Self::TooManyFiles { most, why, largest } => write!(
                f,
                "the files of the task are more than {most} packed: {why}; the largest are:{largest}"
            ),
            Self::Lacks { url, what, started } => {
                write!(f, "the server at {url} has no {what}")?;
                match started {
                    Some(id) => write!(f, ", and started task {id}"),
                    None => Ok(()),
                }
            }
            Self::Untrusted { url, cause } => {
                write!(f, "cannot trust the server at {url}: {cause}")
            }
            Self::WrongScheme { url, .. } => {
                let scheme = if url.starts_with("https") {
                    "https"
                } else {
                    "plain http"
                };
                write!(f, "the server at {url} does not speak {scheme}")
            }
            Self::NoAnswer { url, cause, .. } => {
                write!(f, "the server at {url} did not answer: {cause}")
            }
            Self::NotOurServer { url, problem } => {
                write!(
                    f,
                    "the server at {url} did not answer as a k8s-cli server ({problem})"
                )
            }
            Self::NoSuchPath { url, right } => {
                let path = url.strip_prefix(right.as_str()).unwrap_or(url);
                write!(
                    f,
                    "the server at {right} does not know the path `{path}` of the URL {url}"
                )
            }
            Self::Moved { url, location } => {
                write!(f, "the server at {url} redirects to {location}")
            }
            Self::TaskGone { id } => write!(
                f,
                "task {id} was stopped while its log was cut off: the end of the log may be missing"
            ),
            Self::Cut { id, cause } => write!(f, "the log of task `{id}` was cut off: {cause}"),
            Self::Detached { id } => write!(
                f,
                "detached: task {id} keeps running; `k8s-cli jobs logs {id}` follows it again, `k8s-cli jobs stop {id}` stops it"
            ),
            Self::BadUrl {
                url,
                origin,
                problem,
            } => write!(
                f,
                "`{url}` ({origin}) is not the URL of a server: {problem}"
            ),
            Self::NotLoggedIn => f.write_str("not logged in"),
            Self::LoginFile { path, problem } => {
                write!(f, "`{}` names no user: {problem}", path.display())
            }
            Self::NoHome => {
                f.write_str("cannot locate the login file: neither XDG_CONFIG_HOME nor HOME is set")
            }
            Self::File {
                action,
                path,
                source,
            } => write!(
                f,
                "cannot {action} `{}`: {}",
                path.display(),
                describe_io(source)
            ),
            Self::Yaml { place, problem } => write!(f, "{place}: {}", masked(problem)),
            Self::TaskFile { name, findings } => {
                write!(f, "{name} is not a task that can run:")?;
                findings.iter().try_for_each(|finding| match finding.line {
                    Some(line) => write!(f, "\n  {name}:{line}: {finding}"),
                    None if finding.is_about_flag() => write!(f, "\n  {finding}"),
                    None => write!(f, "\n  {name}: {finding}"),
                })
            }
            Self::Usage(message) | Self::Credentials(message) => f.write_str(message),
            Self::CannotAsk { subject } => {
                write!(
                    f,
                    "cannot ask whether to delete {subject}: standard input is not a terminal"
                )
            }
            Self::NotConfirmed => f.write_str("nothing was changed"),
            Self::Output(source) => write!(f, "cannot write the output: {}", describe_io(source)),
            Self::Unprinted { made, source } => {
                write!(
                    f,
                    "{made}, but the output cannot be written: {}",
                    describe_io(source)
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } | Self::Output(source) | Self::Unprinted { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}

/// Only writes to standard output are converted by a bare `?`. Other I/O errors name the file.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// An I/O error without the operating system's number: `connection refused`.
pub fn describe_io(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else {
        return text;
    };
    let text = text.replace(&format!(" (os error {number})"), "");
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests;
