//! The part of the kubelet that all pods share: the registry, the logs, directories, hosts files and isolation.

use std::{fs, path::PathBuf, rc::Rc, sync::Arc};

use tokio::sync::{OnceCell, watch};

use super::{
    hosts::Hosts,
    isolation::{INIT, Isolation},
    logs::Logs,
};
use crate::sandbox::objects::{
    events::{Component, Recorder},
    registry::Registry,
};

/// This machine, on which the pods run.
pub struct Machine {
    pub registry: Arc<Registry>,
    pub recorder: Recorder,
    pub logs: Arc<Logs>,
    /// One directory per pod.
    pub pods_directory: PathBuf,
    pub claims_directory: PathBuf,
    pub hosts: Rc<Hosts>,
    /// The number of running containers.
    pub running: watch::Sender<usize>,
    isolation: OnceCell<Isolation>,
}

impl Machine {
    pub fn new(
        registry: Arc<Registry>,
        logs: Arc<Logs>,
        pods_directory: PathBuf,
        claims_directory: PathBuf,
    ) -> Self {
        Self {
            hosts: Hosts::new(registry.clone(), pods_directory.join("hosts")),
            recorder: Recorder::new(registry.clone(), Component::Kubelet),
            registry,
            logs,
            pods_directory,
            claims_directory,
            running: watch::Sender::new(0),
            isolation: OnceCell::new(),
        }
    }

    /// The isolation of containers. The first call finds out which kind this machine allows.
    pub async fn isolation(&self) -> &Isolation {
        self.isolation.get_or_init(Isolation::probe).await
    }

    /// The path of the script that a container's first process runs.
    pub fn init_script(&self) -> PathBuf {
        self.pods_directory.join("init.sh")
    }

    /// Writes that script. A failure is only logged, since each container then reports it.
    pub fn write_init_script(&self) {
        let path = self.init_script();
        if let Err(error) = fs::write(&path, INIT) {
            log::error!("sandbox: {}: {error}", path.display());
        }
    }
}
