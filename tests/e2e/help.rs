//! Every help text, frozen: a flag that changes is a visible diff.

use std::{env, fs, path::Path};

use crate::harness::k8s_cli;

#[test]
fn every_help_text_is_as_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/output/help");
    for command in [
        "",
        "serve",
        "auth",
        "auth login",
        "auth whoami",
        "auth logout",
        "jobs",
        "jobs submit",
        "jobs validate",
        "jobs list",
        "jobs status",
        "jobs stop",
        "jobs logs",
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
