//! The Job of each node of a task: labels, annotations and the pod with `pod_config` applied. Pure.

use k8s_openapi::{
    api::{
        batch::v1::{
            Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
            PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
        },
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{labels, names, pod, pod_config, pod_security, submission::Submission};
use crate::api::Problem;

/// The longest time that a stopped task may take to end, in seconds.
const MAX_GRACE: i64 = 3600;

/// The Job of the node of this rank, with the user's `pod_config` merged into its pod.
pub fn job(submission: &Submission, rank: u32) -> Result<Job, Problem> {
    submission.script.check()?;
    let task = &submission.task;
    let mut labels = task.resources.labels.clone();
    // The program's labels override the user's.
    labels.extend(submission.labels());
    labels.insert(labels::NODE_IDX.to_owned(), rank.to_string());
    let mut annotations = submission.annotations();
    if submission.has_barrier {
        annotations.insert(labels::START.to_owned(), labels::START_HELD.to_owned());
    }
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            // A pod outlives its Job for as long as its processes need to end.
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod::pod(submission, rank)),
    };
    if let Some(config) = &task.pod_config {
        template = pod_config::apply(&template, config)?;
        let spec = template.spec.get_or_insert_default();
        let grace = &mut spec.termination_grace_period_seconds;
        *grace = grace.map(|seconds| seconds.min(MAX_GRACE));
    }
    pod_config::limit_to_task(template.spec.get_or_insert_default(), submission.id);
    if submission.is_restricted {
        pod_security::restrict(template.spec.get_or_insert_default());
    }
    let job_name = names::job_name(task, submission.id);
    let mut annotations = submission.annotations();
    if let Some(files) = submission.files.as_ref().filter(|_| rank == 0) {
        let kept = serde_json::to_string(&files.kept).unwrap_or_default();
        annotations.insert(labels::FILES.to_owned(), kept);
    }
    if let Some(recovery) = &submission.recovery {
        let recovery = serde_json::to_string(recovery).unwrap_or_default();
        annotations.insert(labels::RECOVERY.to_owned(), recovery);
    }
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(names::node_job_name(&job_name, rank, task.num_nodes)),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            // A task of a group starts when it is its turn.
            parallelism: submission.group.as_ref().map(|_| 0),
            pod_failure_policy: Some(failure_policy()),
            template,
            ..JobSpec::default()
        }),
        ..Job::default()
    })
}

/// Makes Kubernetes write the exit code, or the disruption, of a failed pod into the condition of its Job. There it stays when the pod
/// is gone. Clusters before 1.26 ignore it.
fn failure_policy() -> PodFailurePolicy {
    let disrupted = PodFailurePolicyOnPodConditionsPattern {
        status: Some("True".to_owned()),
        type_: "DisruptionTarget".to_owned(),
    };
    let failed = PodFailurePolicyOnExitCodesRequirement {
        container_name: Some(pod::CONTAINER.to_owned()),
        operator: "NotIn".to_owned(),
        values: vec![0],
    };
    let rule = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        ..PodFailurePolicyRule::default()
    };
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                on_pod_conditions: Some(vec![disrupted]),
                ..rule.clone()
            },
            PodFailurePolicyRule {
                on_exit_codes: Some(failed),
                ..rule
            },
        ],
    }
}
