//! The life cycle of one pod: preparation, containers, status, termination.
//!
//! A worker ends when its pod has ended or is gone. It follows Kubernetes, `pkg/kubelet/kubelet.go` (`SyncPod`) and
//! `pkg/kubelet/pod_workers.go`, v1.36. The order of its status writes is that of a recording.

use std::{cell::RefCell, net::Ipv4Addr, rc::Rc, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    container,
    machine::Machine,
    pod::{Pod, Stopped},
    pod_status::{ContainerView, View},
    volumes,
};
use crate::sandbox::objects::{
    clock,
    deletion::{self, Options},
    events::Severity,
    object::{Object, elements, text},
};

const DEFAULT_GRACE: Duration = Duration::from_secs(30);
const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// The pause before the next attempt to prepare volumes.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Runs one pod.
pub struct Worker {
    pod: Rc<Pod>,
    address: Ipv4Addr,
    supervise: Rc<Notify>,
}

impl Worker {
    pub fn new(
        machine: Rc<Machine>,
        object: &Arc<Object>,
        supervise: Rc<Notify>,
        address: Ipv4Addr,
    ) -> Self {
        let value = object.value();
        let reason = match elements(&value["spec"]["initContainers"]) {
            [] => "ContainerCreating",
            _ => "PodInitializing",
        };
        let views = |list: &Value| {
            let views = elements(list).iter();
            views.map(|spec| ContainerView::new(spec, reason)).collect()
        };
        let view = View {
            containers: views(&value["spec"]["containers"]),
            init_containers: views(&value["spec"]["initContainers"]),
            prepared: false,
            phase: "Pending",
            ip: String::new(),
            started: clock::now(),
            failure: None,
        };
        let directory = machine.pods_directory.join(&object.uid);
        let pod = Pod {
            machine,
            object: object.clone(),
            value,
            directory,
            view: RefCell::new(view),
            changed: Rc::new(Notify::new()),
            stop: watch::Sender::new(None),
            sources: RefCell::default(),
            names: RefCell::default(),
        };
        Self {
            pod: Rc::new(pod),
            address,
            supervise,
        }
    }

    /// The signal to end the pod's containers.
    pub fn stop(&self) -> watch::Sender<Option<Duration>> {
        self.pod.stop.clone()
    }

    /// Runs the pod to its end.
    pub async fn run(self) {
        self.pod.publish();
        let mut life = std::pin::pin!(live(&self.pod, self.address));
        tokio::select! {
            // The pod is gone, so its containers are about to be killed.
            () = self.supervise() => life.await,
            () = &mut life => (),
        }
        self.pod.names.take();
        self.wind_down().await;
    }

    /// Watches the pod and signals its containers to end. It ends when the pod is gone.
    async fn supervise(&self) {
        let pod = &self.pod;
        let mut told = false;
        loop {
            let Some(value) = pod.present() else {
                pod.stop.send_replace(Some(Duration::ZERO));
                return;
            };
            let leaving = !value["metadata"]["deletionTimestamp"].is_null();
            if leaving {
                let grace = value["metadata"]["deletionGracePeriodSeconds"]
                    .as_u64()
                    .unwrap_or(0);
                pod.stop.send_replace(Some(Duration::from_secs(grace)));
            }
            if !pod.sources.borrow().is_empty() {
                volumes::update(&pod.machine.registry, &value, &pod.directory);
            }
            let deadline = pod.deadline(&value);
            let now = clock::now();
            if deadline.is_some_and(|deadline| deadline <= now) && !leaving && !told {
                told = true;
                pod.say(Severity::Normal, "DeadlineExceeded", DEADLINE_MESSAGE, "");
                pod.view.borrow_mut().failure =
                    Some(("DeadlineExceeded", DEADLINE_MESSAGE.to_owned()));
                pod.publish();
                let grace = value["spec"]["terminationGracePeriodSeconds"].as_u64();
                pod.stop
                    .send_replace(Some(grace.map_or(DEFAULT_GRACE, Duration::from_secs)));
            }
            // The status must have the present generation.
            if value["status"]["observedGeneration"] != value["metadata"]["generation"] {
                pod.publish();
            }
            let wait = deadline
                .filter(|_| !told)
                .and_then(|deadline| Duration::try_from(deadline.duration_since(now)).ok());
            tokio::select! {
                () = self.supervise.notified() => (),
                () = sleep(wait.unwrap_or(Duration::MAX / 4)), if wait.is_some() => (),
            }
            pod.changed.notify_waiters();
        }
    }

    /// Writes the last status, and completes the deletion of the pod when it is being deleted.
    async fn wind_down(&self) {
        let pod = &self.pod;
        let failed = {
            let mut view = pod.view.borrow_mut();
            let fine = |one: &ContainerView| one.state["terminated"]["exitCode"] == 0;
            let all_fine = view.containers.iter().all(fine) && view.failure.is_none();
            view.phase = if all_fine { "Succeeded" } else { "Failed" };
            !all_fine
        };
        log::debug!(
            "pod {}: ended{}",
            pod.object.name(),
            if failed { " badly" } else { "" }
        );
        pod.publish();
        loop {
            let Some(value) = pod.present() else { return };
            if !value["metadata"]["deletionTimestamp"].is_null() {
                break;
            }
            self.supervise.notified().await;
        }
        let options = Options {
            grace_seconds: Some(0),
            uid: Some(pod.object.uid.clone()),
            ..Options::default()
        };
        let deleted = deletion::delete_object(&pod.machine.registry, &pod.object, &options);
        if let Err(status) = deleted {
            log::debug!("pod {}: {status}", pod.object.name());
        }
    }
}

/// Prepares the pod and runs its containers until they have ended.
async fn live(pod: &Rc<Pod>, address: Ipv4Addr) {
    if prepare(pod, address).await.is_err() {
        return;
    }
    let ip = address.to_string();
    pod.view.borrow_mut().prepared = true;
    pod.publish();
    for index in 0..elements(&pod.value["spec"]["initContainers"]).len() {
        if container::run(pod, index, true, &ip).await != Ok(0) {
            return;
        }
    }
    let count = elements(&pod.value["spec"]["containers"]).len();
    let runs = (0..count).map(|index| container::run(pod, index, false, &ip));
    futures::future::join_all(runs).await;
}

async fn prepare(pod: &Pod, address: Ipv4Addr) -> Result<(), Stopped> {
    loop {
        let isolated = pod.machine.isolation().await.has_namespaces();
        let problem = match set_up(pod, address, isolated) {
            Ok(()) => return Ok(()),
            Err(volumes::NotReady(why)) => why,
        };
        pod.say(Severity::Warning, "FailedMount", &problem, "");
        pod.pause(RETRY_INTERVAL).await?;
    }
}

/// Prepares the pod's directory, volumes and names.
fn set_up(pod: &Pod, address: Ipv4Addr, isolated: bool) -> Result<(), volumes::NotReady> {
    let failed = |error: std::io::Error| volumes::NotReady(error.to_string());
    let directories = volumes::Directories {
        pod: &pod.directory,
        claims: &pod.machine.claims_directory,
    };
    std::fs::create_dir_all(pod.directory.join("work")).map_err(failed)?;
    let sources = volumes::prepare(&pod.machine.registry, &pod.value, &directories)?;
    let spec = &pod.value["spec"];
    if !isolated && volumes::need_mounts(spec) {
        return Err(needs_namespaces("MountVolume.SetUp failed: volumes need"));
    }
    if !isolated && !text(&spec["subdomain"]).is_empty() {
        return Err(needs_namespaces("names of other pods need"));
    }
    pod.sources.replace(sources);
    // Without namespaces a pod has the hosts file of the machine.
    if isolated {
        let names = pod.machine.hosts.join(&pod.object, &pod.value, address);
        pod.names.replace(Some(names.map_err(failed)?));
    }
    Ok(())
}

fn needs_namespaces(what: &str) -> volumes::NotReady {
    volumes::NotReady(format!(
        "{what} namespaces, which unshare and setpriv of util-linux cannot make here: install util-linux, and run the server as root \
         outside of containers, or allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0)"
    ))
}
