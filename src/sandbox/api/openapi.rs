//! The `OpenAPI` documents of the kinds: for `kubectl explain`, and for `kubectl apply`, which asks there whether the server validates.
//!
//! Pure. The schemas are those of `k8s_openapi`. The form follows Kubernetes, `staging/src/k8s.io/kube-openapi/pkg/spec3`, v1.36.

use k8s_openapi::schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::sandbox::objects::resource::{RESOURCES, Resource};

/// Answers a path below `/openapi/v3`: the list of the documents, or the document of an API version.
pub fn answer(path: &[&str]) -> Option<Value> {
    let base = |resource: &Resource| {
        let prefix = if resource.group.is_empty() {
            "api"
        } else {
            "apis"
        };
        format!("{prefix}/{}", resource.api_version())
    };
    if path.is_empty() {
        let documents = RESOURCES.iter().map(|resource| {
            let base = base(resource);
            let url = json!({ "serverRelativeURL": format!("/openapi/v3/{base}") });
            (base, url)
        });
        return Some(json!({ "paths": documents.collect::<Map<_, _>>() }));
    }
    let asked = path.join("/");
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut paths = Map::new();
    let mut kinds = Vec::new();
    for resource in RESOURCES.iter().filter(|resource| base(resource) == asked) {
        let schema = (resource.describe)(&mut generator);
        let definition = schema
            .get("$ref")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let kind =
            json!({ "group": resource.group, "version": resource.version, "kind": resource.kind });
        let namespace = if resource.namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let operation = |name: &str| {
            json!({
                "x-kubernetes-group-version-kind": kind,
                "parameters": [{ "name": name, "in": "query", "schema": { "type": "string" } }],
            })
        };
        let operations =
            json!({ "get": operation("pretty"), "patch": operation("fieldValidation") });
        paths.insert(
            format!("/{asked}/{namespace}{}/{{name}}", resource.plural),
            operations,
        );
        kinds.push((
            definition.rsplit('/').next().unwrap_or_default().to_owned(),
            kind,
        ));
    }
    let mut schemas = generator.take_definitions(true);
    for (definition, kind) in kinds {
        schemas.get_mut(&definition)?["x-kubernetes-group-version-kind"] = json!([kind]);
    }
    let mut schemas = Value::Object(schemas);
    nest_references(&mut schemas);
    let info = json!({ "title": "Kubernetes", "version": "v1.36.2" });
    (!paths.is_empty()).then(|| {
        json!({ "openapi": "3.0.0", "info": info, "paths": paths, "components": { "schemas": schemas } })
    })
}

/// Writes a reference that stands beside a description as `allOf`, as `kubectl` expects it.
fn nest_references(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.len() > 1
                && let Some(reference) = map.remove("$ref")
            {
                map.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
            map.values_mut().for_each(nest_references);
        }
        Value::Array(list) => list.iter_mut().for_each(nest_references),
        _ => (),
    }
}
