//! Turns the definition of a task into a submission: looks up volumes and GPUs, and refuses a definition that is not allowed.
//! Creates nothing.

use k8s_openapi::api::batch::v1::Job;
use serde::Serialize;
use serde_json::Value;

use crate::{
    api::{Reason, Resources, SubmitFlags, TaskDefinition, User, VolumeMount, describe},
    executor::{
        cluster::{Cluster, call},
        error::{Error, Result},
        fresh,
        objects::{self, Placement, PodRules, Submission, names},
        observed::JobRow,
        view::LiveView,
        volumes::{Volumes, WAITS, is_for_one_machine},
    },
};

/// The largest size of all Jobs of a task together, in bytes of JSON. Each Job repeats most of the task's definition, in etcd and
/// in the memory of each watcher.
const MAX_JOBS: usize = 256 * 1024 * 1024;
/// The largest size of one Job, in bytes of JSON: the limit of etcd for a request (`--max-request-bytes`), with some reserve.
const MAX_JOB: usize = 1_400_000;
/// The largest size of the Jobs that a dry run shows.
const MAX_SHOWN: usize = 32 * 1024 * 1024;

/// Decides all about a task; returns the submission and the Job of rank 0.
///
/// # Errors
/// When the definition is not allowed, names a volume that does not exist, or is too large.
pub async fn prepare(
    live: &LiveView,
    user: &User,
    mut task: TaskDefinition,
    flags: SubmitFlags,
    rules: &PodRules,
) -> Result<(Submission, Job)> {
    let problems = rules.refusals(&task);
    if !problems.is_empty() {
        return Err(Error::new(Reason::Invalid, describe(&problems)));
    }
    let id = fresh::id();
    let mut warnings = task.warnings();
    let (may_install, missing) = rules.defaults.apply(&mut task);
    warnings.extend(missing);
    let volumes = Volumes(live).resolve(user, &task).await?;
    warnings.extend(volumes.warnings);
    let mut claims = volumes.claims;
    let ephemeral = task.volumes.iter().filter_map(|(path, mount)| match mount {
        VolumeMount::Ephemeral { access_mode, .. } => Some((path, access_mode)),
        VolumeMount::Named { .. } => None,
    });
    for (index, (path, mode)) in ephemeral.enumerate() {
        claims.insert(path.clone(), names::ephemeral_claim_name(id, index));
        let is_for_one = mode.as_ref().is_none_or(|mode| is_for_one_machine(mode));
        if is_for_one && task.num_nodes > 1 {
            warnings.push(format!("volumes.{path}: the volume {WAITS}"));
        }
    }
    let (placement, warning) = place(&live.cluster, &mut task.resources).await;
    warnings.extend(warning);
    let user = user.clone();
    let mut submission = Submission::new(id, user, task, fresh::now(), flags, claims, placement);
    submission.is_restricted = rules.is_restricted;
    submission.may_install = may_install;
    submission.warnings.splice(0..0, warnings);
    let first = job(&submission, 0)?;
    check_size(&submission, &first, MAX_JOBS, "a task")?;
    Ok((submission, first))
}

/// The Job of the node of a rank.
pub fn job(submission: &Submission, rank: u32) -> Result<Job> {
    objects::job(submission, rank)
        .map_err(|problem| Error::new(Reason::Invalid, describe(&[problem])))
}

/// Lets Kubernetes check the first Job without creating it; returns its warnings.
pub async fn try_first(cluster: &Cluster, first: &Job) -> Result<Vec<String>> {
    let checked = cluster.create::<JobRow>(first, true);
    let (_, warnings) = call("create the task's Job", checked).await?;
    Ok(describe_warnings(warnings).collect())
}

/// The warnings of Kubernetes about a Job, for a user.
pub fn describe_warnings(warnings: Vec<String>) -> impl Iterator<Item = String> {
    warnings.into_iter().map(|warning| {
        let hint = if warning.starts_with("would violate PodSecurity") {
            ": the administrator can start the server with `serve --pod-security restricted`"
        } else {
            ""
        };
        format!("Kubernetes warns: {warning}{hint}")
    })
}

/// The effect that a submission would have.
pub struct DryRun {
    submission: Submission,
    /// The objects beside the Jobs.
    others: Vec<Value>,
    pub warnings: Vec<String>,
}

impl DryRun {
    /// The objects that would be created, in the order of creation. A task with many nodes has many of them, so each is made when
    /// it is asked for.
    pub fn into_manifests(self) -> impl Iterator<Item = Result<Value>> {
        let ranks = 0..self.submission.task.num_nodes;
        let jobs = ranks.map(move |rank| to_value(&job(&self.submission, rank)?));
        jobs.chain(self.others.into_iter().map(Ok))
    }
}

/// The effect of a submission, after Kubernetes has checked the first Job. The values of `secrets` are omitted.
pub async fn dry_run(cluster: &Cluster, submission: Submission, first: Job) -> Result<DryRun> {
    check_size(&submission, &first, MAX_SHOWN, "`dry_run`")?;
    let of_kubernetes = try_first(cluster, &first).await?;
    let first = &first.metadata;
    let mut others = Vec::new();
    if submission.is_multi_node() {
        others.push(to_value(&objects::service(&submission, first))?);
    }
    for secret in objects::secrets(&submission, first) {
        let mut secret = to_value(&secret)?;
        for value in secret["data"].as_object_mut().into_iter().flatten() {
            *value.1 = "".into();
        }
        others.push(secret);
    }
    for claim in objects::ephemeral_claims(&submission, first) {
        others.push(to_value(&claim)?);
    }
    Ok(DryRun {
        warnings: [submission.warnings.clone(), of_kubernetes].concat(),
        submission,
        others,
    })
}

/// The placement of a task on nodes that have its GPUs, and a warning if that is not possible.
async fn place(cluster: &Cluster, resources: &mut Resources) -> (Placement, Option<String>) {
    let choices = resources.alternatives();
    if choices.iter().all(|choice| choice.accelerators.is_none()) {
        return (Placement::default(), None);
    }
    match cluster.nodes().await {
        Ok(nodes) => objects::choose(&nodes, resources),
        Err(error) => {
            if error.reason() != Reason::Forbidden {
                log::warn!("cannot read the GPUs of the nodes: {error}");
            }
            let Some(wanted) = &resources.accelerators else {
                return (Placement::default(), None);
            };
            let (placement, of_no_node) = objects::place(&[], wanted);
            let warning = of_no_node.map(|_| {
                let name = wanted.name.as_deref().unwrap_or_default();
                format!(
                    "resources.accelerators: the server may not see the nodes, so any GPU will do for {name:?}"
                )
            });
            (placement, warning)
        }
    }
}

/// Checks that Kubernetes can store a Job of the task, and that all its Jobs take at most `most` bytes together. `doing` names the
/// action in the message.
fn check_size(submission: &Submission, first: &Job, most: usize, doing: &str) -> Result<()> {
    let num_nodes = submission.task.num_nodes as usize;
    let job = json_length(first)?;
    let message = if job > MAX_JOB {
        let (largest, length) = largest_part(&submission.task)?;
        format!(
            "{largest}: the Job of a node is {job} bytes, and Kubernetes takes {MAX_JOB} at most: {length} bytes are from `{largest}`"
        )
    } else if job.saturating_mul(num_nodes) > most {
        let [size, most] = [job.saturating_mul(num_nodes), most].map(|bytes| bytes / 1_000_000);
        format!(
            "num_nodes: the Jobs of {num_nodes} nodes, {job} bytes each, are {size} MB, and {doing} takes {most} MB at most: use \
             fewer nodes, or put less into `envs` and `config`"
        )
    } else {
        return Ok(());
    };
    Err(Error::new(Reason::Invalid, message))
}

/// The field of a task that takes most bytes in a Job.
fn largest_part(task: &TaskDefinition) -> Result<(&'static str, usize)> {
    let parts = [
        ("run", task.run.len()),
        ("setup", task.setup.as_ref().map_or(0, String::len)),
        ("envs", json_length(&task.envs)?),
        (
            "config.kubernetes.pod_config",
            json_length(&task.pod_config)?,
        ),
        ("resources.labels", json_length(&task.resources.labels)?),
        // Each mount names a path and a claim.
        (
            "volumes",
            task.volumes.keys().map(|path| 2 * path.len() + 100).sum(),
        ),
    ];
    Ok(parts
        .into_iter()
        .max_by_key(|part| part.1)
        .unwrap_or_default())
}

fn json_length(value: &impl Serialize) -> Result<usize> {
    Ok(serde_json::to_vec(value).map_err(Error::internal)?.len())
}

fn to_value(object: &impl Serialize) -> Result<Value> {
    serde_json::to_value(object).map_err(Error::internal)
}
