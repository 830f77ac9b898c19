//! The nodes that have the GPUs that a task wants. Clusters label their nodes in several ways; this module knows those that
//! SkyPilot knows (SkyPilot 0.14.1, `sky/provision/kubernetes/utils.py`). Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;

use crate::api::{Accelerators, Resources};

const NVIDIA: &str = "nvidia.com/gpu";
const AMD: &str = "amd.com/gpu";
const NEURON: &str = "aws.amazon.com/neuron";
const TPU: &str = "google.com/tpu";

/// The resources of accelerators.
pub const RESOURCES: [&str; 5] = [NVIDIA, AMD, NEURON, TPU, "habana.ai/gaudi"];

/// The GPUs that a pod asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// The name of the resource, such as `nvidia.com/gpu`, and the amount of it; none without GPUs.
    pub resource: Option<(&'static str, u32)>,
    /// The keys of node labels, each with the values that a node may have.
    pub labels: Vec<(String, Vec<String>)>,
}

/// A label key, and the function that maps its values to GPU names.
type Scheme = (&'static str, fn(&str) -> String);

/// The known label keys, in SkyPilot's order. The first key that any node has is the one of the whole cluster.
const SCHEMES: [Scheme; 6] = [
    ("skypilot.co/accelerator", str::to_uppercase),
    ("cloud.google.com/gke-accelerator", gke),
    ("karpenter.k8s.aws/instance-gpu-name", str::to_uppercase),
    ("nvidia.com/gpu.product", product),
    ("gpu.nvidia.com/class", product),
    ("nebius.com/gpu-name", str::to_uppercase),
];

/// `nvidia-tesla-t4` is a T4, `nvidia-h100-80gb` an H100-80GB.
fn gke(value: &str) -> String {
    let name = value.trim_start_matches("nvidia-");
    name.trim_start_matches("tesla-").to_uppercase()
}

/// The labels of GPU feature discovery and CoreWeave: `NVIDIA-A100-SXM4-80GB`, `Tesla-V100-SXM2-16GB`, `NVIDIA-GeForce-RTX-3090`,
/// `H100_NVLINK_80GB`.
fn product(value: &str) -> String {
    let upper = value.to_uppercase().replace(['_', ' '], "-");
    let words: Vec<&str> = upper
        .split('-')
        .filter(|word| !matches!(*word, "NVIDIA" | "TESLA" | "GEFORCE"))
        .collect();
    // SkyPilot has a name of its own for this memory size only.
    if words.first() == Some(&"A100") && words.contains(&"80GB") {
        return "A100-80GB".to_owned();
    }
    words.join("-").replace("RTX-", "RTX")
}

/// Chooses among the alternatives of a task the first whose GPUs the nodes have, else the first. Alternatives without an order that
/// differ in the type of GPU only are all allowed. Returns the placement, and a warning for the user if any GPU will do.
pub fn choose(nodes: &[Node], resources: &mut Resources) -> (Placement, Option<String>) {
    let choices = resources.alternatives();
    let placed = |choice: &Resources| match &choice.accelerators {
        Some(wanted) => place(nodes, wanted),
        None => (Placement::default(), None),
    };
    let carried = choices.iter().find(|choice| placed(choice).1.is_none());
    let Some(chosen) = carried.or(choices.first()) else {
        return (Placement::default(), None);
    };
    let (mut placement, warning) = placed(chosen);
    if warning.is_none() && !resources.is_ordered() {
        let equals = choices
            .iter()
            .filter(|choice| chosen.differs_in_gpu_type(choice));
        for (other, warning) in equals.map(placed) {
            if warning.is_none() && other.resource == placement.resource {
                placement.allow(other.labels);
            }
        }
    }
    *resources = Resources {
        unused: std::mem::take(&mut resources.unused),
        ..chosen.clone()
    };
    (placement, warning)
}

impl Placement {
    fn anywhere(resource: &'static str, count: u32) -> Self {
        Self {
            resource: Some((resource, count)),
            labels: Vec::new(),
        }
    }

    /// Allows nodes with other values of the same label too.
    fn allow(&mut self, others: Vec<(String, Vec<String>)>) {
        if let ([(key, values)], [(other, more)]) = (&mut *self.labels, &*others)
            && key == other
        {
            let more = more.iter().filter(|value| !values.contains(value)).cloned();
            let more: Vec<_> = more.collect();
            values.extend(more);
        }
    }
}

/// The resource of accelerators that are not NVIDIA's, by the beginning of their names (SkyPilot 0.14.1's catalogs).
const OTHERS: [(&str, &str); 6] = [
    ("MI", AMD),
    ("RADEON", AMD),
    ("INSTINCT", AMD),
    ("TRAINIUM", NEURON),
    ("INFERENTIA", NEURON),
    ("GAUDI", "habana.ai/gaudi"),
];

/// The slices of TPUs on one machine of GKE: the name of SkyPilot, the values of GKE's labels for type and topology, and the chips.
const TPUS: [(&str, &str, &str, u32); 8] = [
    ("tpu-v4-8", "tpu-v4-podslice", "2x2x1", 4),
    ("tpu-v5litepod-1", "tpu-v5-lite-podslice", "1x1", 1),
    ("tpu-v5litepod-4", "tpu-v5-lite-podslice", "2x2", 4),
    ("tpu-v5litepod-8", "tpu-v5-lite-podslice", "2x4", 8),
    ("tpu-v5p-8", "tpu-v5p-slice", "2x2x1", 4),
    ("tpu-v6e-1", "tpu-v6e-slice", "1x1", 1),
    ("tpu-v6e-4", "tpu-v6e-slice", "2x2", 4),
    ("tpu-v6e-8", "tpu-v6e-slice", "2x4", 8),
];

/// The placement for a TPU. A slice of several machines is not known here.
fn place_tpu(name: &str, count: u32) -> (Placement, Option<String>) {
    let known = TPUS.iter().find(|tpu| tpu.0.eq_ignore_ascii_case(name));
    let Some((_, kind, topology, chips)) = known else {
        let warning = format!(
            "resources.accelerators: {name:?} is not a TPU on one machine that is known here, so {count} of {TPU} is asked for; \
             config.kubernetes.pod_config can add GKE's labels to its nodeSelector"
        );
        return (Placement::anywhere(TPU, count), Some(warning));
    };
    let label = |key: &str, value: &str| {
        let key = format!("cloud.google.com/gke-tpu-{key}");
        (key, vec![value.to_owned()])
    };
    let placement = Placement {
        labels: vec![label("accelerator", kind), label("topology", topology)],
        ..Placement::anywhere(TPU, *chips)
    };
    (placement, None)
}

/// The placement for the wanted accelerators, and a warning for the user if any of them will do.
pub fn place(nodes: &[Node], wanted: &Accelerators) -> (Placement, Option<String>) {
    let Some(name) = &wanted.name else {
        return (Placement::anywhere(resource(nodes), wanted.count), None);
    };
    let upper = name.to_uppercase();
    if upper.starts_with("TPU-") {
        return place_tpu(name, wanted.count);
    }
    let other = OTHERS.iter().find(|(start, _)| upper.starts_with(start));
    let resource = other.map_or_else(|| resource(nodes), |other| other.1);
    let anywhere = Placement::anywhere(resource, wanted.count);
    // No label that is known here is on nodes with these, and the resource alone selects them.
    if other.is_some_and(|other| other.1 != AMD) {
        return (anywhere, None);
    }
    let scheme = SCHEMES
        .iter()
        .find(|(key, _)| nodes.iter().any(|node| label(node, key).is_some()));
    let Some((key, canonical)) = scheme else {
        let warning = format!(
            "resources.accelerators: no node says what GPUs it has, so any GPU ({resource}) will do for {name:?}"
        );
        return (anywhere, Some(warning));
    };
    let all: BTreeSet<&str> = nodes.iter().filter_map(|node| label(node, key)).collect();
    let values: Vec<String> = all
        .iter()
        .filter(|value| is_same(name, &canonical(value)))
        .map(|value| (*value).to_owned())
        .collect();
    if values.is_empty() {
        let known: Vec<String> = all.iter().map(|value| canonical(value)).collect();
        let warning = format!(
            "resources.accelerators: no node has {name:?} now, only {}, so any GPU ({resource}) will do",
            known.join(", ")
        );
        return (anywhere, Some(warning));
    }
    let labels = vec![(key.to_string(), values)];
    (Placement { labels, ..anywhere }, None)
}

/// The type of the GPUs of a node, if a label says it.
pub fn type_of(node: &Node) -> Option<String> {
    let mut schemes = SCHEMES.iter();
    schemes.find_map(|(key, canonical)| Some(canonical(label(node, key)?)))
}

/// Whether a wanted name means a GPU type. Case does not matter, and `H200` means every `H200-...`.
fn is_same(wanted: &str, canonical: &str) -> bool {
    let wanted = wanted.to_uppercase();
    match canonical.strip_prefix(&wanted) {
        // The A100 with 80 GB has a name of its own.
        Some("-80GB") => wanted != "A100",
        Some(rest) => rest.is_empty() || rest.starts_with('-'),
        None => false,
    }
}

/// The GPU resource of the cluster: AMD's if nodes have only that one, else NVIDIA's.
fn resource(nodes: &[Node]) -> &'static str {
    let has = |resource: &str| {
        nodes.iter().any(|node| {
            let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
            allocatable.is_some_and(|all| all.get(resource).is_some_and(|count| count.0 != "0"))
        })
    };
    if has(AMD) && !has(NVIDIA) {
        AMD
    } else {
        NVIDIA
    }
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let value = node.metadata.labels.as_ref()?.get(key)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
