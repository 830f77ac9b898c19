//! The status of a pod, from the state of its containers.
//!
//! Pure. It follows Kubernetes, `pkg/kubelet/status` and `pkg/kubelet/kubelet_pods.go`, v1.36, including the reasons of the
//! conditions, because clients read them.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::objects::{
    clock,
    object::{elements, text},
};

/// The state of a container.
#[derive(Clone, Debug)]
pub struct ContainerView {
    pub name: String,
    pub image: String,
    /// `{"waiting": ...}`, `{"running": ...}` or `{"terminated": ...}`.
    pub state: Value,
    pub last_state: Value,
    pub restarts: usize,
    /// Whether the startup probe of the present run has succeeded.
    pub started: bool,
    /// Empty before the first start.
    pub id: String,
    pub resources: Value,
}

/// The state of a pod.
#[derive(Clone, Debug)]
pub struct View {
    pub containers: Vec<ContainerView>,
    pub init_containers: Vec<ContainerView>,
    /// Volumes and network are ready.
    pub prepared: bool,
    pub phase: &'static str,
    pub ip: String,
    pub started: Timestamp,
    /// The reason and message for which the pod fails.
    pub failure: Option<(&'static str, String)>,
}

impl ContainerView {
    /// The container of a pod before its first start; `reason` is why it waits.
    pub fn new(spec: &Value, reason: &str) -> Self {
        Self {
            name: text(&spec["name"]).to_owned(),
            image: text(&spec["image"]).to_owned(),
            state: json!({ "waiting": { "reason": reason } }),
            last_state: json!({}),
            restarts: 0,
            started: false,
            id: String::new(),
            resources: spec["resources"].clone(),
        }
    }

    fn is_ready(&self) -> bool {
        self.started && !self.state["running"].is_null()
    }

    fn render(&self, is_init: bool) -> Value {
        let done = self.state["terminated"]["exitCode"] == 0;
        let mut status = json!({
            "name": self.name, "state": self.state, "lastState": self.last_state,
            "ready": if is_init { done } else { self.is_ready() },
            "restartCount": self.restarts, "image": self.image, "imageID": "", "started": self.is_ready(),
        });
        if !self.id.is_empty() {
            // There is no image, so the digest only has the right form.
            status["imageID"] = json!(format!("sha256:{:064x}", 0));
            status["containerID"] = json!(self.id);
            status["resources"] = self.resources.clone();
            if let Some(requests) = self.resources.get("requests") {
                status["allocatedResources"] = requests.clone();
            }
        }
        status
    }
}

/// Writes the status into a pod.
pub fn render(pod: &mut Value, view: &View, now: Timestamp) {
    let old = pod["status"].take();
    let generation = pod["metadata"]["generation"].clone();
    let containers: Vec<Value> = view
        .containers
        .iter()
        .map(|one| one.render(false))
        .collect();
    let mut status = json!({
        "observedGeneration": generation, "phase": view.phase, "conditions": conditions(&old, view, &generation, now),
        "hostIP": "127.0.0.1", "hostIPs": [{ "ip": "127.0.0.1" }], "startTime": clock::seconds(view.started),
        "containerStatuses": containers, "qosClass": old["qosClass"], "resources": {},
    });
    if !view.ip.is_empty() {
        status["podIP"] = json!(view.ip);
        status["podIPs"] = json!([{ "ip": view.ip }]);
    }
    if !view.init_containers.is_empty() {
        status["initContainerStatuses"] = view
            .init_containers
            .iter()
            .map(|one| one.render(true))
            .collect::<Vec<_>>()
            .into();
    }
    if let Some((reason, message)) = view.failure.as_ref().filter(|_| view.is_done()) {
        status["reason"] = json!(reason);
        status["message"] = json!(message);
    }
    pod["status"] = status;
}

impl View {
    pub fn is_done(&self) -> bool {
        matches!(self.phase, "Succeeded" | "Failed")
    }

    /// Whether all containers are ready and the pod is not about to end.
    pub fn is_ready(&self) -> bool {
        !self.is_done()
            && self.failure.is_none()
            && self.containers.iter().all(ContainerView::is_ready)
    }
}

fn conditions(old: &Value, view: &View, generation: &Value, now: Timestamp) -> Vec<Value> {
    let waiting: Vec<&str> = view
        .containers
        .iter()
        .filter(|container| !container.is_ready())
        .map(|container| container.name.as_str())
        .collect();
    let uninitialized = view
        .init_containers
        .iter()
        .any(|one| one.state["terminated"]["exitCode"] != 0);
    let not_ready = || {
        Some((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", waiting.join(" ")),
        ))
    };
    let (ready, why) = match view.phase {
        "Succeeded" => (false, Some(("PodCompleted", String::new()))),
        "Failed" => (false, Some(("PodFailed", String::new()))),
        // The deadline has passed, and the containers are about to end.
        _ if view.failure.is_some() => (false, Some(("PodFailed", String::new()))),
        _ if waiting.is_empty() => (true, None),
        _ => (false, not_ready()),
    };
    let completed = (view.phase == "Succeeded").then(|| ("PodCompleted", String::new()));
    let uninitialized_why = uninitialized.then(|| {
        (
            "ContainersNotInitialized",
            "containers are not complete".to_owned(),
        )
    });
    let rows = [
        (
            "PodReadyToStartContainers",
            view.prepared && !view.is_done(),
            None,
        ),
        (
            "Initialized",
            !uninitialized,
            completed.or(uninitialized_why),
        ),
        ("Ready", ready, why.clone()),
        ("ContainersReady", ready, why),
        ("PodScheduled", true, None),
    ];
    let row = |(kind, holds, why): (&str, bool, Option<(&str, String)>)| {
        let word = if holds { "True" } else { "False" };
        let same = elements(&old["conditions"]).iter().find(|condition| {
            text(&condition["type"]) == kind && text(&condition["status"]) == word
        });
        let since = same.map_or(json!(clock::seconds(now)), |condition| {
            condition["lastTransitionTime"].clone()
        });
        let mut condition = json!({
            "type": kind, "observedGeneration": generation, "status": word, "lastProbeTime": null,
            "lastTransitionTime": since,
        });
        if let Some((reason, message)) = why {
            condition["reason"] = json!(reason);
            if !message.is_empty() {
                condition["message"] = json!(message);
            }
        }
        condition
    };
    // What disturbs the pod is written by others.
    let disruption = elements(&old["conditions"])
        .iter()
        .filter(|condition| condition["type"] == "DisruptionTarget");
    disruption
        .cloned()
        .chain(rows.into_iter().map(row))
        .collect()
}
