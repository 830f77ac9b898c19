//! What a shell can offer for the last word of a command line. Pure.

use super::parse::help;

/// The candidates for a word.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    /// Words that are known without a server.
    pub words: Vec<String>,
    /// The objects of the user whose ids fit too.
    pub objects: Option<Objects>,
}

/// Objects of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    Tasks,
    UnfinishedTasks,
    FinishedTasks,
    Volumes,
}

/// The options whose values are words, with the words.
const VALUES: [(&[&str], &[&str]); 5] = [
    (
        &["-o", "--output"],
        &["table", "wide", "tsv", "json", "yaml", "name"],
    ),
    (
        &["-s", "--status"],
        &["pending", "running", "stopping", "failed", "completed"],
    ),
    (
        &["--sort"],
        &["created", "updated", "name", "status", "user"],
    ),
    (
        &["--for", "--wait-for"],
        &["running", "completed", "finished"],
    ),
    (&["--color"], &["auto", "always", "never"]),
];

/// The candidates for the last of the words behind the name of the program. The others are whole.
pub fn candidates(words: &[&str]) -> Candidates {
    let Some((last, before)) = words.split_last() else {
        return Candidates::default();
    };
    let fitting = |words: Vec<String>| Candidates {
        words: words
            .into_iter()
            .filter(|word| word.starts_with(last))
            .collect(),
        objects: None,
    };
    if let Some((_, values)) = before
        .last()
        .and_then(|option| VALUES.iter().find(|(options, _)| options.contains(option)))
    {
        return fitting(values.iter().map(|value| (*value).to_owned()).collect());
    }
    let mut path: Vec<&str> = before.to_vec();
    path.truncate(
        path.iter()
            .take_while(|word| !word.starts_with('-'))
            .count()
            .min(2),
    );
    let typed = path.len();
    while help(&path).is_none() && path.pop().is_some() {}
    let Some(help) = help(&path) else {
        return Candidates::default();
    };
    // Words behind a whole command are its arguments. Behind a group, such a word is no command.
    let is_topic = before.first() == Some(&"help");
    if path.len() < typed && !is_topic && help.contains("\nCommands:\n") {
        return Candidates::default();
    }
    if last.starts_with('-') {
        return fitting(described(&help, "\nOptions:\n"));
    }
    match path.as_slice() {
        ["completion"] => fitting(["bash", "zsh", "fish"].map(str::to_owned).into()),
        [] if is_topic => fitting(
            [
                described(&help, "\nCommands:\n"),
                described(&help, "`k8s-cli help <topic>`:\n"),
            ]
            .concat(),
        ),
        ["jobs", "stop"] => objects(Objects::UnfinishedTasks),
        ["jobs", "delete"] => objects(Objects::FinishedTasks),
        ["jobs", "status" | "logs" | "wait" | "show" | "rerun"] => objects(Objects::Tasks),
        ["volumes", "status" | "delete"] => objects(Objects::Volumes),
        _ => fitting(described(&help, "\nCommands:\n")),
    }
}

fn objects(objects: Objects) -> Candidates {
    Candidates {
        words: Vec::new(),
        objects: Some(objects),
    }
}

/// The names that a part of a help text describes: each stands at the beginning of a line.
fn described(help: &str, title: &str) -> Vec<String> {
    let Some((_, part)) = help.split_once(title) else {
        return Vec::new();
    };
    let lines = part.lines().take_while(|line| !line.is_empty());
    let lines = lines.filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter(|line| !line.starts_with(' '));
    let names = lines.flat_map(|line| {
        let words = line.split([' ', ',']).filter(|word| !word.is_empty());
        words.take(if line.starts_with('-') { 2 } else { 1 })
    });
    let is_name = |name: &&str| !name.starts_with('-') || name.starts_with("--");
    names.filter(is_name).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let found = candidates(&words);
        match found.objects {
            Some(objects) => format!("{objects:?}"),
            None => found.words.join(" "),
        }
    }

    #[test]
    fn words_are_completed_by_what_the_help_lists() {
        for (line, expected) in [
            ("jo", "jobs"),
            ("jobs st", "status stop"),
            ("jobs status ", "Tasks"),
            ("jobs status ab12cd34 ef", "Tasks"),
            ("jobs logs --no-follow ab", "Tasks"),
            ("jobs stop ", "UnfinishedTasks"),
            ("jobs delete ", "FinishedTasks"),
            ("volumes delete ", "Volumes"),
            ("jobs list --sta", "--status"),
            ("jobs list -o y", "yaml"),
            ("jobs list --sort n", "name"),
            ("jobs submit ", ""),
            ("jobs submit --no-f", "--no-fail-fast"),
            ("help scr", "scripts"),
            (
                "serve --sand",
                "--sandbox --sandbox-log-max-size --sandbox-users --sandbox-objects",
            ),
            ("completion b", "bash"),
            ("nosuch ", ""),
            ("jobs nosuch ", ""),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
        assert!(of("").contains("jobs") && of("").contains("serve"));
        assert_eq!(candidates(&[]), Candidates::default());
    }
}
