//! The cells of a table row.
//!
//! Pure. They follow Kubernetes, `pkg/printers/internalversion/printers.go`, v1.36.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::sandbox::objects::{
    clock,
    object::{elements, string_map, text},
};

/// Renders the cell of a column. Its source is a JSON pointer, which ends in `?` if a missing value is `<none>`, or a word.
pub fn render(source: &str, object: &Value, now: Timestamp) -> Value {
    if let Some(pointer) = source.strip_suffix('?') {
        return json!(object.pointer(pointer).map_or("<none>", text));
    }
    if source.starts_with('/') {
        return object.pointer(source).cloned().unwrap_or(json!(""));
    }
    let (spec, status) = (&object["spec"], &object["status"]);
    let (metadata, involved) = (&object["metadata"], &object["involvedObject"]);
    let statuses = elements(&status["containerStatuses"]);
    let count = |value: &Value| value.as_object().map_or(0, Map::len).to_string();
    let number = |value: &Value, default| value.as_i64().unwrap_or(default);
    json!(match source {
        "none" => "<none>".to_owned(),
        "age" => age(&metadata["creationTimestamp"], now),
        "job status" => job_status(object).to_owned(),
        "completions" => {
            let wanted = number(&spec["completions"], 1);
            format!("{}/{wanted}", number(&status["succeeded"], 0))
        }
        "duration" => job_duration(status, now),
        "containers" | "images" => {
            let field = if source == "images" { "image" } else { "name" };
            let containers = &spec["template"]["spec"]["containers"];
            joined(containers, |container| text(&container[field]).to_owned())
        }
        "job selector" => selector(&spec["selector"]["matchLabels"]),
        "selector" => selector(&spec["selector"]),
        "ready" => {
            let ready = statuses.iter().filter(|status| status["ready"] == true);
            let all = elements(&spec["containers"]).len();
            format!("{}/{all}", ready.count())
        }
        "pod status" => pod_status(object),
        "restarts" => restarts(statuses, now),
        "phase" if !metadata["deletionTimestamp"].is_null() => "Terminating".to_owned(),
        "phase" => text(&status["phase"]).to_owned(),
        "modes" => joined(&status["accessModes"], short_mode),
        "volume modes" => joined(&spec["accessModes"], short_mode),
        "claim" => {
            let claim = &spec["claimRef"];
            format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
        }
        "seen" | "first seen" => {
            let field = if source == "seen" {
                "lastTimestamp"
            } else {
                "firstTimestamp"
            };
            let times = [
                &object[field],
                &object["eventTime"],
                &metadata["creationTimestamp"],
            ];
            age(
                times
                    .into_iter()
                    .find(|time| !time.is_null())
                    .unwrap_or(&Value::Null),
                now,
            )
        }
        "object" => {
            let kind = text(&involved["kind"]).to_lowercase();
            format!("{kind}/{}", text(&involved["name"]))
        }
        "message" => text(&object["message"]).trim().to_owned(),
        "source" => match text(&object["source"]["host"]) {
            "" => text(&object["reportingComponent"]).to_owned(),
            host => format!("{}, {host}", text(&object["source"]["component"])),
        },
        "count" => number(&object["count"], number(&object["series"]["count"], 1)).to_string(),
        "ports" => match elements(&spec["ports"]) {
            [] => "<none>".to_owned(),
            _ => joined(&spec["ports"], |port| format!(
                "{}/{}",
                port["port"],
                text(&port["protocol"])
            )),
        },
        "node status" if spec["unschedulable"] == true => "Ready,SchedulingDisabled".to_owned(),
        "node status" => "Ready".to_owned(),
        "expansion" => (object["allowVolumeExpansion"] == true).to_string(),
        "data" => count(&object["data"]),
        "class name" => format!("{} (default)", text(&metadata["name"])),
        _ => String::new(),
    })
}

fn joined(list: &Value, write: impl Fn(&Value) -> String) -> String {
    elements(list)
        .iter()
        .map(write)
        .collect::<Vec<_>>()
        .join(",")
}

fn selector(labels: &Value) -> String {
    let pairs = string_map(labels).into_iter();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

/// The number of restarts, and the time since the last one.
fn restarts(statuses: &[Value], now: Timestamp) -> String {
    let count: i64 = statuses
        .iter()
        .filter_map(|status| status["restartCount"].as_i64())
        .sum();
    let ends = statuses
        .iter()
        .map(|status| &status["lastState"]["terminated"]["finishedAt"]);
    match ends
        .filter(|end| !end.is_null())
        .max_by_key(|end| text(end).to_owned())
    {
        Some(end) if count > 0 => format!("{count} ({} ago)", age(end, now)),
        _ => count.to_string(),
    }
}

/// The status that `kubectl get pods` shows.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let is_over = matches!(text(&status["phase"]), "Succeeded" | "Failed");
    if !pod["metadata"]["deletionTimestamp"].is_null() && !is_over {
        return "Terminating".to_owned();
    }
    let why = |state: &Value| {
        let reason = |part: &str| state[part]["reason"].as_str().map(str::to_owned);
        reason("waiting").or_else(|| reason("terminated"))
    };
    let init = elements(&status["initContainerStatuses"]);
    let unfinished = |one: &&Value| one["state"]["terminated"]["exitCode"] != 0;
    let done = init.iter().take_while(|one| !unfinished(one)).count();
    if let Some(present) = init.get(done) {
        return match why(&present["state"]).filter(|reason| reason != "PodInitializing") {
            Some(reason) => format!("Init:{reason}"),
            None => format!("Init:{done}/{}", init.len()),
        };
    }
    let reasons = elements(&status["containerStatuses"]).iter();
    let mut reasons = reasons.filter_map(|container| why(&container["state"]));
    let own = || text(&status["reason"]);
    match reasons.next() {
        Some(reason) => reason,
        None if own().is_empty() => text(&status["phase"]).to_owned(),
        None => own().to_owned(),
    }
}

fn job_status(job: &Value) -> &'static str {
    let has = |wanted: &str| {
        let conditions = elements(&job["status"]["conditions"]);
        let is_met = |one: &Value| one["type"] == wanted && one["status"] == "True";
        conditions.iter().any(is_met)
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

fn short_mode(mode: &Value) -> String {
    let short = match text(mode) {
        "ReadWriteOnce" => "RWO",
        "ReadWriteMany" => "RWX",
        "ReadOnlyMany" => "ROX",
        "ReadWriteOncePod" => "RWOP",
        _ => "?",
    };
    short.to_owned()
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
        172_800..691_200 => two(hours / 24, "d", hours % 24, "h"),
        _ => format!("{}d", hours / 24),
    }
}
