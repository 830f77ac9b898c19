//! Volumes: claims with an owner and a name of the owner's choice.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodSpec};
use kube::api::{ListParams, PostParams};

use super::{
    Error, Executor, Result, call, delete, labels, list, manifest, now, random_id, status,
};
use crate::api::{
    AccessMode, Problem, Reason, TaskDefinition, User, VolumeDefinition, VolumeId, VolumeMetadata,
    VolumeMount, VolumePhase, VolumeStatus, describe,
};

/// What becomes of a task of several nodes whose volume is for one machine.
pub const WAITS: &str = "can be mounted on one machine at a time (ReadWriteOnce): nodes of the task on other machines will wait";

/// Whether an access mode lets only one machine mount a volume.
pub fn is_for_one_machine(mode: &str) -> bool {
    mode.starts_with("ReadWriteOnce")
}

/// What stands behind the volumes of a task.
#[derive(Default)]
pub(super) struct ResolvedVolumes {
    /// The claim behind each mount path.
    pub claims: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

impl Executor {
    /// Creates a volume.
    ///
    /// # Errors
    /// When `user` has one of that name already, or Kubernetes refuses the claim.
    pub async fn create_volume(&self, user: &User, volume: &VolumeDefinition) -> Result<VolumeId> {
        let _one_at_a_time = self.volume_names.lock().await;
        if let Some(claim) = self.claim_named(user, &volume.name).await? {
            let name = &volume.name;
            let id = labels::label(&claim.metadata, labels::VOLUME_ID)
                .cloned()
                .unwrap_or_default();
            return Err(Error::new(
                Reason::AlreadyExists,
                format!("you have a volume `{name}` already, with ID {id}"),
            ));
        }
        let id: VolumeId = random_id()
            .parse()
            .expect("a random id has the form of an id");
        let claim = manifest::claim(&id, user, volume, now());
        let doing = format!("create volume `{}`", volume.name);
        call(doing, self.claims().create(&PostParams::default(), &claim)).await?;
        log::info!("volume created volume_id={id} user={:?}", user.as_str());
        Ok(id)
    }

    /// The volumes of `user`, or everyone's, newest first.
    ///
    /// # Errors
    /// When Kubernetes cannot be asked.
    pub async fn list_volumes(&self, user: Option<&User>) -> Result<Vec<VolumeStatus>> {
        let claims = self
            .owned_claims(labels::volumes_selector(user), user)
            .await?;
        let mut volumes: Vec<_> = claims
            .iter()
            .filter_map(|claim| volume(claim, &self.namespace))
            .collect();
        volumes.sort_by(|a, b| {
            b.created_at
                .cmp(&a.created_at)
                .then_with(|| a.volume_id.cmp(&b.volume_id))
        });
        Ok(volumes)
    }

    /// One volume of `user`.
    ///
    /// # Errors
    /// When there is none of that id, or it is another user's, which looks the same.
    pub async fn get_volume(&self, user: &User, id: &VolumeId) -> Result<VolumeStatus> {
        let selector = format!(
            "{},{}={id}",
            labels::volumes_selector(None),
            labels::VOLUME_ID
        );
        let claims = self.owned_claims(selector, Some(user)).await?;
        log::debug!("volume status read volume_id={id} user={:?}", user.as_str());
        let found = claims
            .first()
            .and_then(|claim| volume(claim, &self.namespace));
        found.ok_or_else(|| Error::new(Reason::NotFound, format!("volume `{id}` not found")))
    }

    /// Deletes a volume and the data in it.
    ///
    /// # Errors
    /// When there is none of that id, it is another user's, or a pod still uses it.
    pub async fn delete_volume(&self, user: &User, id: &VolumeId) -> Result<()> {
        let claim = self.get_volume(user, id).await?.metadata.pvc_name;
        if let Some(user) = self.user_of_claim(&claim).await? {
            return Err(Error::new(
                Reason::Conflict,
                format!("volume `{id}` is in use by {user}, which has not ended"),
            ));
        }
        delete(&self.claims(), "volume", &claim).await?;
        log::info!("volume deleted volume_id={id} user={:?}", user.as_str());
        Ok(())
    }

    /// What mounts a claim and has not ended: a pod, or a Job whose pod is still to come.
    async fn user_of_claim(&self, claim: &str) -> Result<Option<String>> {
        let (jobs_api, pods_api) = (self.jobs(), self.pods());
        let ((jobs, _), (pods, _)) = futures::try_join!(
            list(&jobs_api, ListParams::default(), "Jobs"),
            list(&pods_api, ListParams::default(), "pods")
        )?;
        let jobs = jobs.iter().filter(|job| status::condition(job).is_none());
        let jobs = jobs.map(|job| {
            (
                &job.metadata,
                job.spec
                    .as_ref()
                    .and_then(|spec| spec.template.spec.as_ref()),
            )
        });
        let pods = pods.iter().filter(|pod| !has_ended(pod));
        let pods = pods.map(|pod| (&pod.metadata, pod.spec.as_ref()));
        let user = jobs
            .chain(pods)
            .find(|(_, spec)| spec.is_some_and(|spec| mounts(spec, claim)));
        Ok(
            user.map(|(meta, _)| match labels::label(meta, labels::TASK_ID) {
                Some(task) => format!("task `{task}`"),
                None => format!("`{}`", meta.name.as_deref().unwrap_or_default()),
            }),
        )
    }

    /// The claim behind each mount path of a task: the user's own volume of that name, else a claim of exactly that name,
    /// unless it belongs to another user's volume.
    ///
    /// # Errors
    /// All names that mean nothing.
    pub(super) async fn resolve_volumes(
        &self,
        user: &User,
        task: &TaskDefinition,
    ) -> Result<ResolvedVolumes> {
        let mut resolved = ResolvedVolumes::default();
        let mut problems = Vec::new();
        for (path, mount) in &task.volumes {
            let VolumeMount::Named { name, .. } = mount else {
                continue;
            };
            let field = format!("volumes.{path}");
            let Some(claim) = self.claim_for(user, name).await? else {
                problems.push(Problem::new(
                    field,
                    format!(
                        "you have no volume `{name}`, and no claim of that name is free to use"
                    ),
                ));
                continue;
            };
            let warning = self.warn_of_sharing(&claim, task.num_nodes).await?;
            resolved
                .warnings
                .extend(warning.map(|warning| format!("{field}: volume `{name}` {warning}")));
            let claim = claim.metadata.name.unwrap_or_default();
            resolved.claims.insert(path.clone(), claim);
        }
        if problems.is_empty() {
            Ok(resolved)
        } else {
            Err(Error::new(Reason::Invalid, describe(&problems)))
        }
    }

    /// What may keep a task from running if a claim can be mounted on one machine only.
    async fn warn_of_sharing(
        &self,
        claim: &PersistentVolumeClaim,
        num_nodes: u32,
    ) -> Result<Option<String>> {
        let modes = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.access_modes.as_deref())
            .unwrap_or_default();
        if !modes.iter().all(|mode| is_for_one_machine(mode)) {
            return Ok(None);
        }
        if num_nodes > 1 {
            return Ok(Some(WAITS.to_owned()));
        }
        let running = ListParams::default()
            .labels(&labels::tasks_selector(None))
            .fields("status.phase=Running");
        let (pods, _) = list(&self.pods(), running, "pods").await?;
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let user = pods
            .iter()
            .find(|pod| pod.spec.as_ref().is_some_and(|spec| mounts(spec, name)));
        Ok(user.map(|_| {
            "can be mounted on one machine at a time (ReadWriteOnce), and another task has it now: if they do not come to the same \
             machine, this one will wait"
                .to_owned()
        }))
    }

    async fn claim_for(&self, user: &User, name: &str) -> Result<Option<PersistentVolumeClaim>> {
        if let Some(claim) = self.claim_named(user, name).await? {
            return Ok(Some(claim));
        }
        let claim = call(
            format!("look for claim `{name}`"),
            self.claims().get_opt(name),
        )
        .await?;
        // What goes with a task is that task's.
        let is_free = |claim: &PersistentVolumeClaim| {
            let is_known = [labels::VOLUME, labels::TASK]
                .iter()
                .any(|label| labels::label(&claim.metadata, label).is_some());
            !is_known || labels::is_owned_by(&claim.metadata, user)
        };
        Ok(claim.filter(is_free))
    }

    /// The claim of the user's volume of that name; the oldest, should there be several.
    async fn claim_named(&self, user: &User, name: &str) -> Result<Option<PersistentVolumeClaim>> {
        // What no label holds is no volume's name, and would not be a selector either.
        if name.len() > 63 {
            return Ok(None);
        }
        let selector = format!(
            "{},{}={name}",
            labels::volumes_selector(Some(user)),
            labels::VOLUME_NAME
        );
        let claims = self.owned_claims(selector, Some(user)).await?;
        Ok(claims
            .into_iter()
            .min_by_key(|claim| status::created_at(&claim.metadata)))
    }

    async fn owned_claims(
        &self,
        selector: String,
        user: Option<&User>,
    ) -> Result<Vec<PersistentVolumeClaim>> {
        let (mut claims, _) = list(
            &self.claims(),
            ListParams::default().labels(&selector),
            "volumes",
        )
        .await?;
        claims.retain(|claim| {
            claim.metadata.deletion_timestamp.is_none()
                && user.is_none_or(|user| labels::is_owned_by(&claim.metadata, user))
        });
        Ok(claims)
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn mounts(spec: &PodSpec, claim: &str) -> bool {
    let volumes = spec.volumes.iter().flatten();
    let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.any(|source| source.claim_name == claim)
}

/// What a claim says about its volume; `None` when it is not the claim of one.
fn volume(claim: &PersistentVolumeClaim, namespace: &str) -> Option<VolumeStatus> {
    let meta = &claim.metadata;
    let spec = claim.spec.as_ref()?;
    let status = claim.status.as_ref();
    let size = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref()?.get("storage"));
    let modes = spec.access_modes.iter().flatten();
    Some(VolumeStatus {
        volume_id: labels::label(meta, labels::VOLUME_ID)?.parse().ok()?,
        name: labels::label(meta, labels::VOLUME_NAME)?.clone(),
        size: size.map(|size| size.0.clone()).unwrap_or_default(),
        storage_class: spec.storage_class_name.clone(),
        access_modes: modes
            .filter_map(|mode| mode.parse::<AccessMode>().ok())
            .collect(),
        status: match status.and_then(|status| status.phase.as_deref()) {
            Some("Bound") => VolumePhase::Bound,
            Some("Lost") => VolumePhase::Lost,
            _ => VolumePhase::Pending,
        },
        created_at: status::created_at(meta),
        username: labels::label(meta, labels::USERNAME)
            .cloned()
            .unwrap_or_default(),
        reason: None,
        metadata: VolumeMetadata {
            pvc_name: meta.name.clone()?,
            namespace: namespace.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::List;

    use super::*;
    use crate::golden;

    #[test]
    fn a_recorded_claim_is_told_as_a_volume() {
        let text = golden::read("recorded/persistentvolumeclaims.json");
        let claims: List<PersistentVolumeClaim> = serde_json::from_str(&text).unwrap();
        let volumes: Vec<_> = claims
            .items
            .iter()
            .filter_map(|claim| volume(claim, "default"))
            .collect();
        golden::assert("observed/volumes.yaml", &golden::to_yaml(&volumes));
    }

    #[test]
    fn a_pod_uses_the_claims_that_it_mounts_until_it_ends() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        let spec = pod("Running").spec.unwrap();
        assert!(mounts(&spec, "data") && !mounts(&spec, "other"));
        assert!(!has_ended(&pod("Pending")) && !has_ended(&pod("Running")));
        assert!(has_ended(&pod("Succeeded")) && has_ended(&pod("Failed")));
    }
}
