//! Runs every `console` block of the README and the help topics in a terminal, and compares the output.
//!
//! A `bash` block, which a reader pastes as a whole, is one command; the `text` block after it is its output.
//!
//! Ids, times, ages, ports and the random suffixes of names differ in each run. The first appearance of an id in a document
//! is matched with the id in the output, and later ones must match, too.

use std::{collections::BTreeMap, env, fs, path::Path, thread};

use crate::harness::{Session, World, is_real_cluster};

/// A command of a document, and its expected output.
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// The kinds of blocks that are run.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    /// Commands with their output. A command begins with `$ ` and may continue in lines that begin with `> `.
    Console,
    /// A command to paste.
    Bash,
    /// The output of the `Bash` block before it.
    Text,
}

fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block = None;
    // Whether the last step is a `bash` block whose output may still follow.
    let mut is_pasted = false;
    for (index, line) in document.lines().enumerate() {
        let step = |command: &str| Step {
            line: index + 1,
            command: command.to_owned(),
            output: Vec::new(),
        };
        match (block, line) {
            (None, "```console") => (block, is_pasted) = (Some(Block::Console), false),
            (None, "```text") if is_pasted => (block, is_pasted) = (Some(Block::Text), false),
            (None, "```bash") => {
                (block, is_pasted) = (Some(Block::Bash), true);
                steps.push(step(""));
            }
            (None, _) => (),
            (Some(_), "```") => block = None,
            (Some(Block::Bash), line) => steps.last_mut().unwrap().command += &format!("\n{line}"),
            (Some(Block::Text), line) => steps.last_mut().unwrap().output.push(line.to_owned()),
            (Some(Block::Console), line) => match (
                line.strip_prefix("$ "),
                line.strip_prefix("> "),
                steps.last_mut(),
            ) {
                (Some(command), _, _) => steps.push(step(command)),
                (_, Some(more), Some(step)) => step.command += &format!("\n{more}"),
                (_, _, Some(step)) => step.output.push(line.to_owned()),
                (_, _, None) => panic!("line {}: a block begins without a command", index + 1),
            },
        }
    }
    steps
}

/// Runs a command in a terminal; returns its lines without white space at their ends.
fn at_a_terminal(session: &Session<'_>, command: &str) -> Vec<String> {
    let outcome = session.start_at_terminal(command).finish();
    outcome
        .stdout
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// The ids of a document, and the ids of this run.
#[derive(Default)]
struct Ids(BTreeMap<String, String>);

impl Ids {
    /// A text of the document with the ids of this run.
    fn translate(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (written, actual)| {
                text.replace(written, actual)
            })
    }

    /// Whether a line matches the document. Records new ids.
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

/// The position in a word of a new id. The ids in documents contain a digit.
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

/// The part of a word that is the same in every run: without a time, an age, a port and the end of a pod's name.
fn shape(word: &str) -> String {
    let digits_as_zero: String = word
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let is_time = digits_as_zero.starts_with("0000-00-00T00:00:00")
        || digits_as_zero == "0000-00-00"
        || digits_as_zero == "00:00:00";
    let age = digits_as_zero.trim_start_matches('(');
    let is_age = age.trim_start_matches('0').len() == 1 && age.ends_with(['s', 'm']);
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

/// Runs the steps of a document against a sandbox of its own; returns the differences. The README begins with a login; for a
/// help topic, the user is logged in.
fn errors(file: &Path) -> Vec<String> {
    let world = World::sandbox(&[]);
    let session = match file.ends_with("README.md") {
        true => world.anonymous(),
        false => world.login("ada@example.com"),
    };
    let mut ids = Ids::default();
    let mut wrong = Vec::new();
    for step in steps(&fs::read_to_string(file).unwrap()) {
        let actual = if step.command.starts_with("k8s-cli serve") {
            // The server runs already; this is its output.
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
                "{}:{}: {}\nprints\n{}\n",
                file.display(),
                step.line,
                step.command,
                actual.join("\n")
            ));
        }
    }
    wrong
}

#[test]
fn every_block_prints_the_documented_output() {
    // The documents show the output of the sandbox.
    if is_real_cluster() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let topics = fs::read_dir(root.join("src/cli/topics")).unwrap();
    let topics = topics.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = topics
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.push(root.join("README.md"));
    // The documents show a machine that is not busy: few of them run at once.
    let few = files.chunks(4).map(|files| {
        thread::scope(|scope| {
            let runs: Vec<_> = files
                .iter()
                .map(|file| scope.spawn(|| errors(file)))
                .collect();
            let runs = runs.into_iter().flat_map(|run| run.join().unwrap());
            runs.collect::<Vec<_>>()
        })
    });
    let wrong: Vec<_> = few.flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
