//! The pages of the manual for `man`: a page for each command, of the text of its help, and a page for each help topic. Pure.

use std::mem;

use roff::{Roff, bold, roman};

use super::{
    parse::{PROGRAM, VERSION, help},
    topics::TOPICS,
};

/// The column at which argh begins the descriptions of options and arguments.
const DESCRIPTION: usize = 20;

/// A page of the manual.
#[derive(Debug)]
pub struct Page {
    /// The name of its file, such as `k8s-cli-jobs-submit.1`.
    pub file: String,
    /// Its text in the language of roff.
    pub text: String,
}

/// All pages: section 1 has the commands, section 7 the help topics.
pub fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    add_command(&[], &mut pages);
    pages.extend(TOPICS.iter().map(|topic| {
        let mut roff = begin(&[PROGRAM, topic.name].join("-"), 7, topic.summary());
        roff.control("SH", ["DESCRIPTION"]);
        let body = topic
            .text
            .lines()
            .skip(1)
            .skip_while(|line| line.is_empty());
        verbatim(&mut roff, body);
        Page {
            file: format!("{PROGRAM}-{}.7", topic.name),
            text: roff.render(),
        }
    }));
    pages
}

/// Adds the page of a command, then those of its own commands.
fn add_command(words: &[&str], pages: &mut Vec<Page>) {
    let text = help(words).unwrap_or_default();
    let name = [&[PROGRAM], words].concat().join("-");
    let mut parts = text.split("\n\n");
    let usage = parts.next().unwrap_or_default();
    let about = parts.next().unwrap_or_default();
    let mut roff = begin(&name, 1, about.trim_end_matches('.'));
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([roman(usage.trim_start_matches("Usage: "))]);
    roff.control("SH", ["DESCRIPTION"]).text([roman(about)]);
    let mut commands = Vec::new();
    for part in parts {
        let (title, body) = part.split_once(":\n").unwrap_or((part, ""));
        let title = title.split(',').next().unwrap_or(title);
        roff.control("SH", [title.to_uppercase().as_str()]);
        match title {
            "Examples" => verbatim(&mut roff, body.lines().map(str::trim_start)),
            "Notes" => {
                for line in body.lines() {
                    roff.control("PP", []).text([roman(line.trim_start())]);
                }
            }
            "Exit codes" => {
                for (code, meaning) in body.lines().filter_map(|line| line.trim().split_once(' ')) {
                    described(&mut roff, code, meaning);
                }
            }
            _ => {
                for (name, description) in entries(body) {
                    described(&mut roff, &name, &description);
                    if title == "Commands" {
                        commands.push(name);
                    }
                }
            }
        }
    }
    let names = commands.iter().map(|command| format!("{name}-{command}"));
    let mut related: Vec<_> = names.map(|name| format!("{name}(1)")).collect();
    if words.is_empty() {
        related.extend(TOPICS.map(|topic| format!("{name}-{}(7)", topic.name)));
    } else {
        related.push(format!("{PROGRAM}(1)"));
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(related.join(", "))]);
    pages.push(Page {
        file: format!("{name}.1"),
        text: roff.render(),
    });
    for command in &commands {
        add_command(&[words, &[command]].concat(), pages);
    }
}

/// A page with its title and the line that `apropos` finds.
fn begin(name: &str, section: u8, about: &str) -> Roff {
    let mut roff = Roff::new();
    let version = format!("{PROGRAM} {VERSION}");
    let (title, section) = (name.to_uppercase(), section.to_string());
    // It has no date, and roff leaves out an empty argument.
    roff.control("TH", [title.as_str(), &section, " ", &version, PROGRAM]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {about}"))]);
    roff
}

/// Adds lines as they are.
fn verbatim<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

/// Adds a name with its description.
fn described(roff: &mut Roff, name: &str, description: &str) {
    roff.control("TP", []).text([bold(name)]);
    roff.text([roman(description)]);
}

/// The names in a part of a help text with their descriptions, which may go on in further lines.
fn entries(body: &str) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        let begins_one = line.starts_with("  ") && !line[2..].starts_with(' ');
        let is_short = line.get(DESCRIPTION - 1..DESCRIPTION) == Some(" ");
        let (name, more) = match (begins_one, is_short) {
            (true, true) => line.split_at(DESCRIPTION),
            (true, false) => (line, ""),
            (false, _) => ("", line),
        };
        if begins_one {
            entries.push((name.trim().to_owned(), more.to_owned()));
        } else if let Some((_, description)) = entries.last_mut() {
            let before = mem::take(description);
            *description = [&before, more.trim()].join(" ").trim().to_owned();
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(file: &str) -> String {
        let page = pages().into_iter().find(|page| page.file == file);
        page.unwrap_or_else(|| panic!("there is no {file}")).text
    }

    #[test]
    fn a_command_has_its_options_examples_and_exit_codes() {
        let page = page("k8s-cli-jobs-submit.1");
        for part in [
            ".TH K8S-CLI-JOBS-SUBMIT 1 \" \" \"k8s-cli ",
            "k8s\\-cli\\-jobs\\-submit \\- Start a task and follow its log\n",
            ".TP\n\\fB\\-d, \\-\\-detach\\fR\ndo not follow the log\n",
            ".TP\n\\fB\\-\\-idempotency\\-key\\fR\nthe same key gives the same task for as long as it exists, however often",
            ".nf\nk8s\\-cli jobs submit train.yaml\n",
            ".TP\n\\fB103\\fR\nthe task was stopped\n",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn every_command_and_every_topic_has_a_page() {
        let main = page("k8s-cli.1");
        let related = main.rsplit_once(".SH \"SEE ALSO\"\n").unwrap().1.trim();
        for name in related.replace("\\-", "-").split(", ") {
            page(&name.replace("(1)", ".1").replace("(7)", ".7"));
        }
        for file in [
            "k8s-cli-jobs-logs.1",
            "k8s-cli-auth-login.1",
            "k8s-cli-volumes-create.1",
        ] {
            page(file);
        }
        let topic = page("k8s-cli-exit-codes.7");
        assert!(topic.contains("\n.nf\n"), "{topic}");
    }
}
