//! The kubelet: runs the pods of the node as processes of this machine.
//!
//! One `worker` per pod does everything about that pod; this file starts workers and wakes them when their pod changes. Processes
//! are in `process`, logs in `logs` and `log_reader`, addresses and names in `addresses` and `hosts`, and the words of a pod's
//! status in `pod_status`.

pub mod log_reader;
pub mod logs;

mod addresses;
mod environment;
mod hosts;
mod image;
mod isolation;
mod pod_status;
mod process;
mod run;
mod termination;
mod volumes;
mod worker;

use std::{cell::RefCell, collections::HashMap, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, OnceCell, watch},
    time::timeout,
};

use self::{addresses::Addresses, hosts::Hosts, isolation::Isolation, logs::Logs, worker::Worker};
use super::{
    events::Recorder, feed::Feed, node::NODE, object::Object, registry::Registry, resource::Kind,
    store::Change,
};

/// How long dying containers are waited for when the sandbox ends.
const SHUT_DOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach a worker.
struct Handle {
    changed: Rc<Notify>,
    stop: watch::Sender<Option<Duration>>,
}

/// What all workers share.
pub struct Kubelet {
    pub registry: Arc<Registry>,
    pub recorder: Recorder,
    pub logs: Arc<Logs>,
    /// One directory per pod.
    pub pods_directory: PathBuf,
    pub claims_directory: PathBuf,
    isolation: OnceCell<Isolation>,
    workers: RefCell<HashMap<String, Handle>>,
    /// How many containers run, for those who wait for the last to end.
    pub running: watch::Sender<usize>,
    pub hosts: Rc<Hosts>,
    addresses: RefCell<Addresses>,
}

impl Kubelet {
    pub fn new(
        registry: Arc<Registry>,
        recorder: Recorder,
        logs: Arc<Logs>,
        pods_directory: PathBuf,
        claims_directory: PathBuf,
    ) -> Rc<Kubelet> {
        Rc::new(Kubelet {
            hosts: Hosts::new(registry.clone(), pods_directory.join("hosts")),
            registry,
            recorder,
            logs,
            pods_directory,
            claims_directory,
            isolation: OnceCell::new(),
            workers: RefCell::default(),
            running: watch::Sender::new(0),
            addresses: RefCell::new(Addresses::new(rand::random())),
        })
    }

    /// Runs pods for as long as the sandbox lives. Must be awaited on the thread that outlives them: a process dies with
    /// the thread that started it.
    pub async fn run(self: Rc<Kubelet>) {
        if let Err(error) = std::fs::write(self.init_script(), isolation::INIT) {
            log::error!("sandbox: {}: {error}", self.init_script().display());
        }
        let mut feed = Feed::new(self.registry.clone());
        while let Some(changes) = feed.next().await {
            for change in &changes {
                self.observe(change);
            }
        }
    }

    /// Returns where containers find the script of their first process.
    pub fn init_script(&self) -> PathBuf {
        self.pods_directory.join("init.sh")
    }

    /// Kills every container and waits until they are dead.
    pub async fn shut_down(&self) {
        for worker in self.workers.borrow().values() {
            worker.stop.send_replace(Some(Duration::ZERO));
        }
        let mut running = self.running.subscribe();
        if timeout(SHUT_DOWN_TIMEOUT, running.wait_for(|count| *count == 0))
            .await
            .is_err()
        {
            log::warn!("sandbox: some containers do not die");
        }
    }

    /// Finds out, once, how containers can be kept apart.
    async fn isolation(&self) -> &Isolation {
        self.isolation.get_or_init(Isolation::probe).await
    }

    fn observe(self: &Rc<Kubelet>, change: &Change) {
        let object = &change.object;
        match object.kind {
            Kind::Pod if object.field("spec.nodeName") == Some(NODE) => {
                self.wake(object, change.deleted)
            }
            // A pod may be waiting for it.
            Kind::Secret | Kind::ConfigMap => {
                self.workers
                    .borrow()
                    .values()
                    .for_each(|worker| worker.changed.notify_one());
            }
            Kind::Service => self.hosts.refresh(object),
            _ => {}
        }
    }

    fn wake(self: &Rc<Kubelet>, pod: &Arc<Object>, deleted: bool) {
        if let Some(worker) = self.workers.borrow().get(&pod.uid) {
            worker.changed.notify_one();
            return;
        }
        let done = matches!(pod.field("status.phase"), Some("Succeeded" | "Failed"));
        if deleted {
            self.forget(&pod.uid);
        }
        if deleted || done {
            return;
        }
        let changed = Rc::new(Notify::new());
        let kubelet = self.clone();
        let address = self.addresses.borrow_mut().take();
        let worker = Worker::new(kubelet.clone(), pod, changed.clone(), address);
        self.workers.borrow_mut().insert(
            pod.uid.clone(),
            Handle {
                changed,
                stop: worker.stop(),
            },
        );
        let uid = pod.uid.clone();
        tokio::task::spawn_local(async move {
            worker.run().await;
            kubelet.addresses.borrow_mut().release(address);
            kubelet.workers.borrow_mut().remove(&uid);
            kubelet.forget(&uid);
        });
    }

    /// Removes what a pod that is gone has left.
    fn forget(&self, uid: &str) {
        if self.registry.store().get_uid(uid).is_some() {
            return;
        }
        self.logs.forget(uid);
        if let Err(error) = std::fs::remove_dir_all(self.pods_directory.join(uid))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::debug!("pod {uid}: its directory stays: {error}");
        }
    }
}
