//! The controller of claims (`PersistentVolumeClaim`): binds them, and protects those that a pod uses.
//!
//! The data of a claim is a directory, which is removed with the claim. The kubelet mounts it. The controller follows Kubernetes,
//! `pkg/controller/volume/persistentvolume` and `pvcprotection`, v1.36.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use serde_json::json;

use crate::sandbox::{
    objects::{
        defaults::STORAGE_CLASS,
        deletion,
        events::{Component, Recorder},
        object::{Object, elements, text},
        registry::Registry,
        resource::Kind,
        selection::Selection,
        store::Change,
    },
    state_dir::claim_directory,
};

const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// The queue of claims.
pub struct Claims {
    registry: Arc<Registry>,
    recorder: Recorder,
    directory: PathBuf,
    /// Namespace and name.
    queue: BTreeSet<(String, String)>,
}

impl Claims {
    pub fn new(registry: Arc<Registry>, directory: PathBuf) -> Self {
        Self {
            recorder: Recorder::new(registry.clone(), Component::VolumeController),
            registry,
            directory,
            queue: BTreeSet::new(),
        }
    }

    /// Queues a claim that has changed, or whose pod has ended.
    pub fn observe(&mut self, change: &Change) {
        let object = &change.object;
        match object.kind {
            Kind::Claim if change.deleted => {
                let (name, options) = (volume_name(object), deletion::Options::default());
                drop(deletion::delete(
                    &self.registry,
                    Kind::Volume,
                    "",
                    &name,
                    &options,
                ));
                let data = claim_directory(&self.directory, &object.uid);
                if let Err(error) = fs::remove_dir_all(&data)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    log::warn!("claim {}: its data stays: {error}", object.name());
                }
            }
            Kind::Claim => drop(self.queue.insert((*object.key).clone())),
            Kind::Pod => {
                let phase = object.field("status.phase").unwrap_or_default();
                if change.deleted || matches!(phase, "Succeeded" | "Failed") {
                    let spec = object.value()["spec"].take();
                    let names = elements(&spec["volumes"]).iter();
                    let names = names
                        .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
                    self.queue
                        .extend(names.map(|name| (object.namespace().to_owned(), name.to_owned())));
                }
            }
            _ => (),
        }
    }

    pub fn sync(&mut self) {
        for (namespace, name) in std::mem::take(&mut self.queue) {
            let found = self.registry.store().get(Kind::Claim, &namespace, &name);
            let Some(claim) = found else { continue };
            let value = claim.value();
            if !value["metadata"]["deletionTimestamp"].is_null() {
                if !self.is_used(&claim) {
                    deletion::remove_finalizer(&self.registry, &claim, PROTECTION);
                }
            } else if text(&value["status"]["phase"]) == "Pending" {
                self.provision(&claim, text(&value["spec"]["storageClassName"]));
            }
        }
    }

    fn provision(&self, claim: &Object, class: &str) {
        if !class.is_empty() && class != STORAGE_CLASS {
            let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
            return self.fail(claim, &message);
        }
        let data = claim_directory(&self.directory, &claim.uid);
        if let Err(error) = fs::create_dir_all(&data) {
            let message = format!("failed to make the directory of the claim: {error}");
            return self.fail(claim, &message);
        }
        let spec = claim.value()["spec"].take();
        let volume = json!({
            "metadata": {
                "name": volume_name(claim), "annotations": { "pv.kubernetes.io/provisioned-by": "k8s-cli/sandbox" },
            },
            "spec": {
                "accessModes": spec["accessModes"], "capacity": { "storage": spec["resources"]["requests"]["storage"] },
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(),
                    "name": claim.name(), "uid": claim.uid,
                },
                "hostPath": { "path": data, "type": "" }, "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": spec["storageClassName"], "volumeMode": spec["volumeMode"],
            },
            "status": { "phase": "Bound" },
        });
        if let Err(status) = self.registry.create(Kind::Volume, "", volume, false) {
            log::debug!("claim {}: {status}", claim.name());
        }
        self.registry.edit(claim, |value| {
            value["spec"]["volumeName"] = json!(volume_name(claim));
            if value["metadata"]["annotations"].is_null() {
                value["metadata"]["annotations"] = json!({});
            }
            let annotations = &mut value["metadata"]["annotations"];
            annotations["pv.kubernetes.io/bind-completed"] = json!("yes");
            annotations["pv.kubernetes.io/bound-by-controller"] = json!("yes");
            value["status"] = json!({
                "phase": "Bound", "accessModes": value["spec"]["accessModes"],
                "capacity": { "storage": value["spec"]["resources"]["requests"]["storage"] },
            });
        });
    }

    fn fail(&self, claim: &Object, message: &str) {
        self.recorder.warn(claim, "ProvisioningFailed", message);
    }

    /// Whether a pod that has not ended mounts the claim.
    fn is_used(&self, claim: &Object) -> bool {
        let selection = Selection::in_namespace(claim.namespace());
        let pods = self.registry.store().list(Kind::Pod, &selection);
        pods.iter().any(|pod| {
            let phase = pod.field("status.phase").unwrap_or_default();
            let placed = pod
                .field("spec.nodeName")
                .is_some_and(|node| !node.is_empty());
            placed
                && !matches!(phase, "Succeeded" | "Failed")
                && elements(&pod.value()["spec"]["volumes"])
                    .iter()
                    .any(|volume| {
                        text(&volume["persistentVolumeClaim"]["claimName"]) == claim.name()
                    })
        })
    }
}

/// The name of the volume that a claim gets.
fn volume_name(claim: &Object) -> String {
    format!("pvc-{}", claim.uid)
}
