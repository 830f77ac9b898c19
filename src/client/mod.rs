//! The command line's half of the program: a thin, blocking client of the REST API.
//!
//! A command asks the server once (following a log is the exception), and renders the answer. What it reads, prints, and
//! knows of its surroundings stands in a [`Context`], so that rendering is tested in memory and nothing prints behind its
//! back: stdout is data, stderr is everything else.
//!
//! ```text
//! commands ──► config, http      who asks which server; one method per endpoint
//!     ├──────► task_file         YAML to a definition
//!     ├──────► logs              follows a log over as many streams as it takes, and shows it
//!     └──────► output            rows to a table, tabs, JSON or YAML
//! ```
//!
//! Nothing here knows the server's code or Kubernetes.

mod commands;
mod config;
mod error;
mod http;
mod logs;
mod output;
mod pager;
mod task_file;

use std::{
    env,
    io::{self, BufRead, BufWriter, IsTerminal, Write},
    process::ExitCode,
};

use time::OffsetDateTime;

use self::{
    config::{Env, LoginFile},
    error::{Error, Exit},
    http::ApiClient,
};
use crate::{
    api::Timestamp,
    cli::{ClientCommand, Format},
};

/// What a command works with.
struct Context<'a> {
    input: &'a mut dyn BufRead,
    /// Data. Buffered: whoever wants it seen at once flushes it.
    out: &'a mut dyn Write,
    /// Everything else.
    err: &'a mut dyn Write,
    now: Timestamp,
    env: Env<'a>,
    terminal: Terminal,
}

/// Which ends of the program a person sits at.
#[derive(Clone, Copy, Debug, Default)]
struct Terminal {
    input: bool,
    out: bool,
    err: bool,
}

impl Context<'_> {
    /// Tells the user something that is not data. Nobody can be told when that fails.
    fn say(&mut self, message: &str) {
        for line in message.lines() {
            drop(writeln!(self.err, "{}", output::escape(line)));
        }
        drop(self.err.flush());
    }

    /// The client of the server that the flag, or else the environment, names.
    fn client(&self, api_url: Option<String>) -> Result<ApiClient, Error> {
        let url = config::api_url(api_url, self.env)?;
        let user = LoginFile::locate(self.env)?.user()?;
        ApiClient::new(url, &user)
    }

    /// How data is printed when the user did not say.
    fn format(&self, asked: Option<Format>) -> Format {
        asked.unwrap_or(if self.terminal.out {
            Format::Table
        } else {
            Format::Tsv
        })
    }
}

/// Runs a command of the client, and returns the exit code of the process.
pub fn run(command: ClientCommand) -> ExitCode {
    in_process(|context| commands::run(context, command))
}

/// Prints a text, such as the help of a command.
pub fn print(text: &str) -> ExitCode {
    in_process(|context| {
        context.out.write_all(text.as_bytes())?;
        Ok(Exit::Done)
    })
}

/// Shows a long text: through a pager when stdout is a terminal.
pub fn page(text: &str) -> ExitCode {
    in_process(|context| {
        if context.terminal.out {
            pager::replace_process(text, context.env);
        }
        context.out.write_all(text.as_bytes())?;
        Ok(Exit::Done)
    })
}

/// Does the work of a command with the streams, the clock and the environment of the process.
fn in_process(work: impl FnOnce(&mut Context<'_>) -> Result<Exit, Error>) -> ExitCode {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let terminal = Terminal {
        input: stdin.is_terminal(),
        out: stdout.is_terminal(),
        err: stderr.is_terminal(),
    };
    let mut context = Context {
        input: &mut stdin.lock(),
        out: &mut BufWriter::with_capacity(64 * 1024, stdout.lock()),
        err: &mut stderr.lock(),
        now: Timestamp::from(OffsetDateTime::now_utc()),
        env: &|name| env::var_os(name),
        terminal,
    };
    let exit = finish(&mut context, work);
    ExitCode::from(exit.code())
}

/// Does the work of a command, and tells the user once when it fails.
fn finish(
    context: &mut Context<'_>,
    work: impl FnOnce(&mut Context<'_>) -> Result<Exit, Error>,
) -> Exit {
    let result = work(context);
    let flushed = context.out.flush().map_err(Error::from);
    let error = match result.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    let exit = error.exit();
    match error {
        // Not an error to its reader, but what was asked for. The terminal has echoed `^C`.
        Error::Detached { .. } if context.terminal.err => context.say(&format!("\n{error}")),
        Error::Detached { .. } => context.say(&error.to_string()),
        _ if exit == Exit::Done => (),
        _ => context.say(&format!("k8s-cli: {error}")),
    }
    if let Some(hint) = error.hint() {
        context.say(&format!("hint: {hint}"));
    }
    exit
}

#[cfg(test)]
mod tests;
