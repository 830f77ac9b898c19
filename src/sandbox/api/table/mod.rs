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
        let (always, wide) = columns(kind);
        let names = always.iter().map(|name| (name, 0));
        let names = names.chain(wide.iter().map(|name| (name, 1)));
        let columns: Vec<Value> = names
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

/// The columns of a kind, and those that only `kubectl -o wide` shows.
fn columns(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Job => (
            &["Name", "Status", "Completions", "Duration", "Age"],
            &["Containers", "Images", "Selector"],
        ),
        Kind::Pod => (
            &["Name", "Ready", "Status", "Restarts", "Age"],
            &["IP", "Node"],
        ),
        Kind::Claim => (
            &[
                "Name",
                "Status",
                "Volume",
                "Capacity",
                "Access Modes",
                "StorageClass",
                "Age",
            ],
            &["VolumeMode"],
        ),
        Kind::Event => (
            &["Last Seen", "Type", "Reason", "Object", "Message"],
            &["Name"],
        ),
        Kind::Service => (
            &[
                "Name",
                "Type",
                "Cluster-IP",
                "External-IP",
                "Port(s)",
                "Age",
            ],
            &[],
        ),
        Kind::Node => (&["Name", "Status", "Roles", "Age", "Version"], &[]),
        Kind::Namespace => (&["Name", "Status", "Age"], &[]),
        Kind::Secret => (&["Name", "Type", "Data", "Age"], &[]),
        Kind::ConfigMap => (&["Name", "Data", "Age"], &[]),
        Kind::StorageClass => (
            &[
                "Name",
                "Provisioner",
                "ReclaimPolicy",
                "VolumeBindingMode",
                "Age",
            ],
            &[],
        ),
        Kind::ServiceAccount => (&["Name", "Age"], &[]),
    }
}
