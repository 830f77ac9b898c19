//! Volumes: claims with an owner and a name of the owner's choice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;

use tokio::sync::Mutex;

use crate::{
    api::{
        Problem, Reason, TaskDefinition, TaskId, User, VolumeDefinition, VolumeId, VolumeMount,
        VolumePhase, VolumeStatus, describe, limit_problems,
    },
    executor::{
        cluster::call,
        error::{Error, Result},
        fresh,
        identity::Uid,
        key::RequestKey,
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
        key: Option<&RequestKey>,
    ) -> Result<VolumeId> {
        let _one_at_a_time = creating.lock().await;
        // Another server may have created one that the view does not show yet.
        self.refresh_volumes(Some(user)).await?;
        let keyed = key.map(|key| (key.id::<VolumeId>("volume", user), key.digest(volume)));
        if let Some((id, request)) = &keyed
            && let Some(claim) = self.claim_of(user, *id)
        {
            if claim.request.as_deref() == Some(request) {
                return Ok(*id);
            }
            let message = format!(
                "Idempotency-Key: has made volume `{id}` from another definition: use another key for another volume"
            );
            return Err(Error::new(Reason::Invalid, message));
        }
        if let Some(claim) = self.claim_named(user, &volume.name).await? {
            let name = &volume.name;
            let id = claim.volume.as_ref().map(|(id, _)| id.to_string());
            let id = id.unwrap_or_default();
            return Err(Error::new(
                Reason::AlreadyExists,
                format!("you have a volume `{name}` already, with ID {id}"),
            ));
        }
        let (id, request) =
            keyed.map_or_else(|| (fresh::id(), None), |(id, request)| (id, Some(request)));
        let claim = objects::claim(&id, user, volume, fresh::now(), request.clone());
        let doing = format!("create volume `{}`", volume.name);
        let created = call(doing, self.0.create::<ClaimRow>(&claim)).await;
        if let (Err(error), Some(request)) = (&created, &request)
            && error.reason() == Reason::AlreadyExists
        {
            // Another server is just as far with the same request.
            self.refresh_volumes(Some(user)).await?;
            let claim = self.claim_of(user, id);
            if claim.is_some_and(|claim| claim.request.as_deref() == Some(request)) {
                return Ok(id);
            }
        }
        created?;
        if request.is_some() {
            self.check_key(user, id, &claim).await?;
        }
        log::info!("volume created volume_id={id} user={:?}", user.as_str());
        Ok(id)
    }

    /// Deletes a new claim again if a request with the same key has made another one at the same time, at another server: the names of
    /// both have the same id, and differ.
    async fn check_key(
        &self,
        user: &User,
        id: VolumeId,
        own: &PersistentVolumeClaim,
    ) -> Result<()> {
        self.refresh_volumes(Some(user)).await?;
        let claims = self.0.view.volumes(Some(user));
        let has_id =
            |claim: &&Arc<ClaimRow>| matches!(claim.volume, Some((other, _)) if other == id);
        let name = own.metadata.name.as_deref().unwrap_or_default();
        let is_own = |claim: &&Arc<ClaimRow>| *claim.name == *name;
        let (own, others): (Vec<_>, Vec<_>) = claims.iter().filter(has_id).partition(is_own);
        if others.is_empty() {
            return Ok(());
        }
        for claim in own {
            let deleted = self.0.delete::<ClaimRow>("volume", &claim.name, claim.uid);
            deleted.await?;
        }
        Err(Error::key_makes_another("volume"))
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
        let users = self.0.view.users_of_claims();
        let volumes = claims.iter().filter_map(|claim| {
            let mut volume = claim.status(&self.0.cluster.namespace)?;
            volume.used_by = users.get(&claim.name).cloned().unwrap_or_default();
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
        if let Some(use_of_it) = self.use_of(&claim.name).await? {
            return Err(Error::new(
                Reason::Conflict,
                format!("volume `{id}` is in use by {use_of_it}"),
            ));
        }
        self.0
            .delete::<ClaimRow>("volume", &claim.name, claim.uid)
            .await?;
        log::info!("volume deleted volume_id={id} user={:?}", user.as_str());
        Ok(())
    }

    /// The task, Job or pod that holds a claim. It need not belong to a task, so the view may not know it.
    async fn use_of(&self, claim: &str) -> Result<Option<String>> {
        let ((jobs, _), (pods, _)) = futures::try_join!(
            self.0.cluster.list::<JobRow>(ListParams::default()),
            self.0.cluster.list::<PodRow>(ListParams::default())
        )?;
        Ok(describe_use(&jobs, &pods, claim))
    }

    /// Finds the claim for each mount path of a task: the user's own volume of that name, else a claim of exactly that name, unless
    /// it belongs to another user's volume.
    pub async fn resolve(&self, user: &User, task: &TaskDefinition) -> Result<ResolvedVolumes> {
        if !task.volumes.is_empty() && !self.0.view.is_fresh() {
            // The warning about shared volumes needs the running pods.
            let running = ListParams::default().labels(&labels::tasks_selector(None));
            self.0.refresh::<PodRow>(running, &Scope::All).await?;
        }
        let claims = self.claims_for(user, task).await?;
        let mut resolved = ResolvedVolumes::default();
        let mut problems = Vec::new();
        for (path, mount) in &task.volumes {
            let VolumeMount::Named { name, .. } = mount else {
                continue;
            };
            let field = format!("volumes.{path}");
            let Some(claim) = claims.get(name.as_str()) else {
                problems.push(Problem::new(
                    field,
                    format!(
                        "you have no volume `{name}`, and no claim of that name is free to use"
                    ),
                ));
                continue;
            };
            let warning = self.warn_of_sharing(claim, task.num_nodes);
            resolved
                .warnings
                .extend(warning.map(|warning| format!("{field}: volume `{name}` {warning}")));
            resolved.claims.insert(path.clone(), claim.name.to_string());
        }
        if problems.is_empty() {
            Ok(resolved)
        } else {
            let problems = limit_problems(problems);
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

    /// The claims that a task names, by name. Each name is looked up once, however many mounts it has.
    async fn claims_for<'t>(
        &self,
        user: &User,
        task: &'t TaskDefinition,
    ) -> Result<HashMap<&'t str, Arc<ClaimRow>>> {
        let names: BTreeSet<&str> = task
            .volumes
            .values()
            .filter_map(VolumeMount::name)
            .collect();
        let mut claims = HashMap::new();
        let mut is_refreshed = false;
        for name in names {
            let mut claim = self.claim_named(user, name).await?;
            if claim.is_none() && !is_refreshed {
                self.refresh_volumes(Some(user)).await?;
                is_refreshed = true;
                claim = self.claim_named(user, name).await?;
            }
            if claim.is_none() {
                claim = self.free_claim(user, name).await?;
            }
            claims.extend(claim.map(|claim| (name, claim)));
        }
        Ok(claims)
    }

    /// The claim of exactly this name, unless it belongs to another user's volume.
    async fn free_claim(&self, user: &User, name: &str) -> Result<Option<Arc<ClaimRow>>> {
        let claim = self.0.cluster.get::<ClaimRow>(name);
        let claim = call(format!("look for claim `{name}`"), claim).await?;
        // A claim with an owner is free for that owner only.
        let is_own = |claim: &ClaimRow| !claim.is_taken || claim.owner.is(user);
        let is_free = |claim: &ClaimRow| !claim.is_deleted && is_own(claim);
        Ok(claim.filter(is_free).map(Arc::new))
    }

    /// The claim of the user's volume of that name. If there are several, the oldest.
    async fn claim_named(&self, user: &User, name: &str) -> Result<Option<Arc<ClaimRow>>> {
        let claims = self.volume_claims(Some(user)).await?.into_iter();
        let named = claims.filter(|claim| {
            let volume = claim.volume.as_ref();
            !claim.is_deleted && volume.is_some_and(|(_, volume)| **volume == *name)
        });
        Ok(named.min_by_key(|claim| claim.created_at))
    }

    /// The claim of a volume of `user`, from the view, else from Kubernetes.
    async fn look_up_volume(&self, user: &User, id: VolumeId) -> Result<Arc<ClaimRow>> {
        let find = || self.claim_of(user, id);
        if self.0.view.has_fresh_volumes()
            && let Some(claim) = find()
        {
            return Ok(claim);
        }
        self.refresh_volumes(Some(user)).await?;
        find().ok_or_else(|| not_found(id))
    }

    /// The claim of a volume of `user`, from the view.
    fn claim_of(&self, user: &User, id: VolumeId) -> Option<Arc<ClaimRow>> {
        let mut claims = self.0.view.volumes(Some(user)).into_iter();
        claims.find(|claim| claim.volume.as_ref().is_some_and(|it| it.0 == id))
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

/// The task, Job or pod that holds a claim, and the way to release it. Kubernetes keeps a claim as long as a pod names it, even a pod
/// that has ended.
fn describe_use(jobs: &[JobRow], pods: &[PodRow], claim: &str) -> Option<String> {
    let mounts = |claims: &[Box<str>]| claims.iter().any(|mounted| **mounted == *claim);
    let jobs = || jobs.iter().filter(|job| mounts(&job.claims));
    let pods = || pods.iter().filter(|pod| mounts(&pod.claims));
    let name = |task: Option<TaskId>, name: &str| match task {
        Some(task) => format!("task `{task}`"),
        None => format!("`{name}`"),
    };
    if let Some(job) = jobs().find(|job| !job.state.has_ended()) {
        return Some(format!(
            "{}, which has not ended",
            name(job.task, &job.name)
        ));
    }
    let has_job = |pod: &PodRow| jobs().any(|job| pod.job == Some(job.uid));
    let is_stopping = |pod: &&PodRow| pod.is_deleted || (pod.job.is_some() && !has_job(pod));
    if let Some(pod) = pods().find(is_stopping) {
        let name = name(pod.task, &pod.name);
        return Some(format!(
            "{name}, which is being stopped: try again when its pods are gone"
        ));
    }
    if let Some(pod) = pods().find(|pod| !pod.has_ended()) {
        return Some(format!(
            "{}, which has not ended",
            name(pod.task, &pod.name)
        ));
    }
    let finished: BTreeSet<_> = pods()
        .map(|pod| pod.task.map(|id| id.to_string()))
        .collect();
    let tasks: Vec<_> = finished.iter().flatten().map(String::as_str).collect();
    match (tasks.as_slice(), finished.contains(&None)) {
        ([], false) => None,
        ([], true) => Some("a pod that has ended: delete the pod first".to_owned()),
        ([task], _) => Some(format!(
            "task `{task}`, which has ended but still has its pod: `k8s-cli jobs stop {task}` removes it"
        )),
        (tasks, _) => Some(format!(
            "{} tasks, which have ended but still have their pods: `k8s-cli jobs stop` removes each of {}",
            tasks.len(),
            tasks.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::executor::scripted_server;

    fn row<R: serde::de::DeserializeOwned>(
        name: &str,
        spec: &Value,
        status: &Value,
        metadata: &Value,
    ) -> R {
        let mut meta = json!({
            "name": name, "uid": format!("uid-{name}"),
            "labels": { "skypilot-task": "true", "task-id": "ab12cd34" },
        });
        let own = meta.as_object_mut().unwrap();
        own.extend(metadata.as_object().unwrap().clone());
        from_value(json!({ "metadata": meta, "spec": spec, "status": status })).unwrap()
    }

    fn job(conditions: &Value) -> JobRow {
        let spec = json!({ "template": { "spec": mounting() } });
        row("j", &spec, &json!({ "conditions": conditions }), &json!({}))
    }

    fn pod(phase: &str, metadata: &Value) -> PodRow {
        row("p", &mounting(), &json!({ "phase": phase }), metadata)
    }

    fn mounting() -> Value {
        json!({ "volumes": [{ "persistentVolumeClaim": { "claimName": "c" } }] })
    }

    #[test]
    fn the_use_of_a_claim_says_how_it_ends() {
        let owned =
            json!({ "ownerReferences": [{ "kind": "Job", "uid": "uid-j", "controller": true }] });
        let done = json!([{ "type": "Complete", "status": "True" }]);
        let of = |jobs: &[JobRow], pods: &[PodRow]| describe_use(jobs, pods, "c");
        let running = of(&[job(&json!([]))], &[]).unwrap();
        assert_eq!(running, "task `ab12cd34`, which has not ended");
        let stopping = of(&[], &[pod("Running", &owned)]).unwrap();
        assert!(stopping.starts_with("task `ab12cd34`, which is being stopped"));
        let finished = of(&[job(&done)], &[pod("Succeeded", &owned)]).unwrap();
        assert!(finished.ends_with("`k8s-cli jobs stop ab12cd34` removes it"));
        let orphan = of(&[], &[pod("Running", &json!({}))]).unwrap();
        assert_eq!(orphan, "task `ab12cd34`, which has not ended");
        assert_eq!(of(&[job(&done)], &[]), None);
        assert_eq!(describe_use(&[], &[pod("Running", &owned)], "other"), None);
    }

    #[actix_rt::test]
    async fn a_name_is_looked_up_once_for_all_its_mounts() {
        let requests = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = requests.clone();
        let cluster = scripted_server::cluster(move |request| {
            let path = request.split([' ', '?']).nth(1).unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let answer = match name.as_str() {
                "nosuch" => json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}),
                _ => json!({"metadata": {"resourceVersion": "9"}, "items": []}),
            };
            seen.lock().unwrap().push(name);
            Some(answer.to_string())
        })
        .await;
        let live = LiveView::new(cluster);
        let mounts: serde_json::Map<String, Value> = (0..64)
            .map(|number| (format!("/m{number}"), "nosuch".into()))
            .collect();
        let task = TaskDefinition::from_json(&json!({"run": "true", "volumes": mounts})).unwrap();
        let resolved = Volumes(&live).resolve(&"ada".parse().unwrap(), &task).await;
        let error = resolved.err().unwrap().to_string();
        assert!(
            error.starts_with("volumes./m0: you have no volume `nosuch`"),
            "{error}"
        );
        assert!(error.ends_with("; and 14 problems more"), "{error}");
        let lookups = requests.lock().unwrap().clone();
        let of_claim = lookups.iter().filter(|name| *name == "nosuch").count();
        assert_eq!(of_claim, 1, "{lookups:?}");
        assert!(lookups.len() < 10, "{lookups:?}");
    }
}
