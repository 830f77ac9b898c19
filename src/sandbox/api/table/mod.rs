//! Tables: the form in which `kubectl get` asks for objects.
//!
//! Columns follow Kubernetes, `pkg/printers/internalversion/printers.go`, v1.36.

mod cells;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::objects::{clock, object::Object, registry::with_type, resource::Kind};

/// Column name and the lowest `kubectl -o wide` level that shows it.
type Column = (&'static str, i64);

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
            .iter()
            .map(|(name, priority)| {
                let format = if *name == "Name" { "name" } else { "" };
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
        let mut row = json!({ "cells": cells::render(object.kind, &value, now) });
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

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Job => &[
            ("Name", 0),
            ("Status", 0),
            ("Completions", 0),
            ("Duration", 0),
            ("Age", 0),
            ("Containers", 1),
            ("Images", 1),
            ("Selector", 1),
        ],
        Kind::Pod => &[
            ("Name", 0),
            ("Ready", 0),
            ("Status", 0),
            ("Restarts", 0),
            ("Age", 0),
            ("IP", 1),
            ("Node", 1),
        ],
        Kind::Claim => &[
            ("Name", 0),
            ("Status", 0),
            ("Volume", 0),
            ("Capacity", 0),
            ("Access Modes", 0),
            ("StorageClass", 0),
            ("Age", 0),
            ("VolumeMode", 1),
        ],
        Kind::Event => &[
            ("Last Seen", 0),
            ("Type", 0),
            ("Reason", 0),
            ("Object", 0),
            ("Message", 0),
            ("Name", 1),
        ],
        Kind::Service => &[
            ("Name", 0),
            ("Type", 0),
            ("Cluster-IP", 0),
            ("External-IP", 0),
            ("Port(s)", 0),
            ("Age", 0),
        ],
        Kind::Node => &[
            ("Name", 0),
            ("Status", 0),
            ("Roles", 0),
            ("Age", 0),
            ("Version", 0),
        ],
        Kind::Namespace => &[("Name", 0), ("Status", 0), ("Age", 0)],
        Kind::Secret => &[("Name", 0), ("Type", 0), ("Data", 0), ("Age", 0)],
        Kind::ConfigMap => &[("Name", 0), ("Data", 0), ("Age", 0)],
        Kind::StorageClass => &[
            ("Name", 0),
            ("Provisioner", 0),
            ("ReclaimPolicy", 0),
            ("VolumeBindingMode", 0),
            ("Age", 0),
        ],
        Kind::ServiceAccount => &[("Name", 0), ("Age", 0)],
    }
}
