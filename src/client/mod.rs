//! The client: a thin, blocking client of the REST API, with a command for each thing that a user does.
//!
//! A command sends one request and renders the answer; only following a log sends more. The streams, the clock and the
//! environment come from a [`Context`], so tests run commands in memory. Stdout is data, stderr is everything else.
//!
//! ```text
//! commands ──► config, http      the server's URL and the login; one method per endpoint
//!     ├──────► credentials       what a request shows of its user: a name, a token, headers
//!     ├──────► task_file         YAML to a definition
//!     ├──────► files             finds and packs the files that travel with a task
//!     ├──────► logs              follows a log, resumes it when it is cut off, and prints it
//!     └──────► output            rows to a table, tabs, JSON or YAML
//! ```
//!
//! Nothing here knows the server's code or Kubernetes.

mod commands;
mod config;
mod credentials;
mod error;
mod files;
mod http;
mod logs;
mod output;
mod pager;
mod task_file;
mod terminal;

use std::{
    env,
    io::{self, BufRead, BufWriter, Write},
    process::ExitCode,
};

use time::OffsetDateTime;

use self::{
    config::Env,
    credentials::Credentials,
    error::{Error, Exit},
    files::Progress,
    http::ApiClient,
    output::Sheet,
    terminal::Terminal,
};
use crate::{
    api::{Timestamp, masked},
    cli::{ClientCommand, Format, ServerOptions, When},
};

/// The streams, the clock and the environment of a command.
struct Context<'a> {
    input: &'a mut dyn BufRead,
    /// Data. The writer is buffered.
    out: &'a mut dyn Write,
    /// Everything else.
    err: &'a mut dyn Write,
    now: Timestamp,
    env: Env<'a>,
    terminal: Terminal,
    /// Whether messages are dropped, except errors.
    is_quiet: bool,
}

impl Context<'_> {
    /// Writes a message to stderr, unless the user wants none.
    fn say(&mut self, message: &str) {
        if !self.is_quiet {
            self.report(message);
        }
    }

    /// Writes an error to stderr. A failed write is ignored, because there is no other place to report it.
    fn report(&mut self, message: &str) {
        // One write, so that the lines of programs that run at the same time do not mix.
        let message = masked(message);
        let lines = message.lines().map(|line| output::escape(line) + "\n");
        drop(self.err.write_all(lines.collect::<String>().as_bytes()));
        drop(self.err.flush());
    }

    /// Prints what was done to an object, unless the user wants no messages.
    fn confirm(&mut self, message: &str) -> io::Result<()> {
        match self.is_quiet {
            true => Ok(()),
            false => writeln!(self.out, "{}", output::escape(message)),
        }
    }

    /// How a new object is printed: for a user who wants no messages, by its id alone.
    fn brief(&self, format: Format) -> Format {
        match format.is_for_people() && self.is_quiet {
            true => Format::Name,
            false => format,
        }
    }

    /// Asks the user at the terminal.
    ///
    /// # Errors
    /// The answer is not yes.
    fn ask(&mut self, question: &str) -> Result<(), Error> {
        let question = format!("{} [y/N] ", output::escape(question));
        drop(self.err.write_all(question.as_bytes()));
        drop(self.err.flush());
        let mut answer = String::new();
        let read = self.input.read_line(&mut answer);
        let is_yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        if read.is_ok() && is_yes {
            return Ok(());
        }
        Err(Error::NotConfirmed)
    }

    /// A client for the server and the user that the options or the environment name.
    fn client(&mut self, mut options: ServerOptions) -> Result<ApiClient, Error> {
        self.is_quiet |= options.quiet;
        let url = config::api_url(options.api_url.take(), self.env)?;
        let trust = config::trust(options.ca_file.take(), self.env)?;
        let credentials = Credentials::find(options, &url, self.env)?;
        ApiClient::new(url, credentials, trust, self.env)
    }

    /// A line on the terminal that shows how far a transfer is.
    fn progress(&mut self, doing: &'static str) -> Progress<'_> {
        let is_terminal = self.terminal.err && !self.is_quiet;
        Progress::new(
            is_terminal.then_some(&mut *self.err as &mut dyn Write),
            doing,
        )
    }

    /// How tables are printed. `color` is the option --color.
    fn sheet(&self, color: When) -> Sheet {
        Sheet {
            width: self.terminal.width(),
            has_colors: self.terminal.has_colors(color, self.env),
            ..Sheet::default()
        }
    }

    /// The format to print in: the one that the user `asked` for, or the default.
    fn format(&self, asked: Option<Format>) -> Format {
        asked.unwrap_or(if self.terminal.is_read_by_a_person() {
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

/// Prints a long text, through a pager when stdout is a terminal.
pub fn page(text: &str) -> ExitCode {
    in_process(|context| {
        if context.terminal.out {
            pager::replace_process(text, context.env);
        }
        context.out.write_all(text.as_bytes())?;
        Ok(Exit::Done)
    })
}

/// Runs a command with the streams, the clock and the environment of the process.
fn in_process(work: impl FnOnce(&mut Context<'_>) -> Result<Exit, Error>) -> ExitCode {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let env: Env<'_> = &|name| env::var_os(name);
    let mut context = Context {
        input: &mut stdin.lock(),
        out: &mut BufWriter::with_capacity(64 * 1024, stdout.lock()),
        err: &mut stderr.lock(),
        now: Timestamp::from(OffsetDateTime::now_utc()),
        env,
        terminal: Terminal::of_process(env),
        is_quiet: false,
    };
    let exit = finish(&mut context, work);
    ExitCode::from(exit.code())
}

/// Runs a command, and prints its error if it fails.
fn finish(
    context: &mut Context<'_>,
    work: impl FnOnce(&mut Context<'_>) -> Result<Exit, Error>,
) -> Exit {
    let result = work(context);
    let flushed = match context.out.flush() {
        // The command knows already what a closed pipe means for it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        flushed => flushed.map_err(Error::from),
    };
    let error = match result.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    let exit = error.exit();
    let hint = error.hint().filter(|_| !context.is_quiet);
    let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
    match error {
        // The user asked for this, so it is not reported as an error. The terminal has echoed `^C`.
        Error::Detached { .. } if context.terminal.err => context.say(&format!("\n{error}{hint}")),
        Error::Detached { .. } => context.say(&format!("{error}{hint}")),
        _ if exit == Exit::Done => (),
        _ => context.report(&format!("k8s-cli: {error}{hint}")),
    }
    exit
}

#[cfg(test)]
mod tests;
