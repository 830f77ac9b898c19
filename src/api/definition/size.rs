//! The sizes of the Jobs of a task. Only the server knows them exactly; the client finds what is too large in any case.

use serde::Serialize;

use super::{super::Problem, TaskDefinition};
use crate::api::format_size;

/// The largest size of all Jobs of a task together, in bytes of JSON. Each Job repeats most of the task's definition, in etcd and
/// in the memory of each watcher.
pub const MAX_JOBS: usize = 256 * 1024 * 1024;
/// The largest size of one Job, in bytes of JSON: the limit of etcd for a request (`--max-request-bytes`), with some reserve.
const MAX_JOB: usize = 1_400_000;

impl TaskDefinition {
    /// The problem if Kubernetes cannot store a Job of `job` bytes, or if all Jobs are more than `most` bytes. `doing` names the
    /// action in the message.
    pub fn is_too_large(&self, job: usize, most: usize, doing: &str) -> Option<Problem> {
        let num_nodes = self.num_nodes as usize;
        if job > MAX_JOB {
            let (largest, length) = self.largest_part();
            let message = format!(
                "the Job of a node is {job} bytes, and Kubernetes takes {MAX_JOB} at most: {length} bytes are from `{largest}`"
            );
            return Some(Problem::new(largest, message));
        }
        let size = job.saturating_mul(num_nodes);
        (size > most).then(|| {
            let [size, most] = [size, most].map(|bytes| format_size(bytes as u64));
            let message = format!(
                "the Jobs of {num_nodes} nodes, {job} bytes each, are {size}, and {doing} takes {most} at most: use fewer \
                 nodes, or put less into `envs` and `config`"
            );
            Problem::new("num_nodes", message)
        })
    }

    /// The problem if the Jobs are too large whatever the server adds to them. Commands may stand in another object.
    pub(super) fn is_certainly_too_large(&self) -> Option<Problem> {
        let parts = [
            json_length(&self.envs),
            json_length(&self.pod_config),
            json_length(&self.resources.labels),
        ];
        self.is_too_large(parts.iter().sum(), MAX_JOBS, "a task")
    }

    /// The field that takes most bytes in a Job.
    fn largest_part(&self) -> (&'static str, usize) {
        let parts = [
            ("run", self.run.len()),
            ("setup", self.setup.as_ref().map_or(0, String::len)),
            ("envs", json_length(&self.envs)),
            (
                "config.kubernetes.pod_config",
                json_length(&self.pod_config),
            ),
            ("resources.labels", json_length(&self.resources.labels)),
            // Each mount names a path and a claim.
            (
                "volumes",
                self.volumes.keys().map(|path| 2 * path.len() + 100).sum(),
            ),
        ];
        parts
            .into_iter()
            .max_by_key(|part| part.1)
            .unwrap_or_default()
    }
}

fn json_length(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_too_large_in_any_case_is_a_problem_of_the_definition() {
        let envs = |count: usize| -> serde_json::Map<_, _> {
            let value = |nth| (format!("A{nth}"), "x".repeat(90_000).into());
            (0..count).map(value).collect()
        };
        let problem = |num_nodes: u32, count: usize| {
            let task = json!({"run": "true", "num_nodes": num_nodes, "envs": envs(count)});
            let problems = TaskDefinition::from_json(&task).err()?;
            Some(problems[0].to_string())
        };
        assert_eq!(problem(1, 15), None);
        let of_a_job =
            "envs: the Job of a node is 1440141 bytes, and Kubernetes takes 1400000 at most: ";
        assert!(problem(1, 16).unwrap().starts_with(of_a_job));
        assert_eq!(problem(2000, 1), None);
        let of_all = "num_nodes: the Jobs of 3000 nodes, 90015 bytes each, are 257.5 MiB, and a task takes 256 MiB";
        assert!(problem(3000, 1).unwrap().starts_with(of_all));
    }
}
