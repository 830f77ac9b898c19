//! Volumes: claims with an owner and a name of the owner's choice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kube::api::ListParams;

use tokio::sync::Mutex;

use crate::{
    api::{
        Problem, Reason, TaskDefinition, User, VolumeDefinition, VolumeId, VolumeMount,
        VolumePhase, VolumeStatus, describe,
    },
    executor::{
        cluster::call,
        error::{Error, Result},
        fresh,
        identity::Uid,
        objects::{self, labels},
        observed::{ClaimRow, EventRow, JobRow, PodRow},
        view::{LiveView, Scope, scope_of},
    },
};

/// The warning for a task of several nodes whose volume only one machine can mount.
pub const WAITS: &str = "can be mounted on one machine at a time (ReadWriteOnce): nodes of the task on other machines will wait";

/// Whether an access mode lets only one machine mount a volume.
pub fn is_for_one_machine(mode: &str) -> bool {
    mode.starts_with("ReadWriteOnce")
}

/// The claims of a task's volumes.
#[derive(Default)]
pub struct ResolvedVolumes {
    /// The name of the claim for each mount path.
    pub claims: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

/// The operations on volumes.
pub struct Volumes<'a>(pub &'a LiveView);

impl Volumes<'_> {
    /// Creates a volume. Holds `creating` meanwhile, so that two requests cannot create volumes of the same name.
    pub async fn create(
        &self,
        creating: &Mutex<()>,
        user: &User,
        volume: &VolumeDefinition,
    ) -> Result<VolumeId> {
        let _one_at_a_time = creating.lock().await;
        // Another server may have created one that the view does not show yet.
        self.refresh_volumes(Some(user)).await?;
        if let Some(claim) = self.claim_named(user, &volume.name).await? {
            let name = &volume.name;
            let id = claim.volume.as_ref().map(|(id, _)| id.to_string());
            let id = id.unwrap_or_default();
            return Err(Error::new(
                Reason::AlreadyExists,
                format!("you have a volume `{name}` already, with ID {id}"),
            ));
        }
        let id = fresh::id();
        let claim = objects::claim(&id, user, volume, fresh::now());
        let doing = format!("create volume `{}`", volume.name);
        call(doing, self.0.create::<ClaimRow>(&claim)).await?;
        log::info!("volume created volume_id={id} user={:?}", user.as_str());
        Ok(id)
    }

    /// The volumes of `user`, or of all users, newest first.
    pub async fn list(&self, user: Option<&User>) -> Result<Vec<VolumeStatus>> {
        let claims = self.volume_claims(user).await?;
        let mut volumes = self.statuses(&claims).await;
        volumes.sort_by(|a, b| {
            b.created_at
                .cmp(&a.created_at)
                .then_with(|| a.volume_id.cmp(&b.volume_id))
        });
        Ok(volumes)
    }

    /// One volume of `user`.
    pub async fn get(&self, user: &User, id: VolumeId) -> Result<VolumeStatus> {
        let claim = self.look_up_volume(user, id).await?;
        log::debug!("volume status read volume_id={id} user={:?}", user.as_str());
        let mut volumes = self.statuses(&[claim]).await;
        volumes.pop().ok_or_else(|| not_found(id))
    }

    /// The statuses of the volumes of these claims, with a reason for each pending one.
    async fn statuses(&self, claims: &[Arc<ClaimRow>]) -> Vec<VolumeStatus> {
        let is_pending = |claim: &&Arc<ClaimRow>| claim.phase == VolumePhase::Pending;
        let pending: Vec<_> = claims.iter().filter(is_pending).collect();
        let mut reasons = self.last_events(&pending).await;
        let volumes = claims.iter().filter_map(|claim| {
            let mut volume = claim.status(&self.0.cluster.namespace)?;
            if is_pending(&claim) {
                volume.reason = reasons.remove(&claim.uid);
            }
            Some(volume)
        });
        volumes.collect()
    }

    /// The last event about each of these claims, and perhaps about others. No watch follows these events: they are read rarely,
    /// and only while a volume is pending.
    async fn last_events(&self, claims: &[&Arc<ClaimRow>]) -> HashMap<Uid, String> {
        let selector = match claims {
            [] => return HashMap::new(),
            [claim] => format!("{},involvedObject.name={}", EventRow::OF_CLAIMS, claim.name),
            _ => EventRow::OF_CLAIMS.to_owned(),
        };
        let events = self
            .0
            .cluster
            .list::<EventRow>(ListParams::default().fields(&selector));
        let mut events = match events.await {
            Ok((events, _)) => events,
            Err(error) => {
                log::debug!("cannot read the events of claims: {error}");
                return HashMap::new();
            }
        };
        events.sort_by_key(|event| (event.last, event.version));
        let reasons = events.into_iter();
        reasons
            .map(|event| (event.object, event.why.into()))
            .collect()
    }

    /// Deletes a volume and the data in it.
    pub async fn delete(&self, user: &User, id: VolumeId) -> Result<()> {
        let claim = self.look_up_volume(user, id).await?;
        if let Some(user) = self.user_of_claim(&claim.name).await? {
            return Err(Error::new(
                Reason::Conflict,
                format!("volume `{id}` is in use by {user}, which has not ended"),
            ));
        }
        self.0
            .delete::<ClaimRow>("volume", &claim.name, claim.uid)
            .await?;
        log::info!("volume deleted volume_id={id} user={:?}", user.as_str());
        Ok(())
    }

    /// The task, Job or pod that mounts a claim and has not ended. It need not belong to a task, so the view may not know it.
    async fn user_of_claim(&self, claim: &str) -> Result<Option<String>> {
        let ((jobs, _), (pods, _)) = futures::try_join!(
            self.0.cluster.list::<JobRow>(ListParams::default()),
            self.0.cluster.list::<PodRow>(ListParams::default())
        )?;
        let jobs = jobs.into_iter().filter(|job| !job.state.has_ended());
        let jobs = jobs.map(|job| (job.name, job.task, job.claims));
        let pods = pods.into_iter().filter(|pod| !pod.has_ended());
        let pods = pods.map(|pod| (pod.name, pod.task, pod.claims));
        let user = jobs
            .chain(pods)
            .find(|(_, _, claims)| claims.iter().any(|mounted| **mounted == *claim));
        Ok(user.map(|(name, task, _)| match task {
            Some(task) => format!("task `{task}`"),
            None => format!("`{name}`"),
        }))
    }

    /// Finds the claim for each mount path of a task: the user's own volume of that name, else a claim of exactly that name, unless
    /// it belongs to another user's volume.
    pub async fn resolve(&self, user: &User, task: &TaskDefinition) -> Result<ResolvedVolumes> {
        if !task.volumes.is_empty() && !self.0.view.is_fresh() {
            // The warning about shared volumes needs the running pods.
            let running = ListParams::default().labels(&labels::tasks_selector(None));
            self.0.refresh::<PodRow>(running, &Scope::All).await?;
        }
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
            let warning = self.warn_of_sharing(&claim, task.num_nodes);
            resolved
                .warnings
                .extend(warning.map(|warning| format!("{field}: volume `{name}` {warning}")));
            resolved.claims.insert(path.clone(), claim.name.to_string());
        }
        if problems.is_empty() {
            Ok(resolved)
        } else {
            Err(Error::new(Reason::Invalid, describe(&problems)))
        }
    }

    /// A warning if only one machine can mount a claim, and a node of the task may have to wait for that.
    fn warn_of_sharing(&self, claim: &ClaimRow, num_nodes: u32) -> Option<String> {
        let mut modes = claim.access_modes.iter();
        if !modes.all(|mode| is_for_one_machine(mode)) {
            return None;
        }
        if num_nodes > 1 {
            return Some(WAITS.to_owned());
        }
        self.0.view.is_mounted(&claim.name).then(|| {
            "can be mounted on one machine at a time (ReadWriteOnce), and another task has it now: if they do not come to the same \
             machine, this one will wait"
                .to_owned()
        })
    }

    async fn claim_for(&self, user: &User, name: &str) -> Result<Option<Arc<ClaimRow>>> {
        if let Some(claim) = self.claim_named(user, name).await? {
            return Ok(Some(claim));
        }
        self.refresh_volumes(Some(user)).await?;
        if let Some(claim) = self.claim_named(user, name).await? {
            return Ok(Some(claim));
        }
        let claim = self.0.cluster.get::<ClaimRow>(name);
        let claim = call(format!("look for claim `{name}`"), claim).await?;
        // A claim with an owner is free for that owner only.
        let is_free = |claim: &ClaimRow| !claim.is_taken || claim.owner.is(user);
        Ok(claim.filter(is_free).map(Arc::new))
    }

    /// The claim of the user's volume of that name. If there are several, the oldest.
    async fn claim_named(&self, user: &User, name: &str) -> Result<Option<Arc<ClaimRow>>> {
        let claims = self.volume_claims(Some(user)).await?.into_iter();
        let named = claims.filter(|claim| {
            let volume = claim.volume.as_ref();
            volume.is_some_and(|(_, volume)| **volume == *name)
        });
        Ok(named.min_by_key(|claim| claim.created_at))
    }

    /// The claim of a volume of `user`, from the view, else from Kubernetes.
    async fn look_up_volume(&self, user: &User, id: VolumeId) -> Result<Arc<ClaimRow>> {
        let find = || {
            let claims = self.0.view.volumes(Some(user)).into_iter();
            let mut own = claims.filter(|claim| claim.volume.as_ref().is_some_and(|it| it.0 == id));
            own.next()
        };
        if self.0.view.has_fresh_volumes()
            && let Some(claim) = find()
        {
            return Ok(claim);
        }
        self.refresh_volumes(Some(user)).await?;
        find().ok_or_else(|| not_found(id))
    }

    /// The claims of the volumes of `user`, or of all users.
    async fn volume_claims(&self, user: Option<&User>) -> Result<Vec<Arc<ClaimRow>>> {
        if !self.0.view.has_fresh_volumes() {
            self.refresh_volumes(user).await?;
        }
        Ok(self.0.view.volumes(user))
    }

    async fn refresh_volumes(&self, user: Option<&User>) -> Result<()> {
        let params = ListParams::default().labels(&labels::volumes_selector(user));
        self.0.refresh::<ClaimRow>(params, &scope_of(user)).await
    }
}

fn not_found(id: VolumeId) -> Error {
    Error::new(Reason::NotFound, format!("volume `{id}` not found"))
}
