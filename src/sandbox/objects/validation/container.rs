//! Validation of a container.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    Errors,
    pod::{FIELDS, check_field_ref},
    rules,
};
use crate::{
    k8s::{names, quantity::Quantity},
    sandbox::objects::{
        object::{elements, text},
        status::FieldError,
    },
};

/// The resources without a domain.
const STANDARD_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub fn check_container(
    path: &str,
    container: &Value,
    volumes: &HashSet<String>,
    errors: &mut Errors,
) {
    if text(&container["image"]).is_empty() {
        errors.required(format!("{path}.image"), "");
    }
    // The default of 0 is 1.
    for probe in ["startupProbe", "livenessProbe"] {
        let successes = container[probe]["successThreshold"].as_i64();
        if let Some(number) = successes.filter(|number| !matches!(number, 0 | 1)) {
            errors.invalid(
                format!("{path}.{probe}.successThreshold"),
                number,
                "must be 1",
            );
        }
    }
    let security = &container["securityContext"];
    if security["allowPrivilegeEscalation"] == false {
        let added = elements(&security["capabilities"]["add"]);
        let why = if security["privileged"] == true {
            Some("cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        } else if added.iter().any(|added| text(added) == "CAP_SYS_ADMIN") {
            Some(
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            )
        } else {
            None
        };
        if let Some(why) = why {
            errors.invalid(format!("{path}.securityContext"), security.clone(), why);
        }
    }
    let mut ports = HashSet::new();
    for (index, port) in elements(&container["ports"]).iter().enumerate() {
        let name = text(&port["name"]);
        if !name.is_empty() && !ports.insert(name) {
            let field = format!("{path}.ports[{index}].name");
            errors.duplicate(field, name);
        }
    }
    for source in elements(&container["envFrom"]) {
        if source["secretRef"].is_null() && source["configMapRef"].is_null() {
            let why = "must specify one of: `configMapRef` or `secretRef`";
            errors.invalid(format!("{path}.envFrom"), "", why);
        } else if !source["secretRef"].is_null() && !source["configMapRef"].is_null() {
            let why = "may not have more than one field specified at a time";
            errors.invalid(format!("{path}.envFrom"), "", why);
        }
    }
    for (index, variable) in elements(&container["env"]).iter().enumerate() {
        check_variable(&format!("{path}.env[{index}]"), variable, errors);
    }
    let mut paths = HashSet::new();
    for (index, mount) in elements(&container["volumeMounts"]).iter().enumerate() {
        let list = format!("{path}.volumeMounts");
        let path = format!("{list}[{index}]");
        let (name, mount_path) = (text(&mount["name"]), text(&mount["mountPath"]));
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        }
        if !volumes.contains(name) {
            errors
                .0
                .push(FieldError::not_found(format!("{path}.name"), name));
        }
        if mount_path.is_empty() {
            errors.required(format!("{path}.mountPath"), "");
        } else if !paths.insert(mount_path) {
            let why = "must be unique";
            errors.invalid(format!("{path}.mountPath"), mount_path, why);
        }
        let inner = text(&mount["subPath"]);
        if let Some(why) = rules::check_inner_path(inner) {
            errors.invalid(format!("{list}.subPath"), inner, &why);
        }
        if !inner.is_empty() && !text(&mount["subPathExpr"]).is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(
                format!("{path}.subPathExpr"),
                text(&mount["subPathExpr"]),
                why,
            );
        }
    }
    check_resources(
        &format!("{path}.resources"),
        &container["resources"],
        errors,
    );
}

fn check_variable(path: &str, variable: &Value, errors: &mut Errors) {
    let source = &variable["valueFrom"];
    let Some(sources) = source.as_object() else {
        return;
    };
    let path = format!("{path}.valueFrom");
    let count = sources.values().filter(|source| !source.is_null()).count();
    if count == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.invalid(path.clone(), "", why);
    } else if !text(&variable["value"]).is_empty() {
        errors.invalid(
            path.clone(),
            "",
            "may not be specified when `value` is not empty",
        );
    } else if count > 1 {
        let why = "may not have more than one field specified at a time";
        errors.invalid(path.clone(), "", why);
    }
    check_field_ref(&path, &source["fieldRef"], &FIELDS, errors);
    for kind in ["secretKeyRef", "configMapKeyRef"] {
        let name = text(&source[kind]["name"]);
        if let Some(why) = names::check_subdomain(name).filter(|_| !source[kind].is_null()) {
            errors.invalid(format!("{path}.{kind}.name"), name, &why);
        }
    }
    let resource = text(&source["resourceFieldRef"]["resource"]);
    let name = resource
        .strip_prefix("limits.")
        .or(resource.strip_prefix("requests."));
    let is_known = name
        .is_some_and(|name| STANDARD_RESOURCES.contains(&name) || name.starts_with("hugepages-"));
    if !resource.is_empty() && !is_known {
        let field = format!("{path}.resourceFieldRef.resource");
        let known = ["limits", "requests"]
            .map(|list| STANDARD_RESOURCES.map(|name| format!("{list}.{name}")))
            .concat();
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        errors.not_supported(&field, resource, &known);
    }
}

/// Why a container cannot have a resource of that name.
fn check_resource_name(name: &str) -> Option<String> {
    if let Some(why) = names::check_label_key(name) {
        return Some(why);
    }
    let is_standard = STANDARD_RESOURCES.contains(&name) || name.starts_with("hugepages-");
    match name.contains('/') {
        false if !is_standard => {
            Some("must be a standard resource type or fully qualified".to_owned())
        }
        true if name.starts_with("requests.") => {
            Some("doesn't follow extended resource name standard".to_owned())
        }
        _ => None,
    }
}

fn check_resources(path: &str, resources: &Value, errors: &mut Errors) {
    let parse = |value: &Value| Quantity::parse(text(value)).unwrap_or(Quantity::zero());
    let has = |wanted: fn(&str) -> bool| {
        let lists = ["limits", "requests"].map(|list| resources[list].as_object());
        let mut names = lists.into_iter().flatten().flat_map(|list| list.keys());
        names.any(|name| wanted(name))
    };
    if has(|name| name.starts_with("hugepages-")) && !has(|name| ["cpu", "memory"].contains(&name))
    {
        let why = "HugePages require cpu or memory";
        errors.forbidden(path, why);
    }
    for list in ["limits", "requests"] {
        for (name, amount) in resources[list].as_object().into_iter().flatten() {
            if let Some(why) = check_resource_name(name) {
                errors.invalid(format!("{path}.{list}[{name}]"), name.as_str(), &why);
                continue;
            }
            if parse(amount).nanos() < 0 {
                let why = "must be greater than or equal to 0";
                errors.invalid(format!("{path}.{list}[{name}]"), text(amount), why);
            }
            if is_extended(name) && parse(amount).nanos() % 1_000_000_000 != 0 {
                let field = format!("{path}.{list}[{name}]");
                errors.invalid(field, text(amount), "must be an integer");
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let Some(limit) = resources["limits"].get(name) else {
            if is_extended(name) {
                let why = "Limit must be set for non overcommitable resources";
                errors.required(format!("{path}.limits"), why);
            }
            continue;
        };
        if is_extended(name) && parse(request).nanos() != parse(limit).nanos() {
            let why = format!("must be equal to {name} limit of {}", text(limit));
            errors.invalid(format!("{path}.requests"), text(request), &why);
        } else if parse(request).nanos() > parse(limit).nanos() {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                text(limit)
            );
            errors.invalid(format!("{path}.requests"), text(request), &why);
        }
    }
}

/// Whether a resource is of a vendor, such as a GPU: whole, and not overcommitted.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}
