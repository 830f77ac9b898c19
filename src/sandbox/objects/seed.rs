//! The first objects of a cluster: namespaces, the node, the service accounts and the storage class.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde_json::{Map, Value, json};

use super::{
    clock,
    defaults::STORAGE_CLASS,
    node::{self, CAPACITY, NODE},
    registry::Registry,
    resource::{Kind, RESOURCES},
    status::Status,
};

/// Creates the first objects; `namespace` is one more namespace.
pub fn create(registry: &Registry, namespace: &str) -> Result<(), Status> {
    let mut namespaces = vec!["default", "kube-system"];
    if !namespaces.contains(&namespace) {
        namespaces.push(namespace);
    }
    for name in namespaces {
        let labels = json!({ "kubernetes.io/metadata.name": name });
        let value = json!({ "metadata": { "name": name, "labels": labels } });
        registry.create(Kind::Namespace, "", value, false)?;
    }
    registry.create(Kind::Node, "", node(), false)?;
    let class = json!({
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "k8s-cli/sandbox", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    });
    registry.create(Kind::StorageClass, "", class, false)?;
    Ok(())
}

/// Stores the objects of a file that has one object a line, each as a cluster lists it, with its status. They are neither
/// validated nor completed, so that a cluster with many objects starts within seconds.
///
/// # Errors
/// The file cannot be read, or a line is not an object of a known kind.
pub fn load(registry: &Registry, path: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
    let lines = BufReader::new(File::open(path).map_err(named)?).lines();
    for (index, line) in lines.enumerate() {
        let number = index + 1;
        let value: Value = serde_json::from_str(&line.map_err(named)?)
            .map_err(|error| named(io::Error::other(format!("line {number}: {error}"))))?;
        let resource = RESOURCES
            .iter()
            .find(|resource| value["kind"] == resource.kind);
        let Some(resource) = resource else {
            let message = format!("line {number}: {} is not a kind", value["kind"]);
            return Err(named(io::Error::other(message)));
        };
        registry.restore(resource.id, value);
    }
    Ok(())
}

fn node() -> Value {
    let capacity: Map<String, Value> = CAPACITY
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), json!(amount)))
        .collect();
    let now = clock::seconds(clock::now());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "metadata": { "name": NODE, "labels": node::node_labels() },
        "spec": {},
        "status": {
            "capacity": capacity, "allocatable": capacity,
            "addresses": [
                { "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": NODE },
            ],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "kubelet is posting ready status", "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
            "nodeInfo": {
                "architecture": std::env::consts::ARCH, "bootID": "", "containerRuntimeVersion": "sandbox://1",
                "kernelVersion": kernel.trim(), "kubeProxyVersion": "", "kubeletVersion": "v1.36.2+sandbox", "machineID": "",
                "operatingSystem": "linux", "osImage": "this machine", "systemUUID": "",
            },
        },
    })
}
