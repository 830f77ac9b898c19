//! The parameters of requests: the tables from which the OpenAPI document and the help topic `api` are made.

use serde_json::{Value, json};

use super::logs::DURATION;

/// A parameter of a query or a form, or a header.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub is_required: bool,
    pub is_repeated: bool,
    pub default: Option<&'static str>,
    /// What it does: the rest of a sentence about it.
    pub doc: &'static str,
}

/// The form of a value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As [`super::read_bool`] reads it.
    Flag,
    /// A whole number between these.
    Number(u64, u64),
    Duration,
    /// [`super::Since`].
    Since,
    Word(&'static [&'static str]),
    /// Several, with commas.
    Words(&'static [&'static str]),
    Text,
    TaskId,
    GroupId,
    /// [`super::SweepParameter`].
    Sweep,
    /// [`super::LogCursor`].
    Cursor,
    /// [`super::ListPlace`].
    Place,
    /// A key of a request.
    Key,
}

const TIME: &str = "[0-9+-]+T[0-9:]+(\\.[^Z]*)?(Z|z|[+-][0-9:]+)?";

impl Parameter {
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            is_required: false,
            is_repeated: false,
            default: None,
            doc,
        }
    }

    pub const fn or(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    pub const fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    pub const fn repeated(self) -> Self {
        Self {
            is_repeated: true,
            ..self
        }
    }

    /// The JSON Schema of its values.
    pub fn schema(&self) -> Value {
        let value = self.kind.schema();
        let mut schema = match self.is_repeated {
            true => json!({"type": "array", "items": value}),
            false => value,
        };
        if self.is_repeated && self.is_required {
            schema["minItems"] = 1.into();
        }
        if let Some(default) = self.default {
            schema["default"] = match self.kind {
                Kind::Number(..) => default.parse::<u64>().map_or(Value::Null, Value::from),
                _ => default.into(),
            };
        }
        schema
    }

    /// The JSON Schema of its field in a form, where one value looks the same as a list of one.
    pub fn field_schema(&self) -> Value {
        match self.is_repeated {
            true => json!({"anyOf": [self.kind.schema(), self.schema()]}),
            false => self.schema(),
        }
    }
}

impl Kind {
    fn schema(self) -> Value {
        let text = |pattern: String, example: &str| json!({"type": "string", "pattern": format!("^({pattern})$"), "examples": [example]});
        match self {
            Self::Flag => {
                json!({"type": "string", "enum": ["true", "false", "True", "False", "1", "0"]})
            }
            Self::Number(least, most) => {
                json!({"type": "integer", "minimum": least, "maximum": most})
            }
            Self::Duration => text(format!("[0-9]+|{DURATION}"), "10m"),
            Self::Since => text(format!("[0-9]+|{DURATION}|{TIME}"), "10m"),
            Self::Word(words) => json!({"type": "string", "enum": words}),
            Self::Words(words) => {
                let word = format!("\\s*({})\\s*", words.join("|"));
                text(format!("{word}(,{word})*"), words[0])
            }
            Self::Text => json!({"type": "string"}),
            Self::TaskId => json!({"$ref": "#/components/schemas/TaskId"}),
            Self::GroupId => json!({"$ref": "#/components/schemas/GroupId"}),
            Self::Sweep => text("[A-Za-z_][A-Za-z0-9_]*=[^\\x00]+".to_owned(), "lr=0.1,0.01"),
            Self::Cursor => text("[0-9]+-[a-z0-9._~-]+".to_owned(), "0-begin"),
            Self::Place => text(
                "(created|updated|name|status|user)\\.[+-]?[0-9]+\\.[a-z0-9]{8}\\.[0-9a-fA-F+]*"
                    .to_owned(),
                "created.1759667696000000000.ab12cd34.",
            ),
            Self::Key => json!({
                "type": "string",
                "pattern": "^[!-~]{1,255}$",
                "examples": ["b7c9f5f2-6d4e-4a0e-9d3e-0f5b1a2c3d4e"],
            }),
        }
    }
}
