//! The pod of a node: one container, its resources, and its mounts. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, Container, EmptyDirVolumeSource, EnvFromSource, LocalObjectReference,
        NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
        PersistentVolumeClaimVolumeSource, PodSpec, ResourceRequirements, SecretEnvSource,
        SecretVolumeSource, Toleration, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    barrier,
    defaults::IMAGE,
    environment::{environment, escape_dollars},
    gpus::Placement,
    names, script,
    submission::Submission,
};
use crate::api::{self, TaskDefinition, TimeLimit};

/// The name of the task's container in a pod.
pub const CONTAINER: &str = "task";
/// The name of the volume with the commands.
const SCRIPT: &str = "k8s-cli-script";
/// The name of the volume behind `/dev/shm`.
const SHARED_MEMORY: &str = "shared-memory";

/// The pod of the node of this rank.
pub fn pod(submission: &Submission, rank: u32) -> PodSpec {
    let task = &submission.task;
    let (volumes, mounts) = volumes(submission);
    let script = &submission.script;
    let arguments = script.arguments().iter();
    let arguments = arguments.map(|argument| escape_dollars(argument));
    let secrets = (!task.secrets.is_empty()).then(|| env_from(submission.stem.secret()));
    let image = task.resources.image_id.as_deref().unwrap_or(IMAGE);
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        // `-p`: a `BASH_ENV` of the user is for the script's shell.
        command: Some(["/bin/bash", "-p", "-c"].map(str::to_owned).into()),
        args: Some(arguments.collect()),
        env: Some(environment(submission, rank)),
        env_from: secrets.map(|secrets| vec![secrets]),
        resources: resources(task, &submission.placement),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..Container::default()
    };
    let is_multi_node = submission.is_multi_node();
    let mut pod = PodSpec {
        // Counted from the start of the pod. A deadline of the Job would count the time without a machine, too.
        active_deadline_seconds: task.time_limit.map(TimeLimit::seconds),
        affinity: affinity(&submission.placement),
        automount_service_account_token: Some(false),
        containers: vec![container],
        // A namespace with many Services would otherwise put hundreds of variables into the task's environment.
        enable_service_links: Some(false),
        image_pull_secrets: submission.registry_login.as_ref().map(|_| {
            let name = submission.stem.registry_secret();
            vec![LocalObjectReference { name }]
        }),
        hostname: is_multi_node.then(|| names::hostname(rank)),
        restart_policy: Some("Never".to_owned()),
        subdomain: is_multi_node.then(|| submission.stem.service()),
        tolerations: toleration(&submission.placement).map(|toleration| vec![toleration]),
        volumes: (!volumes.is_empty()).then_some(volumes),
        ..PodSpec::default()
    };
    if submission.has_barrier {
        barrier::add(&mut pod);
    }
    pod
}

/// The variables of a Secret of the task.
fn env_from(secret: String) -> EnvFromSource {
    EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: secret,
            optional: Some(false),
        }),
        ..EnvFromSource::default()
    }
}

/// CPU and memory are both request and limit, or only a request for a quantity with `+`. GPUs are limits, as Kubernetes requires.
fn resources(task: &TaskDefinition, placement: &Placement) -> Option<ResourceRequirements> {
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
    if let Some(gigabytes) = wanted.disk_size {
        let size = Quantity(format!("{gigabytes}G"));
        requests.insert("ephemeral-storage".to_owned(), size);
    }
    if let Some((resource, count)) = placement.resource {
        limits.insert(resource.to_owned(), Quantity(count.to_string()));
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

/// The affinity to the nodes that have GPUs of the wanted type.
fn affinity(placement: &Placement) -> Option<Affinity> {
    if placement.labels.is_empty() {
        return None;
    }
    let requirements = placement
        .labels
        .iter()
        .map(|(key, values)| NodeSelectorRequirement {
            key: key.clone(),
            operator: "In".to_owned(),
            values: Some(values.clone()),
        });
    let term = NodeSelectorTerm {
        match_expressions: Some(requirements.collect()),
        ..NodeSelectorTerm::default()
    };
    let required = NodeSelector {
        node_selector_terms: vec![term],
    };
    Some(Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(required),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    })
}

/// The toleration of the taint that keeps other pods off nodes with GPUs.
fn toleration(placement: &Placement) -> Option<Toleration> {
    let (resource, _) = placement.resource?;
    Some(Toleration {
        key: Some(resource.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    })
}

/// The volumes of the pod, one for each claim, and the mounts of the container.
fn volumes(submission: &Submission) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut volumes: Vec<Volume> = Vec::new();
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    let mut mounts = Vec::new();
    for (path, claim) in &submission.claims {
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
        let sub_path = match submission.task.volumes.get(path) {
            Some(api::VolumeMount::Named { sub_path, .. }) => sub_path.clone(),
            _ => None,
        };
        mounts.push(VolumeMount {
            name: name.clone(),
            mount_path: path.clone(),
            sub_path,
            ..VolumeMount::default()
        });
    }
    if submission.script.files().is_some() {
        volumes.push(Volume {
            name: SCRIPT.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(submission.stem.script_secret()),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
        mounts.push(VolumeMount {
            name: SCRIPT.to_owned(),
            mount_path: script::DIRECTORY.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
    if let Some(files) = &submission.files {
        volumes.push(files.volume(submission.id));
        mounts.push(files.mount());
    }
    const PATH: &str = "/dev/shm";
    if !submission.claims.contains_key(PATH) {
        // Data loaders pass tensors through it, and the default of container runtimes is 64 MiB.
        let memory = submission.task.resources.memory.as_ref();
        let memory = memory.filter(|memory| !memory.at_least);
        volumes.push(Volume {
            name: SHARED_MEMORY.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                size_limit: memory.map(|memory| Quantity(memory.as_str().to_owned())),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        });
        mounts.push(VolumeMount {
            name: SHARED_MEMORY.to_owned(),
            mount_path: PATH.to_owned(),
            ..VolumeMount::default()
        });
    }
    (volumes, mounts)
}
