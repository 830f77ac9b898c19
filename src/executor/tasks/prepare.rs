//! Turns the definition of a task into a submission: looks up volumes and GPUs, and refuses a definition that is not allowed.
//! Creates nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    api::{
        MAX_JOBS, Problem, Reason, RegistryLogin, Resources, SubmitFlags, TaskDefinition, User,
        VolumeMount, describe, masked,
    },
    executor::{
        cluster::{Cluster, DEADLINE, call},
        error::{Error, Result},
        fresh,
        objects::{self, Files, Found, Origin, Placement, PodRules, Stem, Submission},
        observed::JobRow,
        view::LiveView,
        volumes::{Volumes, WAITS, is_for_one_machine},
    },
};

/// The rules of the operator.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub pods: &'a PodRules,
    /// The claim with the files of all tasks, which no task may mount.
    pub reserved_claim: Option<&'a str>,
}

/// Decides all about a task; returns the submission and the Job of rank 0.
///
/// # Errors
/// When the definition is not allowed, names a volume that does not exist, or is too large.
pub async fn prepare(
    live: &LiveView,
    user: &User,
    origin: Origin,
    task: TaskDefinition,
    flags: SubmitFlags,
    files: Option<Files>,
    rules: Rules<'_>,
) -> Result<(Submission, Job)> {
    let decided = decide(live, user, task, flags, files, rules).await?;
    decided.submission(origin)
}

/// What is decided about a task, and about all tasks of a group alike.
pub struct Decided {
    user: User,
    pub task: TaskDefinition,
    flags: SubmitFlags,
    files: Option<Files>,
    registry_login: Option<RegistryLogin>,
    may_install: bool,
    is_restricted: bool,
    reserved_claim: Option<String>,
    /// The claims of named volumes, by mount path.
    claims: BTreeMap<String, String>,
    placement: Placement,
    warnings: Vec<String>,
}

/// Looks up what a task needs, and refuses a definition that is not allowed.
///
/// # Errors
/// When the definition is not allowed, or names a volume that does not exist.
pub async fn decide(
    live: &LiveView,
    user: &User,
    task: TaskDefinition,
    flags: SubmitFlags,
    files: Option<Files>,
    rules: Rules<'_>,
) -> Result<Decided> {
    let decided = look_up(live, user, task, flags, files, rules);
    // It makes several requests, each with a deadline of its own.
    timeout(DEADLINE, decided)
        .await
        .unwrap_or_else(|_| Err(too_slow()))
}

fn too_slow() -> Error {
    let seconds = DEADLINE.as_secs();
    let message = format!("Kubernetes did not answer within {seconds} s: try again");
    Error::new(Reason::Timeout, message)
}

async fn look_up(
    live: &LiveView,
    user: &User,
    mut task: TaskDefinition,
    flags: SubmitFlags,
    files: Option<Files>,
    Rules {
        pods: rules,
        reserved_claim,
    }: Rules<'_>,
) -> Result<Decided> {
    let mut problems = rules.refusals(&task);
    if files.is_some() && objects::sets_command(&task) {
        let message = "they are unpacked by the command of the task's container, which pod_config replaces: submit without `workdir` and `file_mounts`";
        problems.push(Problem::new("files", message));
    }
    if !problems.is_empty() {
        return Err(Error::new(Reason::Invalid, describe(&problems)));
    }
    let mut warnings = task.warnings();
    if files.is_none() {
        warnings.extend(task.warnings_without_files());
    }
    let registry_login = task.take_registry_login();
    let (may_install, missing) = rules.defaults.apply(&mut task);
    warnings.extend(missing);
    let volumes = Volumes(live).resolve(user, &task).await?;
    warnings.extend(volumes.warnings);
    for (path, mount) in &task.volumes {
        let VolumeMount::Ephemeral { access_mode, .. } = mount else {
            continue;
        };
        let is_for_one = access_mode
            .as_ref()
            .is_none_or(|mode| is_for_one_machine(mode));
        if is_for_one && task.num_nodes > 1 {
            warnings.push(format!("volumes.{path}: the volume {WAITS}"));
        }
    }
    let (placement, warning) = place(&live.cluster, &mut task.resources).await;
    warnings.extend(warning);
    Ok(Decided {
        user: user.clone(),
        task,
        flags,
        files,
        registry_login,
        may_install,
        is_restricted: rules.is_restricted,
        reserved_claim: reserved_claim.map(str::to_owned),
        claims: volumes.claims,
        placement,
        warnings,
    })
}

impl Decided {
    /// The submission of one task, and the Job of rank 0.
    ///
    /// # Errors
    /// When the task is not allowed, or too large.
    pub fn submission(&self, origin: Origin) -> Result<(Submission, Job)> {
        let mut task = self.task.clone();
        let num_tasks = origin.group.as_ref().map_or(1, |group| group.num_tasks);
        if let Some(group) = &origin.group {
            let name = task.name.take();
            let name = name.unwrap_or_else(|| format!("task-{}", group.group_id));
            task.name = Some(format!("{name}-{}", group.rank));
            task.envs.extend(group.parameters.clone());
        }
        let nonce = origin.keyed.as_ref().map(|keyed| keyed.nonce.clone());
        let stem = Stem::new(origin.id, nonce.as_deref());
        let mut files = self.files.clone();
        if let Some(files) = &mut files {
            files.kept.nonce = nonce;
        }
        let mut claims = self.claims.clone();
        let mounts = task.volumes.iter();
        let ephemeral = mounts.filter(|(_, mount)| matches!(mount, VolumeMount::Ephemeral { .. }));
        for (index, (path, _)) in ephemeral.enumerate() {
            claims.insert(path.clone(), stem.ephemeral_claim(index));
        }
        let found = Found {
            claims,
            placement: self.placement.clone(),
            files,
            registry_login: self.registry_login.clone(),
        };
        let (user, flags) = (self.user.clone(), self.flags);
        let mut submission = Submission::new(origin, user, task, fresh::now(), flags, found);
        submission.is_restricted = self.is_restricted;
        submission.may_install = self.may_install;
        submission.warnings.splice(0..0, self.warnings.clone());
        let first = job(&submission, 0)?;
        let pod = first
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.as_ref());
        if let (Some(claim), Some(pod)) = (&self.reserved_claim, pod) {
            objects::check_claim(pod, claim, submission.files.as_ref())
                .map_err(|problem| Error::new(Reason::Invalid, describe(&[problem])))?;
        }
        let (most, doing) = match num_tasks {
            1 => (MAX_JOBS, "a task"),
            number => (MAX_JOBS / number as usize, "each task of this sweep"),
        };
        check_size(&submission, &first, most, doing)?;
        Ok((submission, first))
    }
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
        format!("Kubernetes warns: {}{hint}", masked(&warning))
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
pub fn check_size(submission: &Submission, first: &Job, most: usize, doing: &str) -> Result<()> {
    let job = json_length(first)?;
    match submission.task.is_too_large(job, most, doing) {
        Some(problem) => Err(Error::new(Reason::Invalid, problem.to_string())),
        None => Ok(()),
    }
}

fn json_length(value: &impl Serialize) -> Result<usize> {
    Ok(serde_json::to_vec(value).map_err(Error::internal)?.len())
}
