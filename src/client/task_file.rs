//! The task file: YAML on disk, or on standard input, to a [`TaskDefinition`].
//!
//! The YAML is read into JSON directly, which is where it goes. That refuses what JSON cannot hold (keys that are not text,
//! tags, infinite numbers) at its line and column, and counts what aliases multiply into before it fills the memory.

use std::{
    cell::Cell,
    fmt,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::Error;
use crate::api::{Problem, TaskDefinition};

/// A task file is written by hand; what is longer is something else.
const MAX_LENGTH: u64 = 1024 * 1024;
/// What a file may become once its aliases are replaced, counted in bytes of text and [`VALUE`]s. No file of [`MAX_LENGTH`]
/// without aliases comes that far.
const MAX_EXPANDED: usize = 20 * 1024 * 1024;
/// What a value costs before its text: about what it takes in memory.
const VALUE: usize = 16;

/// Reads and checks a task file; `-` is standard input.
///
/// # Errors
/// The file cannot be read, is not YAML, or is not a task: then all problems at once.
pub fn read(path: &str, input: &mut dyn Read) -> Result<TaskDefinition, Error> {
    let name = if path == "-" { "standard input" } else { path };
    let failed = |source: io::Error| Error::File {
        action: "read",
        path: PathBuf::from(name),
        source,
    };
    let mut text = Vec::new();
    if path == "-" {
        input.take(MAX_LENGTH + 1).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_LENGTH + 1).read_to_end(&mut text))
    }
    .map_err(failed)?;
    parse(name, &text)
}

/// Reads a task from a text; `name` is what the user calls it.
fn parse(name: &str, text: &[u8]) -> Result<TaskDefinition, Error> {
    let refused = |problem: &str| Error::Yaml {
        place: name.to_owned(),
        problem: problem.to_owned(),
    };
    if text.len() as u64 > MAX_LENGTH {
        return Err(refused("is longer than 1 MiB, which no task file is"));
    }
    let text = std::str::from_utf8(text).map_err(|_| refused("is not UTF-8 text"))?;
    let left = Cell::new(MAX_EXPANDED);
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let document = Node { left: &left }.deserialize(document);
        documents.push(document.map_err(|error| syntax(name, &error))?);
        // The first of several is enough to know that there are several.
        documents.retain(|document| !document.is_null());
        if documents.len() > 1 {
            return Err(refused(
                "holds several documents, a pipeline: submit them one by one",
            ));
        }
    }
    let Some(document) = documents.pop() else {
        return Err(refused(
            "is empty: expected a task, a mapping with at least `run`",
        ));
    };
    let kind = match &document {
        Value::Object(_) => None,
        Value::Array(_) => Some("a list"),
        Value::String(_) => Some("a text"),
        _ => Some("a single value"),
    };
    if let Some(kind) = kind {
        return Err(refused(&format!(
            "is {kind}: expected a task, a mapping with at least `run`"
        )));
    }
    TaskDefinition::from_json(&document).map_err(|problems: Vec<Problem>| Error::TaskFile {
        name: name.to_owned(),
        problems,
    })
}

/// The parser's error with its place in front: `task.yaml:3:7: did not find expected key`.
fn syntax(name: &str, error: &serde_yaml::Error) -> Error {
    let message = error.to_string();
    let problem = match message.rfind(" at line ") {
        // The parser tells where the surrounding block began, too; its first place is the one that `location` has.
        Some(_) => message.split(" at line ").next().unwrap_or_default(),
        None => &message,
    };
    let place = match error.location() {
        Some(location) => format!("{name}:{}:{}", location.line(), location.column()),
        None => name.to_owned(),
    };
    Error::Yaml {
        place,
        problem: problem.to_owned(),
    }
}

/// Reads one value; `left` is how much more may be read.
#[derive(Clone, Copy)]
struct Node<'a> {
    left: &'a Cell<usize>,
}

impl Node<'_> {
    fn spend<E: serde::de::Error>(self, amount: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(amount);
        self.left
            .set(left.ok_or_else(|| E::custom("its aliases make it too large"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.spend(VALUE)?;
        Ok(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.spend(VALUE)?;
        Ok(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.spend(VALUE)?;
        Ok(value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.spend(VALUE)?;
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.spend(VALUE)?;
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} is not a number that a task can use")))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.spend(VALUE + value.len())?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        self.spend(VALUE)?;
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping = Map::new();
        let mut merged = Map::new();
        while let Some(Key(key)) = entries.next_key()? {
            self.spend(VALUE + key.len())?;
            let value = entries.next_value_seed(self)?;
            if key == "<<" {
                merge(&mut merged, value).map_err(A::Error::custom)?;
            } else if mapping.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("`{key}` is given twice")));
            }
        }
        for (key, value) in merged {
            mapping.entry(key).or_insert(value);
        }
        Ok(Value::Object(mapping))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (tag, _): (String, _) = tagged.variant()?;
        Err(A::Error::custom(format!(
            "the tag `!{tag}` has no meaning here"
        )))
    }
}

/// YAML's merge key, as `SkyPilot`'s parser, `PyYAML`, takes it: `<<: *defaults`, or a list, whose earlier mappings win.
fn merge(merged: &mut Map<String, Value>, value: Value) -> Result<(), &'static str> {
    match value {
        Value::Object(mapping) => {
            for (key, value) in mapping {
                merged.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            items.into_iter().try_for_each(|item| merge(merged, item))
        }
        _ => Err("`<<` merges mappings only"),
    }
}

/// A key of a mapping: text, and nothing that only looks like it.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Cell::new(MAX_EXPANDED);
        match (Node { left: &left }).deserialize(deserializer)? {
            Value::String(key) => Ok(Self(key)),
            Value::Array(_) | Value::Object(_) => Err(D::Error::custom(
                "a key must be text, not a list or a mapping",
            )),
            other => Err(D::Error::custom(format!(
                "the key {other} is not text: put it in quotes"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    /// Compares the message for `fixtures/tasks/invalid/<case>.yaml` with the one beside it.
    #[track_caller]
    fn check(case: &str) {
        let text = golden::read(&format!("tasks/invalid/{case}.yaml"));
        let error = parse("task.yaml", text.as_bytes()).unwrap_err();
        golden::assert(&format!("tasks/invalid/{case}.txt"), &format!("{error}\n"));
    }

    #[test]
    fn syntax_errors_have_a_place() {
        check("syntax");
        check("tab");
        check("unclosed-quote");
    }

    #[test]
    fn what_is_no_mapping_is_named() {
        check("empty");
        check("only-comments");
        check("list");
        check("text");
        check("several-documents");
    }

    #[test]
    fn what_json_cannot_hold_is_refused_at_its_place() {
        check("duplicate-key");
        check("number-key");
        check("mapping-key");
        check("tag");
        check("infinity");
        check("unknown-alias");
        check("merge-of-text");
    }

    #[test]
    fn all_problems_of_a_task_are_listed() {
        check("many-problems");
        check("missing-run");
    }

    #[test]
    fn aliases_and_merge_keys_work() {
        let text =
            "envs: &a {X: '1', Y: '2'}\nrun: echo\nresources: {labels: {<<: *a, Y: '3'}}\n---\n";
        let task = parse("task.yaml", text.as_bytes()).unwrap();
        assert_eq!(
            task.resources.unused["labels"],
            serde_json::json!({"X": "1", "Y": "3"})
        );
    }

    #[test]
    fn bombs_do_not_go_off() {
        // Every item is 1000 times the one before: 10^15 texts in 15 KB, if it were read to its end.
        let mut bomb = format!("run: echo\nconfig:\n  a: &a [{}]\n", ["x"; 1000].join(","));
        for (name, of) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d")] {
            let aliases = vec![format!("*{of}"); 1000].join(",");
            bomb.push_str(&format!("  {name}: &{name} [{aliases}]\n"));
        }
        let wide = format!(
            "run: echo\nconfig:\n  a: &a [{}]\n  b: [{}]\n",
            ["x"; 50_000].join(","),
            ["*a"; 50_000].join(",")
        );
        let deep = format!("run: {}", "[".repeat(5_000));
        for text in [bomb, wide, deep] {
            let message = parse("task.yaml", text.as_bytes()).unwrap_err().to_string();
            assert!(message.len() < 300, "{message}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let long = vec![b'#'; 1024 * 1024 + 1];
        let message = read("-", &mut long.as_slice()).unwrap_err().to_string();
        assert_eq!(
            message,
            "standard input: is longer than 1 MiB, which no task file is"
        );
        let message = parse("task.yaml", b"run: \xff").unwrap_err().to_string();
        assert_eq!(message, "task.yaml: is not UTF-8 text");
        let message = read("/no/such/file.yaml", &mut io::empty())
            .unwrap_err()
            .to_string();
        assert_eq!(
            message,
            "cannot read `/no/such/file.yaml`: no such file or directory"
        );
    }
}
