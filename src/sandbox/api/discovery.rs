//! Discovery: the version of the server, its API groups and their resources.
//!
//! Pure. The answers come from the table in `resource`, in the form of Kubernetes,
//! `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/types.go`, v1.36.

use serde_json::{Value, json};

use super::openapi;
use crate::sandbox::objects::resource::{RESOURCES, Resource};

/// The API groups and their versions, except for the core group.
const GROUPS: [(&str, &str); 4] = [
    ("batch", "v1"),
    ("storage.k8s.io", "v1"),
    ("authentication.k8s.io", "v1"),
    ("authorization.k8s.io", "v1"),
];

/// The kinds that are only answered, each with its group.
const REVIEWS: [(&str, &str); 5] = [
    ("authentication.k8s.io", "TokenReview"),
    ("authentication.k8s.io", "SelfSubjectReview"),
    ("authorization.k8s.io", "SubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectRulesReview"),
];

/// Answers a path of the discovery API.
pub fn answer(path: &str) -> Option<Value> {
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    match segments.as_slice() {
        [] => Some(
            json!({ "paths": ["/api", "/api/v1", "/apis", "/healthz", "/openapi/v3", "/version"] }),
        ),
        ["version"] => Some(version()),
        ["openapi", "v3", rest @ ..] => openapi::answer(rest),
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => Some(json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": GROUPS.iter().map(|(name, version)| group(name, version)).collect::<Vec<_>>(),
        })),
        ["apis", name] => {
            let (name, version) = GROUPS.iter().find(|(group, _)| group == name)?;
            let mut group = group(name, version);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            Some(group)
        }
        ["api", "v1"] => Some(resources("", "v1")),
        ["apis", name, version] => {
            GROUPS.iter().find(|group| *group == &(*name, *version))?;
            Some(resources(name, version))
        }
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.2+sandbox", "gitCommit": "sandbox", "gitTreeState": "clean",
        "buildDate": "2026-08-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform_arch()),
    })
}

fn platform_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    }
}

fn group(name: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn resources(group: &str, version: &str) -> Value {
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let mut list: Vec<Value> = Vec::new();
    for resource in RESOURCES
        .iter()
        .filter(|resource| resource.group == group && resource.version == version)
    {
        list.push(entry(resource));
        if resource.has_status {
            list.push(part(resource, "status", &["get", "patch", "update"]));
        }
        if resource.plural == "pods" {
            list.push(part(resource, "log", &["get"]));
            let mut eviction = part(resource, "eviction", &["create"]);
            eviction["group"] = json!("policy");
            eviction["version"] = json!("v1");
            eviction["kind"] = json!("Eviction");
            list.push(eviction);
        }
    }
    for (_, kind) in REVIEWS.iter().filter(|(owner, _)| *owner == group) {
        list.push(json!({
            "name": format!("{}s", kind.to_lowercase()), "singularName": "", "namespaced": false, "kind": kind,
            "verbs": ["create"],
        }));
    }
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list })
}

fn entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.kind.to_lowercase(), "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if matches!(resource.plural, "pods" | "jobs" | "services") {
        entry["categories"] = json!(["all"]);
    }
    entry
}

fn part(resource: &Resource, name: &str, verbs: &[&str]) -> Value {
    json!({
        "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": verbs,
    })
}
