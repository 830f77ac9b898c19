//! The completion indexes of an Indexed Job, and what its pods know of them.
//!
//! Pure. It follows Kubernetes, `pkg/controller/job/indexed_job_utils.go`, v1.36.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::sandbox::objects::object::{elements_mut, text};

const LABEL: &str = "batch.kubernetes.io/job-completion-index";

/// The index of a pod.
pub fn of(pod: &Value) -> Option<u64> {
    text(&pod["metadata"]["annotations"][LABEL]).parse().ok()
}

/// Reads indexes as in `0,2-4`.
pub fn read(list: &str) -> BTreeSet<u64> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u64>().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Writes indexes as in `0,2-4`.
pub fn write(indexes: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    let write = |(first, last): (u64, u64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    ranges.into_iter().map(write).collect::<Vec<_>>().join(",")
}

/// Gives a new pod its index: in its name, its host name, a label, an annotation, and the variable `JOB_COMPLETION_INDEX`.
pub fn give(pod: &mut Value, job: &str, index: u64) {
    for field in ["labels", "annotations"] {
        if pod["metadata"][field].is_null() {
            pod["metadata"][field] = json!({});
        }
        pod["metadata"][field][LABEL] = json!(index.to_string());
    }
    // The name, with a dash and five letters, must stay a DNS label.
    let end = format!("-{index}-");
    let start: String = job.chars().take(58 - end.len()).collect();
    pod["metadata"]["generateName"] = json!(start + &end);
    pod["spec"]["hostname"] = json!(format!("{job}-{index}"));
    let source = json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": format!("metadata.labels['{LABEL}']") } });
    for list in ["initContainers", "containers"] {
        for container in elements_mut(&mut pod["spec"], list) {
            if !container["env"].is_array() {
                container["env"] = json!([]);
            }
            if let Some(variables) = container["env"].as_array_mut() {
                variables.push(json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": source }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_read_as_they_are_written() {
        for list in ["", "3", "0,1", "0-2", "0-2,4,6,7,9-11"] {
            assert_eq!(write(&read(list)), list);
        }
    }
}
