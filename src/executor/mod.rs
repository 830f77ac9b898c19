//! What a task means to Kubernetes: the only room that knows both.
//!
//! [`Executor`] is a cheap handle on a cluster. Its methods do the I/O; what they decide, they decide in pure functions:
//!
//! ```text
//! TaskDefinition ──► manifest ──► Jobs, Service      (submit)
//! Jobs, Pods, Events ──► rows ──► view ──► status ──► TaskStatus       (get, list, logs)
//! ```
//!
//! Nothing here knows of HTTP towards the user. The cluster is the state: what the view holds of it is what watches say, and a server
//! that starts anew finds all of it again. All who follow a log do so through one stream.

mod error;
mod fail_fast;
mod gpus;
mod labels;
mod logs;
mod manifest;
mod objects;
#[cfg(test)]
mod played;
mod pod_config;
mod prepare;
mod rows;
mod shared;
mod status;
mod submit;
mod tasks;
mod view;
mod volumes;

use std::{env, fmt, future::Future, path::Path, sync::Arc, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{PersistentVolumeClaim, Pod, Secret, Service},
    },
};
use kube::{
    Api, Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
};
use rand::{RngExt, distr::Uniform};
use time::OffsetDateTime;
use tokio::sync::Mutex;

#[cfg(test)]
pub use self::logs::{Block, LogSource, Piece};
pub use self::{
    error::{Error, Result},
    logs::{LineText, LogItem, LogLines},
    submit::Creations,
    tasks::{Snapshot, TaskList},
    view::ListVersion,
};
use self::{
    logs::Tails,
    shared::Shared,
    view::{Sight, View},
};
use crate::api::{Reason, TaskId, Timestamp, User};

/// How long Kubernetes may take to answer one request. The API server itself gives up after 60 s; nobody waits that long.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many requests of one operation are under way at once.
const CONCURRENCY: usize = 16;
/// How many objects one page of a list holds: what kubectl asks for.
const PAGE: u32 = 500;

/// Which cluster to use.
pub enum Cluster<'a> {
    /// The one that the environment names: in-cluster, else `KUBECONFIG`, else `~/.kube/config`.
    FromEnvironment,
    /// The current context of this file.
    Kubeconfig(&'a Path),
}

/// A handle on a cluster. Clones share its connections.
#[derive(Clone)]
pub struct Executor {
    client: Client,
    config: Config,
    namespace: String,
    /// Whether users may set in a pod what reaches beyond it.
    allows_pod_config: bool,
    /// What there is, as far as it was told.
    view: Arc<View>,
    /// Held while a volume is created, so that two of one name are not created at once.
    volume_names: Arc<Mutex<()>>,
    creations: Arc<Creations>,
    /// The tasks that somebody looks at.
    sights: Arc<Shared<(User, TaskId), Sight>>,
    /// The logs that somebody follows.
    tails: Arc<Tails>,
}

impl Executor {
    /// Connects to a cluster and asks it for its version.
    ///
    /// # Errors
    /// When there is no usable configuration, or nobody answers.
    pub async fn connect(cluster: Cluster<'_>, namespace: &str) -> Result<Self> {
        let configured = match cluster {
            Cluster::FromEnvironment if env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
                Config::incluster()
                    .map_err(|error| unusable("the configuration of this pod", error))
            }
            Cluster::FromEnvironment => Config::from_kubeconfig(&KubeConfigOptions::default())
                .await
                .map_err(|error| {
                    unusable("the kubeconfig (KUBECONFIG, else ~/.kube/config)", error)
                }),
            Cluster::Kubeconfig(path) => {
                let what = format!("the kubeconfig {}", path.display());
                let kubeconfig =
                    Kubeconfig::read_from(path).map_err(|error| unusable(&what, error))?;
                Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| unusable(&what, error))
            }
        };
        let mut config = configured?;
        config.connect_timeout = Some(DEADLINE / 2);
        // Without its path: that may hold a secret.
        let url = &config.cluster_url;
        let url = format!(
            "{}://{}",
            url.scheme_str().unwrap_or("https"),
            url.authority().map_or("", |host| host.as_str())
        );
        let executor = Self::new(config, namespace)?;
        let version = call(
            format!("use the cluster at {url}"),
            executor.client.apiserver_version(),
        )
        .await?;
        log::info!(
            "connected to Kubernetes {} at {url}, namespace {namespace}",
            version.git_version
        );
        Ok(executor)
    }

    /// An executor on a cluster that nobody has been asked for yet.
    fn new(config: Config, namespace: &str) -> Result<Self> {
        Ok(Self {
            client: connect(&config)?,
            config,
            namespace: namespace.to_owned(),
            allows_pod_config: false,
            view: Arc::default(),
            volume_names: Arc::default(),
            creations: Arc::default(),
            sights: Arc::default(),
            tails: Arc::new(Tails::new()),
        })
    }

    /// The same with connections of its own, for a thread with a runtime of its own: a request that has to be handed to another
    /// thread, and its answer back, waits for both to wake up. Only within the runtime that is to drive them.
    ///
    /// # Errors
    /// When what the kubeconfig names has become unusable.
    pub fn with_own_connections(&self) -> Result<Self> {
        Ok(Self {
            client: connect(&self.config)?,
            ..self.clone()
        })
    }

    /// Lets users set what they like in `config.kubernetes.pod_config`, or only what is harmless to others.
    pub fn allow_pod_config(mut self, allow: bool) -> Self {
        self.allows_pod_config = allow;
        self
    }

    /// Makes sure that questions can be answered: Kubernetes is there, and what it holds has been read once.
    ///
    /// # Errors
    /// When Kubernetes does not answer, or the first reading is not done.
    pub async fn check_ready(&self) -> Result<()> {
        if self.view.is_fresh() {
            return Ok(());
        }
        let doing = "ask Kubernetes for its version";
        call(doing, self.client.apiserver_version()).await?;
        if !self.view.has_loaded() {
            let message = format!("still reading: {} tasks so far", self.view.len());
            return Err(Error::new(Reason::ServiceUnavailable, message));
        }
        Ok(())
    }

    fn jobs(&self) -> Api<Job> {
        self.api()
    }

    fn pods(&self) -> Api<Pod> {
        self.api()
    }

    fn claims(&self) -> Api<PersistentVolumeClaim> {
        self.api()
    }

    fn secrets(&self) -> Api<Secret> {
        self.api()
    }

    fn services(&self) -> Api<Service> {
        self.api()
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn connect(config: &Config) -> Result<Client> {
    Client::try_from(config.clone()).map_err(|error| unusable("the kubeconfig", error))
}

fn unusable(what: &str, error: impl fmt::Display) -> Error {
    // Some errors draw the place in the file below their first line.
    let error = error.to_string();
    let error = error.lines().next().unwrap_or_default();
    Error::new(Reason::InternalError, format!("cannot use {what}: {error}"))
}

/// Waits for one answer of Kubernetes, but not for ever.
///
/// # Errors
/// What Kubernetes refused, or that it cannot be reached, or that it took too long.
async fn call<T>(
    doing: impl fmt::Display,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|error| Error::kube(error, doing)),
        Err(_) => {
            let seconds = DEADLINE.as_secs();
            Err(Error::new(
                Reason::Timeout,
                format!("cannot {doing}: Kubernetes did not answer within {seconds} s"),
            ))
        }
    }
}

/// Eight random characters for an id.
fn random_id() -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let positions = Uniform::new(0, ALPHABET.len()).expect("the alphabet is not empty");
    rand::rng()
        .sample_iter(positions)
        .take(8)
        .map(|position| char::from(ALPHABET[position]))
        .collect()
}

fn now() -> Timestamp {
    OffsetDateTime::now_utc().into()
}
