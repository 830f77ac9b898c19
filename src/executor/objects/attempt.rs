//! The Jobs of a further attempt of a task, from those of the attempt before. Pure.
//!
//! A further attempt needs nothing but what Kubernetes shows, so that a server that starts continues the work of another one. The first
//! Job of the task owns the new Jobs. It stays, and with it the objects that it owns. Several nodes find each other in a Service of the
//! attempt: a pod of the attempt before may still be ending, and keeps its name in the Service of that one.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{PodTemplateSpec, Service, ServiceSpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde::{Deserialize, Serialize};

use super::{environment::NUM_RESTARTS, labels, names, pod::CONTAINER, submission::NODE_IPS};
use crate::api::Timestamp;

/// The restarts in [`RESTARTS_PERIOD`] that a task may have.
pub const MAX_RESTARTS: usize = 20;
/// The period that [`MAX_RESTARTS`] is about, in seconds.
pub const RESTARTS_PERIOD: i64 = 3600;
/// The longest cause that is kept, in characters.
const MAX_CAUSE: usize = 200;

/// The restarts of a task before an attempt, as an annotation of its Jobs describes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restarts {
    /// Why this attempt began.
    pub cause: String,
    /// How many restarts a failure of the task itself has caused, those by an exit code of `recover_on_exit_codes` not counted.
    pub after_errors: u32,
    /// The times of the last restarts, oldest first.
    pub times: Vec<Timestamp>,
}

impl Restarts {
    /// Reads the annotation; none if this program did not write it.
    pub fn parse(text: &str) -> Option<Self> {
        let restarts: Self = serde_json::from_str(text).ok()?;
        (restarts.times.len() <= MAX_RESTARTS).then_some(restarts)
    }

    /// These restarts, and one more.
    #[must_use]
    pub fn and(&self, cause: &str, is_error: bool, now: Timestamp) -> Self {
        let skipped = (self.times.len() + 1).saturating_sub(MAX_RESTARTS);
        let times = self.times.iter().skip(skipped).copied();
        Self {
            cause: cause.chars().take(MAX_CAUSE).collect(),
            after_errors: self.after_errors + u32::from(is_error),
            times: times.chain([now]).collect(),
        }
    }
}

/// The attempt that begins.
pub struct Attempt<'a> {
    pub number: u32,
    pub restarts: &'a Restarts,
    /// The name and the uid of the first Job of the task.
    pub owner: (&'a str, String),
}

impl Attempt<'_> {
    fn owner(&self) -> OwnerReference {
        let (name, uid) = &self.owner;
        OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: (*name).to_owned(),
            uid: uid.clone(),
            ..OwnerReference::default()
        }
    }
}

/// The Service of an attempt, from the Job of one of its nodes; none if they need none.
pub fn service_of_attempt(job: &Job, attempt: &Attempt<'_>) -> Option<Service> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let mut metadata = kept(&job.metadata);
    metadata.name = pod.subdomain.clone();
    metadata.name.as_ref()?;
    metadata.owner_references = Some(vec![attempt.owner()]);
    let of_attempt = metadata.annotations.get_or_insert_default();
    of_attempt.retain(|key, _| !matches!(key.as_str(), labels::RESTARTS | labels::RECOVERY));
    let own = metadata.labels.get_or_insert_default();
    own.remove(labels::NODE_IDX);
    let number = own.remove(labels::ATTEMPT)?;
    let id = own.get(labels::TASK_ID)?.clone();
    let selector = [(labels::TASK_ID, id), (labels::ATTEMPT, number)];
    let selector = selector.map(|(key, value)| (key.to_owned(), value));
    Some(Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector.into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}

/// The Job of a node in a new attempt, from its Job in an attempt before.
pub fn job_of_attempt(before: &Job, attempt: &Attempt<'_>) -> Job {
    let number = attempt.number.to_string();
    let name = before.metadata.name.as_deref().unwrap_or_default();
    let mut metadata = kept(&before.metadata);
    metadata.name = Some(names::attempt_job_name(name, attempt.number));
    let own = metadata.labels.get_or_insert_default();
    own.insert(labels::ATTEMPT.to_owned(), number.clone());
    let own = metadata.annotations.get_or_insert_default();
    let restarts = serde_json::to_string(attempt.restarts).unwrap_or_default();
    own.insert(labels::RESTARTS.to_owned(), restarts);
    metadata.owner_references = Some(vec![attempt.owner()]);
    let spec = before.spec.as_ref();
    let mut template = PodTemplateSpec {
        metadata: (spec.and_then(|spec| spec.template.metadata.as_ref())).map(kept),
        spec: spec.and_then(|spec| spec.template.spec.clone()),
    };
    let of_pod = template.metadata.get_or_insert_default();
    let of_pod = of_pod.labels.get_or_insert_default();
    of_pod.insert(labels::ATTEMPT.to_owned(), number);
    set_environment(&mut template, attempt.number);
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            pod_failure_policy: spec.and_then(|spec| spec.pod_failure_policy.clone()),
            template,
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

/// The labels and annotations that this program or the user gave, without those about an attempt.
fn kept(metadata: &ObjectMeta) -> ObjectMeta {
    // Kubernetes adds these (job_controller, 1.20 to 1.36), and kubectl its own.
    let is_foreign = |key: &str| {
        matches!(key, labels::JOB_NAME | "controller-uid")
            || key.starts_with("batch.kubernetes.io/")
            || key.starts_with("kubectl.kubernetes.io/")
    };
    let is_of_attempt = |key: &str| {
        matches!(
            key,
            labels::ENDS
                | labels::STOPPED_AFTER
                | labels::COMPLETE
                | labels::INCOMPLETE
                | labels::INCOMPLETE_SINCE
                | labels::STOPPING
                | labels::ATTEMPTS
                | labels::FILES_DELETED
                // It is large, and the first Job has it.
                | labels::SOURCE
        )
    };
    let mut metadata = ObjectMeta {
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        ..ObjectMeta::default()
    };
    let maps = [&mut metadata.labels, &mut metadata.annotations];
    for map in maps.into_iter().flatten() {
        map.retain(|key, _| !is_foreign(key) && !is_of_attempt(key));
    }
    metadata
}

/// Sets the number of restarts, and the names of the nodes in the Service of the attempt. Where a Secret holds the names, `init.sh`
/// changes them.
fn set_environment(template: &mut PodTemplateSpec, attempt: u32) {
    let spec = template.spec.get_or_insert_default();
    let domain = spec.subdomain.as_ref();
    let domains = domain.map(|before| {
        let now = names::attempt_job_name(before, attempt);
        (format!(".{before}"), format!(".{now}"), now)
    });
    let containers = &mut spec.containers;
    let own = containers.iter().position(|it| it.name == CONTAINER);
    let container = containers.get_mut(own.unwrap_or(0));
    let variables = container.and_then(|container| container.env.as_mut());
    let variables = variables.into_iter().flatten();
    for variable in variables {
        let Some(value) = &mut variable.value else {
            continue;
        };
        match (variable.name.as_str(), &domains) {
            (NUM_RESTARTS, _) => *value = (attempt - 1).to_string(),
            ("MASTER_ADDR" | NODE_IPS, Some((before, now, _))) => {
                let names = value
                    .lines()
                    .map(|name| match name.strip_suffix(&**before) {
                        Some(host) => format!("{host}{now}"),
                        None => name.to_owned(),
                    });
                *value = names.collect::<Vec<_>>().join("\n");
            }
            _ => (),
        }
    }
    if let Some((.., now)) = domains {
        spec.subdomain = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    #[test]
    fn a_new_attempt_keeps_what_the_task_is_and_drops_what_it_was() {
        let before = json!({
            "metadata": {
                "name": "train-ab12cd34", "namespace": "default", "uid": "u1", "resourceVersion": "7", "creationTimestamp": null,
                "labels": {"task-id": "ab12cd34", "node-idx": "0", "job-name": "train-ab12cd34", "controller-uid": "u1", "team": "x"},
                "annotations": {
                    "num-nodes": "1", "k8s-cli/user": "ada", "k8s-cli/recovery": "{}", "k8s-cli/source": "long", "k8s-cli/ends": "[]",
                    "k8s-cli/complete": "true", "k8s-cli/attempts": "1", "batch.kubernetes.io/job-tracking": "",
                },
            },
            "spec": {
                "parallelism": 0, "completions": 1, "backoffLimit": 0, "activeDeadlineSeconds": 1, "suspend": false,
                "selector": {"matchLabels": {"controller-uid": "u1"}},
                "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}}]},
                "template": {
                    "metadata": {
                        "labels": {"task-id": "ab12cd34", "controller-uid": "u1", "batch.kubernetes.io/job-name": "train-ab12cd34"},
                        "annotations": {"k8s-cli/start": "held"},
                    },
                    "spec": {
                        "activeDeadlineSeconds": 60, "restartPolicy": "Never",
                        "containers": [{"name": "a"}, {"name": "task", "env": [
                            {"name": "A", "value": "1"}, {"name": "SKYPILOT_NUM_RESTARTS", "value": "0"},
                        ]}],
                    },
                },
            },
            "status": {"failed": 1},
        });
        let before: Job = from_value(before).unwrap();
        let now: Timestamp = "2026-01-02T03:04:05".parse().unwrap();
        let restarts = Restarts::default().and("exit code 3", true, now);
        let attempt = Attempt {
            number: 2,
            restarts: &restarts,
            owner: ("train-ab12cd34", "u1".to_owned()),
        };
        let next = job_of_attempt(&before, &attempt);
        let text =
            r#"{"cause":"exit code 3","after_errors":1,"times":["2026-01-02T03:04:05.000000"]}"#;
        let expected = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "train-ab12cd34-try2",
                "labels": {"task-id": "ab12cd34", "node-idx": "0", "team": "x", "k8s-cli/attempt": "2"},
                "annotations": {"num-nodes": "1", "k8s-cli/user": "ada", "k8s-cli/recovery": "{}", "k8s-cli/restarts": text},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "train-ab12cd34", "uid": "u1"}],
            },
            "spec": {
                "backoffLimit": 0,
                "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}}]},
                "template": {
                    "metadata": {
                        "labels": {"task-id": "ab12cd34", "k8s-cli/attempt": "2"},
                        "annotations": {"k8s-cli/start": "held"},
                    },
                    "spec": {
                        "activeDeadlineSeconds": 60, "restartPolicy": "Never",
                        "containers": [{"name": "a"}, {"name": "task", "env": [
                            {"name": "A", "value": "1"}, {"name": "SKYPILOT_NUM_RESTARTS", "value": "1"},
                        ]}],
                    },
                },
            },
        });
        assert_eq!(to_value(&next).unwrap(), expected);
        let third = job_of_attempt(
            &next,
            &Attempt {
                number: 3,
                ..attempt
            },
        );
        assert_eq!(third.metadata.name.as_deref(), Some("train-ab12cd34-try3"));
        let third: Value = to_value(&third).unwrap();
        let variables = &third["spec"]["template"]["spec"]["containers"][1]["env"];
        assert_eq!(variables[1]["value"], "2");
    }

    #[test]
    fn several_nodes_find_each_other_in_a_service_of_the_attempt() {
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let before = json!({
            "metadata": {
                "name": "train-ab12cd34-node-1",
                "labels": {"skypilot-task": "true", "task-id": "ab12cd34", "node-idx": "1"},
                "annotations": {"num-nodes": "2", "k8s-cli/user": "ada"},
            },
            "spec": {"template": {"spec": {
                "hostname": "node-1", "subdomain": "task-ab12cd34-x1y2z",
                "containers": [{"name": "task", "env": [
                    variable("MASTER_ADDR", "node-0.task-ab12cd34-x1y2z"),
                    variable("SKYPILOT_NODE_IPS", "node-0.task-ab12cd34-x1y2z\nnode-1.task-ab12cd34-x1y2z"),
                    variable("MINE", "node-0.task-ab12cd34-x1y2z"),
                ]}],
            }}},
        });
        let mut job: Job = from_value(before).unwrap();
        let restarts = Restarts::default();
        for number in [2, 3] {
            let attempt = Attempt {
                number,
                restarts: &restarts,
                owner: ("train-ab12cd34-node-0", "u0".to_owned()),
            };
            job = job_of_attempt(&job, &attempt);
            let name = format!("train-ab12cd34-node-1-try{number}");
            assert_eq!(job.metadata.name.as_ref(), Some(&name));
            let domain = format!("task-ab12cd34-x1y2z-try{number}");
            let pod = to_value(&job).unwrap()["spec"]["template"]["spec"].take();
            assert_eq!(pod["subdomain"], *domain);
            assert_eq!(pod["hostname"], "node-1");
            let variables = &pod["containers"][0]["env"];
            assert_eq!(variables[0]["value"], format!("node-0.{domain}"));
            assert_eq!(
                variables[1]["value"],
                format!("node-0.{domain}\nnode-1.{domain}")
            );
            assert_eq!(variables[2]["value"], "node-0.task-ab12cd34-x1y2z");
            let service = service_of_attempt(&job, &attempt);
            let expected = json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": domain, "labels": {"skypilot-task": "true", "task-id": "ab12cd34"},
                    "annotations": {"num-nodes": "2", "k8s-cli/user": "ada"},
                    "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "train-ab12cd34-node-0", "uid": "u0"}],
                },
                "spec": {
                    "clusterIP": "None", "publishNotReadyAddresses": true,
                    "selector": {"task-id": "ab12cd34", "k8s-cli/attempt": number.to_string()},
                },
            });
            assert_eq!(to_value(service).unwrap(), expected);
        }
    }

    #[test]
    fn the_annotation_is_read_back_and_stays_small() {
        let now: Timestamp = "2026-01-02T03:04:05".parse().unwrap();
        let mut restarts = Restarts::default();
        for number in 0..30 {
            restarts = restarts.and(&"x".repeat(1000), number % 2 == 0, now);
        }
        assert_eq!((restarts.times.len(), restarts.cause.len()), (20, 200));
        assert_eq!(restarts.after_errors, 15);
        let text = serde_json::to_string(&restarts).unwrap();
        assert_eq!(Restarts::parse(&text), Some(restarts));
        assert_eq!(Restarts::parse("3"), None);
    }
}
