use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::NodeStatus,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use serde_json::json;

use super::*;
use crate::api::TaskDefinition;

fn node(label: (&str, &str), resource: &str) -> Node {
    let text = |text: &str| text.to_owned();
    Node {
        metadata: ObjectMeta {
            labels: Some(BTreeMap::from([(text(label.0), text(label.1))])),
            ..ObjectMeta::default()
        },
        status: Some(NodeStatus {
            allocatable: Some(BTreeMap::from([(text(resource), Quantity(text("8")))])),
            ..NodeStatus::default()
        }),
        ..Node::default()
    }
}

fn wanted(name: &str) -> Accelerators {
    Accelerators {
        name: Some(name.to_owned()),
        count: 1,
    }
}

#[test]
fn gpu_types_are_found_by_each_label_key() {
    for (name, key, value, is_it) in [
        ("H100", "skypilot.co/accelerator", "h100", true),
        ("h100", "skypilot.co/accelerator", "h100", true),
        ("H200", "skypilot.co/accelerator", "h200-sxm-80gb", true),
        ("H20", "skypilot.co/accelerator", "h200", false),
        (
            "T4",
            "cloud.google.com/gke-accelerator",
            "nvidia-tesla-t4",
            true,
        ),
        ("L4", "cloud.google.com/gke-accelerator", "nvidia-l4", true),
        (
            "H100",
            "cloud.google.com/gke-accelerator",
            "nvidia-h100-80gb",
            true,
        ),
        (
            "A100",
            "cloud.google.com/gke-accelerator",
            "nvidia-a100-80gb",
            false,
        ),
        (
            "A100-80GB",
            "cloud.google.com/gke-accelerator",
            "nvidia-a100-80gb",
            true,
        ),
        ("A10G", "karpenter.k8s.aws/instance-gpu-name", "a10g", true),
        ("A10", "karpenter.k8s.aws/instance-gpu-name", "a10g", false),
        (
            "A100-80GB",
            "nvidia.com/gpu.product",
            "NVIDIA-A100-SXM4-80GB",
            true,
        ),
        (
            "A100",
            "nvidia.com/gpu.product",
            "NVIDIA-A100-SXM4-80GB",
            false,
        ),
        (
            "A100",
            "nvidia.com/gpu.product",
            "NVIDIA-A100-SXM4-40GB",
            true,
        ),
        (
            "V100",
            "nvidia.com/gpu.product",
            "Tesla-V100-SXM2-16GB",
            true,
        ),
        (
            "RTX3090",
            "nvidia.com/gpu.product",
            "NVIDIA-GeForce-RTX-3090",
            true,
        ),
        ("H100", "gpu.nvidia.com/class", "H100_NVLINK_80GB", true),
        ("H200", "nebius.com/gpu-name", "H200", true),
    ] {
        let (placement, warning) = place(&[node((key, value), NVIDIA)], &wanted(name));
        let label = is_it.then(|| (key.to_owned(), vec![value.to_owned()]));
        assert_eq!(placement.labels, Vec::from_iter(label), "{name} {value}");
        assert_eq!(warning.is_none(), is_it, "{name} {value}");
    }
}

#[test]
fn the_first_label_key_is_that_of_the_whole_cluster() {
    let nodes = [
        node(("nvidia.com/gpu.product", "NVIDIA-L4"), NVIDIA),
        node(("skypilot.co/accelerator", "t4"), NVIDIA),
    ];
    let (placement, warning) = place(&nodes, &wanted("L4"));
    assert_eq!(placement.labels, []);
    assert_eq!(
        warning.unwrap(),
        "resources.accelerators: no node has \"L4\" now, only T4, so any GPU (nvidia.com/gpu) will do"
    );
}

#[test]
fn nodes_without_labels_match_any_gpu() {
    let (placement, warning) = place(&[node(("a", "b"), AMD)], &wanted("MI300"));
    assert_eq!(
        (placement.resource, placement.labels),
        (Some((AMD, 1)), vec![])
    );
    assert!(warning.unwrap().contains("no node says"));
    let count = Accelerators {
        name: None,
        count: 2,
    };
    let (placement, warning) = place(&[], &count);
    assert_eq!((placement.resource, warning), (Some((NVIDIA, 2)), None));
}

#[test]
fn other_accelerators_have_resources_of_their_own() {
    for (name, count, expected, labels) in [
        ("MI300X", 8, (AMD, 8), vec![]),
        ("Trainium", 16, (NEURON, 16), vec![]),
        ("Inferentia2", 1, (NEURON, 1), vec![]),
        (
            "tpu-v6e-8",
            1,
            (TPU, 8),
            vec![("accelerator", "tpu-v6e-slice"), ("topology", "2x4")],
        ),
        (
            "tpu-v5p-8",
            1,
            (TPU, 4),
            vec![("accelerator", "tpu-v5p-slice"), ("topology", "2x2x1")],
        ),
        ("tpu-v4-512", 1, (TPU, 1), vec![]),
    ] {
        let name = Some(name.to_owned());
        let (placement, warning) = place(
            &[],
            &Accelerators {
                name: name.clone(),
                count,
            },
        );
        assert_eq!(placement.resource, Some(expected), "{name:?}");
        let labels: Vec<_> = labels
            .into_iter()
            .map(|(key, value)| {
                (
                    format!("cloud.google.com/gke-tpu-{key}"),
                    vec![value.to_owned()],
                )
            })
            .collect();
        assert_eq!(placement.labels, labels, "{name:?}");
        let is_unknown = name.as_deref() == Some("tpu-v4-512");
        let says_tpu = warning.is_some_and(|warning| warning.contains("1 of google.com/tpu"));
        assert_eq!(says_tpu, is_unknown, "{name:?}");
    }
}

#[test]
fn the_first_alternative_that_the_nodes_have_is_chosen() {
    let key = "nvidia.com/gpu.product";
    let nodes = ["NVIDIA-L4", "NVIDIA-T4"].map(|value| node((key, value), NVIDIA));
    for (resources, chosen, values, is_warned) in [
        (
            json!({"accelerators": ["A100:1", "L4:1", "T4:1"]}),
            "L4:1",
            vec!["NVIDIA-L4"],
            false,
        ),
        (
            json!({"accelerators": {"A100": 1, "L4": 1, "T4": 1}}),
            "L4:1",
            vec!["NVIDIA-L4", "NVIDIA-T4"],
            false,
        ),
        (
            json!({"accelerators": {"L4": 1, "T4": 2}}),
            "L4:1",
            vec!["NVIDIA-L4"],
            false,
        ),
        (
            json!({"any_of": [{"accelerators": "A100", "cpus": 8}, {"accelerators": "T4:2"}]}),
            "T4:2",
            vec!["NVIDIA-T4"],
            false,
        ),
        (
            json!({"any_of": [{"infra": "aws", "accelerators": "L4"}, {"accelerators": "T4"}]}),
            "T4:1",
            vec!["NVIDIA-T4"],
            false,
        ),
        (
            json!({"ordered": [{"accelerators": "A100"}, {"accelerators": "H100"}]}),
            "A100:1",
            vec![],
            true,
        ),
        (
            json!({"accelerators": "T4"}),
            "T4:1",
            vec!["NVIDIA-T4"],
            false,
        ),
    ] {
        let task = json!({"resources": resources, "run": "true"});
        let mut task = TaskDefinition::from_json(&task).unwrap();
        let (placement, warning) = choose(&nodes, &mut task.resources);
        assert_eq!(
            task.resources.accelerators.unwrap().to_string(),
            chosen,
            "{resources}"
        );
        let found: Vec<_> = placement
            .labels
            .into_iter()
            .flat_map(|label| label.1)
            .collect();
        assert_eq!(found, values, "{resources}");
        assert_eq!(warning.is_some(), is_warned, "{resources}");
        assert_eq!(task.resources.cpus, None, "{resources}");
    }
}
