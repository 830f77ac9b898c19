//! The schema of `resources` in the OpenAPI document. It accepts what [`Resources::from_json`] accepts, and some more.

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{ALTERNATIVES, Resources, schema};
use crate::api::schema::{AMOUNT, names, of_json, or_null};

/// An amount: a number, or a text that begins like one.
fn amount(doc: &str, example: &str) -> Value {
    json!({
        "type": ["string", "number", "null"],
        "description": doc,
        "pattern": AMOUNT,
        "examples": [example],
    })
}

/// The fields with an effect.
fn used() -> [(&'static str, Value); 7] {
    let gpus = || {
        json!({
            "description": "The GPUs of each node: their type, or `{type: count}`; several are alternatives.",
            "anyOf": [
                {"type": "string", "examples": ["H100:8"]},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {
                    "type": "object",
                    "additionalProperties": {"type": ["number", "null"]},
                    "minProperties": 1,
                },
                {"type": "null"},
            ],
        })
    };
    let image = json!({
        "description": "The image of the container, also with the prefix `docker:`, or one for each region.",
        "anyOf": [
            {"type": "string", "examples": ["docker:ubuntu:24.04"]},
            {
                "type": "object",
                "additionalProperties": {"type": ["string", "null"]},
                "minProperties": 1,
            },
            {"type": "null"},
        ],
    });
    let labels = json!({
        "type": "object",
        "description": "Labels of the pods.",
        "additionalProperties": {"type": "string"},
        "examples": [{"team": "vision"}],
    });
    let disk = json!({
        "type": ["string", "integer", "null"],
        "description": "The disk of the container's files, in gigabytes.",
        "pattern": "^\\+?[0-9]+([A-Za-z]{1,2})?$",
        "examples": [100],
    });
    [
        (
            "cpus",
            amount("The CPUs of each node; `4+` is at least 4.", "4+"),
        ),
        (
            "memory",
            amount("The memory of each node; a number is in gigabytes.", "16GB"),
        ),
        ("accelerators", gpus()),
        ("gpus", gpus()),
        ("image_id", image),
        ("labels", or_null(labels)),
        ("disk_size", disk),
    ]
}

/// The fields of one set of resources.
fn fields() -> Map<String, Value> {
    let used = used()
        .into_iter()
        .map(|(key, schema)| (key.to_owned(), schema));
    let ignored = schema::IGNORED.iter();
    let ignored = ignored.map(|(key, shape, _)| ((*key).to_owned(), shape.schema()));
    let all = used.chain(ignored);
    all.filter(|(key, _)| !ALTERNATIVES.contains(&key.as_str()))
        .collect()
}

/// A mapping of these fields, and of fields of SkyPilot's own, which begin with `_`.
fn mapping(doc: &str, fields: &Map<String, Value>) -> Value {
    let keys = fields.keys().map(String::as_str);
    json!({
        "type": "object",
        "description": doc,
        "propertyNames": {"type": "string", "pattern": names(keys, Some("_"))},
        "properties": fields,
    })
}

impl PartialSchema for Resources {
    fn schema() -> RefOr<Schema> {
        let alternative = mapping("One of several sets of resources.", &fields());
        let mut all = fields();
        for key in ALTERNATIVES {
            let list = json!({"type": "array", "items": alternative});
            all.insert(key.to_owned(), or_null(list));
        }
        of_json(mapping("What each node of a task needs.", &all))
    }
}

impl ToSchema for Resources {}

#[cfg(test)]
mod tests {
    use super::{super::USED, *};

    #[test]
    fn all_fields_with_an_effect_have_a_schema() {
        assert_eq!(used().map(|(key, _)| key), USED);
    }
}
