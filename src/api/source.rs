//! The task file of a task, as it was submitted.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{TaskDefinition, TaskId};

/// The variable with the password of a registry.
const DOCKER_PASSWORD: &str = "SKYPILOT_DOCKER_PASSWORD";

/// Variables of a login that are no secrets, even where a file has them among its secrets.
const NO_SECRETS: [&str; 2] = ["SKYPILOT_DOCKER_USERNAME", "SKYPILOT_DOCKER_SERVER"];

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
    /// Why the text of the file is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// Why the text of a file is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// The value of a secret stands elsewhere in it.
    SecretElsewhere,
    /// The value of a secret has a form that cannot be blanked.
    SecretForm,
    TooLong,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

impl LeftOut {
    /// A clause behind "because", if it is known.
    pub fn why(self) -> Option<&'static str> {
        match self {
            Self::SecretElsewhere => Some("the value of a secret stands elsewhere in it"),
            Self::SecretForm => Some("the value of a secret in it cannot be blanked"),
            Self::TooLong => Some("it is too long"),
            Self::Other => None,
        }
    }
}

/// Whether a text has the value of a secret, given with its name. Lines may be broken or indented in another way.
pub fn has_secret<'a>(text: &str, secrets: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    /// A shorter value may be a part of any word.
    const SHORTEST: usize = 4;
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = words(text);
    let mut secrets = secrets.filter(|(name, _)| !NO_SECRETS.contains(name));
    secrets.any(|(_, value)| {
        let value = words(value);
        value.chars().count() >= SHORTEST && text.contains(&value)
    })
}

impl TaskSource {
    /// What is kept of a task whose client sent this. A text with the value of a secret is not kept.
    pub fn kept(mut self, task: &TaskDefinition) -> Self {
        let password = task.envs.get_key_value(DOCKER_PASSWORD);
        let secrets = task.secrets.iter().chain(password);
        let mut secrets = secrets.map(|(name, value)| (name.as_str(), value.as_str()));
        if self
            .text
            .take_if(|text| has_secret(text, &mut secrets))
            .is_some()
        {
            self.origin.left_out = Some(LeftOut::SecretElsewhere);
        }
        self.definition = self.text.is_none().then(|| without_script(task)).flatten();
        self
    }

    /// The same without its text, which is too long.
    pub fn without_text(mut self, task: &TaskDefinition) -> Self {
        if self.text.take().is_some() {
            self.origin.left_out = Some(LeftOut::TooLong);
        }
        self.kept(task)
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
        assert_eq!(kept.origin.left_out, Some(LeftOut::SecretElsewhere));
        let definition = kept.definition.unwrap();
        assert_eq!(definition["secrets"], json!({"S": null}));
        assert_eq!(definition["num_nodes"], 2);
        assert!(definition.get("run").is_none() && definition.get("setup").is_none());
        let long = of("run: echo $S").without_text(&task);
        assert_eq!(long.origin.left_out, Some(LeftOut::TooLong));
        let later: LeftOut = serde_json::from_value(json!("unheard_of")).unwrap();
        assert_eq!(later, LeftOut::Other);
    }

    #[test]
    fn a_secret_is_found_in_other_lines_and_is_not_a_part_of_any_word() {
        for (name, value, is_found) in [
            ("KEY", "BEGIN\nMII  x\nEND\n", true),
            ("KEY", "MII", false),
            ("KEY", "日本", false),
            ("KEY", "ada/t", true),
            ("SKYPILOT_DOCKER_USERNAME", "ada/t", false),
            ("SKYPILOT_DOCKER_SERVER", "docker.io", false),
            ("SKYPILOT_DOCKER_PASSWORD", "docker.io", true),
        ] {
            let text = "# 日本\nimage: docker.io/ada/train\nrun: |\n  BEGIN\n  MII x\n  END\n";
            let found = has_secret(text, [(name, value)].into_iter());
            assert_eq!(found, is_found, "{name}: {value}");
        }
    }
}
