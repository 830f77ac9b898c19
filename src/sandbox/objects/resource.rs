//! The table of kinds, with one row for each kind of object.
//!
//! Code that is the same for all kinds (paths, verbs, lists, watches, discovery) reads this table, so a new kind is a new row.
//! Defaults, validation and columns of a kind are in the files with these names.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{
            ConfigMap, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
            Secret, Service, ServiceAccount,
        },
        storage::v1::StorageClass,
    },
    schemars::{JsonSchema, Schema, SchemaGenerator},
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
    Volume,
}

/// A row of the table.
pub struct Resource {
    pub id: Kind,
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    /// The kind. In lower case it is also the name of one object.
    pub kind: &'static str,
    pub short_names: &'static [&'static str],
    pub namespaced: bool,
    pub has_status: bool,
    /// The fields of field selectors: the name and the JSON pointer.
    pub selectable: &'static [(&'static str, &'static str)],
    /// Decodes an object and encodes it again, which checks types and drops unknown fields, as a real server does.
    pub normalize: fn(Value) -> serde_json::Result<Value>,
    /// Adds the schema of the kind to the definitions of a document, and returns a reference to it.
    pub describe: fn(&mut SchemaGenerator) -> Schema,
}

const NAME: (&str, &str) = ("metadata.name", "/metadata/name");
const NAMESPACE: (&str, &str) = ("metadata.namespace", "/metadata/namespace");
const PLAIN: &[(&str, &str)] = &[NAME, NAMESPACE];

/// All kinds, in the order of [`Kind`].
pub static RESOURCES: [Resource; 12] = [
    Resource {
        group: "batch",
        has_status: true,
        selectable: &[NAME, NAMESPACE, ("status.successful", "/status/succeeded")],
        ..row::<Job>(Kind::Job, "jobs", "Job", &[])
    },
    Resource {
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
        ..row::<Pod>(Kind::Pod, "pods", "Pod", &["po"])
    },
    Resource {
        has_status: true,
        ..row::<PersistentVolumeClaim>(
            Kind::Claim,
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            &["pvc"],
        )
    },
    Resource {
        has_status: true,
        ..row::<Service>(Kind::Service, "services", "Service", &["svc"])
    },
    Resource {
        selectable: &[NAME, NAMESPACE, ("type", "/type")],
        ..row::<Secret>(Kind::Secret, "secrets", "Secret", &[])
    },
    row::<ConfigMap>(Kind::ConfigMap, "configmaps", "ConfigMap", &["cm"]),
    Resource {
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
        ..row::<Event>(Kind::Event, "events", "Event", &["ev"])
    },
    Resource {
        namespaced: false,
        has_status: true,
        selectable: &[NAME, ("status.phase", "/status/phase")],
        ..row::<Namespace>(Kind::Namespace, "namespaces", "Namespace", &["ns"])
    },
    Resource {
        namespaced: false,
        has_status: true,
        selectable: &[NAME],
        ..row::<Node>(Kind::Node, "nodes", "Node", &["no"])
    },
    row::<ServiceAccount>(
        Kind::ServiceAccount,
        "serviceaccounts",
        "ServiceAccount",
        &["sa"],
    ),
    Resource {
        group: "storage.k8s.io",
        namespaced: false,
        selectable: &[NAME],
        ..row::<StorageClass>(
            Kind::StorageClass,
            "storageclasses",
            "StorageClass",
            &["sc"],
        )
    },
    Resource {
        namespaced: false,
        has_status: true,
        selectable: &[NAME],
        ..row::<PersistentVolume>(
            Kind::Volume,
            "persistentvolumes",
            "PersistentVolume",
            &["pv"],
        )
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

/// A row of the core group, for a kind with namespaces.
const fn row<T: Serialize + DeserializeOwned + JsonSchema>(
    id: Kind,
    plural: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
) -> Resource {
    Resource {
        id,
        group: "",
        version: "v1",
        plural,
        kind,
        short_names,
        namespaced: true,
        has_status: false,
        selectable: PLAIN,
        normalize: through::<T>,
        describe: SchemaGenerator::subschema_for::<T>,
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
