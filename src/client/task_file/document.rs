//! Parses the text of a task file into a task, or into its problems, each with its line.
//!
//! It is pure: the values of the command line come as [`Settings`]. [`TaskDefinition::from_json`] has the rules of a task;
//! this file adds the checks that need the YAML text: spelling and place.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::{settings::Settings, source::without_secrets};
use crate::{
    api::{LeftOut, Problem, TaskDefinition},
    yaml::{self, Atom, Content, Entry, Node, Scalar},
};

/// The most spelling problems, and the most warnings of a kind, that are reported.
const MAX_FINDINGS: usize = 100;

/// A valid task file.
#[derive(Debug)]
pub struct TaskFile {
    pub task: TaskDefinition,
    pub warnings: Vec<Finding>,
    /// The text without its secrets, or why there is none.
    pub source: Result<String, LeftOut>,
    lines: Lines,
}

impl TaskFile {
    /// A problem of a field, with its line in the file.
    pub fn locate(&self, problem: Problem) -> Finding {
        self.lines.locate(problem)
    }
}

/// The lines of the fields of a file.
#[derive(Debug)]
struct Lines {
    root: Node,
    settings: Settings,
}

impl Lines {
    fn locate(&self, problem: Problem) -> Finding {
        match self.settings.given_as(&problem.field) {
            Some(name) => Finding::new(None, name, problem.message),
            None => Finding {
                line: self.root.line_of(&problem.field),
                problem,
            },
        }
    }
}

/// A problem or a warning, with its line if it is about a line of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Counted from 1.
    pub line: Option<usize>,
    pub problem: Problem,
}

impl Finding {
    fn new(line: Option<usize>, field: impl Into<String>, message: impl Into<String>) -> Self {
        let problem = Problem::new(field, message);
        Self { line, problem }
    }

    /// Whether the finding is about a flag, not about the file.
    pub fn is_about_flag(&self) -> bool {
        self.problem.field.starts_with("--")
    }
}

/// The reason why a text is not a task file.
#[derive(Debug)]
pub enum Refused {
    /// The text is not YAML, or not one document. The column is counted from 1.
    Yaml {
        place: Option<(usize, usize)>,
        problem: String,
    },
    /// The document is not a task.
    Task(Vec<Finding>),
}

/// Parses a task.
///
/// # Errors
/// The text is not YAML, or not a task. All problems of a task are returned, in the order of their lines.
pub fn parse(text: &str, settings: &Settings) -> Result<TaskFile, Refused> {
    let stream = yaml::read(text).map_err(|problem| Refused::Yaml {
        place: Some((problem.line, problem.column)),
        problem: problem.message,
    })?;
    let (header, root) = one_task(stream.documents)?;
    let mut conversion = Conversion::default();
    let structure = stream
        .problems
        .into_iter()
        .map(|problem| Finding::new(Some(problem.line), problem.path, problem.message));
    let mut findings: Vec<_> = structure.collect();
    let mut json = conversion.task(&root);
    if let (Some(name), Value::Object(fields)) = (header, &mut json) {
        fields.insert("name".to_owned(), name.into());
    }
    let (problems, warnings) = settings.apply(&mut json);
    conversion.problems.extend(problems);
    conversion
        .warnings
        .extend(warnings.into_iter().map(|problem| Finding {
            line: root.line_of(&problem.field),
            problem,
        }));

    let definition = TaskDefinition::from_json(&json);
    let known: Vec<_> = (findings.iter().map(|finding| &finding.problem))
        .chain(&conversion.problems)
        .map(|problem| problem.field.clone())
        .collect();
    let settings = settings.clone();
    let lines = Lines { root, settings };
    let Lines { root, settings } = &lines;
    let locate = |problem: Problem| lines.locate(problem);
    findings.extend(conversion.problems.into_iter().map(locate));
    let task = match definition {
        Ok(task) if findings.is_empty() => task,
        Ok(_) => return Err(Refused::Task(in_order(findings))),
        Err(problems) => {
            // A field with a spelling problem is not reported as missing, too.
            let others = problems
                .into_iter()
                .filter(|problem| !known.contains(&problem.field));
            findings.extend(others.map(locate));
            return Err(Refused::Task(in_order(findings)));
        }
    };
    let mut warnings = conversion.warnings;
    warnings.retain(|warning| settings.given_as(&warning.problem.field).is_none());
    let others = task.warnings().into_iter().take(MAX_FINDINGS);
    warnings.extend(others.map(|message| {
        let field = message.split([' ', ':']).next().unwrap_or_default();
        let line = root.line_of(field);
        let line = line.filter(|_| settings.given_as(field).is_none());
        Finding::new(line, "", message)
    }));
    Ok(TaskFile {
        task,
        warnings: in_order(warnings),
        source: without_secrets(text, &lines.root),
        lines,
    })
}

/// The task among the documents, and the name from a header: a first document that has only `name`, as in SkyPilot's
/// pipelines (0.14.1, `sky/utils/dag_utils.py`).
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

/// Sorts by line. Findings without a line come last and keep their order.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| finding.line.unwrap_or(usize::MAX));
    findings
}

/// The conversion of a YAML tree to JSON.
#[derive(Default)]
struct Conversion {
    problems: Vec<Problem>,
    warnings: Vec<Finding>,
    /// The path of the current node: `.resources`, `.any_of`, `[0]`.
    path: Vec<Step>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Conversion {
    /// The fields of a task. Variables become text by the rules of Python's `str()`, as in SkyPilot (0.14.1, `sky/task.py`).
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
        // SkyPilot reads these keys as Python's texts.
        const FREE: [&str; 4] = ["accelerators", "file_mounts", "gpus", "labels"];
        if matches!(self.path.last(), Some(Step::Key(field)) if FREE.contains(&field.as_str())) {
            let name = entry.key.to_python();
            self.warn(entry.line, format!("the key {key} is read as the name {name:?}; put it in quotes to keep it as it is"));
            return Some(name);
        }
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

    /// Warns about paths that begin with `~`.
    fn home_warnings(&mut self, fields: &Map<String, Value>, root: &Node) {
        let paths = fields.get("volumes").and_then(Value::as_object);
        for path in paths
            .into_iter()
            .flat_map(Map::keys)
            .filter(|path| path.starts_with('~'))
            .take(MAX_FINDINGS)
        {
            let field = format!("volumes.{path}");
            let line = root.line_of(&field);
            let warning = Finding::new(line, field, "`~` is taken to be /root");
            self.warnings.push(warning);
        }
    }

    fn refuse(&mut self, message: String) {
        if self.problems.len() < MAX_FINDINGS {
            let problem = Problem::new(self.field(), message);
            self.problems.push(problem);
        }
    }

    fn warn(&mut self, line: usize, message: String) {
        if self.warnings.len() < MAX_FINDINGS {
            let warning = Finding::new(Some(line), self.field(), message);
            self.warnings.push(warning);
        }
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

/// The name of a value's type in Python.
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
