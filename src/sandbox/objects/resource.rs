//! The table of kinds, with one row for each kind of object.
//!
//! Code that is the same for all kinds (paths, verbs, lists, watches, discovery) reads this table, so a new kind is a new row.
//! Defaults, validation and columns of a kind are in the files with these names.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{
        ConfigMap, Event, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service,
        ServiceAccount,
    },
    storage::v1::StorageClass,
};

/// A kind of object; its number is that of its row in [`RESOURCES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Job,
    Pod,
    Claim,
    Service,
    Secret,
    ConfigMap,
    Event,
    Namespace,
    Node,
    ServiceAccount,
    StorageClass,
}

/// A row of the table.
pub struct Resource {
    pub id: Kind,
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub short_names: &'static [&'static str],
    pub namespaced: bool,
    pub has_status: bool,
    /// The fields of field selectors: the name and the JSON pointer.
    pub selectable: &'static [(&'static str, &'static str)],
    /// Decodes an object and encodes it again, which checks types and drops unknown fields, as a real server does.
    pub normalize: fn(Value) -> serde_json::Result<Value>,
}

const NAME: (&str, &str) = ("metadata.name", "/metadata/name");
const NAMESPACE: (&str, &str) = ("metadata.namespace", "/metadata/namespace");
const PLAIN: &[(&str, &str)] = &[NAME, NAMESPACE];

/// All kinds, in the order of [`Kind`].
pub static RESOURCES: [Resource; 11] = [
    Resource {
        id: Kind::Job,
        group: "batch",
        version: "v1",
        plural: "jobs",
        singular: "job",
        kind: "Job",
        short_names: &[],
        namespaced: true,
        has_status: true,
        selectable: &[NAME, NAMESPACE, ("status.successful", "/status/succeeded")],
        normalize: through::<Job>,
    },
    Resource {
        id: Kind::Pod,
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short_names: &["po"],
        has_status: true,
        selectable: &[
            NAME,
            NAMESPACE,
            ("spec.nodeName", "/spec/nodeName"),
            ("spec.restartPolicy", "/spec/restartPolicy"),
            ("spec.schedulerName", "/spec/schedulerName"),
            ("spec.serviceAccountName", "/spec/serviceAccountName"),
            ("status.phase", "/status/phase"),
            ("status.podIP", "/status/podIP"),
        ],
        ..core(through::<Pod>)
    },
    Resource {
        id: Kind::Claim,
        plural: "persistentvolumeclaims",
        singular: "persistentvolumeclaim",
        kind: "PersistentVolumeClaim",
        short_names: &["pvc"],
        has_status: true,
        ..core(through::<PersistentVolumeClaim>)
    },
    Resource {
        id: Kind::Service,
        plural: "services",
        singular: "service",
        kind: "Service",
        short_names: &["svc"],
        has_status: true,
        ..core(through::<Service>)
    },
    Resource {
        id: Kind::Secret,
        plural: "secrets",
        singular: "secret",
        kind: "Secret",
        selectable: &[NAME, NAMESPACE, ("type", "/type")],
        ..core(through::<Secret>)
    },
    Resource {
        id: Kind::ConfigMap,
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short_names: &["cm"],
        ..core(through::<ConfigMap>)
    },
    Resource {
        id: Kind::Event,
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        selectable: &[
            NAME,
            NAMESPACE,
            ("involvedObject.kind", "/involvedObject/kind"),
            ("involvedObject.namespace", "/involvedObject/namespace"),
            ("involvedObject.name", "/involvedObject/name"),
            ("involvedObject.uid", "/involvedObject/uid"),
            ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
            (
                "involvedObject.resourceVersion",
                "/involvedObject/resourceVersion",
            ),
            ("involvedObject.fieldPath", "/involvedObject/fieldPath"),
            ("reason", "/reason"),
            ("reportingComponent", "/reportingComponent"),
            ("source", "/source/component"),
            ("type", "/type"),
        ],
        ..core(through::<Event>)
    },
    Resource {
        id: Kind::Namespace,
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        short_names: &["ns"],
        namespaced: false,
        has_status: true,
        selectable: &[NAME, ("status.phase", "/status/phase")],
        ..core(through::<Namespace>)
    },
    Resource {
        id: Kind::Node,
        plural: "nodes",
        singular: "node",
        kind: "Node",
        short_names: &["no"],
        namespaced: false,
        has_status: true,
        selectable: &[NAME],
        ..core(through::<Node>)
    },
    Resource {
        id: Kind::ServiceAccount,
        plural: "serviceaccounts",
        singular: "serviceaccount",
        kind: "ServiceAccount",
        short_names: &["sa"],
        ..core(through::<ServiceAccount>)
    },
    Resource {
        id: Kind::StorageClass,
        group: "storage.k8s.io",
        version: "v1",
        plural: "storageclasses",
        singular: "storageclass",
        kind: "StorageClass",
        short_names: &["sc"],
        namespaced: false,
        has_status: false,
        selectable: &[NAME],
        normalize: through::<StorageClass>,
    },
];

impl Kind {
    pub fn resource(self) -> &'static Resource {
        &RESOURCES[self as usize]
    }
}

impl Resource {
    /// `group/version`, or only the version for the core group.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The name in most error messages: `jobs.batch`, `pods`.
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// The kind in messages about invalid objects: `Job.batch`, `Pod`.
    pub fn qualified_kind(&self) -> String {
        match self.group {
            "" => self.kind.to_owned(),
            group => format!("{}.{group}", self.kind),
        }
    }
}

/// The row of a path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| {
        resource.group == group && resource.version == version && resource.plural == plural
    })
}

const fn core(normalize: fn(Value) -> serde_json::Result<Value>) -> Resource {
    Resource {
        id: Kind::Pod,
        group: "",
        version: "v1",
        plural: "",
        singular: "",
        kind: "",
        short_names: &[],
        namespaced: true,
        has_status: false,
        selectable: PLAIN,
        normalize,
    }
}

fn through<T: Serialize + DeserializeOwned>(value: Value) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_kinds() {
        for (index, resource) in RESOURCES.iter().enumerate() {
            assert_eq!(resource.id as usize, index, "{}", resource.plural);
        }
    }
}
