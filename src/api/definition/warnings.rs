//! Warnings about parts of a definition that may not work as its author expects.

use serde_json::Value;

use super::{super::masked, TaskDefinition, env, schema};

impl TaskDefinition {
    /// The warnings about the definition, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (key, _, why) in schema::IGNORED.iter().filter(|(.., why)| !why.is_empty()) {
            if self.unused.get(*key).is_some_and(has_effect) {
                warnings.push(format!("{key} is ignored: {why}"));
            }
        }
        warnings.extend(self.config_warnings());
        warnings.extend(self.resources.warnings());
        warnings.extend(self.missing_secrets.iter().map(|name| {
            format!(
                "secrets.{name} has no value, and there is no store of secrets here: give it with \
                 `--secret {}=VALUE`",
                env::secret_variable(name)
            )
        }));
        let names = (self.envs.keys().map(|name| ("envs", name)))
            .chain(self.secrets.keys().map(|name| ("secrets", name)));
        warnings.extend(
            names
                .filter(|(_, name)| env::is_reserved(name))
                .map(|(field, name)| {
                    format!("{field}.{name} is ignored: it is set for every node")
                }),
        );
        let masked = warnings.iter().map(|warning| masked(warning).into_owned());
        masked.collect()
    }

    /// The warnings for a request without files, although the definition names some: only a client can send them.
    pub fn warnings_without_files(&self) -> Vec<String> {
        let workdir = self
            .workdir
            .as_ref()
            .filter(|workdir| !workdir.is_empty() && !workdir.starts_with('/'));
        let workdir = match workdir {
            Some(workdir) => Some(format!("{workdir:?} is a directory of the client")),
            None => self
                .git_workdir()
                .map(|_| "the client clones it".to_owned()),
        };
        let workdir = workdir.map(|what| ("workdir", what));
        let mounts = self.file_mounts().filter(|mounts| !mounts.is_empty());
        let mounts = mounts.map(|_| ("file_mounts", "they are files of the client".to_owned()));
        (workdir.into_iter().chain(mounts))
            .map(|(field, what)| {
                format!("{field} is ignored: {what}, and the request has no part `files`: `k8s-cli jobs submit` sends one")
            })
            .collect()
    }

    /// Warnings about SkyPilot's own settings in a task file.
    fn config_warnings(&self) -> Vec<String> {
        let mut ignored = Vec::new();
        let config = self.unused.get("config").and_then(Value::as_object);
        for (key, value) in config.into_iter().flatten() {
            match (key.as_str(), value) {
                ("kubernetes", Value::Object(settings)) => ignored.extend(
                    (settings.keys().filter(|key| *key != "pod_config"))
                        .map(|key| format!("config.kubernetes.{key}")),
                ),
                _ => ignored.push(format!("config.{key}")),
            }
        }
        ignored
            .into_iter()
            .map(|field| format!("{field} is ignored: it is a setting of SkyPilot's own server"))
            .collect()
    }
}

/// Whether a value of a field without effect deserves a warning: `use_spot: false` and `file_mounts: {}` do not.
pub(in super::super) fn has_effect(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        _ => true,
    }
}
