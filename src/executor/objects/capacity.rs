//! What the nodes of the cluster have, and what their pods leave free. Pure.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use k8s_openapi::{
    api::core::v1::{Node, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use super::gpus;
use crate::{
    api::{Amounts, ClusterNode, format_size},
    k8s::quantity,
};

type Quantities = BTreeMap<String, Quantity>;

/// The nodes by name. `pods` are those of all namespaces; none if the server may not see them.
pub fn nodes(nodes: &[Node], pods: Option<&[Pod]>) -> Vec<ClusterNode> {
    let mut used: HashMap<&str, Amounts> = HashMap::new();
    for spec in pods.into_iter().flatten().filter_map(unfinished) {
        if let Some(name) = &spec.node_name {
            let used = used.entry(name).or_default();
            *used = plus(*used, requests(spec));
        }
    }
    let mut nodes: Vec<_> = nodes
        .iter()
        .map(|node| {
            let name = node.metadata.name.clone().unwrap_or_default();
            let status = node.status.as_ref();
            let allocatable = status.and_then(|status| status.allocatable.as_ref());
            let total = allocatable.map_or_else(Amounts::default, amounts);
            let used = used.get(name.as_str()).copied().unwrap_or_default();
            let ready = is_ready(node);
            ClusterNode {
                ready,
                total,
                // What no new pod can get is not free.
                free: pods.map(|_| match ready {
                    true => minus(total, used),
                    false => Amounts::default(),
                }),
                gpu_type: gpus::type_of(node).filter(|_| total.gpus > 0),
                name,
            }
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// Whether a node takes new pods.
fn is_ready(node: &Node) -> bool {
    let is_closed = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let conditions = node.status.as_ref().and_then(|it| it.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    !is_closed
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The spec of a pod that still takes room on its node.
fn unfinished(pod: &Pod) -> Option<&PodSpec> {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    pod.spec
        .as_ref()
        .filter(|_| !matches!(phase, Some("Succeeded" | "Failed")))
}

/// What a pod asks for: its containers together, or its largest init container if that is more.
pub fn requests(spec: &PodSpec) -> Amounts {
    let asked = |resources: Option<&k8s_openapi::api::core::v1::ResourceRequirements>| {
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        requests.map_or_else(Amounts::default, amounts)
    };
    let containers = spec.containers.iter();
    let sum = containers
        .map(|container| asked(container.resources.as_ref()))
        .fold(Amounts::default(), plus);
    let init = spec.init_containers.iter().flatten();
    let most = init
        .map(|container| asked(container.resources.as_ref()))
        .fold(sum, |a, b| Amounts {
            cpus: a.cpus.max(b.cpus),
            memory: a.memory.max(b.memory),
            gpus: a.gpus.max(b.gpus),
        });
    plus(
        most,
        spec.overhead
            .as_ref()
            .map_or_else(Amounts::default, amounts),
    )
}

/// What a node of a task asks for that no cluster node has: `needs 64 CPUs a node; the largest node has 32, 14 of them free`. None if
/// there is a node with enough of each.
pub fn shortage(asked: Amounts, nodes: &[ClusterNode]) -> Option<String> {
    let ready = || nodes.iter().filter(|node| node.ready);
    let number = |amount: f64| amount.to_string();
    let size = |amount: f64| format_size(amount as u64);
    type Part = fn(&Amounts) -> f64;
    type Show = fn(f64) -> String;
    // The words for one and for several, and for what is free of them.
    let kinds: [([&str; 3], Part, Show); 3] = [
        (["CPU", "CPUs", "of them"], |amounts| amounts.cpus, number),
        (
            ["of memory", "of memory", "of it"],
            |amounts| amounts.memory as f64,
            size,
        ),
        (
            ["GPU", "GPUs", "of them"],
            |amounts| amounts.gpus as f64,
            number,
        ),
    ];
    let lacking = kinds
        .into_iter()
        .filter_map(|([one, several, of_them], of, show)| {
            let asked = of(&asked);
            let what = if asked == 1.0 { one } else { several };
            let has_enough = |node: &ClusterNode| of(&node.free.unwrap_or(node.total)) >= asked;
            if asked == 0.0 || ready().any(has_enough) {
                return None;
            }
            let largest = ready().max_by(|a, b| {
                let key =
                    |node: &ClusterNode| (of(&node.total), node.free.map_or(0.0, |free| of(&free)));
                key(a).partial_cmp(&key(b)).unwrap_or(Ordering::Equal)
            });
            let needs = format!("needs {} {what} a node", show(asked));
            let Some(largest) = largest else {
                return Some(format!("{needs}; no node is ready"));
            };
            let has = format!("{needs}; the largest node has {}", show(of(&largest.total)));
            Some(match largest.free {
                Some(free) => format!("{has}, {} {of_them} free", show(of(&free))),
                None => has,
            })
        });
    let lacking: Vec<_> = lacking.collect();
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

fn amounts(quantities: &Quantities) -> Amounts {
    let nanos = |name: &str| {
        let quantity = quantities.get(name)?;
        Some(quantity::Quantity::parse(&quantity.0)?.nanos())
    };
    let whole = |name: &str| {
        let whole = nanos(name).unwrap_or(0) / 1_000_000_000;
        u64::try_from(whole).unwrap_or(0)
    };
    let millis = nanos("cpu").unwrap_or(0) / 1_000_000;
    Amounts {
        cpus: u32::try_from(millis).map_or(0.0, f64::from) / 1000.0,
        memory: whole("memory"),
        gpus: gpus::RESOURCES.iter().map(|name| whole(name)).sum(),
    }
}

fn plus(a: Amounts, b: Amounts) -> Amounts {
    Amounts {
        cpus: a.cpus + b.cpus,
        memory: a.memory + b.memory,
        gpus: a.gpus + b.gpus,
    }
}

fn minus(a: Amounts, b: Amounts) -> Amounts {
    // Thousandths, so that no sum of fractions is shown as 1.9999.
    let cpus = ((a.cpus - b.cpus).max(0.0) * 1000.0).round() / 1000.0;
    Amounts {
        cpus,
        memory: a.memory.saturating_sub(b.memory),
        gpus: a.gpus.saturating_sub(b.gpus),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::api::{GpuType, NodeListResponse};

    fn node(name: &str, gpus: u32, product: Option<&str>, is_ready: bool) -> Node {
        let labels: Value = match product {
            Some(product) => json!({"nvidia.com/gpu.product": product}),
            None => json!({}),
        };
        let status = if is_ready { "True" } else { "False" };
        from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "status": {
                "allocatable": {"cpu": "31500m", "memory": "64Gi", "nvidia.com/gpu": gpus.to_string()},
                "conditions": [{"type": "Ready", "status": status}],
            },
        }))
        .unwrap()
    }

    fn pod(node: Option<&str>, phase: &str, gpus: &str) -> Pod {
        let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": "1Gi", "nvidia.com/gpu": gpus}}, "name": "c"});
        from_value(json!({
            "metadata": {},
            "spec": {"nodeName": node, "containers": [asks("500m"), asks("1")], "initContainers": [asks("4")]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn a_shortage_names_what_is_asked_for_and_what_there_is() {
        let pods = [pod(Some("b"), "Running", "2")];
        let cluster = nodes(&[node("b", 8, None, true)], Some(&pods));
        let of = |cpus: f64, gpus: u64| {
            let memory = 1 << 30;
            let asked = Amounts { cpus, memory, gpus };
            shortage(asked, &cluster).unwrap_or_default()
        };
        assert_eq!(of(1.0, 1), "");
        assert_eq!(
            of(64.0, 8),
            "needs 64 CPUs a node; the largest node has 31.5, 27.5 of them free; \
             needs 8 GPUs a node; the largest node has 8, 4 of them free"
        );
        let without = nodes(&[node("b", 0, None, true)], Some(&pods));
        let asked = Amounts {
            memory: 1 << 50,
            gpus: 1,
            ..Amounts::default()
        };
        let said = shortage(asked, &without).unwrap();
        assert!(
            said.starts_with("needs 1024 TiB of memory a node; "),
            "{said}"
        );
        assert!(said.contains(" of it free; needs 1 GPU a node; "), "{said}");
        assert!(
            said.ends_with("; the largest node has 0, 0 of them free"),
            "{said}"
        );
        let closed = nodes(&[node("b", 8, None, false)], None);
        let asked = Amounts {
            cpus: 0.5,
            ..Amounts::default()
        };
        let said = shortage(asked, &closed);
        assert_eq!(
            said.as_deref(),
            Some("needs 0.5 CPUs a node; no node is ready")
        );
    }

    #[test]
    fn what_unfinished_pods_ask_for_is_not_free() {
        let cluster = [
            node("b", 8, Some("NVIDIA-H100-80GB-HBM3"), true),
            node("a", 0, Some("NVIDIA-H100-80GB-HBM3"), false),
            node("c", 4, None, true),
        ];
        let pods = [
            pod(Some("b"), "Running", "2"),
            pod(Some("b"), "Succeeded", "2"),
            pod(None, "Pending", "2"),
        ];
        let all = nodes(&cluster, Some(&pods));
        let names: Vec<_> = all.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(!all[0].ready && all[0].gpu_type.is_none());
        assert_eq!(all[0].free, Some(Amounts::default()));
        let free = all[1].free.unwrap();
        assert_eq!((free.cpus, free.gpus), (27.5, 4));
        assert_eq!(free.memory, 62 * 1024 * 1024 * 1024);
        let answer = NodeListResponse::new(all);
        let gpu = |name: Option<&str>, total, free| GpuType {
            name: name.map(str::to_owned),
            total,
            free,
        };
        assert_eq!(
            answer.gpus,
            [
                gpu(None, 4, Some(4)),
                gpu(Some("H100-80GB-HBM3"), 8, Some(4))
            ]
        );
        // Without the pods of other namespaces nobody knows.
        let unknown = NodeListResponse::new(nodes(&cluster, None));
        assert!(unknown.nodes.iter().all(|node| node.free.is_none()));
        assert_eq!(unknown.gpus[0], gpu(None, 4, None));
    }
}
