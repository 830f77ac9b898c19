//! The cells of a table row.
//!
//! Pure. They follow Kubernetes, `pkg/printers/internalversion/printers.go`, v1.36.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::objects::{
    clock,
    object::{elements, string_map, text},
    resource::Kind,
};

/// Renders one row.
pub fn render(kind: Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let name = text(&metadata["name"]);
    let age = age(&metadata["creationTimestamp"], now);
    let count = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
    match kind {
        Kind::Job => {
            let containers = elements(&spec["template"]["spec"]["containers"]);
            let all = |field: &str| {
                containers
                    .iter()
                    .map(|container| text(&container[field]))
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let selector = string_map(&spec["selector"]["matchLabels"]);
            let selector: Vec<String> = selector
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let done = status["succeeded"].as_i64().unwrap_or(0);
            let wanted = spec["completions"].as_i64().unwrap_or(1);
            vec![
                json!(name),
                json!(job_status(object)),
                json!(format!("{done}/{wanted}")),
                json!(job_duration(status, now)),
                json!(age),
                json!(all("name")),
                json!(all("image")),
                json!(selector.join(",")),
            ]
        }
        Kind::Pod => {
            let containers = elements(&status["containerStatuses"]);
            let ready = containers
                .iter()
                .filter(|container| container["ready"] == true)
                .count();
            let restarts: i64 = containers
                .iter()
                .filter_map(|container| container["restartCount"].as_i64())
                .sum();
            vec![
                json!(name),
                json!(format!("{ready}/{}", elements(&spec["containers"]).len())),
                json!(pod_status(object)),
                json!(restarts.to_string()),
                json!(age),
                json!(or_none(&status["podIP"])),
                json!(or_none(&spec["nodeName"])),
            ]
        }
        Kind::Claim => {
            let phase = if metadata["deletionTimestamp"].is_null() {
                text(&status["phase"])
            } else {
                "Terminating"
            };
            vec![
                json!(name),
                json!(phase),
                spec["volumeName"].clone(),
                status["capacity"]["storage"].clone(),
                json!(short_modes(&status["accessModes"])),
                spec["storageClassName"].clone(),
                json!(age),
                spec["volumeMode"].clone(),
            ]
        }
        Kind::Event => {
            let seen = [
                &object["lastTimestamp"],
                &object["eventTime"],
                &metadata["creationTimestamp"],
            ];
            let seen = seen
                .into_iter()
                .find(|time| !time.is_null())
                .unwrap_or(&Value::Null);
            let involved = &object["involvedObject"];
            let about = format!(
                "{}/{}",
                text(&involved["kind"]).to_lowercase(),
                text(&involved["name"])
            );
            let message = text(&object["message"]).trim().to_owned();
            vec![
                json!(self::age(seen, now)),
                object["type"].clone(),
                object["reason"].clone(),
                json!(about),
                json!(message),
                json!(name),
            ]
        }
        Kind::Service => {
            let ports: Vec<String> = elements(&spec["ports"])
                .iter()
                .map(|port| format!("{}/{}", port["port"], text(&port["protocol"])))
                .collect();
            let ports = if ports.is_empty() {
                "<none>".to_owned()
            } else {
                ports.join(",")
            };
            vec![
                json!(name),
                spec["type"].clone(),
                json!(or_none(&spec["clusterIP"])),
                json!("<none>"),
                json!(ports),
                json!(age),
            ]
        }
        Kind::Node => {
            let version = status["nodeInfo"]["kubeletVersion"].clone();
            vec![
                json!(name),
                json!("Ready"),
                json!("<none>"),
                json!(age),
                version,
            ]
        }
        Kind::Namespace => vec![json!(name), status["phase"].clone(), json!(age)],
        Kind::Secret => {
            vec![
                json!(name),
                object["type"].clone(),
                json!(count(&object["data"]).to_string()),
                json!(age),
            ]
        }
        Kind::ConfigMap => vec![
            json!(name),
            json!(count(&object["data"]).to_string()),
            json!(age),
        ],
        Kind::StorageClass => vec![
            json!(format!("{name} (default)")),
            object["provisioner"].clone(),
            object["reclaimPolicy"].clone(),
            object["volumeBindingMode"].clone(),
            json!(age),
        ],
        Kind::ServiceAccount => vec![json!(name), json!(age)],
    }
}

/// The status that `kubectl get pods` shows.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut word = text(&status["phase"]).to_owned();
    if let Some(reason) = status["reason"].as_str() {
        word = reason.to_owned();
    }
    for container in elements(&status["containerStatuses"]) {
        let state = &container["state"];
        for part in ["waiting", "terminated"] {
            if let Some(reason) = state[part]["reason"].as_str() {
                word = reason.to_owned();
            }
        }
    }
    let unfinished = !matches!(text(&status["phase"]), "Succeeded" | "Failed");
    if !pod["metadata"]["deletionTimestamp"].is_null() && unfinished {
        "Terminating".to_owned()
    } else {
        word
    }
}

fn job_status(job: &Value) -> &'static str {
    let has = |wanted: &str| {
        elements(&job["status"]["conditions"])
            .iter()
            .any(|condition| {
                text(&condition["type"]) == wanted && text(&condition["status"]) == "True"
            })
    };
    let first = |words: &[&'static str]| words.iter().copied().find(|word| has(word));
    if let Some(word) = first(&["Complete", "Failed"]) {
        return word;
    }
    if !job["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    first(&["Suspended", "FailureTarget", "SuccessCriteriaMet"]).unwrap_or("Running")
}

fn job_duration(status: &Value, now: Timestamp) -> String {
    let Some(start) = clock::parse(text(&status["startTime"])) else {
        return String::new();
    };
    let end = clock::parse(text(&status["completionTime"])).unwrap_or(now);
    duration(clock::elapsed_seconds(start, end))
}

fn short_modes(modes: &Value) -> String {
    let short = |mode: &Value| match text(mode) {
        "ReadWriteOnce" => "RWO",
        "ReadWriteMany" => "RWX",
        "ReadOnlyMany" => "ROX",
        "ReadWriteOncePod" => "RWOP",
        _ => "?",
    };
    elements(modes)
        .iter()
        .map(short)
        .collect::<Vec<_>>()
        .join(",")
}

fn or_none(value: &Value) -> &str {
    value.as_str().unwrap_or("<none>")
}

fn age(time: &Value, now: Timestamp) -> String {
    clock::parse(text(time)).map_or("<unknown>".to_owned(), |time| {
        duration(clock::elapsed_seconds(time, now))
    })
}

/// A duration as `kubectl` writes it: with two units if the number of the larger unit is small.
fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        _ => two(
            hours / 24,
            "d",
            if hours < 192 { hours % 24 } else { 0 },
            "h",
        ),
    }
}
