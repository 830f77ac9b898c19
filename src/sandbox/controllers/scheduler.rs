//! The scheduler: binds pods to the only node while it has capacity, and reports why a pod has to wait.
//!
//! It keeps the sums of all requests, so that it can try thousands of waiting pods again whenever a pod ends. Messages follow
//! Kubernetes, `pkg/scheduler/framework`, v1.36. Pod affinity and ports have no effect.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::sandbox::objects::{
    clock, deletion,
    events::{Component, Recorder},
    node::{Amounts, NODE, capacity, fits_node, requests, tolerates, untolerated},
    object::{Object, elements, text},
    registry::Registry,
    resource::Kind,
    store::Change,
};

/// A pod that waits for the node.
struct PendingPod {
    pod: Arc<Object>,
    requests: Amounts,
    claims: Vec<String>,
    fits_node: bool,
    said: String,
}

/// The pods on the node and the pods that wait.
pub struct Scheduler {
    registry: Arc<Registry>,
    recorder: Recorder,
    used: Amounts,
    placed: HashMap<String, Amounts>,
    /// By the version in which the scheduler first saw the pod, which is the order of creation.
    waiting: BTreeMap<u64, PendingPod>,
    order: HashMap<String, u64>,
    retry: bool,
}

impl Scheduler {
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            recorder: Recorder::new(registry.clone(), Component::Scheduler),
            registry,
            used: Amounts::new(),
            placed: HashMap::new(),
            waiting: BTreeMap::new(),
            order: HashMap::new(),
            retry: false,
        }
    }

    /// Notes a new, ended or deleted pod, or a claim that a pod may wait for.
    pub fn observe(&mut self, change: &Change) {
        let object = &change.object;
        match object.kind {
            Kind::Claim => self.retry = true,
            Kind::Node => {
                self.retry = true;
                self.drive_away(&object.value());
            }
            Kind::Pod => {
                let phase = object.field("status.phase").unwrap_or_default();
                let done = change.deleted || matches!(phase, "Succeeded" | "Failed");
                if done {
                    self.forget(&object.uid);
                } else if object.field("spec.nodeName").is_none_or(str::is_empty) {
                    self.enqueue(object);
                } else if !self.placed.contains_key(&object.uid) {
                    let requests = requests(&object.value()["spec"]);
                    self.place(&object.uid, requests);
                }
            }
            _ => (),
        }
    }

    /// Binds all pods that fit, in the order of their creation.
    pub fn sync(&mut self) {
        if !std::mem::take(&mut self.retry) {
            return;
        }
        let turns: Vec<u64> = self.waiting.keys().copied().collect();
        for turn in turns {
            let Some(waiting) = self.waiting.get(&turn) else {
                continue;
            };
            let problem = self.problem(waiting);
            let uid = waiting.pod.uid.clone();
            match problem {
                None => {
                    let Some(waiting) = self.waiting.remove(&turn) else {
                        continue;
                    };
                    self.order.remove(&uid);
                    self.bind(&waiting);
                    self.place(&uid, waiting.requests);
                }
                Some(problem) if problem != waiting.said => {
                    self.refuse(&waiting.pod, &problem);
                    if let Some(waiting) = self.waiting.get_mut(&turn) {
                        waiting.said = problem;
                    }
                }
                Some(_) => (),
            }
        }
    }

    fn enqueue(&mut self, object: &Arc<Object>) {
        let pod = object.value();
        let leaving = !pod["metadata"]["deletionTimestamp"].is_null();
        let foreign = text(&pod["spec"]["schedulerName"]) != "default-scheduler";
        let gated = !elements(&pod["spec"]["schedulingGates"]).is_empty();
        if leaving || foreign || gated {
            return self.forget(&object.uid);
        }
        if self.order.contains_key(&object.uid) {
            return;
        }
        let claims = elements(&pod["spec"]["volumes"])
            .iter()
            .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
            .map(str::to_owned);
        let waiting = PendingPod {
            pod: object.clone(),
            requests: requests(&pod["spec"]),
            claims: claims.collect(),
            fits_node: fits_node(&pod["spec"]),
            said: String::new(),
        };
        self.order.insert(object.uid.clone(), object.version);
        self.waiting.insert(object.version, waiting);
        self.retry = true;
    }

    fn place(&mut self, uid: &str, requests: Amounts) {
        for (name, amount) in &requests {
            *self.used.entry(name.clone()).or_default() += amount;
        }
        self.placed.insert(uid.to_owned(), requests);
    }

    fn forget(&mut self, uid: &str) {
        if let Some(turn) = self.order.remove(uid) {
            self.waiting.remove(&turn);
        }
        for (name, amount) in self.placed.remove(uid).into_iter().flatten() {
            *self.used.entry(name).or_default() -= amount;
            self.retry = true;
        }
    }

    /// The reason why a pod cannot be bound.
    fn problem(&self, waiting: &PendingPod) -> Option<String> {
        let store = self.registry.store();
        for name in &waiting.claims {
            let Some(claim) = store.get(Kind::Claim, waiting.pod.namespace(), name) else {
                let why = format!("persistentvolumeclaim \"{name}\" not found");
                return Some(format!("0/1 nodes are available: {why}. not found"));
            };
            let claim = claim.value();
            if !claim["metadata"]["deletionTimestamp"].is_null() {
                let why = format!("persistentvolumeclaim \"{name}\" is being deleted");
                return Some(format!("0/1 nodes are available: {why}. not found"));
            }
            if text(&claim["status"]["phase"]) != "Bound" {
                let why = "pod has unbound immediate PersistentVolumeClaims";
                return Some(format!("0/1 nodes are available: {why}. not found"));
            }
        }
        let node = store.get(Kind::Node, "", NODE);
        let node = node.map(|node| node.value()).unwrap_or_default();
        let keeps_away = keeps_away(waiting, &node);
        let mut reasons = Vec::from_iter(keeps_away.map(str::to_owned));
        if reasons.is_empty() {
            for (name, amount) in &waiting.requests {
                let free = capacity(name) - self.used.get(name).copied().unwrap_or(0);
                if *amount > free && name == "pods" {
                    reasons.push("1 Too many pods".to_owned());
                } else if *amount > free {
                    reasons.push(format!("1 Insufficient {name}"));
                }
            }
        }
        if reasons.is_empty() {
            return None;
        }
        let fits_empty = waiting
            .requests
            .iter()
            .all(|(name, amount)| *amount <= capacity(name));
        let preemption = if fits_empty && keeps_away.is_none() {
            "1 No preemption victims found for incoming pod"
        } else {
            "1 Preemption is not helpful for scheduling"
        };
        Some(format!(
            "0/1 nodes are available: {}. no new claims to deallocate, preemption: 0/1 nodes are available: {preemption}.",
            reasons.join(", ")
        ))
    }

    /// Deletes the pods on the node that do not tolerate its taints of the effect `NoExecute`.
    fn drive_away(&self, node: &Value) {
        if node["spec"]["taints"].is_null() {
            return;
        }
        let placed: Vec<_> = self
            .placed
            .keys()
            .filter_map(|uid| self.registry.store().get_uid(uid))
            .collect();
        for pod in placed {
            let spec = pod.value()["spec"].take();
            if untolerated(&spec, node).any(|taint| taint["effect"] == "NoExecute") {
                let (reason, message) = (
                    "DeletionByTaintManager",
                    "Taint manager: deleting due to NoExecute taint",
                );
                let options = deletion::Options::default();
                drop(deletion::disrupt(
                    &self.registry,
                    &pod,
                    reason,
                    message,
                    &options,
                ));
            }
        }
    }

    fn bind(&self, waiting: &PendingPod) {
        let pod = &waiting.pod;
        let is_bound = self.registry.edit(pod, |value| {
            value["spec"]["nodeName"] = json!(NODE);
            let condition =
                json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null });
            set_condition(value, condition);
        });
        if is_bound {
            let (namespace, name) = (pod.namespace(), pod.name());
            let message = format!("Successfully assigned {namespace}/{name} to {NODE}");
            self.recorder.note(pod, "Scheduled", &message);
        }
    }

    fn refuse(&self, pod: &Object, problem: &str) {
        let is_written = self.registry.edit(pod, |value| {
            let generation = value["metadata"]["generation"].clone();
            set_condition(
                value,
                json!({
                    "type": "PodScheduled", "observedGeneration": generation, "status": "False", "lastProbeTime": null,
                    "reason": "Unschedulable", "message": problem,
                }),
            );
        });
        if is_written {
            self.recorder.warn(pod, "FailedScheduling", problem);
        }
    }
}

/// The reason why a pod must not be on the node, however much is free.
fn keeps_away(waiting: &PendingPod, node: &Value) -> Option<&'static str> {
    let is_cordoned = node["spec"]["unschedulable"] == true;
    if is_cordoned || !node["spec"]["taints"].is_null() {
        let cordon = json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" });
        let spec = waiting.pod.value()["spec"].take();
        if is_cordoned && !tolerates(&spec, &cordon) {
            return Some("1 node(s) were unschedulable");
        } else if untolerated(&spec, node).next().is_some() {
            return Some("1 node(s) had untolerated taint(s)");
        }
    }
    let why = "1 node(s) didn't match Pod's node affinity/selector";
    (!waiting.fits_node).then_some(why)
}

fn set_condition(pod: &mut Value, mut condition: Value) {
    let old = elements(&pod["status"]["conditions"])
        .iter()
        .find(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
    condition["lastTransitionTime"] = match old {
        Some(old) => old["lastTransitionTime"].clone(),
        None => json!(clock::seconds(clock::now())),
    };
    pod["status"]["conditions"] = json!([condition]);
}
