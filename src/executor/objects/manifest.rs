//! What the program asks Kubernetes to make: one Job per node; a Service through which the nodes find each other, a Secret and
//! claims that go with the task; a claim per volume. Pure functions of their arguments; the golden files under
//! `fixtures/manifests` show what comes out.

mod environment;
mod owned;
mod pod;
mod script;
mod shared;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub use self::{
    owned::{claim, ephemeral_claims, secret, service},
    script::SETUP_FAILED,
    shared::{is_shared, shared},
};
use super::{gpus::Placement, labels};
use crate::api::{TaskDefinition, TaskId, Timestamp, User};

/// The name of the one container of a pod.
pub const CONTAINER: &str = "task";

/// A task about to be created, with everything that was random, timed or looked up.
pub struct Submission<'a> {
    pub id: TaskId,
    pub user: &'a User,
    pub task: &'a TaskDefinition,
    pub created_at: Timestamp,
    /// Whether the failure of a node ends the others.
    pub fail_fast: bool,
    /// The claim behind each mount path of the task.
    pub claims: &'a BTreeMap<String, String>,
    /// Where its GPUs are.
    pub placement: &'a Placement,
}

impl Submission<'_> {
    fn name(&self) -> String {
        self.task
            .name
            .clone()
            .unwrap_or_else(|| labels::default_task_name(self.id))
    }

    fn is_multi_node(&self) -> bool {
        self.task.num_nodes > 1
    }

    /// The names of its nodes in the task's Service, one a line, by rank; none if they are more than a variable can hold.
    fn node_names(&self) -> Option<String> {
        let service = labels::service_name(self.id);
        let ranks = 0..self.task.num_nodes;
        let names: Vec<_> = ranks
            .map(|rank| format!("{}.{service}", hostname(rank)))
            .collect();
        let names = names.join("\n");
        (environment::NODE_IPS.len() + names.len() < environment::MAX_VARIABLE).then_some(names)
    }

    /// What does not do what the task's author may expect.
    pub fn warning(&self) -> Option<String> {
        let is_missing = self.is_multi_node() && self.node_names().is_none();
        is_missing.then(|| {
            let name = environment::NODE_IPS;
            let num_nodes = self.task.num_nodes;
            format!("num_nodes: {num_nodes} names are too long for a variable, so {name} is not set; nodes find each other as node-<rank>.task-<id>")
        })
    }

    /// The labels of everything that belongs to the task as a whole.
    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (labels::TASK.to_owned(), "true".to_owned()),
            (labels::TASK_ID.to_owned(), self.id.to_string()),
            (
                labels::TASK_NAME.to_owned(),
                labels::task_name(&self.name()),
            ),
            (labels::USERNAME.to_owned(), labels::username(self.user)),
        ])
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::from([
            (labels::CREATED_AT.to_owned(), self.created_at.to_string()),
            (
                labels::NUM_NODES.to_owned(),
                self.task.num_nodes.to_string(),
            ),
            (labels::EXACT_USER.to_owned(), self.user.to_string()),
            (labels::EXACT_TASK_NAME.to_owned(), self.name()),
        ]);
        if !self.fail_fast {
            annotations.insert(labels::FAIL_FAST.to_owned(), "false".to_owned());
        }
        annotations
    }
}

/// The Job that runs the node of this rank.
pub fn job(submission: &Submission<'_>, rank: u32) -> Job {
    let task = submission.task;
    let mut labels = submission.labels();
    labels.insert(labels::NODE_IDX.to_owned(), rank.to_string());
    let mut pod_labels = task.resources.labels.clone();
    // What says whose a pod is wins.
    pod_labels.extend(labels.clone());
    let job_name = labels::job_name(task, submission.id);
    Job {
        metadata: ObjectMeta {
            name: Some(labels::node_job_name(&job_name, rank, task.num_nodes)),
            labels: Some(labels),
            annotations: Some(submission.annotations()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::pod(submission, rank)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

fn hostname(rank: u32) -> String {
    format!("node-{rank}")
}

#[cfg(test)]
mod tests;
