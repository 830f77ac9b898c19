//! The README, run from top to bottom: every `console` block is typed into a terminal, and what comes out is compared.
//!
//! Ids, times, ages, ports and the random ends of names differ from run to run. An id of the README stands for the one that
//! came in its place, from its first appearance on.

use std::{collections::BTreeMap, env, fs, path::Path};

use crate::harness::{Session, World, is_real_cluster};

/// A command of a block, and what the README says that it prints.
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// The steps of all `console` blocks. A command begins with `$ ` and may go on in lines that begin with `> `.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for (index, line) in readme.lines().enumerate() {
        match (in_block, line) {
            (false, "```console") => in_block = true,
            (true, "```") => in_block = false,
            (true, line) => match (
                line.strip_prefix("$ "),
                line.strip_prefix("> "),
                steps.last_mut(),
            ) {
                (Some(command), _, _) => steps.push(Step {
                    line: index + 1,
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                (_, Some(more), Some(step)) => step.command += &format!("\n{more}"),
                (_, _, Some(step)) => step.output.push(line.to_owned()),
                (_, _, None) => panic!("README.md:{}: a block begins without a command", index + 1),
            },
            (false, _) => (),
        }
    }
    steps
}

/// Runs a command in a terminal and returns what a person would see, without white space at the ends of lines.
fn at_a_terminal(session: &Session<'_>, command: &str) -> Vec<String> {
    let outcome = session.start_at_terminal(command).finish();
    outcome
        .stdout
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// The ids of the README that were met, and what they stand for.
#[derive(Default)]
struct Ids(BTreeMap<String, String>);

impl Ids {
    /// A text of the README with the ids of this run.
    fn translate(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (written, actual)| {
                text.replace(written, actual)
            })
    }

    /// Whether a line is what the README says, learning ids on the way.
    fn is_same(&mut self, written: &str, actual: &str) -> bool {
        let (written, actual): (Vec<_>, Vec<_>) = (
            written.split_whitespace().collect(),
            actual.split_whitespace().collect(),
        );
        written.len() == actual.len()
            && written
                .iter()
                .zip(actual)
                .all(|(written, actual)| self.is_same_word(written, actual))
    }

    fn is_same_word(&mut self, written: &str, actual: &str) -> bool {
        if let Some(start) = unknown_id(written, &self.0)
            && let Some(id) = actual.get(start..start + 8).filter(|id| is_id(id))
        {
            self.0
                .insert(written[start..start + 8].to_owned(), id.to_owned());
        }
        let written = self.translate(written);
        written == actual || shape(&written) == shape(actual)
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 8
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Where in a word of the README an id stands that was not met yet. The README's ids have a digit in them.
fn unknown_id(word: &str, known: &BTreeMap<String, String>) -> Option<usize> {
    let mut start = 0;
    for part in word.split(|c: char| !c.is_ascii_alphanumeric()) {
        if is_id(part)
            && part.bytes().any(|byte| byte.is_ascii_digit())
            && !known.contains_key(part)
        {
            return Some(start);
        }
        start += part.len() + 1;
    }
    None
}

/// What stays the same of a word from run to run: a time, an age, a port and the end of a pod's name do not.
fn shape(word: &str) -> String {
    let digits_as_zero: String = word
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let is_time = digits_as_zero.starts_with("0000-00-00T00:00:00");
    let is_age =
        digits_as_zero.trim_start_matches('0').len() == 1 && digits_as_zero.ends_with(['s', 'm']);
    if is_time {
        return "<time>".to_owned();
    }
    if word.starts_with("KUBECONFIG=") {
        return "<kubeconfig>".to_owned();
    }
    if is_age {
        return "<age>".to_owned();
    }
    if let Some((start, port)) = word
        .rsplit_once(':')
        .filter(|(start, _)| start.starts_with("http://"))
    {
        let rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("{start}:<port>{rest}");
    }
    match word.rsplit_once('-') {
        Some((start, end)) if end.len() == 5 && start.contains('-') => format!("{start}-<random>"),
        _ => word.to_owned(),
    }
}

#[test]
fn every_console_block_is_true() {
    // What it shows are the sandbox's answers.
    if is_real_cluster() {
        return;
    }
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let world = World::new();
    let session = world.stranger();
    let mut ids = Ids::default();
    let mut wrong = Vec::new();
    for step in steps(&readme) {
        let actual = if step.command.starts_with("k8s-cli serve") {
            // It runs already; this is what it said.
            vec![
                world.log().lines().next().unwrap().to_owned(),
                format!("listening on {}", world.url),
            ]
        } else {
            at_a_terminal(&session, &ids.translate(&step.command))
        };
        let is_same = step.output.len() == actual.len()
            && step
                .output
                .iter()
                .zip(&actual)
                .all(|(written, actual)| ids.is_same(written, actual));
        if !is_same {
            wrong.push(format!(
                "README.md:{}: {}\nprints\n{}\n",
                step.line,
                step.command,
                actual.join("\n")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
