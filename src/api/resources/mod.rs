//! The resources of one node of a task, in SkyPilot's notation and in Kubernetes'.

mod accelerators;
mod alternatives;
mod image;
mod instance_type;
mod labels;
mod openapi;
mod ports;
mod quantity;
mod schema;
mod warnings;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use accelerators::Accelerators;
pub use image::check_name as check_image_name;
pub use quantity::{Quantity, read_cpus, read_memory, read_volume_size};

use self::{accelerators::Choices, instance_type::InstanceType};
use super::{
    Problem,
    shape::{Got, join, refuse_unknown},
};

/// `resources:` of a task file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Quantity>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "quantity::write_memory"
    )]
    pub memory: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerators: Option<Accelerators>,
    /// The container image, without SkyPilot's `docker:` prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The region whose image this is, where the file names one for each region.
    #[serde(skip)]
    pub image_region: Option<String>,
    /// Labels of the task's pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The disk space for the container's files, in gigabytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<u32>,
    /// SkyPilot's other fields, in SkyPilot's normal form: accepted, without effect. `any_of` and `ordered` are kept as given; the
    /// chosen alternative is merged into the other fields.
    #[serde(flatten)]
    pub unused: Map<String, Value>,
}

/// The fields with an effect.
const USED: &[&str] = &[
    "cpus",
    "memory",
    "accelerators",
    "gpus",
    "image_id",
    "labels",
    "disk_size",
];

impl Resources {
    /// Reads `resources`, and adds to `problems`.
    pub(super) fn from_json(value: &Value, problems: &mut Vec<Problem>) -> Self {
        match value {
            Value::Null => Self::default(),
            Value::Object(fields) => alternatives::read(fields, problems),
            other => {
                problems.push(Problem::new(
                    "resources",
                    format!("expected a mapping, got {}", Got(other)),
                ));
                Self::default()
            }
        }
    }

    /// The sets of resources of which a task needs one, in the order of the file. Alternatives for other clouds are left out, and so are
    /// the unused fields if there are several.
    pub fn alternatives(&self) -> Vec<Self> {
        let lists = ALTERNATIVES
            .iter()
            .filter_map(|key| self.unused.get(*key)?.as_array());
        let alternatives: Vec<_> = lists
            .flatten()
            .filter_map(Value::as_object)
            .filter(|alternative| alternatives::could_be_here(&Map::new(), alternative))
            .collect();
        // The fields of the first alternative were merged into these, and are no defaults of its rivals.
        let is_common = |key| {
            alternatives
                .first()
                .is_none_or(|first| !first.contains_key(key))
        };
        let read = |alternative: &&Map<String, Value>| {
            // The fields were checked when the task was read.
            let own = Self::from_fields("", alternative, &mut Vec::new());
            let mut labels = self.labels.clone();
            labels.extend(own.labels);
            let is_of_all = is_common("accelerators") && is_common("gpus");
            let gpus = self.accelerators.clone().filter(|_| is_of_all);
            let cpus = self.cpus.clone().filter(|_| is_common("cpus"));
            let memory = self.memory.clone().filter(|_| is_common("memory"));
            let image = self.image_id.clone().filter(|_| is_common("image_id"));
            Self {
                cpus: own.cpus.or(cpus),
                memory: own.memory.or(memory),
                accelerators: own.accelerators.or(gpus),
                image_id: own.image_id.or(image),
                image_region: None,
                disk_size: own
                    .disk_size
                    .or(self.disk_size.filter(|_| is_common("disk_size"))),
                labels,
                unused: Map::new(),
            }
        };
        let all: Vec<_> = alternatives.iter().map(read).collect();
        if all.is_empty() {
            vec![self.clone()]
        } else {
            all
        }
    }

    /// Whether its alternatives are in the order of preference.
    pub fn is_ordered(&self) -> bool {
        self.unused.contains_key("ordered")
    }

    /// Whether two alternatives differ in the type of their GPUs, and in nothing else.
    pub fn differs_in_gpu_type(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (&self.accelerators, &other.accelerators) else {
            return false;
        };
        let same = Self {
            accelerators: self.accelerators.clone(),
            ..other.clone()
        };
        own.count == others.count && own.name != others.name && same == *self
    }

    /// Reads the fields of `resources` or of one alternative, without `any_of` and `ordered`.
    fn from_fields(path: &str, fields: &Map<String, Value>, problems: &mut Vec<Problem>) -> Self {
        let mut resources = Self::default();
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let read = match key.as_str() {
                "cpus" => quantity::read_cpus(value).map(|cpus| resources.cpus = Some(cpus)),
                "memory" if quantity::is_multiple(value) => {
                    resources.unused.insert(key.clone(), value.clone());
                    Ok(())
                }
                "memory" => {
                    quantity::read_memory(value).map(|memory| resources.memory = Some(memory))
                }
                "gpus"
                    if fields
                        .get("accelerators")
                        .is_some_and(|value| !value.is_null()) =>
                {
                    Err("`accelerators` and `gpus` are the same field, give one".to_owned())
                }
                "accelerators" | "gpus" => resources.read_accelerators(value),
                "image_id" => image::read(value).map(|image| match image {
                    Some(image) => {
                        resources.image_id = Some(image);
                        resources.image_region = image::region(value).map(str::to_owned);
                    }
                    None => drop(resources.unused.insert(key.clone(), value.clone())),
                }),
                "labels" => {
                    resources.labels = labels::read(&join(path, key), value, problems);
                    Ok(())
                }
                "disk_size" => {
                    quantity::read_disk_size(value).map(|size| resources.disk_size = size)
                }
                _ => {
                    resources.read_unused(path, key, value, problems);
                    Ok(())
                }
            };
            problems.extend(
                read.err()
                    .map(|message| Problem::new(join(path, key), message)),
            );
        }
        let instance_type = fields.get("instance_type").and_then(Value::as_str);
        if let Some(InstanceType { cpus, memory, gpus }) =
            instance_type.and_then(InstanceType::parse)
        {
            resources.cpus.get_or_insert(cpus);
            resources.memory.get_or_insert(memory);
            resources.accelerators = resources.accelerators.take().or(gpus);
        }
        let given = |key: &str| fields.get(key).is_some_and(|value| !value.is_null());
        if given("infra") && ["cloud", "region", "zone"].into_iter().any(given) {
            let message = "says what `cloud`, `region` and `zone` say too: give one of both";
            problems.push(Problem::new(join(path, "infra"), message));
        }
        resources
    }

    fn read_accelerators(&mut self, value: &Value) -> Result<(), String> {
        let Choices { all, is_ordered } = Choices::from_json(value)?;
        if all.len() > 1 {
            let list: Vec<_> = (all.iter())
                .map(|choice| json!({"accelerators": choice.to_json()}))
                .collect();
            let key = if is_ordered { "ordered" } else { "any_of" };
            self.unused.insert(key.to_owned(), list.into());
        }
        self.accelerators = all.into_iter().next();
        Ok(())
    }

    fn read_unused(&mut self, path: &str, key: &str, value: &Value, problems: &mut Vec<Problem>) {
        if ALTERNATIVES.contains(&key) {
            return;
        }
        let known = schema::IGNORED.iter().find(|(name, ..)| *name == key);
        let Some((_, shape, _)) = known else {
            if key.starts_with('_') {
                self.unused.insert(key.to_owned(), value.clone());
            }
            return;
        };
        let field = join(path, key);
        shape.check(&field, value, problems);
        let normal = schema::normalize(key, &field, value, problems);
        self.unused
            .extend(normal.map(|value| (key.to_owned(), value)));
    }
}

/// The most alternatives of a task.
const MAX_ALTERNATIVES: usize = 64;
/// The fields that hold alternatives.
const ALTERNATIVES: [&str; 2] = ["any_of", "ordered"];

/// Refuses unknown fields, and fields that do not belong into an alternative.
/// Whether `resources` has a field of this name.
pub(super) fn is_field(key: &str) -> bool {
    let ignored = schema::IGNORED.iter().map(|(key, ..)| *key);
    USED.iter()
        .copied()
        .chain(ignored)
        .any(|known| known == key)
}

fn check_keys(
    path: &str,
    fields: &Map<String, Value>,
    is_alternative: bool,
    problems: &mut Vec<Problem>,
) {
    let known = |key: &&str| !is_alternative || !ALTERNATIVES.contains(key);
    let ignored = schema::IGNORED.iter().map(|(key, ..)| *key).filter(known);
    let known = USED.iter().copied().chain(ignored);
    // Fields that begin with `_` are SkyPilot's own.
    let keys = fields.keys().filter(|key| !key.starts_with('_'));
    refuse_unknown(path, keys, known, problems);
}

#[cfg(test)]
mod tests;
