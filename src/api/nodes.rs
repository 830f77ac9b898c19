//! `GET /nodes`: what the machines of the cluster have, and what of it is free.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /nodes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeListResponse {
    pub nodes: Vec<ClusterNode>,
    /// The GPUs of all nodes together, by type.
    pub gpus: Vec<GpuType>,
}

/// A machine of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterNode {
    pub name: String,
    /// Whether it takes new pods.
    pub ready: bool,
    pub total: Amounts,
    /// Null if the server may not see the pods of other namespaces.
    #[schema(required)]
    pub free: Option<Amounts>,
    /// The type of its GPUs, if it says so.
    #[schema(required)]
    pub gpu_type: Option<String>,
}

/// Amounts of what pods ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Amounts {
    pub cpus: f64,
    /// In bytes.
    pub memory: u64,
    pub gpus: u64,
}

/// The GPUs of one type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GpuType {
    /// Null if their nodes do not say it.
    #[serde(rename = "type")]
    #[schema(required)]
    pub name: Option<String>,
    pub total: u64,
    #[schema(required)]
    pub free: Option<u64>,
}

impl NodeListResponse {
    /// The answer about these nodes.
    pub fn new(nodes: Vec<ClusterNode>) -> Self {
        let mut gpus: Vec<GpuType> = Vec::new();
        for node in nodes.iter().filter(|node| node.total.gpus > 0) {
            let free = node.free.map(|free| free.gpus);
            match gpus.iter_mut().find(|known| known.name == node.gpu_type) {
                Some(known) => {
                    known.total += node.total.gpus;
                    known.free = known.free.zip(free).map(|(known, free)| known + free);
                }
                None => gpus.push(GpuType {
                    name: node.gpu_type.clone(),
                    total: node.total.gpus,
                    free,
                }),
            }
        }
        gpus.sort_by(|a, b| a.name.cmp(&b.name));
        Self { nodes, gpus }
    }
}
