//! The schema of a task in the OpenAPI document.
//!
//! It accepts each task that [`TaskDefinition::from_json`] accepts, and some more: rules between fields, and the exact forms of amounts
//! and names, are no schemas. The fields without effect have the shapes that they are checked with.

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{MAX_NUM_NODES, TaskDefinition, schema};
use crate::api::{
    Resources,
    logs::DURATION,
    schema::{AMOUNT, of_json, or_null},
};

/// A value of a variable: text, or a scalar that becomes text.
fn variable() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn volumes() -> Value {
    let text = || or_null(json!({"type": "string"}));
    json!({
        "type": "object",
        "description": "Volumes by mount path: the name of a volume, or a volume that lives as long as the task.",
        "propertyNames": {"type": "string", "pattern": "^[~/]"},
        "additionalProperties": {"anyOf": [
            {"type": "string", "minLength": 1},
            {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "sub_path": text()},
                "additionalProperties": false,
            },
            {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": ["string", "number"], "pattern": AMOUNT, "examples": ["10Gi"]},
                    "type": or_null(json!({"type": "string", "enum": ["k8s-pvc"]})),
                    "labels": or_null(json!({"type": "object", "additionalProperties": text()})),
                    "config": or_null(json!({
                        "type": "object",
                        "properties": {
                            "storage_class_name": text(),
                            "access_mode": or_null(json!({"$ref": "#/components/schemas/AccessMode"})),
                        },
                        "additionalProperties": false,
                    })),
                },
                "additionalProperties": false,
            },
        ]},
        "examples": [{"/data": "data"}],
    })
}

/// The fields with an effect.
fn used() -> [(&'static str, Value); 10] {
    let name = json!({
        "type": "string",
        "description": "Letters and digits, joined by at most two of `.`, `_`, `-`.",
        "pattern": "^[A-Za-z0-9]+([._-]{1,2}[A-Za-z0-9]+)*$",
        "maxLength": 1024,
        "examples": ["train"],
    });
    let script = |doc: &str| json!({"type": "string", "description": doc});
    let mut run = script("The commands of each node.");
    run["minLength"] = 1.into();
    run["examples"] = json!(["echo hello"]);
    let num_nodes = json!({
        "type": "integer",
        "description": "The number of nodes; 1 if it is absent.",
        "minimum": 1,
        "maximum": MAX_NUM_NODES,
    });
    let envs = json!({
        "type": "object",
        "description": "Environment variables.",
        "propertyNames": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": variable(),
        "examples": [{"EPOCHS": "3"}],
    });
    let secrets = json!({
        "description": "Environment variables whose values only the task may see, or names of secrets of SkyPilot's store.",
        "anyOf": [
            {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            },
            {"type": "array", "items": {"type": "string", "pattern": "^secrets:[\\s\\S]"}},
            {"type": "null"},
        ],
    });
    let max_duration = json!({
        "type": "string",
        "description": "The longest time that a node may run, with its unit.",
        "pattern": format!("^({DURATION})$"),
        "examples": ["2h"],
    });
    let workdir = json!({"anyOf": [{"type": "string"}, schema::GIT.schema()]});
    [
        ("name", or_null(name)),
        ("num_nodes", or_null(num_nodes)),
        ("workdir", workdir),
        (
            "resources",
            or_null(json!({"$ref": "#/components/schemas/Resources"})),
        ),
        ("envs", or_null(envs)),
        ("secrets", secrets),
        ("volumes", or_null(volumes())),
        ("setup", or_null(script("Commands that run before `run`."))),
        ("run", run),
        ("max_duration", or_null(max_duration)),
    ]
}

impl PartialSchema for TaskDefinition {
    fn schema() -> RefOr<Schema> {
        let mut properties = Map::new();
        for (key, schema) in used() {
            properties.insert(key.to_owned(), schema);
        }
        for (key, shape, _) in schema::IGNORED {
            properties.insert((*key).to_owned(), shape.schema());
        }
        for (key, why) in schema::OTHER_KINDS {
            let none = json!({"type": "null", "description": format!("It {why}.")});
            properties.insert((*key).to_owned(), none);
        }
        of_json(json!({
            "type": "object",
            "description": "A task file of SkyPilot: see `k8s-cli help task-file`.",
            "required": ["run"],
            "properties": properties,
            "additionalProperties": false,
        }))
    }
}

impl ToSchema for TaskDefinition {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Resources::name().into_owned(), Resources::schema()));
        Resources::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::USED, *};

    #[test]
    fn all_fields_with_an_effect_have_a_schema() {
        assert_eq!(used().map(|(key, _)| key), USED);
    }
}
