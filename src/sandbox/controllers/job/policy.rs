//! Pod failure policies: what a Job does about a pod that failed.
//!
//! Pure. It follows Kubernetes, `pkg/controller/job/pod_failure_policy.go`, v1.36. Limits for each index are not known, so
//! `FailIndex` counts as a failure.

use serde_json::Value;

use crate::sandbox::objects::object::{elements, text};

/// The action of the first rule that a failed pod matches, and the message of a Job that fails for it.
pub fn action<'a>(job_spec: &'a Value, pod: &Value) -> Option<(&'a str, String)> {
    let rules = elements(&job_spec["podFailurePolicy"]["rules"]);
    let pod_name = format!(
        "{}/{}",
        text(&pod["metadata"]["namespace"]),
        text(&pod["metadata"]["name"])
    );
    rules.iter().enumerate().find_map(|(index, rule)| {
        let action = text(&rule["action"]);
        let what = match rule["onExitCodes"].is_null() {
            true => format!(
                "Pod {pod_name} has condition {}",
                matching_condition(rule, pod)?
            ),
            false => {
                let (name, code) = matching_container(&rule["onExitCodes"], pod)?;
                format!("Container {name} for pod {pod_name} failed with exit code {code}")
            }
        };
        let message = format!("{what} matching {action} rule at index {index}");
        Some((action, message))
    })
}

fn matching_condition<'a>(rule: &'a Value, pod: &Value) -> Option<&'a str> {
    let conditions = elements(&pod["status"]["conditions"]);
    let is_met = |pattern: &&Value| {
        conditions
            .iter()
            .any(|one| one["type"] == pattern["type"] && one["status"] == pattern["status"])
    };
    let found = elements(&rule["onPodConditions"]).iter().find(is_met)?;
    Some(text(&found["type"]))
}

fn matching_container<'a>(requirement: &Value, pod: &'a Value) -> Option<(&'a str, i64)> {
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let mut statuses = statuses
        .iter()
        .flat_map(|list| elements(&pod["status"][list]));
    statuses.find_map(|status| {
        let code = status["state"]["terminated"]["exitCode"].as_i64()?;
        let name = &requirement["containerName"];
        let is_meant = name.is_null() || *name == status["name"];
        let is_listed = elements(&requirement["values"])
            .iter()
            .any(|value| *value == code);
        let wanted = requirement["operator"] == "In";
        (is_meant && code != 0 && is_listed == wanted).then(|| (text(&status["name"]), code))
    })
}
