//! The kubelet: runs the pods of the node as processes of this machine.
//!
//! Each pod has a `worker`, which runs its `container`s, and each run of a container is a `process`; this file starts the workers
//! and notifies them when their pod changes. The sandbox's `mod.rs` starts the kubelet, and `api` reads logs with `log_reader`.
//! The kubelet does not decide which pods there are: it reads them from `objects` and writes their status there.

pub mod log_reader;
pub mod logs;

mod addresses;
mod container;
mod environment;
mod hosts;
mod image;
mod isolation;
mod machine;
mod open_files;
mod pod;
mod pod_status;
mod probe;
mod process;
mod projections;
mod termination;
mod volumes;
mod worker;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

pub use self::machine::Machine;
pub use self::open_files::raise_limit as raise_open_files_limit;
use self::{addresses::Addresses, worker::Worker};
use crate::sandbox::objects::{
    feed::Feed, node::NODE, object::Object, resource::Kind, store::Change,
};

/// The longest wait for the containers when the sandbox ends.
const SHUT_DOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The signals to a worker.
struct Handle {
    changed: Rc<Notify>,
    /// The names of the Secrets and `ConfigMaps` that its pod reads.
    sources: HashSet<String>,
    stop: watch::Sender<Option<Duration>>,
}

/// The pods of the node and their workers.
pub struct Kubelet {
    machine: Rc<Machine>,
    /// By the uid of the pod.
    workers: RefCell<HashMap<String, Handle>>,
    addresses: RefCell<Addresses>,
}

impl Kubelet {
    pub fn new(machine: Machine) -> Rc<Self> {
        open_files::keep_from_children();
        Rc::new(Self {
            machine: Rc::new(machine),
            workers: RefCell::default(),
            addresses: RefCell::new(Addresses::new(rand::random())),
        })
    }

    /// Runs pods as long as the sandbox lives. Containers die with the thread that polls this.
    pub async fn run(self: Rc<Self>) {
        // Whoever starts the sandbox sees at once what differs on this machine.
        self.machine.isolation().await;
        self.machine.write_init_script();
        let mut feed = Feed::new(self.machine.registry.clone());
        while let Some(changes) = feed.next().await {
            for change in &changes {
                self.observe(change);
            }
        }
    }

    /// Kills every container and waits until they are dead.
    pub async fn shut_down(&self) {
        for worker in self.workers.borrow().values() {
            worker.stop.send_replace(Some(Duration::ZERO));
        }
        let mut running = self.machine.running.subscribe();
        if timeout(SHUT_DOWN_TIMEOUT, running.wait_for(|count| *count == 0))
            .await
            .is_err()
        {
            log::warn!("sandbox: some containers do not die");
        }
    }

    fn observe(self: &Rc<Self>, change: &Change) {
        let object = &change.object;
        match object.kind {
            Kind::Pod if object.field("spec.nodeName") == Some(NODE) => {
                self.wake(object, change.deleted)
            }
            // A pod may be waiting for it.
            Kind::Secret | Kind::ConfigMap => {
                let workers = self.workers.borrow();
                let waiting = workers
                    .values()
                    .filter(|worker| worker.sources.contains(object.name()));
                waiting.for_each(|worker| worker.changed.notify_one());
            }
            Kind::Service => self.machine.hosts.refresh(object),
            _ => (),
        }
    }

    fn wake(self: &Rc<Self>, pod: &Arc<Object>, deleted: bool) {
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
        let worker = Worker::new(self.machine.clone(), pod, changed.clone(), address);
        self.workers.borrow_mut().insert(
            pod.uid.clone(),
            Handle {
                changed,
                sources: projections::sources(&pod.value()["spec"]),
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

    /// Removes the files of a deleted pod.
    fn forget(&self, uid: &str) {
        if self.machine.registry.store().get_uid(uid).is_some() {
            return;
        }
        self.machine.logs.forget(uid);
        if let Err(error) = std::fs::remove_dir_all(self.machine.pods_directory.join(uid))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::debug!("pod {uid}: its directory stays: {error}");
        }
    }
}
