//! The only node: its name, its capacity, and the node selectors that it meets.
//!
//! Pure. The scheduler knows how much of the capacity is free.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::{elements, string_map, text};
use crate::k8s::{
    quantity::Quantity,
    selector::{Requirement, Test, matches_labels},
};

/// The name of the only node.
pub const NODE: &str = "sandbox";

/// The capacity of the node, in the order in which a shortage is reported.
pub const CAPACITY: [(&str, &str); 3] = [("pods", "10000"), ("cpu", "64"), ("memory", "256Gi")];

/// Amounts by name, in billionths.
pub type Amounts = BTreeMap<String, i128>;

/// The capacity of the node for one resource, in billionths.
pub fn capacity(name: &str) -> i128 {
    let row = CAPACITY.iter().find(|(known, _)| *known == name);
    row.and_then(|(_, amount)| Quantity::parse(amount))
        .map_or(0, Quantity::nanos)
}

/// The sum of the requests of a pod's containers.
pub fn requests(spec: &Value) -> Amounts {
    let mut sum = Amounts::from([("pods".to_owned(), 1_000_000_000)]);
    for container in elements(&spec["containers"]) {
        for (name, amount) in container["resources"]["requests"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let amount = Quantity::parse(text(amount)).map_or(0, Quantity::nanos);
            if name != "ephemeral-storage" {
                *sum.entry(name.clone()).or_default() += amount;
            }
        }
    }
    sum
}

/// The labels of the node.
pub fn node_labels() -> BTreeMap<String, String> {
    let pairs = [
        ("kubernetes.io/hostname", NODE),
        ("kubernetes.io/os", "linux"),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Whether the node meets the pod's node selector and required node affinity.
pub fn fits_node(spec: &Value) -> bool {
    let labels = node_labels();
    let selector = string_map(&spec["nodeSelector"]);
    if !selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
    {
        return false;
    }
    let required =
        &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = elements(&required["nodeSelectorTerms"]);
    terms.is_empty()
        || terms
            .iter()
            .any(|term| matches_labels(&affinity_requirements(term), &labels))
}

/// The taints of the node that a pod does not tolerate, of the effects that keep it away.
pub fn untolerated<'a>(spec: &'a Value, node: &'a Value) -> impl Iterator<Item = &'a Value> {
    let taints = elements(&node["spec"]["taints"]).iter();
    taints.filter(|taint| taint["effect"] != "PreferNoSchedule" && !tolerates(spec, taint))
}

/// Whether a pod tolerates a taint.
pub fn tolerates(spec: &Value, taint: &Value) -> bool {
    elements(&spec["tolerations"]).iter().any(|toleration| {
        let is_same = |field: &str| text(&toleration[field]) == text(&taint[field]);
        let any_key = text(&toleration["key"]).is_empty();
        (text(&toleration["effect"]).is_empty() || is_same("effect"))
            && (any_key || is_same("key"))
            && (toleration["operator"] == "Exists" || !any_key && is_same("value"))
    })
}

fn affinity_requirements(term: &Value) -> Vec<Requirement> {
    let requirement = |expression: &Value| {
        let values: Vec<String> = elements(&expression["values"])
            .iter()
            .map(|value| text(value).to_owned())
            .collect();
        let limit = || {
            values
                .first()
                .and_then(|value| value.parse().ok())
                .unwrap_or_default()
        };
        let test = match text(&expression["operator"]) {
            "In" => Test::In(values),
            "NotIn" => Test::NotIn(values),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::Absent,
            "Gt" => Test::Above(limit()),
            _ => Test::Below(limit()),
        };
        Requirement {
            key: text(&expression["key"]).to_owned(),
            test,
        }
    };
    elements(&term["matchExpressions"])
        .iter()
        .map(requirement)
        .collect()
}
