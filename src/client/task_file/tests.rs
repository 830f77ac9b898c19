//! Tests of parsing task files, of the flags that change them and of files of variables.

use super::{super::Exit, *};
use crate::golden;

/// Compares the message for `fixtures/tasks/invalid/<case>.yaml` with `<case>.txt`.
#[track_caller]
fn check(case: &str) {
    let text = golden::read(&format!("tasks/invalid/{case}.yaml"));
    let error = parse("task.yaml", text.as_bytes(), &Settings::default()).unwrap_err();
    golden::assert(&format!("tasks/invalid/{case}.txt"), &format!("{error}\n"));
}

#[test]
fn syntax_errors_have_a_place() {
    check("syntax");
    check("tab");
    check("unclosed-quote");
}

#[test]
fn a_document_that_is_not_a_mapping_is_refused() {
    check("empty");
    check("only-comments");
    check("list");
    check("text");
    check("several-documents");
}

#[test]
fn values_that_json_cannot_hold_are_refused_with_their_line() {
    check("duplicate-key");
    check("number-key");
    check("mapping-key");
    check("tag");
    check("infinity");
    check("unknown-alias");
    check("merge-of-text");
}

#[test]
fn all_problems_of_a_task_are_listed() {
    check("many-problems");
    check("missing-run");
}

#[test]
fn aliases_and_merge_keys_work() {
    let text = "envs: &a {X: '1', Y: '2'}\nrun: echo\nresources: {labels: {<<: *a, Y: '3'}}\n---\n";
    let task = parse("task.yaml", text.as_bytes(), &Settings::default()).unwrap();
    let labels: Vec<_> = task.task.resources.labels.into_iter().collect();
    assert_eq!(
        labels,
        [("X", "1"), ("Y", "3")].map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[test]
fn alias_bombs_are_refused() {
    // Every item is 1000 times the one before: 15 KB would expand to 10^15 texts.
    let mut bomb = format!("run: echo\nconfig:\n  a: &a [{}]\n", ["x"; 1000].join(","));
    for (name, of) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d")] {
        let aliases = vec![format!("*{of}"); 1000].join(",");
        bomb.push_str(&format!("  {name}: &{name} [{aliases}]\n"));
    }
    let wide = format!(
        "run: echo\nconfig:\n  a: &a [{}]\n  b: [{}]\n",
        ["x"; 50_000].join(","),
        ["*a"; 50_000].join(",")
    );
    let deep = format!("run: {}", "[".repeat(5_000));
    for text in [bomb, wide, deep] {
        let message = parse("task.yaml", text.as_bytes(), &Settings::default())
            .unwrap_err()
            .to_string();
        assert!(message.len() < 300, "{message}");
    }
}

#[test]
fn a_file_that_is_too_long_or_not_text_is_refused() {
    let long = vec![b'#'; 1024 * 1024 + 1];
    let message = read("-", &mut long.as_slice(), &Settings::default())
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "standard input: is longer than 1 MiB, the limit for a task file"
    );
    let message = parse("task.yaml", b"run: \xff", &Settings::default())
        .unwrap_err()
        .to_string();
    assert_eq!(message, "task.yaml: is not UTF-8 text");
    let message = read("/no/such/file.yaml", &mut io::empty(), &Settings::default())
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "cannot read `/no/such/file.yaml`: no such file or directory"
    );
}

fn with(envs: &[(&str, &str)], secrets: &[(&str, &str)]) -> Settings {
    let owned = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    };
    Settings {
        envs: owned(envs),
        secrets: owned(secrets),
        ..Settings::default()
    }
}

fn task(text: &str, settings: &Settings) -> Value {
    match parse("task.yaml", text.as_bytes(), settings) {
        Ok(file) => serde_json::to_value(file.task).unwrap(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn surprising_values_are_warned_about() {
    let text = golden::read("tasks/surprises.yaml");
    let file = parse("task.yaml", text.as_bytes(), &Settings::default()).unwrap();
    let mut warnings = String::new();
    for warning in file.warnings {
        warnings.push_str(&format!(
            "{:?} {warning}\n",
            warning.line.unwrap_or_default()
        ));
    }
    golden::assert("tasks/surprises.txt", &warnings);
    let envs = serde_json::to_string_pretty(&file.task.envs).unwrap() + "\n";
    golden::assert("tasks/surprises.json", &envs);
}

#[test]
fn variables_of_the_command_line_win() {
    let text = "run: echo\nenvs: {A: 1, B: }\nsecrets: [secrets:C, secrets:global.D, secrets:workspace.F]\n";
    let error = parse("task.yaml", text.as_bytes(), &Settings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "task.yaml is not a task that can run:\n  task.yaml:2: envs.B: has no value: give it one, or `--env B=VALUE`"
    );
    let task = task(
        text,
        &with(
            &[("B", "2"), ("B", "3"), ("E", "")],
            &[("C", "c"), ("F", "f")],
        ),
    );
    assert_eq!(
        task["envs"],
        serde_json::json!({"A": "1", "B": "3", "E": ""})
    );
    assert_eq!(
        task["secrets"],
        serde_json::json!({"C": "c", "F": "f", "global.D": null})
    );
}

#[test]
fn a_problem_of_a_flag_names_no_line() {
    let settings = Settings {
        fields: vec![("--cpus", "resources.cpus", "many".into())],
        ..with(&[("1A", "x")], &[])
    };
    let text = "run: echo\nresources:\n  cpus: 4\n";
    let refused = parse("task.yaml", text.as_bytes(), &settings).unwrap_err();
    let error = refused.to_string();
    assert!(error.contains("\n  --cpus: expected"), "{error}");
    assert_eq!(refused.exit(), Exit::Failed);
    assert!(error.contains("\n  task.yaml: envs.1A: is not"), "{error}");
}

#[test]
fn a_bad_flag_alone_is_a_usage_error() {
    let settings = Settings {
        fields: vec![("--cpus", "resources.cpus", "many".into())],
        ..Settings::default()
    };
    let refused = parse("task.yaml", b"run: echo", &settings).unwrap_err();
    assert_eq!(refused.exit(), Exit::Usage);
}

#[test]
fn flags_override_alternatives() {
    let settings = Settings {
        fields: vec![
            ("--name", "name", "mine".into()),
            ("--gpus", "resources.accelerators", "H100:8".into()),
        ],
        ..Settings::default()
    };
    let text =
        "run: echo\nname: theirs\nresources:\n  any_of: [{gpus: T4, cpus: 4}, {infra: aws}]\n";
    let task = task(text, &settings);
    assert_eq!(task["name"], "mine");
    assert_eq!(
        task["resources"]["accelerators"],
        serde_json::json!({"H100": 8})
    );
    assert_eq!(task["resources"]["cpus"], "4");
    let bare = "run: echo\nresources:\n";
    assert_eq!(
        self::task(bare, &settings)["resources"]["accelerators"],
        serde_json::json!({"H100": 8})
    );
}

#[test]
fn variables_are_replaced_in_paths_only() {
    let text = r#"
run: echo $A
num_nodes: 2
envs: {A: x, AB: y, Q: 'a"b\\n', N: $A}
secrets: {S: s3, M: null}
workdir: /t/$AB/${A}/$Q/$N/$UNKNOWN/${S}/$$A/${A
volumes: {"/$A": "${AB}vol"}
file_mounts: {"/${A}": {source: "s3://$S", mode: MOUNT}}
"#;
    let task = task(text, &Settings::default());
    assert_eq!(task["workdir"], r#"/t/y/x/a"b\\n/$A/$UNKNOWN/s3/$x/x"#);
    assert_eq!(task["volumes"], serde_json::json!({"/x": "yvol"}));
    assert_eq!(
        task["file_mounts"],
        serde_json::json!({"/x": {"source": "s3://s3", "mode": "MOUNT"}})
    );
    assert_eq!(task["run"], "echo $A");
}

#[test]
fn a_flag_gives_a_variable_by_value_or_by_name() {
    let env: Env<'_> = &|name| (name == "MINE").then(|| "from here".into());
    let changes = |env: &[&str]| Changes {
        env: env.iter().map(|&variable| variable.to_owned()).collect(),
        num_nodes: Some(3),
        ..Changes::default()
    };
    let settings = settings(changes(&["A=b=c", "MINE"]), env).unwrap();
    assert_eq!(
        settings.envs,
        [("A", "b=c"), ("MINE", "from here")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(settings.fields, [("--num-nodes", "num_nodes", 3.into())]);
    for (variable, expected) in [
        ("YOURS", "--env: YOURS is not set in your environment"),
        ("=x", "--env: expected NAME=VALUE or NAME"),
        (
            "1=2",
            "--env: `1` is not the name of a variable: expected letters, digits and `_`, not beginning with a digit",
        ),
    ] {
        let error = super::settings(changes(&[variable]), env).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_value_given_as_the_name_of_a_secret_is_not_repeated() {
    let changes = Changes {
        secret: vec!["hunter2".to_owned()],
        ..Changes::default()
    };
    let error = super::settings(changes, &|_| None).unwrap_err().to_string();
    assert!(
        error.starts_with("--secret: expected NAME=VALUE") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_secret_in_a_path_is_warned_about() {
    let text = "run: 'true'\nworkdir: /x/$OPEN\nvolumes:\n  /${TOKEN}: data\nenvs: {OPEN: a}\nsecrets: {TOKEN: b, OTHER: c}\n";
    let file = parse("task.yaml", text.as_bytes(), &Settings::default()).unwrap();
    let warnings: Vec<_> = file.warnings.iter().map(ToString::to_string).collect();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert!(
        warning.contains("the secret `TOKEN` becomes a part of a path"),
        "{warning}"
    );
}

#[test]
fn files_of_variables_follow_python_dotenv() {
    let outer = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
    let text = "\u{feff}# a comment\nA=1\nexport B = two words # not this\r\n\nC='it''s'\n";
    assert_eq!(
        dotenv::parse(text, &outer),
        Err((5, "expected nothing behind the quotes"))
    );
    let text = r#"
A=1
  export B = two words # not this
C='${A} \' x' # nor this
D="line
two\n${A}${HOME}${NONE:-none}"
E=
F
G=a#b
"#;
    let read = dotenv::parse(text, &outer).unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            ("A", "1"),
            ("B", "two words"),
            ("C", "${A} ' x"),
            ("D", "line\ntwo\n1/home/adanone"),
            ("E", ""),
            ("G", "a#b"),
        ]
    );
    assert_eq!(
        dotenv::parse("A=1\nB=\"x", &outer),
        Err((2, "its quotes do not end"))
    );
    assert_eq!(
        dotenv::parse("A=", &outer),
        Ok(vec![("A".to_owned(), String::new())])
    );
    let bomb = "A=${A}${A}x\n".repeat(100);
    assert_eq!(dotenv::parse(&bomb, &outer), Err((21, "is too long")));
    assert_eq!(
        dotenv::parse("two words", &outer),
        Err((1, "expected NAME=value"))
    );
}
