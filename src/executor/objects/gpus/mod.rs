//! The nodes that have the GPUs that a task wants. Clusters label their nodes in several ways; this module knows those that
//! SkyPilot knows (SkyPilot 0.14.1, `sky/provision/kubernetes/utils.py`). Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;

use crate::api::Accelerators;

const NVIDIA: &str = "nvidia.com/gpu";
const AMD: &str = "amd.com/gpu";

/// The GPUs that a pod asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The name of the GPU resource, such as `nvidia.com/gpu`.
    pub resource: &'static str,
    /// The key of a node label, and the values that a node may have.
    pub label: Option<(String, Vec<String>)>,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            resource: NVIDIA,
            label: None,
        }
    }
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

/// The placement for the wanted GPUs, and a warning for the user if any GPU will do.
pub fn place(nodes: &[Node], wanted: &Accelerators) -> (Placement, Option<String>) {
    let resource = resource(nodes);
    let anywhere = Placement {
        resource,
        label: None,
    };
    let Some(name) = &wanted.name else {
        return (anywhere, None);
    };
    let scheme = SCHEMES
        .iter()
        .find(|(key, _)| nodes.iter().any(|node| label(node, key).is_some()));
    let Some((key, canonical)) = scheme else {
        let warning = format!(
            "resources.accelerators: no node says what GPUs it has, so any GPU will do for {name:?}"
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
            "resources.accelerators: no node has {name:?} now, only {}, so any GPU will do",
            known.join(", ")
        );
        return (anywhere, Some(warning));
    }
    let label = Some((key.to_string(), values));
    (Placement { resource, label }, None)
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
