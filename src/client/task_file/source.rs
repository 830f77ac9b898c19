//! The text of a task file without its secrets, which the server keeps.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::{
    api::{LeftOut, has_secret, masked},
    yaml::{self, Content, Node, Scalar},
};

/// The variable with the password of a registry.
const DOCKER_PASSWORD: &str = "SKYPILOT_DOCKER_PASSWORD";
/// The fields whose URLs may hold a password.
const WITH_URLS: [&str; 2] = ["workdir", "file_mounts"];

/// A part of the text, and what stands there instead.
type Blank = (Range<usize>, String);

/// A text with its secrets blanked where they stand. `root` is its last document.
///
/// # Errors
/// The secrets cannot be blanked for certain, or one of them stands elsewhere, too.
pub fn without_secrets(text: &str, root: &Node) -> Result<String, LeftOut> {
    let mut blanks: Vec<Blank> = Vec::new();
    let mut values: Vec<(&str, String)> = Vec::new();
    // A list has only names.
    let secrets = match root.get("secrets").map(|secrets| &secrets.content) {
        Some(Content::Mapping(entries)) => entries.as_slice(),
        _ => &[],
    };
    let secrets = secrets
        .iter()
        .map(|entry| (entry.key.source.as_str(), &entry.value));
    // Nothing is no value of JSON.
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let password = root.get("envs").and_then(|envs| envs.get(DOCKER_PASSWORD));
    for (name, node) in secrets.chain(password.map(|node| (DOCKER_PASSWORD, node))) {
        scalars(node, &mut |scalar| {
            if !scalar.source.trim().is_empty() {
                values.push((name, scalar.source.clone()));
                let instead = match is_json {
                    true => "null".to_owned(),
                    false => comment_of(text, scalar),
                };
                blanks.push((scalar.place.clone(), instead));
            }
        });
    }
    for field in WITH_URLS.iter().filter_map(|field| root.get(field)) {
        scalars(field, &mut |scalar| {
            let safe = masked(&scalar.source);
            if safe != scalar.source {
                values.push(("", scalar.source.clone()));
                blanks.push((
                    scalar.place.clone(),
                    format!("'{}'", safe.replace('\'', "''")),
                ));
            }
        });
    }
    // An alias has the place of its anchor.
    blanks.sort_by_key(|(place, _)| (place.start, place.end));
    blanks.dedup_by(|second, first| second.0 == first.0);
    let blanked = blank(text, root, &blanks).ok_or(LeftOut::SecretForm)?;
    let mut values = values.iter().map(|(name, value)| (*name, value.as_str()));
    match has_secret(&blanked, &mut values) {
        true => Err(LeftOut::SecretElsewhere),
        false => Ok(blanked),
    }
}

/// The text with these blanks, from the first to the last; none if it is another file then.
fn blank(text: &str, root: &Node, blanks: &[Blank]) -> Option<String> {
    let mut blanked = text.to_owned();
    for (place, instead) in blanks.iter().rev() {
        blanked.get(place.clone())?;
        blanked.replace_range(place.clone(), instead);
    }
    let after = yaml::read(&blanked).ok()?;
    let is_good = after.problems.is_empty() && is_blanked(root, after.documents.last()?, blanks);
    is_good.then_some(blanked)
}

/// The comment behind the header of a block scalar, which is not a part of its value.
fn comment_of(text: &str, scalar: &Scalar) -> String {
    let source = text.get(scalar.place.clone()).unwrap_or_default();
    let header = source.lines().next().unwrap_or_default();
    match header.find('#') {
        Some(at) if source.starts_with(['|', '>']) => header[at..].to_owned(),
        _ => String::new(),
    }
}

/// Whether a document is that from before, but for what was blanked.
fn is_blanked(before: &Node, after: &Node, blanks: &[Blank]) -> bool {
    match (&before.content, &after.content) {
        (Content::Scalar(before), Content::Scalar(scalar)) => {
            match blanks.iter().find(|(place, _)| *place == before.place) {
                Some((_, instead)) if instead.starts_with('\'') => {
                    scalar.source == masked(&before.source)
                }
                Some(_) => after.is_null(),
                None => (&before.source, before.is_quoted) == (&scalar.source, scalar.is_quoted),
            }
        }
        (Content::List(before), Content::List(after)) => {
            before.len() == after.len()
                && (before.iter().zip(after))
                    .all(|(before, after)| is_blanked(before, after, blanks))
        }
        (Content::Mapping(before), Content::Mapping(after)) => {
            before.len() == after.len()
                && (before.iter().zip(after)).all(|(before, after)| {
                    before.key.source == after.key.source
                        && is_blanked(&before.value, &after.value, blanks)
                })
        }
        _ => false,
    }
}

/// Calls `see` for each value of a node that is neither null nor a list nor a mapping.
fn scalars(node: &Node, see: &mut dyn FnMut(&Scalar)) {
    match &node.content {
        Content::Scalar(_) if node.is_null() => (),
        Content::Scalar(scalar) => see(scalar),
        Content::List(items) => items.iter().for_each(|item| scalars(item, see)),
        Content::Mapping(entries) => {
            entries.iter().for_each(|entry| scalars(&entry.value, see));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(text: &str) -> Result<String, LeftOut> {
        let stream = yaml::read(text).unwrap();
        without_secrets(text, stream.documents.last().unwrap())
    }

    #[test]
    fn secrets_are_blanked_where_they_stand() {
        for (text, expected) in [
            (
                "# Mine.\nsecrets:\n  A: s3cret # gone\n  B: 'two'\n  C:\nrun: |\n  é\n",
                Ok("# Mine.\nsecrets:\n  A:  # gone\n  B: \n  C:\nrun: |\n  é\n"),
            ),
            (
                "run: é\nsecrets: {A: s3cret, B: null}\n",
                Ok("run: é\nsecrets: {A: , B: null}\n"),
            ),
            (
                "envs: {A: b, SKYPILOT_DOCKER_PASSWORD: s3cret}\nrun: x\n",
                Ok("envs: {A: b, SKYPILOT_DOCKER_PASSWORD: }\nrun: x\n"),
            ),
            (
                "workdir: {url: 'https://ada:s3cret@host/repo'}\nrun: x\n",
                Ok("workdir: {url: 'https://***@host/repo'}\nrun: x\n"),
            ),
            (
                r#"{"secrets": {"A": "s3cret", "B": null}, "run": "x"}"#,
                Ok(r#"{"secrets": {"A": null, "B": null}, "run": "x"}"#),
            ),
            // A block, with its comment, the empty lines behind it, and the keys that follow.
            (
                "secrets:\n  KEY: | # of ada\n    -----BEGIN-----\n\n    s3cret\n    -----END-----\n\nrun: echo x\n",
                Ok("secrets:\n  KEY: # of ada\n\nrun: echo x\n"),
            ),
            (
                "secrets:\n  PW: >-\n    s3cret\n    more\n  X: plain\n# End.\nrun: x\n",
                Ok("secrets:\n  PW: \n  X: \n# End.\nrun: x\n"),
            ),
            (
                "run: x\nsecrets:\n  \"A|B\": |2-\n\n     s3cret\n    # no comment",
                Ok("run: x\nsecrets:\n  \"A|B\": "),
            ),
            (
                "\u{feff}secrets:\r\n  A: |\r\n    s3cret\r\n    é\r\n  B: two2\r\nrun: |\r\n  x\r\n",
                Ok("\u{feff}secrets:\r\n  A: \r\n  B: \r\nrun: |\r\n  x\r\n"),
            ),
            // Other scalars of several lines.
            (
                "secrets:\n  A: \"s3cret\n    line\"\n  B: 's3cret\n\n    line'\n  C: s3cret\n    line\nrun: x\n",
                Ok("secrets:\n  A: \n  B: \n  C: \nrun: x\n"),
            ),
            (
                "secrets: {A: \"s3cret\n  line\", \"B\":\"s3\", C: [], D: {}, E: s3cret\n  line}\nrun: x\n",
                Ok("secrets: {A: , \"B\":, C: [], D: {}, E: }\nrun: x\n"),
            ),
            (
                "key: &key |\n  s3cret\nsecrets:\n  A: *key\n  B: ''\nrun: x\n",
                Ok("key: &key \nsecrets:\n  A: *key\n  B: ''\nrun: x\n"),
            ),
            (
                "name: x\n---\nrun: x\nsecrets:\n  A: |+\n    s3cret\n\n...\n",
                Ok("name: x\n---\nrun: x\nsecrets:\n  A: \n\n...\n"),
            ),
            // They cannot be blanked: the value would be another one, or the file no file.
            (
                "secrets: {A: !!str s3cret}\nrun: x\n",
                Err(LeftOut::SecretForm),
            ),
            (
                "secrets: {A: [s3cret, b]}\nrun: x\n",
                Err(LeftOut::SecretForm),
            ),
            // The value stands elsewhere, too.
            (
                "secrets: {A: s3cret}\nrun: echo s3cret\n",
                Err(LeftOut::SecretElsewhere),
            ),
            (
                "secrets: {A: xyz, SKYPILOT_DOCKER_USERNAME: s3cret}\nrun: echo s3cret xyz\n",
                Ok("secrets: {A: , SKYPILOT_DOCKER_USERNAME: }\nrun: echo s3cret xyz\n"),
            ),
            (
                "secrets: [HF_TOKEN]\nrun: x\n",
                Ok("secrets: [HF_TOKEN]\nrun: x\n"),
            ),
        ] {
            assert_eq!(blanked(text), expected.map(str::to_owned), "{text}");
        }
    }
}
