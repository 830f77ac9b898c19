//! Selections: the objects of a list, a watch or a deletion of many.

use super::{object::Object, resource::Resource, status::Status};
use crate::k8s::selector::{Requirement, matches_labels, parse_labels};

/// A namespace and two selectors.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// None for all namespaces.
    pub namespace: Option<String>,
    pub labels: Vec<Requirement>,
    /// Field, value, and whether they must be equal.
    fields: Vec<(String, String, bool)>,
}

impl Selection {
    /// Parses the two query parameters.
    pub fn parse(
        resource: &Resource,
        namespace: Option<&str>,
        labels: &str,
        fields: &str,
    ) -> Result<Self, Status> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            labels: parse_labels(labels).map_err(Status::bad_request)?,
            fields: parse_fields(resource, fields)?,
        })
    }

    /// The selection of all objects in one namespace.
    pub fn in_namespace(namespace: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            ..Self::default()
        }
    }

    /// Narrows the selection to one name.
    pub fn require_name(&mut self, name: &str) {
        self.fields
            .push(("metadata.name".to_owned(), name.to_owned(), true));
    }

    /// Whether no selector was given.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, object: &Object) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| namespace == object.namespace())
            && matches_labels(&self.labels, &object.labels)
            && self.fields.iter().all(|(field, value, equal)| {
                (object.field(field).unwrap_or_default() == value) == *equal
            })
    }
}

fn parse_fields(
    resource: &Resource,
    selector: &str,
) -> Result<Vec<(String, String, bool)>, Status> {
    let mut fields = Vec::new();
    for term in selector.split(',').filter(|term| !term.is_empty()) {
        let (field, value, equal) = if let Some((field, value)) = term.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = term.split_once("==") {
            (field, value, true)
        } else if let Some((field, value)) = term.split_once('=') {
            (field, value, true)
        } else {
            return Err(Status::bad_request(format!(
                "invalid selector: '{selector}'; can't understand '{term}'"
            )));
        };
        if !resource.selectable.iter().any(|(name, _)| *name == field) {
            return Err(Status::bad_request(format!(
                "Unable to find \"{}, Resource={}\" that match label selector \"\", field selector \"{selector}\": field \
                 label not supported: {field}",
                resource.api_version(),
                resource.plural
            )));
        }
        fields.push((field.to_owned(), value.to_owned(), equal));
    }
    Ok(fields)
}
