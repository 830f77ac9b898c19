//! Tables: the form in which `kubectl get` asks for objects.
//!
//! Columns follow Kubernetes, `pkg/printers/internalversion/printers.go`, v1.36.

mod cells;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::objects::{clock, object::Object, registry::with_type, resource::Kind};

/// The table format that a client accepts. In a watch only the first event has the columns.
#[derive(Clone, Debug)]
pub struct Tables {
    api_version: &'static str,
    include: Include,
    first: bool,
}

/// The part of the object that each row contains.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Tables {
    /// Reads the `Accept` header; the result is none if the client wants plain objects.
    pub fn accepted(accept: &str, include: Option<&str>) -> Option<Self> {
        let wanted = accept
            .split(',')
            .next()
            .filter(|first| first.contains("as=Table"))?;
        let api_version = if wanted.contains("v=v1beta1") {
            "meta.k8s.io/v1beta1"
        } else {
            "meta.k8s.io/v1"
        };
        let include = match include {
            Some("None") => Include::Nothing,
            Some("Object") => Include::Object,
            _ => Include::Metadata,
        };
        Some(Self {
            api_version,
            include,
            first: true,
        })
    }

    /// Renders an event of a watch.
    pub fn event(&mut self, object: &Object) -> Value {
        let version = object.version.to_string();
        let mut table = self.list(object.kind, [object], json!({ "resourceVersion": version }));
        if !self.first {
            table["columnDefinitions"] = Value::Null;
        }
        self.first = false;
        table
    }

    /// Renders a list that has this `metadata`.
    pub fn list<'a>(
        &self,
        kind: Kind,
        objects: impl IntoIterator<Item = &'a Object>,
        metadata: Value,
    ) -> Value {
        let columns: Vec<Value> = columns(kind)
            .map(|(name, priority, _)| {
                let format = if name == "Name" { "name" } else { "" };
                json!({ "name": name, "type": "string", "format": format, "description": "", "priority": priority })
            })
            .collect();
        let now = clock::now();
        let rows: Vec<Value> = objects
            .into_iter()
            .map(|object| self.row(object, now))
            .collect();
        json!({
            "kind": "Table", "apiVersion": self.api_version, "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })
    }

    fn row(&self, object: &Object, now: Timestamp) -> Value {
        let value = object.value();
        let cells = columns(object.kind).map(|(.., source)| cells::render(source, &value, now));
        let mut row = json!({ "cells": cells.collect::<Vec<_>>() });
        match self.include {
            Include::Nothing => (),
            Include::Metadata => {
                row["object"] = json!({
                    "kind": "PartialObjectMetadata", "apiVersion": self.api_version, "metadata": value["metadata"],
                });
            }
            Include::Object => {
                row["object"] = with_type(object.kind.resource(), value);
            }
        }
        row
    }
}

/// The columns of a kind: name, priority and source. Only `kubectl -o wide` shows those of priority 1.
fn columns(kind: Kind) -> impl Iterator<Item = (&'static str, u8, &'static str)> {
    let columns = match kind {
        Kind::Job => {
            "Name=/metadata/name;Status=job status;Completions=completions;Duration=duration;Age=age;\
             +Containers=containers;+Images=images;+Selector=job selector"
        }
        Kind::Pod => {
            "Name=/metadata/name;Ready=ready;Status=pod status;Restarts=restarts;Age=age;+IP=/status/podIP?;\
             +Node=/spec/nodeName?;+Nominated Node=/status/nominatedNodeName?;+Readiness Gates=none"
        }
        Kind::Claim => {
            "Name=/metadata/name;Status=phase;Volume=/spec/volumeName;Capacity=/status/capacity/storage;\
             Access Modes=modes;StorageClass=/spec/storageClassName;Age=age;+VolumeMode=/spec/volumeMode"
        }
        Kind::Volume => {
            "Name=/metadata/name;Capacity=/spec/capacity/storage;Access Modes=volume modes;\
             Reclaim Policy=/spec/persistentVolumeReclaimPolicy;Status=phase;Claim=claim;\
             StorageClass=/spec/storageClassName;Reason=/status/reason;Age=age;+VolumeMode=/spec/volumeMode"
        }
        Kind::Event => {
            "Last Seen=seen;Type=/type;Reason=/reason;Object=object;+Subobject=/involvedObject/fieldPath;\
             +Source=source;Message=message;+First Seen=first seen;+Count=count;+Name=/metadata/name"
        }
        Kind::Service => {
            "Name=/metadata/name;Type=/spec/type;Cluster-IP=/spec/clusterIP?;External-IP=none;Port(s)=ports;\
             Age=age;+Selector=selector"
        }
        Kind::Node => {
            "Name=/metadata/name;Status=node status;Roles=none;Age=age;Version=/status/nodeInfo/kubeletVersion;\
             +Internal-IP=/status/addresses/0/address;+External-IP=none;+OS-Image=/status/nodeInfo/osImage;\
             +Kernel-Version=/status/nodeInfo/kernelVersion;\
             +Container-Runtime=/status/nodeInfo/containerRuntimeVersion"
        }
        Kind::Namespace => "Name=/metadata/name;Status=/status/phase;Age=age",
        Kind::Secret => "Name=/metadata/name;Type=/type;Data=data;Age=age",
        Kind::ConfigMap => "Name=/metadata/name;Data=data;Age=age",
        Kind::StorageClass => {
            "Name=class name;Provisioner=/provisioner;ReclaimPolicy=/reclaimPolicy;\
             VolumeBindingMode=/volumeBindingMode;AllowVolumeExpansion=expansion;Age=age"
        }
        Kind::ServiceAccount => "Name=/metadata/name;Age=age",
    };
    columns.split(';').filter_map(|column| {
        let (name, source) = column.split_once('=')?;
        let wide = name.strip_prefix('+');
        Some((wide.unwrap_or(name), u8::from(wide.is_some()), source))
    })
}
