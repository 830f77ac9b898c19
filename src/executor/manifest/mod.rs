//! What the program asks Kubernetes to make: one Job per node, a Service through which the nodes find each other, a claim per
//! volume. Pure functions of their arguments; the golden files under `fixtures/manifests` show what comes out.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Container, EnvVar, EnvVarSource, ObjectFieldSelector, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec,
            ResourceRequirements, Service, ServiceSpec, Volume, VolumeMount,
            VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};

use super::labels;
use crate::api::{TaskDefinition, TaskId, Timestamp, User, VolumeDefinition, VolumeId};

/// The image of a task that names none.
const DEFAULT_IMAGE: &str = "python:3.13-slim";
/// The name of the one container of a pod.
pub const CONTAINER: &str = "task";

/// A task about to be created, with everything that was random, timed or looked up.
pub struct Submission<'a> {
    pub id: &'a TaskId,
    pub user: &'a User,
    pub task: &'a TaskDefinition,
    pub created_at: Timestamp,
    /// The claim behind each mount path of the task.
    pub claims: &'a BTreeMap<String, String>,
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
        BTreeMap::from([
            (labels::CREATED_AT.to_owned(), self.created_at.to_string()),
            (
                labels::NUM_NODES.to_owned(),
                self.task.num_nodes.to_string(),
            ),
            (labels::EXACT_USER.to_owned(), self.user.to_string()),
            (labels::EXACT_TASK_NAME.to_owned(), self.name()),
        ])
    }
}

/// The Job that runs the node of this rank.
pub fn job(submission: &Submission<'_>, rank: u32) -> Job {
    let task = submission.task;
    let mut labels = submission.labels();
    labels.insert(labels::NODE_IDX.to_owned(), rank.to_string());
    let (volumes, mounts) = volumes(submission.claims);
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(
            task.resources
                .image_id
                .clone()
                .unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
        ),
        command: Some(vec!["/bin/bash".to_owned(), "-c".to_owned()]),
        args: Some(vec![escape_dollars(&script(task))]),
        env: Some(environment(submission, rank)),
        resources: resources(task),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..Container::default()
    };
    let pod = PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container],
        // A namespace with many Services would otherwise put hundreds of variables into the task's environment.
        enable_service_links: Some(false),
        hostname: submission.is_multi_node().then(|| hostname(rank)),
        restart_policy: Some("Never".to_owned()),
        subdomain: submission
            .is_multi_node()
            .then(|| labels::service_name(submission.id)),
        volumes: (!volumes.is_empty()).then_some(volumes),
        ..PodSpec::default()
    };
    let job_name = labels::job_name(task, submission.id);
    Job {
        metadata: ObjectMeta {
            name: Some(labels::node_job_name(&job_name, rank, task.num_nodes)),
            labels: Some(labels.clone()),
            annotations: Some(submission.annotations()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

/// The headless Service of a task with several nodes; it goes with the task's first Job.
///
/// Names resolve before the pods are ready, since the nodes of a task wait for each other.
pub fn service(submission: &Submission<'_>, first_job: &ObjectMeta) -> Service {
    Service {
        metadata: ObjectMeta {
            name: Some(labels::service_name(submission.id)),
            labels: Some(submission.labels()),
            annotations: Some(submission.annotations()),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name: first_job.name.clone().unwrap_or_default(),
                uid: first_job.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(BTreeMap::from([(
                labels::TASK_ID.to_owned(),
                submission.id.to_string(),
            )])),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The claim behind a volume.
pub fn claim(
    id: &VolumeId,
    user: &User,
    volume: &VolumeDefinition,
    created_at: Timestamp,
) -> PersistentVolumeClaim {
    let VolumeDefinition {
        name,
        size,
        storage_class,
        access_modes,
    } = volume;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{id}")),
            labels: Some(BTreeMap::from([
                (labels::VOLUME.to_owned(), "true".to_owned()),
                (labels::VOLUME_ID.to_owned(), id.to_string()),
                (labels::VOLUME_NAME.to_owned(), name.clone()),
                (labels::USERNAME.to_owned(), labels::username(user)),
            ])),
            annotations: Some(BTreeMap::from([
                (labels::CREATED_AT.to_owned(), created_at.to_string()),
                (labels::EXACT_USER.to_owned(), user.to_string()),
            ])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(access_modes.iter().map(ToString::to_string).collect()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(size.clone()),
                )])),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: storage_class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// What the container's bash runs. As in SkyPilot, `setup` is a shell of its own, and `run` starts only if it succeeded.
fn script(task: &TaskDefinition) -> String {
    let mut script = String::new();
    if let Some(workdir) = task
        .workdir
        .as_deref()
        .filter(|workdir| workdir.starts_with('/'))
    {
        script += &format!("cd -- {} || exit\n", quote(workdir));
    }
    if let Some(setup) = task
        .setup
        .as_deref()
        .filter(|setup| !setup.trim().is_empty())
    {
        script += &format!("/bin/bash -c {} || exit\n", quote(setup));
    }
    script + &task.run
}

/// Quotes a text so that a shell reads it as one word.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Protects a text from Kubernetes, which replaces `$(NAME)` and `$$` in arguments and variables before bash sees them
/// (`third_party/forked/golang/expansion/expand.go`, v1.36): `$$` stands for one `$`.
fn escape_dollars(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        escaped.push(c);
        if c == '$' && matches!(chars.peek(), Some('$' | '(')) {
            escaped.push('$');
        }
    }
    escaped
}

fn hostname(rank: u32) -> String {
    format!("node-{rank}")
}

/// The user's variables first, so that what the program says about the node wins.
fn environment(submission: &Submission<'_>, rank: u32) -> Vec<EnvVar> {
    let Submission { id, task, .. } = submission;
    let gpus = task
        .resources
        .accelerators
        .as_ref()
        .map_or(0, |accelerators| accelerators.count);
    let own = [
        ("NODE_RANK", rank.to_string()),
        ("NUM_NODES", task.num_nodes.to_string()),
        ("SKYPILOT_NODE_RANK", rank.to_string()),
        ("SKYPILOT_NUM_NODES", task.num_nodes.to_string()),
    ];
    let unless_given = [
        // Python holds its output back when it does not write to a terminal; SkyPilot sets this too.
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("SKYPILOT_NUM_GPUS_PER_NODE", gpus.to_string()),
        ("SKYPILOT_TASK_ID", id.to_string()),
    ];
    let mut environment: Vec<_> = task
        .node_envs()
        .map(|(name, value)| variable(name, escape_dollars(value)))
        .collect();
    environment.extend(own.into_iter().map(|(name, value)| variable(name, value)));
    let missing = |name: &str| !task.envs.contains_key(name);
    environment.extend(
        unless_given
            .into_iter()
            .filter(|(name, _)| missing(name))
            .map(|(name, value)| variable(name, value)),
    );
    if missing("SKYPILOT_NODE_IPS") {
        environment.push(node_ips(submission));
    }
    environment
}

/// The addresses of all nodes in rank order, one a line: names in the task's Service, or a lone pod's own address.
fn node_ips(submission: &Submission<'_>) -> EnvVar {
    const NAME: &str = "SKYPILOT_NODE_IPS";
    if submission.is_multi_node() {
        let service = labels::service_name(submission.id);
        let names: Vec<_> = (0..submission.task.num_nodes)
            .map(|rank| format!("{}.{service}", hostname(rank)))
            .collect();
        return variable(NAME, names.join("\n"));
    }
    EnvVar {
        name: NAME.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "status.podIP".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    }
}

/// CPU and memory are requests and limits, or only requests where more would do; GPUs are limits, as Kubernetes wants it.
fn resources(task: &TaskDefinition) -> Option<ResourceRequirements> {
    let wanted = &task.resources;
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    for (name, quantity) in [("cpu", &wanted.cpus), ("memory", &wanted.memory)] {
        let Some(quantity) = quantity else { continue };
        requests.insert(name.to_owned(), Quantity(quantity.as_str().to_owned()));
        if !quantity.at_least {
            limits.insert(name.to_owned(), Quantity(quantity.as_str().to_owned()));
        }
    }
    if let Some(accelerators) = &wanted.accelerators {
        limits.insert(
            "nvidia.com/gpu".to_owned(),
            Quantity(accelerators.count.to_string()),
        );
    }
    if requests.is_empty() && limits.is_empty() {
        return None;
    }
    Some(ResourceRequirements {
        limits: (!limits.is_empty()).then_some(limits),
        requests: (!requests.is_empty()).then_some(requests),
        ..ResourceRequirements::default()
    })
}

/// The volumes of the pod, one for each claim, and where the container mounts them.
fn volumes(claims: &BTreeMap<String, String>) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut volumes: Vec<Volume> = Vec::new();
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    let mut mounts = Vec::new();
    for (path, claim) in claims {
        let count = names.len();
        let name = names.entry(claim).or_insert_with(|| {
            let name = format!("volume-{count}");
            volumes.push(Volume {
                name: name.clone(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: claim.clone(),
                    read_only: None,
                }),
                ..Volume::default()
            });
            name
        });
        mounts.push(VolumeMount {
            name: name.clone(),
            mount_path: path.clone(),
            ..VolumeMount::default()
        });
    }
    (volumes, mounts)
}

#[cfg(test)]
mod tests;
