//! The text of a task file without its secrets, which the server keeps.

use std::ops::Range;

use crate::{
    api::masked,
    yaml::{self, Content, Node},
};

/// The variable with the password of a registry.
const DOCKER_PASSWORD: &str = "SKYPILOT_DOCKER_PASSWORD";
/// The fields whose URLs may hold a password.
const WITH_URLS: [&str; 2] = ["workdir", "file_mounts"];

/// A text with its secrets blanked where they stand; none if they cannot be blanked for certain. `root` is its document.
pub fn without_secrets(text: &str, root: &Node) -> Option<String> {
    let mut blanks: Vec<(Range<usize>, String)> = Vec::new();
    let mut values = Vec::new();
    if let Some(secrets) = root.get("secrets") {
        scalars(secrets, &mut |place, source| {
            // A list has only names.
            if matches!(secrets.content, Content::Mapping(_)) {
                values.push(source.to_owned());
                blanks.push((place, String::new()));
            }
        });
    }
    if let Some(password) = root.get("envs").and_then(|envs| envs.get(DOCKER_PASSWORD)) {
        scalars(password, &mut |place, source| {
            values.push(source.to_owned());
            blanks.push((place, String::new()));
        });
    }
    for field in WITH_URLS.iter().filter_map(|field| root.get(field)) {
        scalars(field, &mut |place, source| {
            let safe = masked(source);
            if safe != source {
                values.push(source.to_owned());
                blanks.push((place, format!("'{}'", safe.replace('\'', "''"))));
            }
        });
    }
    blanks.sort_by_key(|(place, _)| (place.start, place.end));
    blanks.dedup();
    let mut blanked = text.to_owned();
    for (place, instead) in blanks.iter().rev() {
        blanked.get(place.clone())?;
        blanked.replace_range(place.clone(), instead);
    }
    // The result must be a file without the values, whatever their form was.
    yaml::read(&blanked).ok()?;
    let is_left = |value: &String| !value.is_empty() && blanked.contains(value.as_str());
    (!values.iter().any(is_left)).then_some(blanked)
}

/// Calls `see` for each value of a node that is neither null nor a list nor a mapping.
fn scalars(node: &Node, see: &mut dyn FnMut(Range<usize>, &str)) {
    match &node.content {
        Content::Scalar(_) if node.is_null() => (),
        Content::Scalar(scalar) => see(scalar.place.clone(), &scalar.source),
        Content::List(items) => items.iter().for_each(|item| scalars(item, see)),
        Content::Mapping(entries) => {
            entries.iter().for_each(|entry| scalars(&entry.value, see));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(text: &str) -> Option<String> {
        let stream = yaml::read(text).unwrap();
        without_secrets(text, &stream.documents[0])
    }

    #[test]
    fn secrets_are_blanked_where_they_stand() {
        for (text, expected) in [
            (
                "# Mine.\nsecrets:\n  A: s3cret # gone\n  B: 'two'\n  C:\nrun: |\n  é\n",
                Some("# Mine.\nsecrets:\n  A:  # gone\n  B: \n  C:\nrun: |\n  é\n"),
            ),
            (
                "run: é\nsecrets: {A: s3cret, B: null}\n",
                Some("run: é\nsecrets: {A: , B: null}\n"),
            ),
            (
                "envs: {A: b, SKYPILOT_DOCKER_PASSWORD: s3cret}\nrun: x\n",
                Some("envs: {A: b, SKYPILOT_DOCKER_PASSWORD: }\nrun: x\n"),
            ),
            (
                "workdir: {url: 'https://ada:s3cret@host/repo'}\nrun: x\n",
                Some("workdir: {url: 'https://***@host/repo'}\nrun: x\n"),
            ),
            // The value stands elsewhere, too.
            ("secrets: {A: s3cret}\nrun: echo s3cret\n", None),
            (
                "secrets: [HF_TOKEN]\nrun: x\n",
                Some("secrets: [HF_TOKEN]\nrun: x\n"),
            ),
        ] {
            assert_eq!(blanked(text).as_deref(), expected, "{text}");
        }
        let block = blanked("secrets:\n  A: |\n    s3cret\n    more\nrun: x\n");
        assert!(block.is_none_or(|text| !text.contains("s3cret")));
    }
}
