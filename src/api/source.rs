//! The task file of a task, as it was submitted.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{TaskDefinition, TaskId};

/// The variable with the password of a registry.
const DOCKER_PASSWORD: &str = "SKYPILOT_DOCKER_PASSWORD";

/// The file of a task, and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSource {
    /// The text of the file, without the values of secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The definition without `setup` and `run`, if there is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
    #[serde(flatten)]
    pub origin: TaskOrigin,
}

/// The place from which a task was submitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TaskOrigin {
    /// The options of the command line that change the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The directory, and the name of its machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl TaskSource {
    /// What is kept of a task whose client sent this. A text with the value of a secret is not kept.
    pub fn kept(mut self, task: &TaskDefinition) -> Self {
        /// A shorter value may be a part of any word.
        const SHORTEST: usize = 4;
        let has_secret = |text: &String| {
            let mut secrets = task.secrets.values().chain(task.envs.get(DOCKER_PASSWORD));
            secrets.any(|value| value.len() >= SHORTEST && text.contains(value.as_str()))
        };
        self.text = self.text.filter(|text| !has_secret(text));
        self.definition = self.text.is_none().then(|| without_script(task)).flatten();
        self
    }

    /// The same without its text.
    pub fn without_text(self, task: &TaskDefinition) -> Self {
        Self { text: None, ..self }.kept(task)
    }
}

/// A definition without its scripts and the values of its secrets.
fn without_script(task: &TaskDefinition) -> Option<Value> {
    let mut wire = task.to_wire().ok()?;
    let fields = wire.as_object_mut()?;
    fields.retain(|key, value| key != "run" && key != "setup" && !value.is_null());
    if let Some(secrets) = fields.get_mut("secrets").and_then(Value::as_object_mut) {
        secrets.values_mut().for_each(|value| *value = Value::Null);
    }
    if let Some(password) = fields
        .get_mut("envs")
        .and_then(|envs| envs.get_mut(DOCKER_PASSWORD))
    {
        *password = Value::Null;
    }
    Some(wire)
}

/// `GET /tasks/{task_id}/definition`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDefinitionResponse {
    pub task_id: TaskId,
    /// The text of the file; null if it is not kept.
    #[schema(required)]
    pub source: Option<String>,
    /// Without the text: the definition without its scripts, if it is kept.
    #[schema(required)]
    pub definition: Option<Value>,
    #[serde(flatten)]
    pub origin: TaskOrigin,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_with_a_secret_is_not_kept() {
        let task =
            json!({"run": "echo $S", "setup": "x", "num_nodes": 2, "secrets": {"S": "hidden"}});
        let task = TaskDefinition::from_json(&task).unwrap();
        let of = |text: &str| TaskSource {
            text: Some(text.to_owned()),
            ..TaskSource::default()
        };
        let kept = of("run: echo $S").kept(&task);
        assert_eq!((kept.text.is_some(), &kept.definition), (true, &None));
        let kept = of("run: echo hidden").kept(&task);
        assert_eq!(kept.text, None);
        let definition = kept.definition.unwrap();
        assert_eq!(definition["secrets"], json!({"S": null}));
        assert_eq!(definition["num_nodes"], 2);
        assert!(definition.get("run").is_none() && definition.get("setup").is_none());
    }
}
