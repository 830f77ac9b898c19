//! Parses the arguments of the process into a [`Command`], or into a text for the user.
//!
//! argh does most of the work. This module adds `--name=value`, help flags that win over all other arguments, help topics,
//! exit code 2 for wrong usage (argh's own `from_env` exits with 1), and messages in the program's style.

use std::ffi::OsString;

use argh::{FromArgs, SubCommands};

use super::{
    Cli, ClientCommand, Command, JobsArgs, JobsCommand,
    topics::{self, TOPICS, Topic},
};
use crate::{
    api::{masked, nearest},
    hidden,
};

pub(super) const PROGRAM: &str = env!("CARGO_PKG_NAME");
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit of a release, which `make release` sets; none in other builds.
const RELEASE: Option<&str> = option_env!("K8S_CLI_RELEASE");

/// A text for the user, if there is no command to run.
#[derive(Clone, Debug, PartialEq)]
pub enum EarlyExit {
    /// A short answer, such as the help of a command: for stdout, then exit code 0.
    Answer(String),
    /// A help topic: for a pager or stdout, then exit code 0.
    Topic(&'static str),
    /// An error in the command line: for stderr, then exit code 2.
    Usage(String),
}

/// The line of `--version`.
pub fn version(commit_of_release: Option<&str>) -> String {
    match commit_of_release {
        Some(commit) => format!("{PROGRAM} {VERSION} (release of commit {commit})\n"),
        None => format!("{PROGRAM} {VERSION} (no release)\n"),
    }
}

impl Cli {
    /// Reads the program's arguments, without the program's name.
    ///
    /// # Errors
    /// There is no command to run; the error is the text for the user.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, EarlyExit> {
        let args = args
            .into_iter()
            .map(OsString::into_string)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|arg| usage(&format!("argument {arg:?} is not valid UTF-8"), &[]))?;
        let mut args = normalize(&args);
        use_real_names(&mut args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let words = command_words(&args);

        let is_help = |arg: &&str| matches!(*arg, "-h" | "--help");
        if args.first() == Some(&"help") {
            return Err(command_or_topic(&words));
        }
        if before_terminator(&args).iter().any(is_help) {
            return match help(&words) {
                Some(help) => Err(EarlyExit::Answer(help)),
                None => Err(usage(&format!("no such command: {}", words.join(" ")), &[])),
            };
        }
        match Self::from_args(&[PROGRAM], &args) {
            Ok(Self { version: true, .. }) => Err(EarlyExit::Answer(version(RELEASE))),
            Ok(Self {
                command: Some(command),
                ..
            }) => match contradiction(&command) {
                None => Ok(command),
                Some(message) => Err(usage(&message, &words)),
            },
            // Only the name of the program or of a group: the user needs the list of commands.
            _ if args.len() == words.len() && is_group(&words) => {
                Err(EarlyExit::Usage(help(&words).unwrap_or_default()))
            }
            Ok(Self { command: None, .. }) => Err(usage("no command was given", &words)),
            Err(exit) => Err(usage(&tidy(&exit.output), &words)),
        }
    }
}

/// Other names of commands, as other programs have them: the group, the name and the command.
const OTHER_NAMES: [(&str, &str, &str); 8] = [
    ("jobs", "ls", "list"),
    ("jobs", "ps", "list"),
    ("jobs", "describe", "status"),
    ("jobs", "cancel", "stop"),
    ("jobs", "rm", "delete"),
    ("volumes", "ls", "list"),
    ("volumes", "describe", "status"),
    ("volumes", "rm", "delete"),
];

/// Names that commands have in kubectl, SkyPilot and Slurm, and that are too vague to be taken for them.
const FOREIGN_NAMES: [(&str, &str, &str); 12] = [
    ("jobs", "create", "submit"),
    ("jobs", "get", "list"),
    ("jobs", "kill", "stop"),
    ("jobs", "launch", "submit"),
    ("jobs", "queue", "list"),
    ("jobs", "tail", "logs"),
    ("jobs", "tasks", "list"),
    ("jobs", "top", "list"),
    ("nodes", "get", "nodes"),
    ("nodes", "list", "nodes"),
    ("nodes", "ls", "nodes"),
    ("volumes", "get", "list"),
];

/// Options of kubectl, SkyPilot, gh and Slurm, and those that do the same in the commands that have them.
const FOREIGN_OPTIONS: [(&str, &str); 23] = [
    ("--address", "--host"),
    ("--bind", "--host"),
    ("--class", "--storage-class"),
    ("--condition", "--for"),
    ("--format", "--output"),
    ("--json", "--output json"),
    ("--last", "--limit"),
    ("--lines", "--tail"),
    ("--listen", "--host"),
    ("--mem", "--memory"),
    ("--nodes", "--num-nodes"),
    ("--server", "--api-url"),
    ("--time", "--time-limit"),
    ("--url", "--api-url"),
    ("--yaml", "--output yaml"),
    ("--yes", "--force"),
    ("-N", "--num-nodes"),
    ("-n", "--tail"),
    ("-n", "--limit"),
    ("-p", "--port"),
    ("-t", "--time-limit"),
    ("-w", "--watch"),
    ("-y", "--force"),
];

/// Other names of options of the commands that start tasks.
const OTHER_OPTIONS: [(&str, &str); 1] = [("--image", "--image-id")];

/// Replaces the other name of a command with its name.
fn use_real_names(args: &mut [String]) {
    let args = match args {
        [help, rest @ ..] if help == "help" => rest,
        args => args,
    };
    if let [version] = args
        && version == "version"
    {
        "--version".clone_into(version);
    }
    if let [group, word, ..] = args {
        let real = (OTHER_NAMES.iter()).find(|(of, other, _)| group == of && word == other);
        if let Some((.., real)) = real {
            (*real).clone_into(word);
        }
    }
    if let [group, command, options @ ..] = args
        && group == "jobs"
        && matches!(command.as_str(), "submit" | "run" | "validate" | "rerun")
    {
        let options = options.iter_mut().take_while(|option| *option != "--");
        for option in options {
            if let Some((_, real)) = OTHER_OPTIONS.iter().find(|(other, _)| option == other) {
                (*real).clone_into(option);
            }
        }
    }
}

/// Rewrites the forms that argh does not know, up to a `--`: `--name=value`, `-o=value`, `-ovalue`, and `-` for standard input,
/// which argh takes for a flag unless it follows the `--`.
fn normalize(args: &[String]) -> Vec<String> {
    let end = args.iter().position(|arg| arg == "--");
    let (flags, rest) = args.split_at(end.unwrap_or(args.len()));
    let mut normal = Vec::with_capacity(args.len() + 2);
    let mut dashes = Vec::new();
    for arg in flags {
        if let Some((name, value)) = arg.split_once('=').filter(|_| arg.starts_with("--")) {
            normal.extend([name.to_owned(), value.to_owned()]);
        } else if let Some(value) = arg.strip_prefix("-o").filter(|value| !value.is_empty()) {
            let value = value.strip_prefix('=').unwrap_or(value);
            normal.extend(["-o".to_owned(), value.to_owned()]);
        } else if arg == "-" {
            dashes.push(arg.clone());
        } else {
            normal.push(arg.clone());
        }
    }
    if !dashes.is_empty() || end.is_some() {
        normal.push("--".to_owned());
    }
    normal.extend(dashes);
    normal.extend(rest.iter().skip(1).cloned());
    normal
}

fn before_terminator<'a, 'b>(args: &'b [&'a str]) -> &'b [&'a str] {
    let end = args.iter().position(|arg| *arg == "--");
    &args[..end.unwrap_or(args.len())]
}

/// The words that choose the command: at most two, before the first flag other than `-h` and `--help`.
fn command_words<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let asks_help = |arg: &&str| matches!(*arg, "-h" | "--help" | "help");
    args.iter()
        .copied()
        .enumerate()
        .filter(|(index, arg)| !(asks_help(arg) && (*index == 0 || arg.starts_with('-'))))
        .map(|(_, arg)| arg)
        .take_while(|arg| !arg.starts_with('-'))
        .take(2)
        .collect()
}

/// The help of the command that `words` name; `None` if there is no such command.
pub(super) fn help(words: &[&str]) -> Option<String> {
    // Words after a whole command, such as `serve`, are its arguments. argh refuses arguments that the command does not have.
    let args: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
    match Cli::from_args(&[PROGRAM], &args) {
        // argh's title is "Error codes", but 0 is among them.
        Err(exit) if exit.status.is_ok() => {
            let help = exit.output.replace("\nError codes:\n", "\nExit codes:\n");
            Some(if words.is_empty() {
                help + &topics::list()
            } else {
                help
            })
        }
        _ => None,
    }
}

/// The answer to `k8s-cli help <words>`.
fn command_or_topic(words: &[&str]) -> EarlyExit {
    if let Some(help) = help(words) {
        return EarlyExit::Answer(help);
    }
    let typed: String = hidden::escape(&masked(&words.join(" ")));
    if let Some(topic) = Topic::find(&typed) {
        return EarlyExit::Topic(topic.text);
    }
    let names = TOPICS.iter().map(|topic| topic.name);
    let commands = Command::COMMANDS.iter().map(|command| command.name);
    let hint = match nearest(&typed, names.clone().chain(commands)) {
        Some(name) => format!("did you mean `{PROGRAM} help {name}`?"),
        None => format!("the topics are {}", names.collect::<Vec<_>>().join(", ")),
    };
    EarlyExit::Usage(format!(
        "{PROGRAM}: no such command or help topic: {typed}\nhint: {hint}\n"
    ))
}

/// The message about flags that are valid alone, but not together.
fn contradiction(command: &Command) -> Option<String> {
    match command {
        Command::Serve(args) => args.contradiction(),
        Command::Client(ClientCommand::Manifest(args)) if args.systemd && args.image.is_some() => {
            Some("--image does not go together with --systemd, which runs this program".into())
        }
        Command::Client(ClientCommand::Jobs(JobsArgs {
            command: JobsCommand::List(args),
        })) => match () {
            () if args.headers && args.no_headers => Some("give --headers or --no-headers".into()),
            () if args.watch && args.limit.is_some() => {
                Some("--limit does not go together with --watch".into())
            }
            () => None,
        },
        _ => None,
    }
}

fn is_group(words: &[&str]) -> bool {
    help(words).is_some_and(|help| help.contains("\nCommands:\n"))
}

fn usage(message: &str, words: &[&str]) -> EarlyExit {
    let known = (0..=words.len())
        .rev()
        .map(|count| &words[..count])
        .find(|words| help(words).is_some())
        .unwrap_or_default();
    let command = [&[PROGRAM], known, &["--help"]].concat().join(" ");
    let word = message.strip_prefix("unrecognized argument: ");
    // A command of a group is often typed without the group.
    let of_a_group = |is_close: fn(&Name) -> bool| {
        (["jobs", "auth"].into_iter().filter(|_| known.is_empty())).find_map(|group| {
            let name = nearest_name(word?, &[group]).filter(is_close)?;
            Some(format!("{group} {}", name.real))
        })
    };
    let meant = of_a_group(|name| name.is_exact)
        .or_else(|| Some(nearest_name(word?, known)?.real))
        .or_else(|| of_a_group(|_| true));
    let meant = meant.map_or(String::new(), |name| format!("did you mean `{name}`? "));
    let message = masked(message);
    EarlyExit::Usage(format!(
        "{PROGRAM}: {message}\nhint: {meant}see `{command}`\n"
    ))
}

/// A command or an option that was meant.
struct Name {
    real: String,
    /// Whether the typed word is this name, or that of another program for it.
    is_exact: bool,
}

/// The command or the option in the help of a command, or the name in another program, that is nearest to a typed word.
fn nearest_name(word: &str, command: &[&str]) -> Option<Name> {
    let help = help(command)?;
    let help = help.split("\nExamples:").next().unwrap_or_default();
    // Each is described in a line that begins with it; longer descriptions go on in lines with a larger indent.
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter(|line| !line.starts_with(' '));
    let own = lines.flat_map(|line| {
        let words = line.split([' ', ',']).filter(|word| !word.is_empty());
        words.take(if line.starts_with('-') { 2 } else { 1 })
    });
    let others =
        (OTHER_NAMES.iter().chain(&FOREIGN_NAMES)).filter(|(group, ..)| command == [*group]);
    let names = own
        .clone()
        .chain(others.clone().map(|(_, other, _)| *other));
    let is_option = word.starts_with('-');
    let has = |real: &str| own.clone().any(|name| real.split(' ').next() == Some(name));
    let mut foreign = FOREIGN_OPTIONS.iter();
    if let Some((_, real)) = foreign.find(|(other, real)| *other == word && has(real)) {
        return Some(Name {
            real: (*real).to_owned(),
            is_exact: true,
        });
    }
    let names = names.filter(|name| name.starts_with("--") == is_option && *name != "--help");
    let name = nearest(word, names)?;
    let real =
        (others.clone().find(|(_, other, _)| *other == name)).map_or(name, |(.., real)| real);
    Some(Name {
        real: real.to_owned(),
        is_exact: name == word,
    })
}

/// Rewrites a message of argh in the program's style: one line, lower case.
fn tidy(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    let message = lines.join(" ").trim_end().replace('\'', "`");
    let message = message.replace(" positional arguments not provided:", " and missing:");
    let mut chars = message.chars();
    let first = chars.next().map(|first| first.to_ascii_lowercase());
    let line: String = first.into_iter().chain(chars).collect();
    hidden::escape(&line)
}
