use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::NodeStatus,
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::*;

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
        assert_eq!(placement.label, label, "{name} {value}");
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
    assert_eq!(placement.label, None);
    assert_eq!(
        warning.unwrap(),
        "resources.accelerators: no node has \"L4\" now, only T4, so any GPU will do"
    );
}

#[test]
fn nodes_without_labels_match_any_gpu() {
    let (placement, warning) = place(&[node(("a", "b"), AMD)], &wanted("MI300"));
    assert_eq!((placement.resource, placement.label), (AMD, None));
    assert!(warning.unwrap().contains("no node says"));
    let count = Accelerators {
        name: None,
        count: 2,
    };
    assert_eq!(place(&[], &count), (Placement::default(), None));
}
