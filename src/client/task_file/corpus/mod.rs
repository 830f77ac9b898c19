//! Compares our verdict with SkyPilot's on real task files and edge cases. They agree except for [`DIFFERENCES`].
//!
//! The files are not part of this tree: `K8S_CLI_CORPUS` names their folder, and `../shared/skypilot` is the default. Without
//! the folder the tests print a note and pass. `make corpus` prints the table.

mod compare;

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    document::{self, Refused},
    settings::Settings,
};
use crate::api::Problem;

/// A task file, and SkyPilot's result for it.
struct Case {
    name: String,
    text: String,
    is_accepted: bool,
    /// SkyPilot's message.
    reason: String,
    /// SkyPilot's normalised tasks.
    tasks: Vec<Value>,
    /// Variables that SkyPilot requires.
    settings: Settings,
}

/// Our result for a case.
enum Verdict {
    Accepted(Value),
    Refused(Vec<Problem>),
}

/// An intended difference: the reason, and whether it explains the verdict on a case.
struct Difference {
    reason: &'static str,
    explains: fn(&Case, &Verdict) -> bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "a service, a pool or several documents are not a batch task",
        explains: |_, verdict| says(verdict, "not a batch task"),
    },
    Difference {
        reason: "Kubernetes' own quantities are accepted",
        explains: |case, verdict| {
            is_accepted(verdict)
                && ["cpus", "memory"].iter().any(|field| {
                    case.reason
                        .contains(&format!("\"{field}\" field should be"))
                })
        },
    },
    Difference {
        reason: "an empty `envs:` has no variables, where SkyPilot crashes",
        explains: |case, verdict| {
            let crash = "'NoneType' object has no attribute";
            is_accepted(verdict) && case.reason.contains(crash) && case.text.contains("envs:")
        },
    },
    Difference {
        reason: "values may have any characters, where SkyPilot's substitution breaks",
        explains: |case, verdict| is_accepted(verdict) && case.reason.contains("JSONDecodeError"),
    },
    Difference {
        reason: "an amount must be a finite number",
        explains: |case, verdict| {
            only(verdict, |field| {
                matches!(field, "resources.cpus" | "resources.memory")
            }) && ["inf", "nan", "4 +", "1e400"]
                .iter()
                .any(|text| case.text.contains(text))
        },
    },
    Difference {
        reason: "negative minutes are not a time to wait",
        explains: |case, verdict| {
            only(verdict, |field| field == "resources.autostop") && case.text.contains(": -")
        },
    },
    Difference {
        reason: "a mount that SkyPilot refuses when the task starts is refused at once",
        explains: |_, verdict| {
            only(verdict, |field| {
                field == "volumes" || field.starts_with("volumes.")
            })
        },
    },
    Difference {
        reason: "no script can have a NUL character",
        explains: |_, verdict| says(verdict, "must not contain a NUL"),
    },
    Difference {
        reason: "a disk size may be in Kubernetes' notation",
        explains: |case, verdict| is_accepted(verdict) && case.text.contains("disk_size: 100G"),
    },
    Difference {
        reason: "a task has at most 10,000 nodes",
        explains: |case, verdict| {
            only(verdict, |field| field == "num_nodes") && case.text.contains("num_nodes: 99999")
        },
    },
    Difference {
        reason: "a label that Kubernetes refuses is refused at once",
        explains: |_, verdict| only(verdict, |field| field.starts_with("resources.labels.")),
    },
    Difference {
        reason: "an image whose name no registry could have is refused at once",
        explains: |case, verdict| {
            let images = case
                .text
                .lines()
                .filter_map(|line| line.split_once("image_id: "));
            let is_impossible = |name: &str| {
                let name = name.trim_matches('"');
                let is_odd = |part: &str| part.starts_with('.') || part.contains("..");
                name.contains([' ', '$'])
                    || name.contains(char::is_uppercase)
                    || name.split([':', '/']).any(is_odd)
            };
            only(verdict, |field| field == "resources.image_id")
                && images.map(|(_, name)| name).all(is_impossible)
        },
    },
    Difference {
        reason: "a number of GPUs is finite, and their type is a name",
        explains: |_, verdict| {
            only(verdict, |field| field == "resources.accelerators")
                && (says(verdict, "got \"H100:inf\"") || says(verdict, "got \"*\""))
        },
    },
    Difference {
        reason: "an image without a name is no image, where SkyPilot crashes",
        explains: |case, verdict| {
            is_accepted(verdict) && case.reason.contains("has no attribute 'strip'")
        },
    },
    Difference {
        reason: "a name that no shell takes is not a variable's",
        explains: |_, verdict| only(verdict, |field| field.starts_with("secrets.")),
    },
];

fn is_accepted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accepted(_))
}

/// Whether all problems are in such fields.
fn only(verdict: &Verdict, is_such: fn(&str) -> bool) -> bool {
    match verdict {
        Verdict::Accepted(_) => false,
        Verdict::Refused(problems) => problems.iter().all(|problem| is_such(&problem.field)),
    }
}

fn says(verdict: &Verdict, text: &str) -> bool {
    match verdict {
        Verdict::Accepted(_) => false,
        Verdict::Refused(problems) => problems
            .iter()
            .any(|problem| problem.message.contains(text)),
    }
}

fn corpus() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/skypilot");
    let folder = env::var_os("K8S_CLI_CORPUS").map_or_else(beside, PathBuf::from);
    let is_there = folder.join("oracle.jsonl").is_file();
    if !is_there {
        eprintln!(
            "no corpus at {}: nothing is compared with SkyPilot",
            folder.display()
        );
    }
    is_there.then_some(folder)
}

fn lines(path: PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    // Python writes numbers that JSON does not have, such as `Infinity`; for YAML they are texts.
    let read = |line| serde_json::from_str(line).or_else(|_| serde_yaml::from_str(line));
    text.lines().map(|line| read(line).unwrap()).collect()
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn cases(folder: &Path) -> Vec<Case> {
    let case = |value: &Value, name: String, text_of_case: String| Case {
        name,
        text: text_of_case,
        is_accepted: value["verdict"] == "accept",
        reason: text(value, "error") + &text(value, "result"),
        tasks: value["tasks"].as_array().cloned().unwrap_or_default(),
        settings: Settings {
            envs: value["env"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            ..Settings::default()
        },
    };
    let mut cases = Vec::new();
    for value in lines(folder.join("oracle.jsonl")) {
        let name = text(&value, "file");
        let text_of_case = fs::read_to_string(folder.join(&name)).unwrap();
        cases.push(case(&value, name, text_of_case));
    }
    for value in ["probes.jsonl", "probes2.jsonl"]
        .map(|name| lines(folder.join(name)))
        .concat()
    {
        cases.push(case(&value, text(&value, "id"), text(&value, "yaml")));
    }
    // Both refuse a variable without a value, and both accept it with `--env`.
    for index in 0..cases.len() {
        let Some((_, rest)) = cases[index].reason.split_once("Environment variable '") else {
            continue;
        };
        let variable = rest.split('\'').next().unwrap().to_owned();
        cases.push(Case {
            name: format!("{} --env {variable}=x", cases[index].name),
            text: cases[index].text.clone(),
            is_accepted: true,
            reason: String::new(),
            tasks: Vec::new(),
            settings: Settings {
                envs: [
                    cases[index].settings.envs.clone(),
                    vec![(variable, "x".to_owned())],
                ]
                .concat(),
                ..Settings::default()
            },
        });
    }
    cases
}

/// Parses a case. `run` is added if it is missing, because SkyPilot does not require it.
fn judge(case: &Case) -> Verdict {
    let parse = |settings: &Settings| document::parse(&case.text, settings);
    let is_missing =
        |problem: &Problem| problem.field == "run" && problem.message.contains("is required");
    let first = match parse(&case.settings) {
        Err(Refused::Task(findings))
            if findings.iter().any(|finding| is_missing(&finding.problem)) =>
        {
            let mut settings = case.settings.clone();
            settings.fields.push(("--run", "run", "true".into()));
            parse(&settings)
        }
        other => other,
    };
    match first {
        Ok(file) => Verdict::Accepted(serde_json::to_value(&file.task).unwrap()),
        Err(Refused::Yaml { problem, .. }) => Verdict::Refused(vec![Problem::new("", problem)]),
        Err(Refused::Task(findings)) => Verdict::Refused(
            findings
                .into_iter()
                .map(|finding| finding.problem)
                .collect(),
        ),
    }
}

#[test]
fn verdicts_agree_with_skypilot() {
    let Some(folder) = corpus() else { return };
    let (mut table, mut wrong) = (String::new(), Vec::new());
    let (mut agree, mut on_purpose) = (0, 0);
    let word = |is_accepted| if is_accepted { "accept" } else { "reject" };
    for case in cases(&folder) {
        let verdict = judge(&case);
        let is_same = is_accepted(&verdict) == case.is_accepted;
        let difference = DIFFERENCES
            .iter()
            .find(|difference| (difference.explains)(&case, &verdict));
        let note = match difference {
            _ if is_same => "",
            Some(difference) => difference.reason,
            None => "NOT EXPLAINED",
        };
        writeln!(
            table,
            "{}\t{}\t{}\t{note}",
            word(case.is_accepted),
            word(is_accepted(&verdict)),
            case.name
        )
        .unwrap();
        match (is_same, difference) {
            (true, _) => agree += 1,
            (false, Some(_)) => on_purpose += 1,
            (false, None) => wrong.push(format!(
                "{}: SkyPilot: {}; here: {}",
                case.name,
                case.reason,
                describe(&verdict)
            )),
        }
    }
    eprintln!(
        "SkyPilot\there\tcase\n{table}{agree} verdicts agree, {on_purpose} differ on purpose, {} differ",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted(task) => format!("accepted: {task}"),
        Verdict::Refused(problems) => crate::api::describe(problems),
    }
}

#[test]
fn values_agree_with_skypilot() {
    let Some(folder) = corpus() else { return };
    let (mut compared, mut wrong) = (0, Vec::new());
    for case in cases(&folder) {
        let (Verdict::Accepted(ours), [theirs]) = (judge(&case), case.tasks.as_slice()) else {
            continue;
        };
        // SkyPilot itself could not write this task.
        if theirs.get("_to_yaml_error").is_some() {
            continue;
        }
        compared += 1;
        wrong.extend(
            compare::task(&ours, theirs)
                .into_iter()
                .map(|what| format!("{}: {what}", case.name)),
        );
    }
    eprintln!("{compared} tasks compared, {} values differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
