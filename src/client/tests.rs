//! Tests of commands that end before they send a request, and the in-memory session that the client's tests use.

use std::{ffi::OsString, fmt::Debug};

use super::*;
use crate::cli::{self, AuthCommand, Cli, LogoutArgs};

/// The streams and the environment of a command, in memory.
#[derive(Default)]
pub struct Session {
    input: String,
    out: Vec<u8>,
    err: Vec<u8>,
    terminal: Terminal,
    env: Vec<(&'static str, &'static str)>,
}

impl Session {
    /// A session in which all streams are terminals, with `input` on stdin.
    pub fn at_a_terminal(input: &str) -> Self {
        let terminal = Terminal {
            input: true,
            out: true,
            err: true,
            ..Terminal::default()
        };
        Self {
            input: input.to_owned(),
            terminal,
            ..Self::default()
        }
    }

    pub fn run<T>(&mut self, command: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let env = self.env.clone();
        let find = move |name: &str| {
            let variable = env.iter().find(|(key, _)| *key == name);
            variable.map(|(_, value)| OsString::from(value))
        };
        command(&mut Context {
            input: &mut self.input.as_bytes(),
            out: &mut self.out,
            err: &mut self.err,
            now: "2025-10-05T12:34:56".parse().unwrap(),
            env: &find,
            terminal: self.terminal,
            is_quiet: false,
        })
    }

    /// Runs a command line as `main` does.
    fn type_line(&mut self, line: &str) -> Exit {
        let words = line.split_whitespace().map(Into::into);
        let cli::Command::Client(command) = Cli::parse(words).unwrap() else {
            panic!("`serve` is not a command of the client");
        };
        self.run(|context| finish(context, |context| commands::run(context, command)))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }
}

/// The text that a function writes.
pub fn written<E: Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(line: &str, exit: Exit, err: &str) {
    let mut session = Session {
        env: vec![("HOME", "/no/such/home")],
        ..Session::default()
    };
    assert_eq!(session.type_line(line), exit, "{line}");
    assert_eq!(session.err(), err, "{line}");
    assert_eq!(session.out(), "", "{line}");
}

#[test]
fn a_command_without_a_login_sends_no_request() {
    let message = "k8s-cli: not logged in\nhint: log in with `k8s-cli auth login <user>`, or with a token by `k8s-cli auth login --token-stdin`\n";
    check("auth whoami", Exit::Failed, message);
    check("jobs list", Exit::Failed, message);
    check("jobs logs ab12cd34", Exit::Failed, message);
    check("volumes list", Exit::Failed, message);
    check("auth logout", Exit::Done, "you were not logged in\n");
}

#[test]
fn a_bad_url_is_reported_before_anything_else() {
    check(
        "jobs list --api-url https:/jump:8000",
        Exit::Usage,
        "k8s-cli: `https:/jump:8000` (from --api-url) is not the URL of a server: it does not begin with http://, https://, ssh:// or unix://\n\
         hint: type https://jump:8000\n",
    );
    check(
        "jobs list --api-url localhost:8000",
        Exit::Usage,
        "k8s-cli: `localhost:8000` (from --api-url) is not the URL of a server: it does not begin with http://, https://, ssh:// or unix://\n\
         hint: type http://localhost:8000\n",
    );
}

#[test]
fn contradictory_flags_are_usage_errors() {
    for (line, message) in [
        ("jobs stop", "give a task's id, or --all"),
        (
            "jobs stop ab12cd34 --all",
            "give ids of tasks or --all, not both",
        ),
        ("jobs stop ab12cd34 --all-users", "--all-users needs --all"),
        (
            "jobs logs ab12cd34 --follow --no-follow",
            "--follow and --no-follow exclude each other",
        ),
        (
            "jobs submit task.yaml -o json",
            "`-o json` and `-o yaml` need --detach: the log would follow the document",
        ),
        (
            "auth login \u{1}",
            "a user name must not hold control characters, or white space at its ends",
        ),
        (
            "volumes create data ten",
            "size: \"ten\" is not a size: expected a quantity such as 10Gi",
        ),
    ] {
        check(line, Exit::Usage, &format!("k8s-cli: {message}\n"));
    }
}

#[test]
fn a_task_file_is_checked_before_a_request_is_sent() {
    check(
        "jobs submit /no/such/task.yaml",
        Exit::Failed,
        "k8s-cli: cannot read `/no/such/task.yaml`: no such file or directory\n",
    );
    let mut session = Session::at_a_terminal("num_nodes: 0\n");
    assert_eq!(session.type_line("jobs submit -"), Exit::Failed);
    assert_eq!(
        session.err(),
        "k8s-cli: standard input is not a task that can run:\n  standard input:1: num_nodes: expected a whole number from 1 to \
         10000, got 0\n  standard input: run: is required: the commands of the task\n"
    );
}

#[test]
fn task_files_are_validated_without_a_server() {
    let text = "run: echo\nenvs: {A: yes, B: }\nsecrets: {KEY: s3cret}\n";
    let mut session = Session::at_a_terminal(text);
    assert_eq!(session.type_line("jobs validate -"), Exit::Failed);
    assert_eq!(
        session.out(),
        "standard input:2: error: envs.B: has no value: give it one, or `--env B=VALUE`\n"
    );
    let mut session = Session::at_a_terminal(text);
    let line = "jobs validate - --env B=b --num-nodes 2 --cpus 500m -o json";
    assert_eq!(session.type_line(line), Exit::Done);
    let verdicts: serde_json::Value = serde_json::from_slice(session.bytes()).unwrap();
    let verdict = &verdicts[0];
    assert_eq!(
        (&verdict["valid"], &verdict["task"]["num_nodes"]),
        (&true.into(), &2.into())
    );
    assert_eq!(verdict["task"]["resources"]["cpus"], "500m");
    assert_eq!(verdict["task"]["envs"]["A"], "True");
    assert_eq!(verdict["warnings"][0]["line"], 2);
    assert!(!session.out().contains("s3cret"), "{}", session.out());
    let mut session = Session::at_a_terminal("run: echo");
    assert_eq!(
        session.type_line("jobs validate /no/such.yaml -"),
        Exit::Failed
    );
    assert_eq!(
        session.out(),
        "cannot read `/no/such.yaml`: no such file or directory\nstandard input: ok\n"
    );
}

#[test]
fn messages_are_escaped_for_the_terminal() {
    let mut session = Session::default();
    session.run(|context| context.say("one\x1b[2J\ntwo\r"));
    assert_eq!(session.err(), "one\\u{1b}[2J\ntwo\\r\n");
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let mut err = Vec::new();
    let logout = AuthCommand::Logout(LogoutArgs { api_url: None });
    let exit = finish(
        &mut Context {
            input: &mut io::empty(),
            out: &mut Closed,
            err: &mut err,
            now: "2025-10-05T12:34:56".parse().unwrap(),
            env: &|_| Some("/no/such/home".into()),
            terminal: Terminal::default(),
            is_quiet: false,
        },
        |context| commands::auth::run(context, logout),
    );
    assert_eq!(exit, Exit::Done);
    assert_eq!(err, b"you were not logged in\n");
}
