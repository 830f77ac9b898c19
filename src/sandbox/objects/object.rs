//! One version of one object: its JSON, and the few values that lookups need.
//!
//! The store keeps bytes and not a parsed tree, so ten thousand Jobs with their Pods fit in little memory and all watchers share
//! them. A caller that needs the tree parses the bytes.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::web::Bytes;
use serde_json::{Value, json};

use super::resource::Kind;

/// Namespace and name; the namespace is empty for kinds that have none.
pub type Key = Arc<(String, String)>;

/// A version of an object that never changes.
#[derive(Debug)]
pub struct Object {
    pub kind: Kind,
    pub key: Key,
    pub uid: String,
    pub version: u64,
    pub labels: BTreeMap<String, String>,
    /// The uids of its owners.
    pub owners: Vec<String>,
    /// The values of [`super::resource::Resource::selectable`], in that order.
    fields: Vec<String>,
    /// The JSON object without `kind` and `apiVersion`, as an item of a list.
    pub body: Bytes,
}

impl Object {
    /// Makes `value` the version with that number.
    pub fn new(kind: Kind, version: u64, mut value: Value) -> Self {
        if let Some(map) = value.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        value["metadata"]["resourceVersion"] = json!(version.to_string());
        let metadata = &value["metadata"];
        let owners = metadata["ownerReferences"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            kind,
            key: Arc::new((
                text(&metadata["namespace"]).to_owned(),
                text(&metadata["name"]).to_owned(),
            )),
            uid: text(&metadata["uid"]).to_owned(),
            version,
            labels: string_map(&metadata["labels"]),
            owners: owners
                .iter()
                .map(|owner| text(&owner["uid"]).to_owned())
                .collect(),
            fields: kind
                .resource()
                .selectable
                .iter()
                .map(|(_, pointer)| value.pointer(pointer).map(plain_text).unwrap_or_default())
                .collect(),
            body: Bytes::from(value.to_string()),
        }
    }

    pub fn namespace(&self) -> &str {
        &self.key.0
    }

    pub fn name(&self) -> &str {
        &self.key.1
    }

    /// Parses the object; it has no `kind` and no `apiVersion`.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the store only holds JSON that it wrote itself")
    }

    /// The value of a selectable field.
    pub fn field(&self, label: &str) -> Option<&str> {
        let index = self
            .kind
            .resource()
            .selectable
            .iter()
            .position(|(name, _)| *name == label)?;
        Some(&self.fields[index])
    }

    /// The JSON with `kind` and `apiVersion`, as the answer to a `get`.
    pub fn standalone(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.body.len() + 64);
        self.write_standalone(&mut json);
        json
    }

    /// Appends what [`Object::standalone`] returns.
    pub fn write_standalone(&self, json: &mut Vec<u8>) {
        let resource = self.kind.resource();
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",",
            resource.kind,
            resource.api_version()
        );
        json.extend_from_slice(head.as_bytes());
        json.extend_from_slice(&self.body[1..]);
    }
}

/// The string in `value`, or an empty one.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The strings of a JSON object.
pub fn string_map(value: &Value) -> BTreeMap<String, String> {
    let Some(map) = value.as_object() else {
        return BTreeMap::new();
    };
    map.iter()
        .map(|(key, value)| (key.clone(), text(value).to_owned()))
        .collect()
}

/// The elements of a JSON array, or none.
pub fn elements(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The elements of the list in a field, to be changed, or none.
pub fn elements_mut<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = value.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

/// Removes elements of the list in a field, and the field with its last element.
pub fn retain(value: &mut Value, field: &str, keep: impl FnMut(&Value) -> bool) {
    let Some(list) = value.get_mut(field).and_then(Value::as_array_mut) else {
        return;
    };
    list.retain(keep);
    if list.is_empty() {
        value.as_object_mut().map(|map| map.remove(field));
    }
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
