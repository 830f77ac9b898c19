//! The house rules that a machine can see to: layers, sizes, first lines, and fixtures that somebody uses.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The most lines of a file, tests beside the code included.
const MAX_LINES: usize = 400;

/// The modules at the top, of which each may import only some.
const MODULES: [&str; 10] = [
    "api",
    "backoff",
    "cli",
    "client",
    "executor",
    "k8s",
    "line_writer",
    "sandbox",
    "server",
    "yaml",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut sources = files(&root.join("src"));
    sources.extend(files(&root.join("tests")));
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources
        .into_iter()
        .map(|path| {
            (
                path.strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
}

/// Which modules a module may import from.
fn allowed(module: &str) -> &'static [&'static str] {
    match module {
        "backoff" | "golden" | "k8s" | "line_writer" | "yaml" => &[],
        "api" | "sandbox" => &["k8s"],
        "cli" => &["api"],
        "executor" => &["api", "backoff", "k8s"],
        "server" => &["api", "executor", "line_writer"],
        "client" => &["api", "backoff", "cli", "line_writer", "yaml"],
        "main" => &["api", "cli", "client", "executor", "sandbox", "server"],
        _ => panic!("{module} is not a module that tests/e2e/tidy.rs knows"),
    }
}

/// Which crates only some modules may use.
fn owners(external: &str) -> &'static [&'static str] {
    match external {
        "kube" => &["executor"],
        "k8s_openapi" => &["executor", "sandbox"],
        "actix_web" => &["server", "sandbox", "main"],
        "ureq" | "tabled" => &["client"],
        "argh" => &["cli"],
        "granit_parser" => &["yaml"],
        "rustix" => &["client", "executor", "sandbox", "server"],
        _ => panic!("{external} is not a crate that tests/e2e/tidy.rs knows"),
    }
}

/// `executor` for `src/executor/logs/mod.rs`.
fn module(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/")?;
    name.split('/')
        .next()
        .map(|name| name.trim_end_matches(".rs"))
}

/// The words that follow each occurrence of `before` in the code.
fn words_after<'a>(source: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    source
        .split(before)
        .skip(1)
        .map(move |rest| rest.split(|c| !is_word(c)).next().unwrap_or_default())
}

/// The modules at the top of a list of imports, which begins behind its first brace.
fn grouped(list: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0, 0);
    let mut items = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(list[start..at].trim());
                start = at + 1;
            }
            _ => (),
        }
        if c == '}' && start == at + 1 {
            break;
        }
    }
    let first = |item: &'_ str| item.find("::").unwrap_or(item.len());
    items.into_iter().map(|item| &item[..first(item)]).collect()
}

#[test]
fn lists_of_imports_are_read_whole() {
    let list = "api::{A, b::{C, D}}, executor::E, yaml,\n}; use crate::{server};";
    assert_eq!(grouped(list), ["api", "executor", "yaml", ""]);
}

#[test]
fn no_layer_reaches_around_another() {
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let Some(module) = module(&path) else {
            continue;
        };
        let imported: BTreeSet<&str> = words_after(&source, "crate::")
            .chain(source.split("use crate::{").skip(1).flat_map(grouped))
            .filter(|word| MODULES.contains(word))
            .collect();
        for other in imported {
            if other != module && !allowed(module).contains(&other) {
                wrong.push(format!("{path} must not import crate::{other}"));
            }
        }
        for external in [
            "kube",
            "k8s_openapi",
            "actix_web",
            "ureq",
            "tabled",
            "argh",
            "rustix",
            "granit_parser",
        ] {
            let is_word =
                |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let name = format!("{external}::");
            let mut uses = source.match_indices(&name);
            let uses = uses.any(|(at, _)| is_word(&source[..at])) && !path.ends_with("tests.rs");
            if uses && !owners(external).contains(&module) {
                wrong.push(format!("{path} must not use the crate {external}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let is_tests = path.ends_with("/tests.rs");
        if !source.starts_with("//!") && !is_tests {
            wrong.push(format!("{path} does not begin with //!"));
        }
        if source.lines().count() > MAX_LINES {
            wrong.push(format!(
                "{path} has {} lines, more than {MAX_LINES}",
                source.lines().count()
            ));
        }
        let name = Path::new(&path).file_stem().unwrap().to_str().unwrap();
        if ["utils", "util", "common", "helpers", "types", "misc"].contains(&name) {
            wrong.push(format!("{path}: its name says nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_asks_whether_it_is_the_sandbox() {
    for (path, source) in sources() {
        let Some(module) =
            module(&path).filter(|module| ["api", "client", "executor", "server"].contains(module))
        else {
            continue;
        };
        let code = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let asks = code
            .filter(|line| line.contains("if ") && line.contains("sandbox"))
            .count();
        assert_eq!(asks, 0, "{path}: {module} must not know of the sandbox");
    }
}

#[test]
fn every_fixture_is_used() {
    let sources: String = sources().into_iter().map(|(_, source)| source).collect();
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    let mut orphans = Vec::new();
    for path in files(&root().join("fixtures")) {
        let path = path
            .strip_prefix(root().join("fixtures"))
            .unwrap()
            .to_owned();
        let (folder, stem) = (
            path.parent().unwrap().to_str().unwrap(),
            path.file_stem().unwrap().to_str().unwrap(),
        );
        // Some tests name a case, some a file, some put a name together, and some read a whole folder.
        let start = stem.rsplit_once('-').map_or(stem, |(start, _)| start);
        let is_used = sources.contains(&format!("\"{folder}/{start}-{{"))
            || sources.contains(&format!("\"{folder}/{stem}.{{"))
            || sources.contains(&format!("\"{stem}\""))
            || sources.contains(path.to_str().unwrap())
            || sources.contains(path.file_name().unwrap().to_str().unwrap())
            || readme.contains(path.to_str().unwrap())
            || ["output/help", "wire"].contains(&folder);
        if !is_used {
            orphans.push(path.display().to_string());
        }
    }
    assert!(
        orphans.is_empty(),
        "nothing uses fixtures/{}",
        orphans.join(", fixtures/")
    );
}
