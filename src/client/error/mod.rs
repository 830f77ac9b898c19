//! What can go wrong on this side of the wire, how it is told, and the exit codes: each in one place.

use std::{fmt, io, path::PathBuf};

use super::task_file::Finding;
use crate::api::{LogEnd, TaskId};

/// How the program ends. The numbers from 100 on are those of `JobExitCode` (`sky/exceptions.py` of `SkyPilot` 0.14.1) and speak
/// of a task that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    TaskFailed,
    TaskUnfinished,
    TaskNotFound,
    TaskStopped,
    Interrupted,
}

impl Exit {
    /// The number that a shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::TaskFailed => 100,
            Self::TaskUnfinished => 101,
            Self::TaskNotFound => 102,
            Self::TaskStopped => 103,
            // 128 + SIGINT, as shells count.
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

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub enum Error {
    /// The server refused; the detail is its own sentence.
    Api {
        status: u16,
        detail: String,
    },
    /// The server could not be asked.
    Unreachable {
        url: String,
        cause: String,
    },
    /// The server was asked and did not answer, or not to the end.
    Silent {
        url: String,
        cause: String,
        /// Whether it was asked to change something, which it may have done.
        may_have_acted: bool,
    },
    /// Something answers there, but not as the contract says.
    NotOurServer {
        url: String,
        problem: String,
    },
    /// What answers there says that the server is elsewhere.
    Moved {
        url: String,
        location: String,
    },
    /// A log ended without saying that it was complete.
    Cut {
        id: TaskId,
        cause: String,
    },
    /// There is no such task to watch.
    TaskNotFound {
        detail: String,
    },
    /// The task was there when its log began, and is not any more.
    TaskGone {
        id: TaskId,
    },
    /// The reader of a log had enough; the task has not.
    Detached {
        id: TaskId,
    },
    /// Where the server is said to be is no place for one.
    BadUrl {
        url: String,
        origin: &'static str,
        problem: &'static str,
    },
    NotLoggedIn,
    /// The login file is there, but does not say who is logged in.
    LoginFile {
        path: PathBuf,
        problem: String,
    },
    /// Neither `XDG_CONFIG_HOME` nor `HOME` says where the login file is.
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
    /// The command line was understood, but cannot be meant.
    Usage(String),
    /// Deleting needs a yes, and nobody is there to give one.
    NobodyToAsk {
        what: String,
    },
    /// The answer was no.
    NotConfirmed,
    /// Standard output cannot be written.
    Output(io::Error),
    /// Something was made, and standard output, where its id belongs, cannot be written.
    Untold {
        made: String,
        source: io::Error,
    },
}

impl Error {
    /// The same after something was `made` that only the output would have named.
    #[must_use]
    pub fn after(self, made: String) -> Self {
        match self {
            Self::Output(source) => Self::Untold { made, source },
            other => other,
        }
    }

    /// How the program ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::BadUrl { .. } => Exit::Usage,
            Self::TaskFile { findings, .. } if findings.iter().all(Finding::is_of_flag) => {
                Exit::Usage
            }
            Self::TaskNotFound { .. } => Exit::TaskNotFound,
            Self::TaskGone { .. } => Exit::TaskStopped,
            Self::Detached { .. } => Exit::Interrupted,
            // Whoever reads the output has seen enough: `jobs list | head -1` did what it should.
            Self::Output(source) | Self::Untold { source, .. }
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Exit::Done
            }
            Self::Output(_)
            | Self::Untold { .. }
            | Self::Api { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::NotOurServer { .. }
            | Self::Moved { .. }
            | Self::Cut { .. }
            | Self::NotLoggedIn
            | Self::LoginFile { .. }
            | Self::NoHome
            | Self::File { .. }
            | Self::Yaml { .. }
            | Self::TaskFile { .. }
            | Self::NobodyToAsk { .. }
            | Self::NotConfirmed => Exit::Failed,
        }
    }

    /// What the user can do about it, where there is one such thing.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotLoggedIn => "log in with `k8s-cli auth login <user>`",
            Self::LoginFile { .. } => "write a new one with `k8s-cli auth login <user>`",
            Self::NoHome => "set HOME",
            Self::Unreachable { .. } => {
                "start one with `k8s-cli serve`, or try `k8s-cli serve --sandbox`; --api-url or K8S_CLI_API_URL say where \
                 it is"
            }
            Self::Silent {
                may_have_acted: true,
                ..
            } => "it may have done what it was asked: look before you try again",
            Self::NotOurServer { .. } | Self::Moved { .. } => {
                "--api-url or K8S_CLI_API_URL say where the server is"
            }
            Self::BadUrl { .. } => "a URL looks like http://localhost:8000",
            Self::NobodyToAsk { .. } => "--force deletes without asking",
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
            Self::Api { detail, .. } | Self::TaskNotFound { detail } => f.write_str(detail),
            Self::Unreachable { url, cause } => {
                write!(f, "cannot reach the server at {url}: {cause}")
            }
            Self::Silent { url, cause, .. } => {
                write!(f, "the server at {url} did not answer: {cause}")
            }
            Self::NotOurServer { url, problem } => {
                write!(
                    f,
                    "the server at {url} did not answer as a k8s-cli server ({problem})"
                )
            }
            Self::Moved { url, location } => {
                write!(
                    f,
                    "the server at {url} is not there, but says to ask at {location}"
                )
            }
            Self::TaskGone { id } => write!(
                f,
                "task {id} was stopped while its log was cut off: the end of it may be missing"
            ),
            Self::Cut { id, cause } => write!(f, "the log of task `{id}` was cut off: {cause}"),
            Self::Detached { id } => write!(
                f,
                "detached: task {id} goes on; `k8s-cli jobs logs {id}` follows it again, `k8s-cli jobs stop {id}` stops it"
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
                write!(
                    f,
                    "`{}` does not say who is logged in: {problem}",
                    path.display()
                )
            }
            Self::NoHome => f.write_str(
                "cannot tell where the login is kept: neither XDG_CONFIG_HOME nor HOME is set",
            ),
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
            Self::Yaml { place, problem } => write!(f, "{place}: {problem}"),
            Self::TaskFile { name, findings } => {
                write!(f, "{name} is not a task that can run:")?;
                findings.iter().try_for_each(|finding| match finding.line {
                    Some(line) => write!(f, "\n  {name}:{line}: {finding}"),
                    None if finding.is_of_flag() => write!(f, "\n  {finding}"),
                    None => write!(f, "\n  {name}: {finding}"),
                })
            }
            Self::Usage(message) => f.write_str(message),
            Self::NobodyToAsk { what } => {
                write!(
                    f,
                    "not deleting {what} without asking, and standard input is not a terminal"
                )
            }
            Self::NotConfirmed => f.write_str("nothing was deleted"),
            Self::Output(source) => write!(f, "cannot write the output: {}", describe_io(source)),
            Self::Untold { made, source } => {
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
            Self::File { source, .. } | Self::Output(source) | Self::Untold { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}

/// Everything else that does I/O names what it was about; a bare `?` is always a write to standard output.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// An I/O error in words, without the operating system's number: `connection refused`.
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
