//! The list of routes in `api.md`, made from the table of routes. `make golden` writes it into the file.

use std::{env, fs, path::Path};

use crate::api::{Answer, Body, Kind, Parameter, Part, PartContent, REFUSALS, Route, Type, routes};

const WIDTH: usize = 88;

/// Text in lines of at most `WIDTH`. Further lines of an item of a list are indented.
fn wrapped(text: &str) -> String {
    let indent = if text.starts_with("- ") { "  " } else { "" };
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.trim().is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines.join("\n") + "\n"
}

/// `a, b or c`.
fn either(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// The form of a value, where the name and the default do not say it.
fn form(kind: Kind) -> Option<String> {
    match kind {
        Kind::Flag | Kind::Text | Kind::GroupId | Kind::TaskId | Kind::Cursor | Kind::Place => None,
        Kind::Number(..) => Some("a number".to_owned()),
        Kind::Duration => Some("a duration such as `10m`".to_owned()),
        Kind::Since => Some("a duration such as `10m`, or a time".to_owned()),
        Kind::Word(words) => Some(either(words)),
        Kind::Words(words) => Some(format!("{}, several with commas", either(words))),
        Kind::Sweep => Some("such as `lr=0.1,0.01` or `seed=1..5`".to_owned()),
        Kind::Key => Some("1 to 255 visible ASCII characters".to_owned()),
    }
}

fn parameter(parameter: &Parameter) -> String {
    let mut line = format!("- `{}`", parameter.name);
    let marks = [
        (parameter.is_required, "required"),
        (parameter.is_repeated, "may be repeated"),
    ];
    let marks: Vec<&str> = marks
        .into_iter()
        .filter_map(|(is_so, mark)| is_so.then_some(mark))
        .collect();
    if !marks.is_empty() {
        line += &format!(" ({})", marks.join(", "));
    }
    line += &format!(": {}", parameter.doc);
    if let Some(form) = form(parameter.kind) {
        line += &format!(" ({form})");
    }
    line += ".";
    if let Some(default) = parameter.default {
        line += &format!(" Default: `{default}`.");
    }
    wrapped(&line)
}

fn parts(parts: &[Part]) -> String {
    let is_flag = |part: &&Part| matches!(part.content, PartContent::Value(_));
    let flags: Vec<_> = parts.iter().filter(is_flag).collect();
    let mut text = String::new();
    for part in parts.iter().filter(|part| !is_flag(part)) {
        text += &wrapped(&format!("- `{}`: {}.", part.name, part.doc));
    }
    let flags: Vec<_> = flags
        .iter()
        .map(|part| format!("`{}`", part.name))
        .collect();
    text + &wrapped(&format!("- {}: as in the query.", flags.join(", ")))
}

fn keys(of: Type) -> String {
    of.keys()
        .map_or_else(String::new, |keys| format!("`{keys}`"))
}

fn body(body: &Body) -> String {
    match body {
        Body::Json(of, "") => wrapped(&format!("Body, as JSON: {}.", keys(*of))),
        Body::Json(_, doc) => wrapped(&format!("Body: {doc}.")),
        Body::Form(_) => String::new(),
        Body::Multipart(list) => {
            let begin = wrapped("Or a form, `multipart/form-data`, of these parts:");
            format!("{begin}\n{}", parts(list))
        }
    }
}

fn answer(answer: &Answer) -> String {
    let keys = answer
        .types
        .first()
        .map_or_else(String::new, |of| keys(*of));
    let notes = [answer.notes.to_owned(), keys];
    let notes: Vec<_> = notes.into_iter().filter(|text| !text.is_empty()).collect();
    notes.join(" ")
}

fn route(route: &Route) -> String {
    let title = format!("### {} {}\n", route.method, route.path);
    let mut blocks = vec![
        title,
        wrapped(&format!("{} {}", route.summary, route.notes)),
    ];
    let parameters = route.query.iter().chain(route.headers).map(parameter);
    blocks.push(parameters.collect());
    blocks.extend(route.bodies.iter().map(body));
    let answers: Vec<_> = route.answers.iter().map(answer).collect();
    blocks.push(wrapped(&format!("Answer: {}.", answers.join("; "))));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n")
}

fn list_of_routes() -> String {
    let routes: Vec<_> = routes().map(route).collect();
    routes.join("\n")
}

fn list_of_refusals() -> String {
    let line = |(status, why): &(u16, &str)| wrapped(&format!("- {status}: {why}"));
    REFUSALS.iter().map(line).collect()
}

/// A text in which the section under `title` ends with `list`, behind its first paragraph.
fn with_list(text: &str, title: &str, list: &str) -> String {
    let begin = text
        .find(&format!("\n## {title}\n"))
        .expect("the section is there")
        + 1;
    let (before, section) = text.split_at(begin);
    let end = section[1..]
        .find("\n## ")
        .map_or(section.len(), |end| end + 2);
    let (section, after) = section.split_at(end);
    let paragraphs: Vec<_> = section.split("\n\n").take(2).collect();
    let head = paragraphs.join("\n\n");
    format!("{before}{}\n\n{list}\n{after}", head.trim_end())
}

#[test]
fn the_topic_api_lists_the_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/topics/api.md");
    let text = fs::read_to_string(&path).unwrap();
    let listed = with_list(&text, "Routes", &list_of_routes());
    let listed = with_list(&listed, "Status codes", &list_of_refusals());
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &listed).unwrap();
        return;
    }
    assert!(
        text == listed,
        "src/cli/topics/api.md differs from the table of routes: run `make golden`"
    );
}
