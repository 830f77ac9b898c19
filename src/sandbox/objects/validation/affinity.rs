//! Validation of the affinity of a pod.

use serde_json::Value;

use super::Errors;
use crate::{
    k8s::names,
    sandbox::objects::object::{elements, text},
};

pub fn check_affinity(path: &str, affinity: &Value, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let nodes = &affinity["nodeAffinity"];
    let path_of_nodes = format!("{path}.nodeAffinity");
    if !nodes[REQUIRED].is_null() {
        let path = format!("{path_of_nodes}.{REQUIRED}.nodeSelectorTerms");
        let terms = elements(&nodes[REQUIRED]["nodeSelectorTerms"]);
        if terms.is_empty() {
            errors.required(path.clone(), "must have at least one node selector term");
        }
        for (index, term) in terms.iter().enumerate() {
            check_expressions(&format!("{path}[{index}]"), term, errors);
        }
    }
    for (index, preferred) in elements(&nodes[PREFERRED]).iter().enumerate() {
        let path = format!("{path_of_nodes}.{PREFERRED}[{index}]");
        let weight = preferred["weight"].as_i64().unwrap_or(0);
        if !(1..=100).contains(&weight) {
            errors.invalid(
                format!("{path}.weight"),
                weight,
                "must be in the range 1-100",
            );
        }
        check_expressions(
            &format!("{path}.preference"),
            &preferred["preference"],
            errors,
        );
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (index, term) in elements(&affinity[kind][REQUIRED]).iter().enumerate() {
            let field = format!("{path}.{kind}.{REQUIRED}[{index}].topologyKey");
            let key = text(&term["topologyKey"]);
            if key.is_empty() {
                errors.required(field.clone(), "can not be empty");
            }
            if let Some(why) = names::check_label_key(key) {
                errors.invalid(field, key, &why);
            }
        }
    }
}

/// Checks the expressions of a term about nodes.
fn check_expressions(path: &str, term: &Value, errors: &mut Errors) {
    for (index, expression) in elements(&term["matchExpressions"]).iter().enumerate() {
        let field = |name: &str| format!("{path}.matchExpressions[{index}].{name}");
        let values = elements(&expression["values"]);
        match text(&expression["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.required(field("values"), why);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(field("values"), why);
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.required(field("values"), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => (),
            operator => {
                errors.invalid(field("operator"), operator, "not a valid selector operator")
            }
        }
        if let Some(why) = names::check_label_key(text(&expression["key"])) {
            errors.invalid(field("key"), text(&expression["key"]), &why);
        }
    }
}
