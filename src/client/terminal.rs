//! The terminal of a command: which standard streams are terminals, how large it is, and whether it shows colours.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal},
};

use rustix::{process::getppid, termios::tcgetwinsize};

use super::config::Env;
use crate::cli::When;

/// The standard streams that are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    pub input: bool,
    pub out: bool,
    pub err: bool,
    /// Whether stdout is a pipe to `watch`, which shows the output to a person.
    pub is_watched: bool,
    /// The columns and rows of the terminal that shows stdout, if they are known.
    pub size: Option<(usize, usize)>,
}

impl Terminal {
    /// That of the process.
    pub fn of_process(env: Env<'_>) -> Self {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let out = stdout.is_terminal();
        let is_watched = !out && is_watched();
        Self {
            input: stdin.is_terminal(),
            out,
            err: stderr.is_terminal(),
            is_watched,
            size: (out || is_watched).then(|| size(env)).flatten(),
        }
    }

    /// Whether stdout is shown to a person.
    pub fn is_read_by_a_person(self) -> bool {
        self.out || self.is_watched
    }

    pub fn width(self) -> Option<usize> {
        self.size.map(|(columns, _)| columns)
    }

    /// Measures the terminal again, since a user may have changed its size.
    pub fn measure(&mut self, env: Env<'_>) {
        if self.out {
            self.size = size(env);
        }
    }

    /// Whether stdout is a terminal on which a text can be drawn again.
    pub fn draws(self, env: Env<'_>) -> bool {
        self.out && env("TERM").is_some_and(|term| term != "dumb")
    }

    /// Whether stdout gets colours. `asked` is the option --color.
    pub fn has_colors(self, asked: When, env: Env<'_>) -> bool {
        match asked {
            When::Always => true,
            When::Never => false,
            When::Auto => self.out && wants_colors(env),
        }
    }
}

/// Whether the environment allows colours on a terminal: <https://no-color.org>.
fn wants_colors(env: Env<'_>) -> bool {
    let is_set = |value: Option<OsString>| value.is_some_and(|value| !value.is_empty());
    !is_set(env("NO_COLOR")) && env("TERM").is_none_or(|term| term != "dumb")
}

/// The size of the terminal. `COLUMNS` and `LINES` win: `watch` sets them, and a user can.
fn size(env: Env<'_>) -> Option<(usize, usize)> {
    let number = |name| env(name)?.to_str()?.parse().ok().filter(|size| *size > 0);
    let found = tcgetwinsize(io::stdout()).ok();
    let found = found.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let found = found.map(|size| (size.ws_col.into(), size.ws_row.into()));
    let columns = number("COLUMNS").or(found.map(|(columns, _)| columns))?;
    let rows = number("LINES").or(found.map(|(_, rows)| rows));
    Some((columns, rows.unwrap_or(usize::MAX)))
}

/// Whether stdout is the pipe that the program `watch` reads. Its child is a shell, which may be the parent of this process; in `watch
/// 'k8s-cli ... | cut ...'` that shell has another stdout.
fn is_watched() -> bool {
    let Some(parent) = getppid().map(|parent| parent.as_raw_nonzero().get()) else {
        return false;
    };
    let stdout = |process: &str| fs::read_link(format!("/proc/{process}/fd/1")).ok();
    let has_same_stdout =
        || stdout("self").is_some_and(|own| stdout(&parent.to_string()) == Some(own));
    is_watch(parent) || has_same_stdout() && parent_of(parent).is_some_and(is_watch)
}

fn is_watch(process: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process}/comm"));
    name.is_ok_and(|name| name.trim_end() == "watch")
}

fn parent_of(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything; the state is behind it, and then the parent.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| {
            let variable = variables.iter().find(|(key, _)| *key == name);
            variable.map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn the_environment_can_disable_colours() {
        let terminal = Terminal {
            out: true,
            ..Terminal::default()
        };
        let colors =
            |asked, variables: &[(&str, &str)]| terminal.has_colors(asked, &env(variables));
        assert!(colors(When::Auto, &[]));
        assert!(colors(When::Auto, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!colors(When::Auto, &[("NO_COLOR", "1")]));
        assert!(!colors(When::Auto, &[("TERM", "dumb")]));
        assert!(colors(When::Always, &[("NO_COLOR", "1")]));
        assert!(!colors(When::Never, &[]));
        assert!(!Terminal::default().has_colors(When::Auto, &env(&[])));
    }

    #[test]
    fn the_environment_can_tell_the_size() {
        let variables = [("COLUMNS", "77"), ("LINES", "9")];
        assert_eq!(size(&env(&variables)), Some((77, 9)));
    }
}
