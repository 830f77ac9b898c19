//! Checks the rules of the source tree: layers, sizes, first lines, names of files and unused fixtures.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The most lines of a file, including tests. It is a limit for exceptions: files are divided by idea, and the rule that
/// matters is that of the imports between them.
const MAX_LINES: usize = 600;

/// The modules at the top level.
const MODULES: [&str; 14] = [
    "api",
    "backoff",
    "certificate",
    "cli",
    "client",
    "executor",
    "hidden",
    "k8s",
    "line_writer",
    "proxy",
    "sandbox",
    "serve",
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

/// The modules that a module may import from.
fn allowed(module: &str) -> &'static [&'static str] {
    match module {
        "backoff" | "certificate" | "golden" | "hidden" | "k8s" | "line_writer" | "proxy"
        | "yaml" => &[],
        "api" | "sandbox" => &["k8s"],
        "cli" => &["api", "hidden"],
        "executor" => &["api", "backoff", "certificate", "k8s", "proxy"],
        "server" => &["api", "executor", "hidden", "line_writer"],
        "client" => &[
            "api",
            "backoff",
            "certificate",
            "cli",
            "hidden",
            "line_writer",
            "proxy",
            "yaml",
        ],
        "main" => &["cli", "client", "serve"],
        "serve" => &[
            "api",
            "certificate",
            "cli",
            "executor",
            "hidden",
            "sandbox",
            "server",
        ],
        _ => panic!("{module} is not a module that tests/e2e/tidy.rs knows"),
    }
}

/// The modules that may use an external crate.
fn owners(external: &str) -> &'static [&'static str] {
    match external {
        "kube" => &["executor"],
        "k8s_openapi" => &["executor", "sandbox"],
        "actix_web" => &["server", "sandbox", "serve"],
        "ureq" | "tabled" => &["client"],
        "argh" => &["cli"],
        "granit_parser" => &["yaml"],
        "rustix" => &["client", "executor", "sandbox", "server"],
        "prometheus" => &["executor", "server"],
        "utoipa" => &["api"],
        "close_fds" => &["sandbox"],
        _ => panic!("{external} is not a crate that tests/e2e/tidy.rs knows"),
    }
}

/// The submodules of a module, lowest first. Each may import only itself and those before it. `mod` is the module's `mod.rs`.
const ROOMS: [(&str, &[&str]); 2] = [
    (
        "executor",
        &[
            "error",
            "identity",
            "fresh",
            "key",
            "cluster",
            "scripted_server",
            "objects",
            "observed",
            "view",
            "files",
            "volumes",
            "tasks",
            "logs",
            "mod",
        ],
    ),
    (
        "sandbox",
        &[
            "state_dir",
            "objects",
            "kubelet",
            "controllers",
            "api",
            "mod",
            "tests",
        ],
    ),
];

/// `["executor", "logs"]` for `src/executor/logs/mod.rs`.
fn module_path(path: &str) -> Option<Vec<&str>> {
    let name = path.strip_prefix("src/")?.trim_end_matches(".rs");
    Some(name.trim_end_matches("/mod").split('/').collect())
}

/// `executor` for `src/executor/logs/mod.rs`.
fn module(path: &str) -> Option<&str> {
    Some(module_path(path)?[0])
}

/// The paths of a tree of imports, as in `a::{b, c::{d, e}}`, and the text behind the tree.
fn leaves(tree: &str) -> (Vec<String>, &str) {
    let end = tree
        .find(['{', ',', '}', ';'])
        .expect("an import ends with a semicolon");
    let (path, rest) = (tree[..end].trim(), &tree[end..]);
    let Some(mut rest) = rest.strip_prefix('{') else {
        let is_empty = path.is_empty();
        return (
            (!is_empty).then(|| path.to_owned()).into_iter().collect(),
            rest,
        );
    };
    let mut found = Vec::new();
    loop {
        let (inner, behind) = leaves(rest);
        found.extend(inner.iter().map(|leaf| format!("{path}{leaf}")));
        match behind.strip_prefix('}') {
            Some(behind) => return (found, behind),
            None => rest = &behind[1..],
        }
    }
}

/// The modules and items of this crate that a file names, as paths from `crate`.
fn ours(path: &str, source: &str) -> BTreeSet<Vec<String>> {
    let Some(file) = module_path(path) else {
        return BTreeSet::new();
    };
    let file: Vec<String> = file.into_iter().map(str::to_owned).collect();
    let (code, tests) = match source.split_once("\nmod tests {") {
        Some((code, tests)) => (code, tests),
        None => (source, ""),
    };
    let mut tests_module = file.clone();
    tests_module.push("tests".to_owned());
    let is_path = |c: char| c.is_alphanumeric() || "_:".contains(c);
    let mut found = BTreeSet::new();
    for (code, here) in [(code, &file), (tests, &tests_module)] {
        let code = code.lines();
        let code: Vec<&str> = code
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        let mut end = 0;
        for (at, _) in code.char_indices() {
            let (before, tree) = code.split_at(at);
            let is_start = ["crate::", "super::", "self::"]
                .iter()
                .any(|start| tree.starts_with(start));
            if at < end || !is_start || before.ends_with(is_path) {
                continue;
            }
            let (paths, rest) = if before.trim_end().ends_with("use") {
                leaves(tree)
            } else {
                let (path, rest) = tree.split_at(tree.find(|c| !is_path(c)).unwrap_or(tree.len()));
                (vec![path.to_owned()], rest)
            };
            end = code.len() - rest.len();
            found.extend(paths.iter().map(|path| absolute(here, path)));
        }
    }
    found
}

/// The path from `crate` of a path in the module `here`.
fn absolute(here: &[String], path: &str) -> Vec<String> {
    let mut absolute = here.to_vec();
    for step in path.split("::") {
        match step.split(" as ").next().unwrap_or_default().trim() {
            "crate" => absolute.clear(),
            "self" | "" => (),
            "super" => drop(absolute.pop()),
            step => absolute.push(step.to_owned()),
        }
    }
    absolute
}

#[test]
fn all_forms_of_imports_are_found() {
    let source = "pub use crate::{a::{B, c::{self, D as E}}, f};\nuse super::{super::g,\n    h::*};\nfn x() { crate::i::j(); }\n\
                  // crate::k\nmod tests {\n    use super::*;\n    use super::super::l;\n}";
    let found = ours("src/api/logs/query.rs", source);
    let found: Vec<String> = found.into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        [
            "a::B",
            "a::c",
            "a::c::D",
            "api::g",
            "api::logs::h::*",
            "api::logs::l",
            "api::logs::query::*",
            "f",
            "i::j",
        ]
    );
}

/// Whether a file of a module in `ROOMS` may name a path within that module.
fn is_below(rooms: &[&str], file: &[&str], path: &[String]) -> bool {
    let floor = |room: Option<&str>| rooms.iter().position(|known| Some(*known) == room);
    // The `mod.rs` of a module defines or re-exports the items of the module.
    let top = floor(Some("mod"));
    let own = match file.get(1) {
        Some(room) => floor(Some(room)).expect("tests/e2e/tidy.rs knows every room"),
        None => top.expect("`mod` is a room"),
    };
    floor(path.get(1).map(String::as_str)).or(top) <= Some(own)
}

#[test]
fn rooms_import_from_below_only() {
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let Some(file) = module_path(&path) else {
            continue;
        };
        let Some((_, rooms)) = ROOMS.iter().find(|(module, _)| *module == file[0]) else {
            continue;
        };
        for named in ours(&path, &source) {
            if named.first().is_some_and(|module| module == file[0])
                && !is_below(rooms, &file, &named)
            {
                wrong.push(format!("{path} must not import {}", named.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_room_imports_neither_a_higher_room_nor_the_module_itself() {
    let rooms = ["low", "high", "mod"];
    let check = |file: &[&str], path: &str, expected: bool| {
        let path = absolute(&[], path);
        assert_eq!(is_below(&rooms, file, &path), expected, "{file:?} {path:?}");
    };
    check(&["m", "high", "a"], "m::low::X", true);
    check(&["m", "high", "a"], "m::high::b::X", true);
    check(&["m", "low"], "m::high::X", false);
    check(&["m", "high"], "m::X", false);
    check(&["m", "high"], "m::*", false);
    check(&["m"], "m::high::X", true);
}

#[test]
fn modules_import_only_allowed_modules_and_crates() {
    let mut wrong = Vec::new();
    for (path, source) in sources() {
        let Some(module) = module(&path) else {
            continue;
        };
        let named = ours(&path, &source);
        let imported: BTreeSet<&str> = named
            .iter()
            .filter_map(|path| Some(path.first()?.as_str()))
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
            "close_fds",
            "granit_parser",
            "utoipa",
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
fn every_file_has_a_module_doc_a_good_name_and_few_lines() {
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
fn no_condition_depends_on_the_sandbox() {
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
        // Some tests name a case, some a file, some format a name, and some read a whole folder.
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
