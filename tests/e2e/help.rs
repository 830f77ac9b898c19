//! Golden files of every help text, so that a changed flag is a visible diff.

use std::{env, fs, path::Path};

use crate::harness::{TempDir, World, is_real_cluster, k8s_cli};

#[test]
fn every_help_text_is_a_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/output/help");
    for command in [
        "",
        "serve",
        "manifest",
        "man",
        "auth",
        "auth login",
        "auth whoami",
        "auth logout",
        "jobs",
        "jobs submit",
        "jobs run",
        "jobs rerun",
        "jobs show",
        "jobs validate",
        "jobs list",
        "jobs status",
        "jobs stop",
        "jobs logs",
        "jobs wait",
        "jobs delete",
        "nodes",
        "completion",
        "volumes",
        "volumes create",
        "volumes list",
        "volumes status",
        "volumes delete",
    ] {
        let output = k8s_cli()
            .args(command.split_whitespace())
            .arg("--help")
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), &*output.stderr),
            (Some(0), &b""[..]),
            "{command}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let name = if command.is_empty() {
            "k8s-cli".to_owned()
        } else {
            command.replace(' ', "-")
        };
        let file = folder.join(format!("{name}.txt"));
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            expected == text,
            "{command}: {} is not\n{text}",
            file.display()
        );
    }
}

#[test]
fn a_topic_is_plain_in_a_pipe_and_goes_through_the_pager_on_a_terminal() {
    // Help needs no cluster.
    if is_real_cluster() {
        return;
    }
    let world = World::sandbox(&[]);
    let session = world.anonymous();
    let text = session.run(["help", "exit-codes"]).success().stdout;
    assert!(text.starts_with("# exit-codes: "), "{text}");
    let plain = text.replace('\n', "\r\n");
    let marked = plain.replace("\r\n", "|\r\n");
    let first = plain.lines().next().unwrap();
    for (environment, expected) in [
        ("K8S_CLI_PAGER=\"sed 's/$/|/'\"", &*marked),
        ("K8S_CLI_PAGER=\"sed 's/$/|/'\" PAGER=true", &*marked),
        ("PAGER=\"sed 's/$/|/'\"", &*marked),
        // The user leaves the pager early.
        ("PAGER='head -n 1'", &*format!("{first}\r\n")),
        ("PAGER='head -n 1; exit 3'", &*format!("{first}\r\n")),
        ("PAGER=cat", &*plain),
        ("K8S_CLI_PAGER= PAGER=true", &*plain),
        ("PAGER=/no/such/pager\\ 2\\>/dev/null", &*plain),
        ("PATH=$PWD:$(dirname $(command -v k8s-cli))", &*plain),
    ] {
        let line = format!("{environment} k8s-cli help exit-codes");
        session
            .start_at_terminal(&line)
            .finish()
            .success()
            .stdout(expected);
    }
}

#[test]
fn the_pages_of_the_manual_are_written_where_man_looks_for_them() {
    let dir = TempDir::new();
    let man = |directory: &Path| k8s_cli().arg("man").arg(directory).output().unwrap();
    let manual = dir.path().join("share/man");
    assert!(man(&manual).status.success());
    // A second time, it replaces them.
    assert!(man(&manual).status.success());
    let page = fs::read_to_string(manual.join("man1/k8s-cli-jobs-logs.1")).unwrap();
    assert!(page.contains("\n.SH OPTIONS\n"), "{page}");
    assert!(manual.join("man7/k8s-cli-exit-codes.7").exists());
    let refused = man(&manual.join("man1/k8s-cli.1"));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("not a directory"), "{message}");
}
