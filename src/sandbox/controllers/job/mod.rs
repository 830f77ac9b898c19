//! The job controller: creates the pods of Jobs and writes the status of Jobs.
//!
//! When a Job or one of its pods changes, `status` plans the next step, and this file carries it out. It follows Kubernetes,
//! `pkg/controller/job/job_controller.go`, v1.36, with retries (`backoffLimit`), deadlines, suspension, indexes, pod failure
//! policies and `ttlSecondsAfterFinished`.

mod indexes;
mod policy;
mod status;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use self::status::{Backoff, TRACKING, condition};
use crate::sandbox::objects::{
    clock,
    deletion::{self, Options, Propagation},
    events::{Component, Recorder},
    object::{Object, text},
    registry::Registry,
    resource::Kind,
    store::Change,
};

/// The delay of a write that only changes the number of ready pods: Kubernetes' `syncJobBatchPeriod`.
const READY_DELAY_SECONDS: i64 = 1;

/// The queue of Jobs.
pub struct JobController {
    registry: Arc<Registry>,
    recorder: Recorder,
    /// Uids.
    queue: BTreeSet<String>,
    later: BTreeSet<(Timestamp, String)>,
    ready_since: HashMap<String, Timestamp>,
    backoffs: HashMap<String, Backoff>,
}

impl JobController {
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            recorder: Recorder::new(registry.clone(), Component::JobController),
            registry,
            queue: BTreeSet::new(),
            later: BTreeSet::new(),
            ready_since: HashMap::new(),
            backoffs: HashMap::new(),
        }
    }

    /// Queues the Job of a change.
    pub fn observe(&mut self, change: &Change) {
        match change.object.kind {
            Kind::Job if change.deleted => {
                self.ready_since.remove(&change.object.uid);
                self.backoffs.remove(&change.object.uid);
                for pod in self.pods(&change.object.uid) {
                    deletion::remove_finalizer(&self.registry, &pod, TRACKING);
                }
            }
            Kind::Job => drop(self.queue.insert(change.object.uid.clone())),
            // Its Job is gone, or was deleted with `--cascade=orphan`.
            Kind::Pod if !change.deleted && !self.has_job(&change.object) => {
                deletion::remove_finalizer(&self.registry, &change.object, TRACKING);
            }
            Kind::Pod => self.queue.extend(change.object.owners.iter().cloned()),
            _ => (),
        }
    }

    /// The time for the next call of [`JobController::sync`] if nothing changes before.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.later.first().map(|(time, _)| *time)
    }

    /// Reconciles all queued Jobs.
    pub fn sync(&mut self) {
        let now = clock::now();
        while let Some((time, uid)) = self.later.pop_first() {
            if time > now {
                self.later.insert((time, uid));
                break;
            }
            self.queue.insert(uid);
        }
        for uid in std::mem::take(&mut self.queue) {
            let found = self.registry.store().get_uid(&uid);
            if let Some(job) = found.filter(|object| object.kind == Kind::Job) {
                self.sync_job(&job, now);
            }
        }
    }

    fn has_job(&self, pod: &Object) -> bool {
        let store = self.registry.store();
        let mut owners = pod.owners.iter().filter_map(|uid| store.get_uid(uid));
        owners.any(|owner| owner.kind == Kind::Job)
    }

    fn sync_job(&mut self, object: &Object, now: Timestamp) {
        let job = object.value();
        let pods = self.pods(&object.uid);
        let values: Vec<Value> = pods.iter().map(|pod| pod.value()).collect();
        let backoff = self.backoffs.remove(&object.uid).unwrap_or_default();
        let plan = status::plan(&job, &values, backoff, now);
        if plan.finished {
            self.release(&pods, &plan.release);
            return self.expire(object, &job, now);
        }
        self.backoffs.insert(object.uid.clone(), plan.backoff);
        if let Some(wake) = plan.wake {
            self.later.insert((wake, object.uid.clone()));
        }
        if plan.spare {
            self.release(&pods, &plan.delete);
        }
        for name in &plan.delete {
            self.delete_pod(object, name);
        }
        let mut status = plan.status;
        let refused = plan
            .create
            .iter()
            .filter(|index| !self.create_pod(object, &job, **index));
        let refused = refused.count() as u64;
        if refused > 0 {
            let active = status["active"].as_u64().unwrap_or(0) - refused;
            status["active"] = json!(active);
            if active == 0
                && let Some(map) = status.as_object_mut()
            {
                map.remove("active");
            }
        }
        if self.only_ready_changed(&object.uid, &job["status"], &status, now) {
            return;
        }
        self.announce(object, &job["status"], &status, false);
        self.write(object, &status);
        let uncounted = status["uncountedTerminatedPods"]
            .as_object()
            .is_some_and(|lists| !lists.is_empty());
        let concluded = condition(&status, "SuccessCriteriaMet")
            .or(condition(&status, "FailureTarget"))
            .is_some();
        if uncounted || concluded || !plan.release.is_empty() {
            self.release(&pods, &plan.release);
            let before = status.clone();
            status::settle(&mut status, now);
            self.announce(object, &before, &status, true);
            self.write(object, &status);
        }
    }

    /// Whether the new status can wait, because only the number of ready pods differs.
    fn only_ready_changed(&mut self, uid: &str, old: &Value, new: &Value, now: Timestamp) -> bool {
        let mut same = new.clone();
        same["ready"] = old["ready"].clone();
        if same != *old || new == old || old["ready"].is_null() {
            self.ready_since.remove(uid);
            return false;
        }
        let since = *self.ready_since.entry(uid.to_owned()).or_insert(now);
        if now >= clock::after(since, READY_DELAY_SECONDS) {
            self.ready_since.remove(uid);
            return false;
        }
        self.later
            .insert((clock::after(since, READY_DELAY_SECONDS), uid.to_owned()));
        true
    }

    /// Records events for new conditions.
    fn announce(&self, job: &Object, old: &Value, new: &Value, settled: bool) {
        let became = |kind: &str| condition(new, kind).filter(|_| condition(old, kind).is_none());
        if settled && became("Complete").is_some() {
            self.recorder.note(job, "Completed", "Job completed");
        }
        if let Some(failed) = became("Failed").filter(|_| settled) {
            self.recorder
                .warn(job, text(&failed["reason"]), text(&failed["message"]));
        }
        if became("Suspended").is_some() {
            self.recorder.note(job, "Suspended", "Job suspended");
        } else if condition(old, "Suspended").is_some() && condition(new, "Suspended").is_none() {
            self.recorder.note(job, "Resumed", "Job resumed");
        }
    }

    /// Deletes a finished Job whose time to live is over.
    fn expire(&mut self, object: &Object, job: &Value, now: Timestamp) {
        let Some(seconds) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else {
            return;
        };
        let last = condition(&job["status"], "Complete").or(condition(&job["status"], "Failed"));
        let Some(end) = last.and_then(|last| clock::parse(text(&last["lastTransitionTime"])))
        else {
            return;
        };
        let expiry = clock::after(end, seconds);
        if expiry > now {
            self.later.insert((expiry, object.uid.clone()));
            return;
        }
        deletion::remove(&self.registry, object, Propagation::Foreground);
    }

    fn pods(&self, uid: &str) -> Vec<Arc<Object>> {
        let owned = self.registry.store().owned_by(uid);
        owned
            .into_iter()
            .filter(|object| object.kind == Kind::Pod)
            .collect()
    }

    fn release(&self, pods: &[Arc<Object>], names: &[String]) {
        for pod in pods
            .iter()
            .filter(|pod| names.iter().any(|name| name == pod.name()))
        {
            deletion::remove_finalizer(&self.registry, pod, TRACKING);
        }
    }

    fn create_pod(&self, object: &Object, job: &Value, index: Option<u64>) -> bool {
        let template = &job["spec"]["template"];
        // The name, with a dash and five letters, must stay a DNS label.
        let prefix: String = object.name().chars().take(57).collect();
        let mut pod = json!({
            "metadata": {
                "generateName": format!("{prefix}-"),
                "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
                "finalizers": [TRACKING],
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": object.name(), "uid": object.uid,
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": template["spec"],
        });
        if let Some(index) = index {
            indexes::give(&mut pod, object.name(), index);
        }
        let namespace = object.namespace();
        match self.registry.create(Kind::Pod, namespace, pod, false) {
            Ok(pod) => {
                let message = format!("Created pod: {}", text(&pod["metadata"]["name"]));
                self.recorder.note(object, "SuccessfulCreate", &message);
                true
            }
            Err(status) => {
                self.recorder
                    .warn(object, "FailedCreate", &format!("Error creating: {status}"));
                false
            }
        }
    }

    fn delete_pod(&self, job: &Object, name: &str) {
        let options = Options::default();
        if deletion::delete(&self.registry, Kind::Pod, job.namespace(), name, &options).is_ok() {
            self.recorder
                .note(job, "SuccessfulDelete", &format!("Deleted pod: {name}"));
        }
    }

    fn write(&self, job: &Object, status: &Value) {
        self.registry
            .edit(job, |value| value["status"] = status.clone());
    }
}
