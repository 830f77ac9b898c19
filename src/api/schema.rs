//! Schemas of types that are read or written by hand, so that `derive(ToSchema)` cannot make them.

use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};

/// The schema that a JSON Schema describes.
pub fn of_json(json: Value) -> RefOr<Schema> {
    serde_json::from_value(json).expect("the text of the program is a schema")
}

/// The pattern of amounts: a number, perhaps a unit, and perhaps SkyPilot's `+`. Each reader has further rules.
pub const AMOUNT: &str =
    "^\\s*\\+?[0-9_]*\\.?[0-9_]*([eE][+-]?[0-9_]+)?\\s*[A-Za-z]{0,2}\\s*\\+?\\s*$";

/// A schema of all values. The crate reads no schema without a type.
pub fn any() -> Value {
    json!({"type": ["null", "boolean", "object", "array", "number", "string"]})
}

/// The schema of a text.
pub fn text(doc: &str, pattern: &str, example: &str) -> RefOr<Schema> {
    of_json(json!({
        "type": "string",
        "description": doc,
        "pattern": pattern,
        "examples": [example],
    }))
}

/// A schema of the same values, and of null, which counts as absent.
pub fn or_null(mut schema: Value) -> Value {
    let kind = schema.get("type").and_then(Value::as_str);
    match kind.map(|kind| json!([kind, "null"])) {
        Some(kinds) if schema.get("enum").is_none() => {
            schema["type"] = kinds;
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

/// The pattern of one of these words, in any case.
pub fn any_case(words: &[&str]) -> String {
    let letter = |letter: char| match letter.is_ascii_alphabetic() {
        true => format!(
            "[{}{}]",
            letter.to_ascii_uppercase(),
            letter.to_ascii_lowercase()
        ),
        false => letter.to_string(),
    };
    let words: Vec<String> = (words.iter())
        .map(|word| word.chars().map(letter).collect())
        .collect();
    format!("^({})$", words.join("|"))
}

/// The pattern of one of these names, or of a name that begins with `start`.
pub fn names<'a>(names: impl IntoIterator<Item = &'a str>, start: Option<&str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let start = start.map(|start| format!("^{start}|"));
    format!("{}^({})$", start.unwrap_or_default(), names.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_added_to_a_schema() {
        for (schema, expected) in [
            (
                json!({"type": "string"}),
                json!({"type": ["string", "null"]}),
            ),
            (
                json!({"type": "string", "enum": ["a"]}),
                json!({"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}]}),
            ),
            (
                json!({"$ref": "#/x"}),
                json!({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}),
            ),
        ] {
            assert_eq!(or_null(schema), expected);
        }
    }

    #[test]
    fn patterns_name_words() {
        assert_eq!(any_case(&["k8s", "no_x"]), "^([Kk]8[Ss]|[Nn][Oo]_[Xx])$");
        assert_eq!(names(["a", "b"], Some("_")), "^_|^(a|b)$");
    }
}
