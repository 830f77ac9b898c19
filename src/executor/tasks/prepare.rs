//! What becomes of a task before anything is created: what it needs is looked up, and what it may not have is refused.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use serde::Serialize;
use serde_json::Value;

use super::{
    Error, Executor, Result, call,
    gpus::Placement,
    labels,
    manifest::{self, Submission},
    now, pod_config, random_id,
    volumes::{WAITS, is_for_one_machine},
};
use crate::api::{
    Problem, Reason, TaskDefinition, TaskDryRunResponse, TaskId, Timestamp, User, VolumeMount,
    describe,
};

/// How much the Jobs of a task may take in Kubernetes, all together, in bytes of JSON: what a task says stands there once for
/// each node, and in the memory of all who watch.
const MAX_JOBS: usize = 256 * 1024 * 1024;
/// How much of that is shown to who asks what would be created.
const MAX_SHOWN: usize = 16 * 1024 * 1024;

/// A task with all that had to be looked up for it.
pub struct Prepared {
    /// The one that it gets.
    pub id: TaskId,
    user: User,
    /// As its user described it.
    pub task: TaskDefinition,
    created_at: Timestamp,
    fail_fast: bool,
    claims: BTreeMap<String, String>,
    placement: Placement,
    /// What does not do what the task's author may expect.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// The same as what manifests are made of.
    pub fn submission(&self) -> Submission<'_> {
        Submission {
            id: self.id,
            user: &self.user,
            task: &self.task,
            created_at: self.created_at,
            fail_fast: self.fail_fast,
            claims: &self.claims,
            placement: &self.placement,
        }
    }

    /// The Job of a node, with what its user puts over it.
    pub fn job(&self, rank: u32) -> Result<Job> {
        let mut job = manifest::job(&self.submission(), rank);
        if let (Some(config), Some(spec)) = (&self.task.pod_config, &mut job.spec) {
            spec.template = pod_config::apply(&spec.template, config)
                .map_err(|problem| Error::new(Reason::Invalid, describe(&[problem])))?;
        }
        Ok(job)
    }
}

/// Makes sure that the Jobs of a task do not take more than so many bytes together.
fn check_size(prepared: &Prepared, most: usize, doing: &str) -> Result<()> {
    let num_nodes = prepared.task.num_nodes as usize;
    if num_nodes == 1 {
        return Ok(());
    }
    let job = serde_json::to_vec(&prepared.job(0)?)
        .map_err(internal)?
        .len();
    let size = job.saturating_mul(num_nodes);
    if size <= most {
        return Ok(());
    }
    let [size, most] = [size, most].map(|bytes| bytes / 1_000_000);
    let message = format!(
        "num_nodes: the Jobs of {num_nodes} nodes, {job} bytes each, are {size} MB, and {doing} takes {most} MB at most: use fewer \
         nodes, or put less into `envs` and `config`"
    );
    Err(Error::new(Reason::Invalid, message))
}

impl Executor {
    /// What would be created for a task, after Kubernetes has looked at it. The values of `secrets` are not shown.
    ///
    /// # Errors
    /// As of [`Executor::submit`], as far as can be known before.
    pub async fn dry_run(
        &self,
        asking: &User,
        task: TaskDefinition,
        fail_fast: bool,
    ) -> Result<TaskDryRunResponse> {
        let prepared = self.prepare(asking, task, fail_fast).await?;
        check_size(&prepared, MAX_SHOWN, "`dry_run`")?;
        self.try_job(&prepared).await?;
        let submission = prepared.submission();
        let first = prepared.job(0)?.metadata;
        let mut manifests = Vec::new();
        for rank in 0..prepared.task.num_nodes {
            manifests.push(to_value(&prepared.job(rank)?)?);
        }
        if prepared.task.num_nodes > 1 {
            manifests.push(to_value(&manifest::service(&submission, &first))?);
        }
        if !prepared.task.secrets.is_empty() {
            let mut secret = to_value(&manifest::secret(&submission, &first))?;
            for value in secret["data"].as_object_mut().into_iter().flatten() {
                *value.1 = "".into();
            }
            manifests.push(secret);
        }
        if manifest::is_shared(&submission) {
            manifests.push(to_value(&manifest::shared(&submission, &first))?);
        }
        for claim in manifest::ephemeral_claims(&submission, &first) {
            manifests.push(to_value(&claim)?);
        }
        Ok(TaskDryRunResponse {
            manifests,
            warnings: prepared.warnings,
        })
    }

    /// Looks up what a task needs, and refuses what it may not have.
    pub(super) async fn prepare(
        &self,
        asking: &User,
        task: TaskDefinition,
        fail_fast: bool,
    ) -> Result<Prepared> {
        if let Some(config) = &task.pod_config {
            let problems: Vec<Problem> = pod_config::refusals(config, self.allows_pod_config);
            if !problems.is_empty() {
                return Err(Error::new(Reason::Invalid, describe(&problems)));
            }
        }
        let id: TaskId = random_id()
            .parse()
            .expect("a random id has the form of an id");
        let mut warnings = task.warnings();
        let volumes = self.resolve_volumes(asking, &task).await?;
        warnings.extend(volumes.warnings);
        let mut claims = volumes.claims;
        let ephemeral = task.volumes.iter().filter_map(|(path, mount)| match mount {
            VolumeMount::Ephemeral { access_mode, .. } => Some((path, access_mode)),
            VolumeMount::Named { .. } => None,
        });
        for (index, (path, mode)) in ephemeral.enumerate() {
            claims.insert(path.clone(), labels::ephemeral_claim_name(id, index));
            let is_alone = mode.as_ref().is_none_or(|mode| is_for_one_machine(mode));
            if is_alone && task.num_nodes > 1 {
                warnings.push(format!("volumes.{path}: the volume {WAITS}"));
            }
        }
        let (placement, warning) = self.place(task.resources.accelerators.as_ref()).await;
        warnings.extend(warning);
        let mut prepared = Prepared {
            id,
            user: asking.clone(),
            task,
            created_at: now(),
            fail_fast,
            claims,
            placement,
            warnings,
        };
        let warning = prepared.submission().warning();
        prepared.warnings.extend(warning);
        check_size(&prepared, MAX_JOBS, "a task")?;
        Ok(prepared)
    }

    /// Has Kubernetes look at the first Job without creating it.
    pub(super) async fn try_job(&self, prepared: &Prepared) -> Result<()> {
        let job = prepared.job(0)?;
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        call("create the task's Job", self.jobs().create(&params, &job)).await?;
        Ok(())
    }
}

fn to_value(object: &impl Serialize) -> Result<Value> {
    serde_json::to_value(object).map_err(internal)
}

fn internal(error: serde_json::Error) -> Error {
    Error::new(Reason::InternalError, error.to_string())
}
