//! Tests of command lines and the commands that they are parsed into.

use std::time::Duration;

use super::{parse::version, *};
use crate::api::AccessMode;

fn parse(line: &str) -> Result<Command, EarlyExit> {
    Cli::parse(line.split_whitespace().map(Into::into))
}

fn jobs(line: &str) -> JobsCommand {
    match parse(line) {
        Ok(Command::Client(ClientCommand::Jobs(args))) => args.command,
        other => panic!("{line}: {other:?}"),
    }
}

#[track_caller]
fn refused(line: &str, expected: &str) {
    match parse(line) {
        Err(EarlyExit::Usage(message)) => assert_eq!(message, expected, "{line}"),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn serve_has_the_defaults_of_the_contract() {
    let expected = ServeArgs {
        host: None,
        port: None,
        namespace: "default".to_owned(),
        check: false,
        sandbox: false,
        sandbox_log_max_size: None,
        sandbox_users: None,
        sandbox_objects: None,
        allow_pod_config: false,
        pod_security: None,
        runtime_class: Vec::new(),
        default_image: None,
        default_cpus: None,
        default_memory: None,
        max_files_size: None,
        files_budget: None,
        files_dir: None,
        files_claim: None,
        max_body: None,
        max_nodes: None,
        max_script: None,
        max_envs: None,
        max_env_size: None,
        max_tasks: None,
        max_submits: None,
        ttl_after_finished: None,
        socket: None,
        socket_user_domain: None,
        tls_cert: None,
        tls_key: None,
        auth: None,
        audience: None,
        user_header: None,
        trusted_proxy: Vec::new(),
        admin: Vec::new(),
        audit_log: None,
        no_install: false,
        label_prefix: None,
        allowed_host: Vec::new(),
        metrics_address: None,
        metrics_per_user: false,
    };
    assert_eq!(parse("serve"), Ok(Command::Serve(expected)));
}

#[test]
fn every_flag_of_logs_is_parsed() {
    let JobsCommand::Logs(args) = jobs(
        "jobs logs ab12cd34 --no-follow --tail=5 --since 10m --timestamps --node 0 --node 3 --prefix never --wait 1h \
         --api-url http://jump:8000",
    ) else {
        panic!("not logs");
    };
    assert_eq!(args.id.as_str(), "ab12cd34");
    assert!(args.no_follow && args.timestamps && !args.follow);
    assert_eq!((args.tail, args.node), (Some(5), vec![0, 3]));
    assert_eq!(args.prefix, Prefix::Never);
    assert_eq!(args.wait, Some(Duration::from_secs(3600)));
    assert_eq!(args.api_url.as_deref(), Some("http://jump:8000"));
}

#[test]
fn every_option_that_changes_a_file_is_parsed() {
    let changes = "--env A=b=c --env=B --env-file a.env --secret C=d --secret-file c.env --name n --num-nodes 2 --cpus 4+ \
                   --memory 16Gi --gpus H100:8 --image-id ubuntu --workdir /work --time-limit 2h";
    let expected = Changes {
        env: vec!["A=b=c".to_owned(), "B".to_owned()],
        env_file: vec!["a.env".to_owned()],
        secret: vec!["C=d".to_owned()],
        secret_file: vec!["c.env".to_owned()],
        name: Some("n".to_owned()),
        num_nodes: Some(2),
        cpus: Some("4+".to_owned()),
        memory: Some("16Gi".to_owned()),
        gpus: Some("H100:8".to_owned()),
        image_id: Some("ubuntu".to_owned()),
        workdir: Some("/work".to_owned()),
        time_limit: Some("2h".to_owned()),
    };
    let JobsCommand::Submit(mut args) = jobs(&format!(
        "jobs submit --dry-run --no-fail-fast {changes} a.yaml"
    )) else {
        panic!("not submit");
    };
    assert!(args.dry_run && args.no_fail_fast && !args.detach);
    assert_eq!(args.take_changes(), expected);
    let JobsCommand::Validate(mut args) = jobs(&format!("jobs validate a.yaml {changes} b.yaml"))
    else {
        panic!("not validate");
    };
    assert_eq!((args.file.as_str(), args.files.len()), ("a.yaml", 1));
    assert_eq!(args.take_changes(), expected);
    refused(
        "jobs validate",
        "k8s-cli: required and missing: file\nhint: see `k8s-cli jobs validate --help`\n",
    );
}

#[test]
fn formats_are_parsed_as_in_kubectl() {
    for line in [
        "jobs list -o json",
        "jobs list -ojson",
        "jobs list -o=json",
        "jobs list --output json",
        "jobs list --output=json",
    ] {
        let JobsCommand::List(args) = jobs(line) else {
            panic!("{line}");
        };
        assert_eq!(args.output, Some(Format::Json), "{line}");
    }
}

#[test]
fn arguments_after_the_terminator_are_positional() {
    let JobsCommand::Submit(args) = jobs("jobs submit -d -- --a=b.yaml") else {
        panic!("not submit");
    };
    assert!(args.detach);
    assert_eq!(args.file, "--a=b.yaml");
    for line in ["jobs submit -", "jobs submit - -d", "jobs submit -d -- -"] {
        let JobsCommand::Submit(args) = jobs(line) else {
            panic!("not submit");
        };
        assert_eq!(args.file, "-");
    }
}

#[test]
fn access_modes_are_separated_by_commas() {
    let line = "volumes create data 10Gi --access-modes ReadWriteOnce,ReadOnlyMany";
    let Ok(Command::Client(ClientCommand::Volumes(VolumesArgs {
        command: VolumesCommand::Create(args),
    }))) = parse(line)
    else {
        panic!("not create");
    };
    let modes = vec![AccessMode::ReadWriteOnce, AccessMode::ReadOnlyMany];
    assert_eq!(args.access_modes, Some(modes));
}

#[test]
fn a_help_flag_wins_at_any_position() {
    for (line, beginning) in [
        ("--help", "Usage: k8s-cli "),
        ("-h", "Usage: k8s-cli "),
        ("help", "Usage: k8s-cli "),
        ("help jobs logs", "Usage: k8s-cli jobs logs "),
        ("jobs --help", "Usage: k8s-cli jobs "),
        ("jobs logs -h", "Usage: k8s-cli jobs logs "),
        ("jobs logs --tail -h", "Usage: k8s-cli jobs logs "),
        (
            "jobs logs NOT-AN-ID --bogus --help",
            "Usage: k8s-cli jobs logs ",
        ),
        ("--help volumes create", "Usage: k8s-cli volumes create "),
        ("serve --port 1 --help", "Usage: k8s-cli serve "),
        ("auth login --help", "Usage: k8s-cli auth login "),
    ] {
        match parse(line) {
            Err(EarlyExit::Answer(help)) => assert!(help.starts_with(beginning), "{line}: {help}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    // `help` may be the name of a user.
    assert!(parse("auth login help").is_ok());
}

#[test]
fn help_shows_topics() {
    for topic in &topics::TOPICS {
        let line = format!("help {}", topic.name);
        assert_eq!(parse(&line), Err(EarlyExit::Topic(topic.text)));
        let title = format!("# {}: {}\n", topic.name, topic.summary());
        assert!(topic.text.starts_with(&title), "{}", topic.name);
        let Err(EarlyExit::Answer(help)) = parse("help") else {
            panic!("`help` does not list the topics");
        };
        let listed = help.lines().filter(|line| line.len() <= 80);
        let mut listed = listed.map(|line| line.split_whitespace().next());
        assert!(listed.any(|word| word == Some(topic.name)), "{help}");
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/topics");
    let files = std::fs::read_dir(folder).unwrap();
    let files =
        files.filter(|file| file.as_ref().unwrap().path().extension() == Some("md".as_ref()));
    assert_eq!(files.count(), topics::TOPICS.len());
}

#[test]
fn an_unknown_topic_is_a_usage_error() {
    refused(
        "help taskfile",
        "k8s-cli: no such command or help topic: taskfile\nhint: did you mean `k8s-cli help task-file`?\n",
    );
    refused(
        "help nonsense",
        "k8s-cli: no such command or help topic: nonsense\nhint: the topics are task-file, files, logs, scripts, exit-codes, \
         troubleshooting, skypilot-differences, sandbox, clusters, security, metrics, performance, api\n",
    );
    refused(
        "--help logs",
        "k8s-cli: no such command: logs\nhint: see `k8s-cli --help`\n",
    );
}

#[test]
fn a_group_alone_prints_its_commands_as_an_error() {
    for line in ["", "jobs", "auth", "volumes"] {
        match parse(line) {
            Err(EarlyExit::Usage(help)) => assert!(help.contains("\nCommands:\n"), "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn the_version_is_printed() {
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(version(None), format!("k8s-cli {number} (no release)\n"));
    let release = version(Some("ab12cd3"));
    assert_eq!(
        release,
        format!("k8s-cli {number} (release of commit ab12cd3)\n")
    );
    let Err(EarlyExit::Answer(printed)) = parse("--version") else {
        panic!("the version is printed");
    };
    assert!(printed.starts_with(&format!("k8s-cli {number} (")));
}

#[test]
fn a_usage_error_is_one_sentence_and_a_hint() {
    refused(
        "job list",
        "k8s-cli: unrecognized argument: job\nhint: did you mean `jobs`? see `k8s-cli --help`\n",
    );
    refused(
        "jobs list --all",
        "k8s-cli: unrecognized argument: --all\nhint: see `k8s-cli jobs list --help`\n",
    );
    refused(
        "jobs status",
        "k8s-cli: required and missing: id\nhint: see `k8s-cli jobs status --help`\n",
    );
    refused(
        "jobs list -o xml",
        "k8s-cli: error parsing option `-o` with value `xml`: expected table, wide, tsv, json, yaml or name\n\
         hint: see `k8s-cli jobs list --help`\n",
    );
    refused(
        "jobs logs a/b",
        "k8s-cli: error parsing positional argument `id` with value `a/b`: expected an id, the beginning of one, a name or \
         @latest\nhint: see `k8s-cli jobs logs --help`\n",
    );
    refused(
        "serve --sandbox --sandbox-log-max-size 0",
        "k8s-cli: error parsing option `--sandbox-log-max-size` with value `0`: expected a size such as 1Mi\n\
         hint: see `k8s-cli serve --help`\n",
    );
    refused(
        "serve --sandbox-log-max-size 1Mi",
        "k8s-cli: --sandbox-log-max-size needs --sandbox\nhint: see `k8s-cli serve --help`\n",
    );
    refused(
        "jobs nap",
        "k8s-cli: unrecognized argument: nap\nhint: see `k8s-cli jobs --help`\n",
    );
    refused(
        "jobs --help-me",
        "k8s-cli: unrecognized argument: --help-me\nhint: see `k8s-cli jobs --help`\n",
    );
}

#[test]
fn a_wrong_command_or_option_is_answered_with_the_nearest() {
    for (line, meant, command) in [
        ("jobs lst", "list", "jobs"),
        ("jobs lsit", "list", "jobs"),
        ("jobs sotp", "stop", "jobs"),
        ("jbos list", "jobs", ""),
        ("logs ab12cd34", "jobs logs", ""),
        ("submit a.yaml", "jobs submit", ""),
        ("ls", "jobs list", ""),
        ("ps", "jobs list", ""),
        ("cancel ab12cd34", "jobs stop", ""),
        ("whoami", "auth whoami", ""),
        ("login ada", "auth login", ""),
        ("jobs get", "list", "jobs"),
        ("jobs kill ab12cd34", "stop", "jobs"),
        ("jobs launch a.yaml", "submit", "jobs"),
        ("jobs cancle ab12cd34", "stop", "jobs"),
        ("jobs lanuch a.yaml", "submit", "jobs"),
        ("volumes descirbe data", "status", "volumes"),
        ("submti a.yaml", "jobs submit", ""),
        ("cancle ab12cd34", "jobs stop", ""),
        ("jobs log ab12cd34", "logs", "jobs"),
        ("volume list", "volumes", ""),
        ("serv", "serve", ""),
        ("jobs list --all-user", "--all-users", "jobs list"),
        ("jobs submit --detatch a.yaml", "--detach", "jobs submit"),
        ("jobs list --json", "--output json", "jobs list"),
        ("jobs list -n 3", "--limit", "jobs list"),
        ("jobs logs -n 3 ab12cd34", "--tail", "jobs logs"),
        ("jobs submit --mem 4 a.yaml", "--memory", "jobs submit"),
        ("volumes delete --yes data", "--force", "volumes delete"),
        ("serve --bind 127.0.0.1", "--host", "serve"),
        ("nodes ls", "nodes", "nodes"),
        (
            "jobs logs --timestamp ab12cd34",
            "--timestamps",
            "jobs logs",
        ),
        (
            "volumes create --storageclass x data 1",
            "--storage-class",
            "volumes create",
        ),
    ] {
        let Err(EarlyExit::Usage(message)) = parse(line) else {
            panic!("{line}");
        };
        let see = ["k8s-cli", command, "--help"].join(" ").replace("  ", " ");
        let hint = format!("hint: did you mean `{meant}`? see `{see}`\n");
        assert!(message.ends_with(&hint), "{message}");
    }
}

#[test]
fn commands_have_the_names_of_other_programs_too() {
    for (other, real) in [
        ("jobs ls --details", "jobs list --details"),
        ("jobs ps", "jobs list"),
        ("jobs describe ab12cd34", "jobs status ab12cd34"),
        ("jobs cancel ab12cd34", "jobs stop ab12cd34"),
        ("jobs rm ab12cd34", "jobs delete ab12cd34"),
        ("volumes ls", "volumes list"),
        ("volumes describe ab12cd34", "volumes status ab12cd34"),
        ("volumes rm ab12cd34", "volumes delete ab12cd34"),
        ("help jobs ls", "help jobs list"),
        ("version", "--version"),
    ] {
        assert_eq!(parse(other), parse(real), "{other}");
    }
}

#[test]
fn control_characters_of_arguments_are_escaped() {
    let exit = Cli::parse(["\x1b[2J".into()]).unwrap_err();
    let EarlyExit::Usage(message) = exit else {
        panic!("{exit:?}");
    };
    assert!(message.contains("\\u{1b}[2J"), "{message}");
}

#[test]
fn names_of_the_cluster_are_checked_before_the_server_starts() {
    for (option, value) in [
        ("--runtime-class", "A_b"),
        ("--label-prefix", "/"),
        ("--default-image", "ghcr.io/MyOrg/img"),
        ("--default-image", "a#b"),
        ("--socket-user-domain", ".com"),
        ("--max-tasks", "0"),
        ("--max-submits", "-1"),
        ("--max-nodes", "x"),
    ] {
        let line = format!("serve --socket auto {option} {value}");
        assert!(parse(&line).is_err(), "{line}");
    }
    let line =
        "serve --runtime-class gvisor --label-prefix jobs.example.com/ --default-image a/b:1";
    assert!(parse(line).is_ok());
}

#[test]
fn options_of_serve_that_would_have_no_effect_are_refused() {
    for (line, expected) in [
        ("--sandbox-users a.json", "--sandbox-users needs --sandbox"),
        (
            "--socket-user-domain example.com",
            "--socket-user-domain needs --socket",
        ),
        ("--tls-cert a.pem", "--tls-cert needs --tls-key"),
        ("--tls-key a.pem", "--tls-key needs --tls-cert"),
        ("--audience a", "--audience needs --auth kubernetes"),
        (
            "--auth kubernetes --user-header X-Me",
            "--user-header needs --auth header",
        ),
        (
            "--auth kubernetes --admin root",
            "--admin needs --auth header or --socket (with tokens, the cluster says who may act for all users)",
        ),
        (
            "--socket auto --tls-cert a.pem --tls-key b.pem",
            "--tls-cert needs --host or --port (with --socket alone, no port is open)",
        ),
        (
            "--socket auto --allowed-host jump",
            "--allowed-host needs --host or --port (with --socket alone, no port is open)",
        ),
        (
            "--socket auto --socket-user-domain example.com --admin root@example.com --admin root",
            "--admin root: with --socket-user-domain, the users of the socket are called NAME@example.com",
        ),
        (
            "--socket auto --socket-user-domain a --auth kubernetes --admin root",
            "--admin root: with --socket-user-domain, the users of the socket are called NAME@a",
        ),
    ] {
        let line = format!("serve {line}");
        refused(
            &line,
            &format!("k8s-cli: {expected}\nhint: see `k8s-cli serve --help`\n"),
        );
    }
    for line in [
        "serve --socket auto --host 10.0.0.5 --tls-cert a.pem --tls-key b.pem",
        "serve --socket auto --auth kubernetes --admin root",
        "serve --socket auto --check",
        "serve --socket auto --socket-user-domain a --admin root@a",
        "serve --socket auto --socket-user-domain a --port 1 --admin root",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    assert!(parse("manifest --systemd --image a").is_err());
}
