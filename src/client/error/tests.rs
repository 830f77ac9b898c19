//! Tests of every exit code, message and hint.

use super::*;

fn id() -> TaskId {
    "ab12cd34".parse().unwrap()
}

fn denied() -> io::Error {
    io::Error::from_raw_os_error(13)
}

#[test]
fn exit_codes_follow_the_contract() {
    for (exit, code) in [
        (Exit::Done, 0),
        (Exit::Failed, 1),
        (Exit::Usage, 2),
        (Exit::TaskFailed, 100),
        (Exit::TaskUnfinished, 101),
        (Exit::TaskNotFound, 102),
        (Exit::TaskStopped, 103),
        (Exit::Interrupted, 130),
    ] {
        assert_eq!(exit.code(), code, "{exit:?}");
    }
    for (end, exit) in [
        (LogEnd::Completed, Exit::Done),
        (LogEnd::Failed, Exit::TaskFailed),
        (LogEnd::Stopped, Exit::TaskStopped),
        (LogEnd::Unfinished, Exit::TaskUnfinished),
    ] {
        assert_eq!(Exit::from(end), exit);
    }
}

#[test]
fn every_error_has_a_message_a_code_and_at_most_one_hint() {
    let url = || "http://localhost:8000".to_owned();
    let cases = [
        (
            Error::Api {
                status: 404,
                detail: "task `ab12cd34` not found".to_owned(),
                reason: Some("NotFound".to_owned()),
            },
            1,
            "task `ab12cd34` not found",
            None,
        ),
        (
            Error::Lacks {
                url: url(),
                what: "dry run",
                started: None,
            },
            1,
            "the server at http://localhost:8000 has no dry run",
            None,
        ),
        (
            Error::Lacks {
                url: url(),
                what: "dry run",
                started: Some(id()),
            },
            1,
            "the server at http://localhost:8000 has no dry run, and started task ab12cd34",
            Some("stop it with `k8s-cli jobs stop ab12cd34`"),
        ),
        (
            Error::Unreachable {
                url: url(),
                proxy: None,
                cause: "connection refused".to_owned(),
            },
            1,
            "cannot reach the server at http://localhost:8000: connection refused",
            Some(
                "start one with `k8s-cli serve`, or try `k8s-cli serve --sandbox`; --api-url or K8S_CLI_API_URL set its \
	                 URL",
            ),
        ),
        (
            Error::Unreachable {
                url: url(),
                proxy: Some("http://proxy:3128".to_owned()),
                cause: "connection refused".to_owned(),
            },
            1,
            "cannot reach the server at http://localhost:8000 through the proxy http://proxy:3128: connection refused",
            Some(
                "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY set the proxy, NO_PROXY the hosts without one",
            ),
        ),
        (
            Error::NoSuchPath {
                url: "https://jump/api/v1".to_owned(),
                right: "https://jump".to_owned(),
            },
            1,
            "the server at https://jump does not know the path `/api/v1` of the URL https://jump/api/v1",
            Some("type --api-url https://jump"),
        ),
        (
            Error::Untrusted {
                url: "https://jump".to_owned(),
                cause: "its certificate has expired".to_owned(),
            },
            1,
            "cannot trust the server at https://jump: its certificate has expired",
            None,
        ),
        (
            Error::Untrusted {
                url: "https://jump".to_owned(),
                cause: "an unknown issuer".to_owned(),
            },
            1,
            "cannot trust the server at https://jump: an unknown issuer",
            Some(
                "--ca-file or K8S_CLI_CA_FILE name a file with the CAs to trust, SSL_CERT_DIR a folder of them",
            ),
        ),
        (
            Error::WrongScheme {
                url: "https://jump:8000".to_owned(),
                right: "http://jump:8000".to_owned(),
            },
            1,
            "the server at https://jump:8000 does not speak https",
            Some("type --api-url http://jump:8000"),
        ),
        (
            Error::NoAnswer {
                url: url(),
                cause: "the connection was lost".to_owned(),
                may_have_acted: false,
                is_cut: true,
            },
            1,
            "the server at http://localhost:8000 did not answer: the connection was lost",
            None,
        ),
        (
            Error::NoAnswer {
                url: url(),
                cause: "it took too long".to_owned(),
                may_have_acted: true,
                is_cut: true,
            },
            1,
            "the server at http://localhost:8000 did not answer: it took too long",
            Some("the server may have made the change: check before you try again"),
        ),
        (
            Error::NotOurServer {
                url: url(),
                problem: "missing field `tasks`".to_owned(),
            },
            1,
            "the server at http://localhost:8000 did not answer as a k8s-cli server (missing field `tasks`)",
            Some("--api-url or K8S_CLI_API_URL set the URL of the server"),
        ),
        (
            Error::Moved {
                url: url(),
                location: "https://jump/tasks".to_owned(),
            },
            1,
            "the server at http://localhost:8000 redirects to https://jump/tasks",
            Some("--api-url or K8S_CLI_API_URL set the URL of the server"),
        ),
        (
            Error::Cut {
                id: id(),
                cause: "connection reset".to_owned(),
            },
            1,
            "the log of task `ab12cd34` was cut off: connection reset",
            Some("the task may go on; read its log again with `k8s-cli jobs logs ab12cd34`"),
        ),
        (
            Error::TaskNotFound {
                detail: "task `ab12cd34` not found".to_owned(),
            },
            102,
            "task `ab12cd34` not found",
            None,
        ),
        (
            Error::Detached { id: id() },
            130,
            "detached: task ab12cd34 keeps running; `k8s-cli jobs logs ab12cd34` follows it again, `k8s-cli jobs stop ab12cd34` \
             stops it",
            None,
        ),
        (
            Error::NotLoggedIn,
            1,
            "not logged in",
            Some(
                "log in with `k8s-cli auth login <user>`, or with a token by `k8s-cli auth login --token-stdin`",
            ),
        ),
        (
            Error::LoginFile {
                path: "/h/user.json".into(),
                problem: "expected {\"username\": \"...\"}".to_owned(),
            },
            1,
            "`/h/user.json` names no user: expected {\"username\": \"...\"}",
            Some("write a new one with `k8s-cli auth login <user>`"),
        ),
        (
            Error::NoHome,
            1,
            "cannot locate the login file: neither XDG_CONFIG_HOME nor HOME is set",
            Some("set HOME"),
        ),
        (
            Error::File {
                action: "write",
                path: "/h/user.json".into(),
                source: denied(),
            },
            1,
            "cannot write `/h/user.json`: permission denied",
            None,
        ),
        (
            Error::Usage("--all-users needs --all".to_owned()),
            2,
            "--all-users needs --all",
            None,
        ),
        (
            Error::CannotAsk {
                subject: "volume `ef56gh78`".to_owned(),
            },
            1,
            "cannot ask whether to delete volume `ef56gh78`: standard input is not a terminal",
            Some("--force deletes without asking"),
        ),
        (Error::NotConfirmed, 1, "nothing was changed", None),
        (
            Error::Output(denied()),
            1,
            "cannot write the output: permission denied",
            None,
        ),
        (
            Error::Output(denied()).after("task ab12cd34 was submitted".to_owned()),
            1,
            "task ab12cd34 was submitted, but the output cannot be written: permission denied",
            None,
        ),
        (
            Error::Output(io::ErrorKind::BrokenPipe.into()),
            0,
            "cannot write the output: broken pipe",
            None,
        ),
    ];
    for (error, code, message, hint) in cases {
        assert_eq!(error.to_string(), message);
        assert_eq!(error.exit().code(), code, "{message}");
        assert_eq!(error.hint().as_deref(), hint, "{message}");
    }
}

#[test]
fn system_errors_have_no_number() {
    for (number, words) in [
        (2, "no such file or directory"),
        (13, "permission denied"),
        (21, "is a directory"),
        (28, "no space left on device"),
        (111, "connection refused"),
        (113, "no route to host"),
        (40, "too many levels of symbolic links"),
    ] {
        assert_eq!(
            describe_io(&io::Error::from_raw_os_error(number)),
            words,
            "{number}"
        );
    }
    assert_eq!(describe_io(&io::Error::other("Peer")), "Peer");
}
