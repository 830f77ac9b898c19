//! A pretend cluster: a small Kubernetes API in this process whose pods are processes of this machine.
//!
//! It speaks the Kubernetes API, so a client cannot tell it from a real cluster. It knows nothing of tasks, imports only `k8s`,
//! and only `serve` imports it. Each wing and each file has the name of the part of Kubernetes that it stands in for:
//!
//! ```text
//!                    mod
//!       ┌─────────────┼───────────┐
//!       ▼             ▼           ▼
//!      api ─────► kubelet    controllers
//!       └─────────────┼───────────┘
//!                     ▼
//!                  objects
//! ```
//!
//! # A Job of the sandbox, from POST to exit code
//!
//! 1. `api::apiserver` checks the token of the POST, `request` parses its path, and `verbs::create` decodes its body.
//! 2. `objects::registry` adds the uid and the defaults, validates the Job, and puts it into the `store`.
//! 3. The store numbers the change; each `feed` wakes its reader: the loop of the `controllers`, and the `kubelet`.
//! 4. `controllers::job` plans the next step with `status::plan` (pure), and creates a pod that the Job owns.
//! 5. `controllers::scheduler` checks the claims and the free resources of the node, and writes `spec.nodeName`.
//! 6. `kubelet` starts a `worker` for the pod, which prepares the pod's directory, its volumes and its names.
//! 7. `container` builds the command and the environment, and `process` starts them, with namespaces if the machine allows it.
//! 8. The output goes through a pipe into the `logs` of the kubelet, from which `api::pod_logs` serves it.
//! 9. When the process ends, `container` notes its exit code, `worker` the phase, and `pod_status` renders both for the registry.
//! 10. `controllers::job` lists the pod as uncounted, removes its finalizer, counts it, and sets `Complete` or `Failed`.
//!
//! The sandbox has a thread with a runtime of its own, next to one for HTTP. That thread also starts the containers, and they die
//! with it. The sandbox is for trials and tests. It does not keep users apart.

mod api;
mod controllers;
mod kubelet;
mod objects;
mod state_dir;

#[cfg(test)]
mod tests;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::TcpListener,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

pub use kubelet::raise_open_files_limit;

use actix_web::rt::System;
use serde_json::json;
use tokio::sync::oneshot;

use self::{
    api::{ApiServer, Reviews},
    kubelet::{Kubelet, Machine, logs::Logs},
    objects::{registry::Registry, seed},
    state_dir::StateDir,
};
use crate::k8s::quantity::Quantity;

/// A running sandbox. Dropping it stops the server, kills every pod and removes what it kept on disk.
pub struct Sandbox {
    kubeconfig: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    // The last field to be dropped, since it removes the files of the others.
    _state: StateDir,
}

impl Sandbox {
    /// Starts a sandbox on a free loopback port.
    ///
    /// `namespace` exists beside `default` and `kube-system`. `log_max_size` is a quantity, the kubelet's `containerLogMaxSize`;
    /// without it logs are not rotated. `objects` is a file of objects that exist from the start: see [`seed::load`]. `users` is a
    /// file of users: see [`api::Reviews`].
    pub fn start(
        namespace: &str,
        log_max_size: Option<&str>,
        objects: Option<&Path>,
        users: Option<PathBuf>,
    ) -> io::Result<Self> {
        let log_max_size = log_max_size.map(parse_size).transpose()?;
        let state = StateDir::create()?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let token: Arc<str> = format!("{:032x}", rand::random::<u128>()).into();
        let kubeconfig = state.path().join("kubeconfig");
        // NB: kubectl does not send tokens over plain HTTP; see `apiserver`.
        let url = format!("http://{}/{token}", listener.local_addr()?);
        write_kubeconfig(&kubeconfig, &url, &token, namespace)?;
        let registry = Arc::new(Registry::default());
        seed::create(&registry, namespace)
            .map_err(|status| io::Error::other(status.to_string()))?;
        if let Some(path) = objects {
            seed::load(&registry, path)?;
        }
        let reviews = Reviews::new(token.clone(), users)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let directory = state.path().to_owned();
        let logs = Arc::new(Logs::new(log_max_size));
        let thread = thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || {
                System::new().block_on(run(
                    registry, logs, reviews, listener, directory, ready, stopped,
                ));
            })?;
        let sandbox = Self {
            kubeconfig,
            stop: Some(stop),
            thread: Some(thread),
            _state: state,
        };
        match listening.recv() {
            Ok(Ok(())) => Ok(sandbox),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the sandbox ended before it started")),
        }
    }

    /// The path of a kubeconfig for the sandbox, which only this user can read.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("sandbox: its thread panicked");
        }
    }
}

async fn run(
    registry: Arc<Registry>,
    logs: Arc<Logs>,
    reviews: Reviews,
    listener: TcpListener,
    directory: PathBuf,
    ready: std::sync::mpsc::Sender<io::Result<()>>,
    stopped: oneshot::Receiver<()>,
) {
    let (pods, claims) = (directory.join("pods"), directory.join("claims"));
    let api = ApiServer {
        registry: registry.clone(),
        logs: logs.clone(),
        reviews,
    };
    let made = fs::create_dir_all(&pods).and_then(|()| fs::create_dir_all(&claims));
    let server = match made.and_then(|()| api::serve(api, listener)) {
        Ok(server) => server,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let kubelet = Kubelet::new(Machine::new(registry.clone(), logs, pods, claims.clone()));
    let handle = server.handle();
    let mut server = actix_web::rt::spawn(server);
    let mut controllers = actix_web::rt::spawn(controllers::run(registry, claims));
    let mut running = actix_web::rt::spawn(kubelet.clone().run());
    // The port is bound, so a request that comes now waits in its queue.
    drop(ready.send(Ok(())));
    let lost = tokio::select! {
        // The guard drops the sender to stop the sandbox, which is an error here.
        _ = stopped => None,
        _ = &mut controllers => Some("controllers"),
        _ = &mut running => Some("kubelet"),
        _ = &mut server => Some("API server"),
    };
    if let Some(lost) = lost {
        // Without its API server the sandbox is not ready.
        log::error!("sandbox: its {lost} ended, so it stops: start the server again");
    }
    controllers.abort();
    running.abort();
    handle.stop(false).await;
    if !server.is_finished() {
        drop(server.await);
    }
    kubelet.shut_down().await;
}

fn parse_size(text: &str) -> io::Result<u64> {
    let quantity = Quantity::parse(text).and_then(Quantity::bytes);
    quantity.ok_or_else(|| io::Error::other(format!("{text} is not a number of bytes")))
}

fn write_kubeconfig(path: &Path, url: &str, token: &str, namespace: &str) -> io::Result<()> {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "sandbox",
        "clusters": [{ "name": "sandbox", "cluster": { "server": url } }],
        "users": [{ "name": "sandbox-admin", "user": { "token": token } }],
        "contexts": [{
            "name": "sandbox",
            "context": { "cluster": "sandbox", "user": "sandbox-admin", "namespace": namespace },
        }],
    });
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    // JSON is also YAML.
    writeln!(file, "{config:#}")
}
