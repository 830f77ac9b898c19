//! The text of a task file to a task, and to all that is wrong with it, each with its line.
//!
//! Pure: what the command line adds to the file comes as [`Settings`]. The rules of a task are those of
//! [`TaskDefinition::from_json`]; here is only what JSON cannot tell: spelling and place.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::settings::Settings;
use crate::{
    api::{Problem, TaskDefinition},
    yaml::{self, Atom, Content, Entry, Node, Scalar},
};

/// The most problems of spelling that are told, and the most warnings of a kind: nobody reads more.
const MANY: usize = 100;

/// A task file that was understood.
#[derive(Debug)]
pub struct TaskFile {
    pub task: TaskDefinition,
    pub warnings: Vec<Finding>,
}

/// Something about a task file, and where in it, if it stands there.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// From 1.
    pub line: Option<usize>,
    pub problem: Problem,
}

impl Finding {
    /// Whether it is not about the file, but about a flag that changes it.
    pub fn is_about_flag(&self) -> bool {
        self.problem.field.starts_with("--")
    }
}

/// Why a text is no task file.
#[derive(Debug)]
pub enum Refused {
    /// It is not YAML, or not one document; the column is from 1.
    Yaml {
        place: Option<(usize, usize)>,
        problem: String,
    },
    /// It is not a task.
    Task(Vec<Finding>),
}

/// Reads a task from a text.
///
/// # Errors
/// It is not YAML, or not a task: then all problems at once, in the order of their lines.
pub fn parse(text: &str, settings: &Settings) -> Result<TaskFile, Refused> {
    let stream = yaml::read(text).map_err(|problem| Refused::Yaml {
        place: Some((problem.line, problem.column)),
        problem: problem.message,
    })?;
    let (header, root) = one_task(stream.documents)?;
    let mut reading = Reading::default();
    let structure = stream.problems.into_iter().map(|problem| Finding {
        line: Some(problem.line),
        problem: Problem::new(problem.path, problem.message),
    });
    let mut findings: Vec<_> = structure.collect();
    let mut json = reading.task(&root);
    if let (Some(name), Value::Object(fields)) = (header, &mut json) {
        fields.insert("name".to_owned(), name.into());
    }
    reading.problems.extend(settings.apply(&mut json));

    let definition = TaskDefinition::from_json(&json);
    let known: Vec<_> = (findings.iter().map(|finding| &finding.problem))
        .chain(&reading.problems)
        .map(|problem| problem.field.clone())
        .collect();
    let locate = |problem: Problem| match settings.given_as(&problem.field) {
        Some(name) => Finding {
            line: None,
            problem: Problem::new(name, problem.message.clone()),
        },
        None => Finding {
            line: root.line_of(&problem.field),
            problem,
        },
    };
    findings.extend(reading.problems.into_iter().map(locate));
    let task = match definition {
        Ok(task) if findings.is_empty() => task,
        Ok(_) => return Err(Refused::Task(in_order(findings))),
        Err(problems) => {
            // What could not be read is not missing, too.
            let news = problems
                .into_iter()
                .filter(|problem| !known.contains(&problem.field));
            findings.extend(news.map(locate));
            return Err(Refused::Task(in_order(findings)));
        }
    };
    let mut warnings = reading.warnings;
    warnings.retain(|warning| settings.given_as(&warning.problem.field).is_none());
    warnings.extend(task.warnings().into_iter().take(MANY).map(|message| {
        let field = message.split([' ', ':']).next().unwrap_or_default();
        Finding {
            line: root
                .line_of(field)
                .filter(|_| settings.given_as(field).is_none()),
            problem: Problem::new("", message),
        }
    }));
    Ok(TaskFile {
        task,
        warnings: in_order(warnings),
    })
}

/// The one task among documents, and the name that a header gives to it: a first document of nothing but `name`, as
/// SkyPilot's pipelines have one (0.14.1, `sky/utils/dag_utils.py`).
fn one_task(documents: Vec<Node>) -> Result<(Option<String>, Node), Refused> {
    let refused = |problem: String| Refused::Yaml {
        place: None,
        problem,
    };
    let count = documents.len();
    let mut documents = documents.into_iter();
    let (header, root) = match (documents.next(), documents.next(), count) {
        (Some(root), None, _) => (None, root),
        (Some(header), Some(root), 2) if is_header(&header) => (name_of(&header), root),
        (None, ..) => {
            return Err(refused(
                "is empty: expected a task, a mapping with at least `run`".to_owned(),
            ));
        }
        _ => {
            return Err(refused(format!(
                "is not a batch task: it holds {count} documents, a pipeline or a job group; submit them one by one"
            )));
        }
    };
    let kind = match &root.content {
        Content::Mapping(_) => return Ok((header, root)),
        Content::List(_) => "a list",
        Content::Scalar(Scalar {
            atom: Atom::Text(_),
            ..
        }) => "a text",
        Content::Scalar(_) => "a single value",
    };
    Err(refused(format!(
        "is {kind}: expected a task, a mapping with at least `run`"
    )))
}

fn is_header(document: &Node) -> bool {
    let Content::Mapping(entries) = &document.content else {
        return false;
    };
    let is_serial = |entry: &Entry| {
        let mode =
            matches!(&entry.value.content, Content::Scalar(mode) if mode.text() == Some("serial"));
        mode || entry.value.is_null()
    };
    document.get("name").is_some()
        && entries.iter().all(|entry| match entry.key.source.as_str() {
            "name" => true,
            "execution" => is_serial(entry),
            _ => false,
        })
}

fn name_of(header: &Node) -> Option<String> {
    match &header.get("name")?.content {
        Content::Scalar(name) => name.text().map(str::to_owned),
        _ => None,
    }
}

/// By line; what has none comes last, in the order in which it was found.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.line.unwrap_or(usize::MAX));
    findings
}

/// A tree on its way to JSON.
#[derive(Default)]
struct Reading {
    problems: Vec<Problem>,
    warnings: Vec<Finding>,
    /// Where in the tree it is: `.resources`, `.any_of`, `[0]`.
    path: Vec<Step>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Reading {
    /// The fields of a task. The variables become what Python's `str()` makes of them, as in SkyPilot (0.14.1, `sky/task.py`).
    fn task(&mut self, root: &Node) -> Value {
        let Content::Mapping(entries) = &root.content else {
            return self.value(root);
        };
        let mut fields = Map::new();
        for entry in entries {
            let Some(key) = self.key(entry) else { continue };
            self.path.push(Step::Key(key.clone()));
            let value = match (key.as_str(), &entry.value.content) {
                ("envs" | "secrets", Content::Mapping(entries)) => self.variables(entries),
                _ => self.value(&entry.value),
            };
            self.path.pop();
            fields.insert(key, value);
        }
        self.home_warnings(&fields, root);
        Value::Object(fields)
    }

    fn variables(&mut self, entries: &[Entry]) -> Value {
        let mut variables = Map::new();
        for Entry { key, line, value } in entries {
            let name = key.to_python();
            if key.text().is_none() {
                self.warn(*line, format!("the key {} is read as the name {name:?}; put it in quotes to keep it as it is", key.source));
            }
            self.path.push(Step::Key(name.clone()));
            let (text, source) = match &value.content {
                Content::Scalar(Scalar {
                    atom: Atom::Null, ..
                }) => (Value::Null, None),
                Content::Scalar(scalar) => {
                    (scalar.to_python().into(), Some(scalar.source.as_str()))
                }
                Content::List(_) => (value.to_python().into(), Some("the list")),
                Content::Mapping(_) => (value.to_python().into(), Some("the mapping")),
            };
            if let Some(source) = source.filter(|source| text != **source) {
                let message = match self.path.first() {
                    Some(Step::Key(key)) if key == "secrets" => {
                        format!(
                            "is read as Python's `{}`; put it in quotes to keep it as it is",
                            kind_of(value)
                        )
                    }
                    _ => format!(
                        "{} is read as {}; put it in quotes to keep it as it is",
                        yaml::shortened(source),
                        yaml::shortened(&text.to_string())
                    ),
                };
                self.warn(value.line, message);
            }
            self.path.pop();
            variables.insert(name, text);
        }
        Value::Object(variables)
    }

    fn value(&mut self, node: &Node) -> Value {
        match &node.content {
            Content::Scalar(scalar) => self.scalar(scalar, node.line),
            Content::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    list.push(self.value(item));
                    self.path.pop();
                }
                Value::Array(list)
            }
            Content::Mapping(entries) => {
                let mut mapping = Map::new();
                for entry in entries {
                    let Some(key) = self.key(entry) else { continue };
                    self.path.push(Step::Key(key.clone()));
                    let value = self.value(&entry.value);
                    self.path.pop();
                    mapping.insert(key, value);
                }
                Value::Object(mapping)
            }
        }
    }

    fn key(&mut self, entry: &Entry) -> Option<String> {
        if let Some(text) = entry.key.text() {
            return Some(text.to_owned());
        }
        let key = yaml::shortened(&entry.key.source);
        let message = format!("the key {key} is not text: put it in quotes");
        self.refuse(message);
        None
    }

    fn scalar(&mut self, scalar: &Scalar, line: usize) -> Value {
        let source = &scalar.source;
        let number = match &scalar.atom {
            Atom::Null => return Value::Null,
            Atom::Bool(value) => return (*value).into(),
            Atom::Text(text) => return text.clone().into(),
            Atom::Int(number) => Number::from_i128(*number),
            Atom::Float(number) => Number::from_f64(*number),
            Atom::BigInt(_) => None,
            Atom::Date(_) | Atom::DateTime(_) => {
                let source = yaml::shortened(source);
                self.refuse(format!("{source} is read as a date: put it in quotes"));
                return Value::Null;
            }
        };
        match number {
            Some(number) => {
                if !scalar.is_quoted && yaml::is_surprising_number(source) {
                    self.warn(
                        line,
                        format!("{source} is read as {number}, as YAML 1.1 has it"),
                    );
                }
                Value::Number(number)
            }
            None => {
                let source = yaml::shortened(source);
                self.refuse(format!("{source} is not a number that a task can use"));
                Value::Null
            }
        }
    }

    /// A path that the shell would replace.
    fn home_warnings(&mut self, fields: &Map<String, Value>, root: &Node) {
        let paths = fields.get("volumes").and_then(Value::as_object);
        for path in paths
            .into_iter()
            .flat_map(Map::keys)
            .filter(|path| path.starts_with('~'))
            .take(MANY)
        {
            let field = format!("volumes.{path}");
            self.warnings.push(Finding {
                line: root.line_of(&field),
                problem: Problem::new(field, "`~` is taken to be /root"),
            });
        }
    }

    fn refuse(&mut self, message: String) {
        if self.problems.len() < MANY {
            let problem = Problem::new(self.field(), message);
            self.problems.push(problem);
        }
    }

    fn warn(&mut self, line: usize, message: String) {
        if self.warnings.len() >= MANY {
            return;
        }
        let problem = Problem::new(self.field(), message);
        self.warnings.push(Finding {
            line: Some(line),
            problem,
        });
    }

    fn field(&self) -> String {
        let mut field = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if field.is_empty() => field.push_str(key),
                Step::Key(key) => field.extend([".", key]),
                Step::Index(index) => field.push_str(&format!("[{index}]")),
            }
        }
        field
    }
}

/// Python's word for a kind of value.
fn kind_of(node: &Node) -> &'static str {
    match &node.content {
        Content::List(_) => "list",
        Content::Mapping(_) => "dict",
        Content::Scalar(scalar) => match scalar.atom {
            Atom::Bool(_) => "bool",
            Atom::Int(_) | Atom::BigInt(_) => "int",
            Atom::Float(_) => "float",
            Atom::Date(_) | Atom::DateTime(_) => "datetime",
            Atom::Null | Atom::Text(_) => "str",
        },
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}
