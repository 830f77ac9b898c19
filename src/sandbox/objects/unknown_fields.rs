//! Refusal of unknown fields, for clients that send `fieldValidation=Strict`, as `kubectl` does.
//!
//! Pure. It follows Kubernetes, `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/json/json.go`, v1.36. For other clients the
//! registry drops unknown fields. An unknown field that is `null` is accepted, and a field that is given twice is not noticed.

use serde_json::{Value, json};

use super::{defaults, resource::Resource, status::Status};

/// Refuses an object with unknown fields. Other errors are left to the registry.
pub fn check(resource: &Resource, given: &Value) -> Result<(), Status> {
    if !given.is_object() {
        return Ok(());
    }
    let mut known = given.clone();
    known["kind"] = json!(resource.kind);
    known["apiVersion"] = json!(resource.api_version());
    if defaults::canonicalize_quantities(resource.id, &mut known).is_err() {
        return Ok(());
    }
    let Ok(known) = (resource.normalize)(known) else {
        return Ok(());
    };
    let mut unknown = Vec::new();
    compare("", given, &known, &mut unknown);
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "{0} in version \"{1}\" cannot be handled as a {0}: strict decoding error: {2}",
        resource.kind,
        resource.version,
        unknown.join(", ")
    )))
}

fn compare(path: &str, given: &Value, known: &Value, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                match known.get(name) {
                    Some(known) => compare(&path, value, known, unknown),
                    None => unknown.push(format!("unknown field \"{path}\"")),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                compare(&format!("{path}[{index}]"), given, known, unknown);
            }
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::objects::{object::text, resource::Kind};

    #[track_caller]
    fn check_job(job: Value, expected: Option<&str>) {
        let refusal = check(Kind::Job.resource(), &job).err();
        let message = refusal.map(|status| text(&status.to_value()["message"]).to_owned());
        assert_eq!(message.as_deref(), expected);
    }

    #[test]
    fn unknown_fields_are_named() {
        let container =
            json!({ "name": "task", "resources": { "limits": { "cpu": 1 } }, "imagge": "x" });
        let spec = json!({ "template": { "spec": { "containers": [container], "hostname": null } }, "backoff": 1 });
        check_job(
            json!({ "metadata": { "labels": {}, "annotations": null }, "spec": spec }),
            Some(
                "Job in version \"v1\" cannot be handled as a Job: strict decoding error: unknown field \"spec.backoff\", unknown \
                 field \"spec.template.spec.containers[0].imagge\"",
            ),
        );
        check_job(json!({ "metadata": {}, "status": {} }), None);
    }
}
