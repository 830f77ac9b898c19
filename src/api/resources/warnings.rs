//! Warnings about parts of `resources` that may not work as their author expects.

use serde_json::Value;

use super::{
    super::{definition::has_effect, shape::Got},
    ALTERNATIVES, Resources,
    instance_type::InstanceType,
    schema::{self, allows_kubernetes},
};

impl Resources {
    pub(in super::super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (key, _, why) in schema::IGNORED {
            let value = self.unused.get(*key).filter(|value| has_effect(value));
            match (*key, value) {
                (_, None) => (),
                ("infra" | "cloud", Some(cloud)) => warnings.extend(cloud_warning(key, cloud)),
                ("any_of" | "ordered" | "job_recovery", Some(_)) => (),
                ("instance_type", Some(Value::String(name)))
                    if InstanceType::parse(name).is_some() => {}
                (_, Some(_)) => warnings.push(format!("resources.{key} is ignored: {why}")),
            }
        }
        if self.unused.contains_key("memory") {
            warnings.push(
                "resources.memory is ignored: an amount for each CPU is not known here, give it in GB".to_owned(),
            );
        }
        if self.unused.contains_key("image_id") {
            warnings.push(
                "resources.image_id is ignored: it names no container image, as in docker:ubuntu:24.04, so the default image is taken"
                    .to_owned(),
            );
        }
        if let (Some(region), Some(image)) = (&self.image_region, &self.image_id) {
            warnings.push(format!(
                "resources.image_id: of the images for regions that of {region:?} is taken, {image}"
            ));
        }
        let own = self.unused.keys().filter(|key| key.starts_with('_'));
        warnings.extend(own.map(|key| format!("resources.{key} is ignored: it is SkyPilot's own")));
        warnings.extend(self.alternatives_warning());
        warnings
    }

    /// A warning that names the alternatives, if there are several.
    fn alternatives_warning(&self) -> Option<String> {
        let key = ALTERNATIVES
            .into_iter()
            .find(|key| self.unused.contains_key(*key))?;
        let list = self.unused[key].as_array().filter(|list| list.len() > 1)?;
        let names: Vec<_> = list
            .iter()
            .take(8)
            .map(|one| Got(one).to_string())
            .collect();
        let more = if list.len() > 8 { ", ..." } else { "" };
        Some(format!(
            "resources.{key}: one is used, the first whose GPUs the nodes of the cluster have, else the first, of {}{more}",
            names.join(", ")
        ))
    }
}

fn cloud_warning(key: &str, value: &Value) -> Option<String> {
    let cloud = value.as_str().unwrap_or_default();
    if !allows_kubernetes(cloud) {
        return Some(format!(
            "resources.{key} is ignored: {cloud:?} is another cloud, and the task runs on the server's Kubernetes cluster"
        ));
    }
    cloud.contains('/').then(|| {
        format!("resources.{key}: the context of {cloud:?} is ignored, the task runs on the server's cluster")
    })
}
