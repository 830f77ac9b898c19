//! The handle on Kubernetes: a client, a namespace, a deadline for each call, and lists in pages.
//!
//! ```text
//! kubeconfig      which cluster, which credentials, which proxy
//! connection      clients of one access: proxy, TLS, credentials; calls counts their requests
//! credentials     who the server is to Kubernetes; plugin asks a command of the kubeconfig
//! tls             which certificates are trusted and shown
//! needs           the rights of the server itself
//! reviews         who a token belongs to, and who has which right
//! ```
//!
//! `kube`'s own `Api` decodes each object whole. [`Cluster::page`] and its neighbours make the same requests, but decode only the
//! fields that a [`Resource`] names. A list of 10,000 Jobs then fits into a few megabytes. The module does not know what the
//! objects mean.

mod calls;
mod connection;
mod credentials;
mod kubeconfig;
mod needs;
mod plugin;
mod reviews;
mod tls;
mod warnings;

use std::{
    fmt::{self, Debug},
    future::Future,
    path::Path,
    time::Duration,
};

use futures::Stream;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{Namespace, Node, Pod},
    },
    apimachinery::pkg::version::Info,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    client::Body,
    core::{Request, Status, params::GetParams},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use self::{calls::Calls, connection::Access};
pub use self::{
    needs::Need,
    reviews::{Identity, Permission},
};
use crate::{
    api::{Reason, Timestamp},
    executor::{
        error::{Error, Result, is_about_namespace},
        identity::Version,
    },
};

/// The most time that Kubernetes may take to answer one request. The API server itself gives up after 60 s; no user waits that
/// long.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The number of requests that one operation makes at the same time.
pub const CONCURRENCY: usize = 16;
/// The number of objects in one page of a list: the page size of kubectl.
pub const PAGE: u32 = 500;

/// The source of the cluster's configuration.
pub enum ClusterConfig<'a> {
    /// From the environment: in-cluster, else `KUBECONFIG`, else `~/.kube/config`.
    Environment,
    /// From the current context of this file, of a cluster on this machine: no proxy of the environment is used.
    Kubeconfig(&'a Path),
}

/// A handle on one namespace of a cluster. Clones share its connections.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    access: Access,
    /// The answers of Kubernetes so far.
    pub calls: Calls,
    pub namespace: String,
}

/// A kind of object of which only some fields are decoded.
pub trait Resource: DeserializeOwned {
    /// The API path of the group and version, and the plural name of the kind in paths.
    const PATH: (&'static str, &'static str);
    /// The plural name of the kind in messages.
    const KIND: &'static str;
}

/// A part of a list.
pub struct Page<R> {
    pub items: Vec<R>,
    /// The resource version of the list.
    pub version: Version,
    /// The token that continues the list; none on the last page.
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct List<R> {
    metadata: ListMeta,
    /// Some servers write an empty list as `null`.
    items: Option<Vec<R>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl Cluster {
    /// Reads the configuration, connects, and asks Kubernetes for its version. If it is away for now, returns why too.
    pub async fn connect(
        from: ClusterConfig<'_>,
        namespace: &str,
    ) -> Result<(Self, Option<Error>)> {
        let access = match from {
            ClusterConfig::Environment => kubeconfig::of_environment(),
            ClusterConfig::Kubeconfig(path) => kubeconfig::of_file(path),
        };
        let access = access.map_err(unusable)?;
        // The path and the login are left out: they may hold a secret.
        let url = &access.config.cluster_url;
        let host = url.authority().map_or("", |host| host.as_str());
        let mut place = format!(
            "{}://{}",
            url.scheme_str().unwrap_or("https"),
            host.rsplit('@').next().unwrap_or_default()
        );
        if let Some(proxy) = &access.proxy {
            place = format!("{place} through the proxy {proxy}");
        }
        // A plugin may ask the person at the terminal, who needs more time than Kubernetes.
        let header = access.credentials.header().await;
        header.map_err(|problem| Error::new(Reason::InternalError, problem))?;
        let cluster = Self::new(access, Calls::default(), namespace)?;
        let doing = format!("use the cluster at {place}");
        match call(doing, cluster.client.apiserver_version()).await {
            Ok(version) => log::info!(
                "connected to Kubernetes {} at {place}, namespace {namespace}",
                version.git_version
            ),
            // After a reboot of everything, the server may be the first to be there.
            Err(error) if error.may_pass() => return Ok((cluster, Some(error))),
            Err(error) => return Err(error),
        }
        if cluster.lacks_namespace().await {
            log::warn!(
                "the namespace {namespace} does not exist: no task can be submitted until it is created, with `kubectl create namespace {namespace}`"
            );
        }
        Ok((cluster, None))
    }

    /// Whether the namespace certainly does not exist. A list of its objects does not tell: it is empty.
    pub async fn lacks_namespace(&self) -> bool {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match tokio::time::timeout(DEADLINE, namespaces.get(&self.namespace)).await {
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => true,
            // The server needs no right to read namespaces. It has that to create Jobs.
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                let job = serde_json::from_value(json!({
                    "metadata": {"generateName": "k8s-cli-check-"},
                    "spec": {"template": {"spec": {
                        "restartPolicy": "Never", "containers": [{"name": "task", "image": "none"}],
                    }}},
                }));
                let Ok(job) = job else { return false };
                let trial = PostParams {
                    dry_run: true,
                    ..PostParams::default()
                };
                let jobs = self.api::<Job>();
                let created = tokio::time::timeout(DEADLINE, jobs.create(&trial, &job)).await;
                matches!(created, Ok(Err(kube::Error::Api(status))) if is_about_namespace(&status))
            }
            _ => false,
        }
    }

    /// A handle that has not made a request yet.
    fn new(access: Access, calls: Calls, namespace: &str) -> Result<Self> {
        let client = access
            .client(&calls)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            client,
            access,
            calls,
            namespace: namespace.to_owned(),
        })
    }

    /// A handle on a server at a URL, for tests.
    #[cfg(test)]
    pub fn at(url: &str, namespace: &str) -> Result<Self> {
        let access = kubeconfig::of_url(url).map_err(unusable)?;
        Self::new(access, Calls::default(), namespace)
    }

    /// The same handle with connections of its own, for a thread with a runtime of its own. A shared connection would wake up
    /// another thread for each request and each answer.
    pub fn with_own_connections(&self) -> Result<Self> {
        Self::new(self.access.clone(), self.calls.clone(), &self.namespace)
    }

    /// The version of Kubernetes.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn version(&self) -> Result<Info> {
        let doing = "ask Kubernetes for its version";
        call(doing, self.client.apiserver_version()).await
    }

    /// The time by Kubernetes' clock; none if its answer does not say it.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn now(&self) -> Result<Option<Timestamp>> {
        let request = http::Request::get("/version").body(Body::empty());
        let answer = async {
            let request = request.map_err(kube::Error::HttpError)?;
            self.client.send(request).await
        };
        let answer = call("ask Kubernetes for the time", answer).await?;
        let date = answer.headers().get(http::header::DATE);
        Ok(date.and_then(|date| Timestamp::from_http_date(date.to_str().ok()?)))
    }

    /// Checks that Kubernetes answers.
    pub async fn check(&self) -> Result<()> {
        self.version().await.map(drop)
    }

    /// The objects of a kind in the namespace, decoded whole.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The nodes of the cluster, which belong to no namespace.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        self.all("list nodes", ListParams::default()).await
    }

    /// The pods of all namespaces that take room on a node.
    pub async fn all_pods(&self) -> Result<Vec<Pod>> {
        let unfinished = "status.phase!=Succeeded,status.phase!=Failed";
        let params = ListParams::default().fields(unfinished);
        self.all("list the pods of all namespaces", params).await
    }

    /// The objects of a kind in all namespaces.
    async fn all<K>(&self, doing: &str, params: ListParams) -> Result<Vec<K>>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let mut items = Vec::new();
        let mut page = params.limit(PAGE);
        loop {
            let list = call(doing, api.list(&page)).await?;
            items.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(items),
            }
        }
    }

    fn requests<R: Resource>(&self) -> Request {
        let (group, plural) = R::PATH;
        Request::new(format!("{group}/namespaces/{}/{plural}", self.namespace))
    }

    /// Reads one page of a list.
    pub async fn page<R: Resource>(&self, params: &ListParams) -> Result<Page<R>> {
        let doing = format!("list {}", R::KIND);
        let request = self.requests::<R>().list(params);
        let request =
            request.map_err(|error| Error::kube(kube::Error::BuildRequest(error), &doing))?;
        let list: List<R> = call(&doing, self.client.request(request)).await?;
        let next = list.metadata.next.filter(|token| !token.is_empty());
        if next.is_some() && next == params.continue_token {
            let message = format!("cannot {doing}: the continue token of the list did not change");
            return Err(Error::new(Reason::InternalError, message));
        }
        Ok(Page {
            items: list.items.unwrap_or_default(),
            version: Version::new(&list.metadata.resource_version),
            next,
        })
    }

    /// Reads a whole list in pages; returns the objects and the resource version of the list.
    pub async fn list<R: Resource>(&self, params: ListParams) -> Result<(Vec<R>, Version)> {
        let mut items = Vec::new();
        let mut params = params.limit(PAGE);
        loop {
            let page = self.page(&params).await?;
            items.extend(page.items);
            match page.next {
                Some(token) => params = params.continue_token(&token),
                None => return Ok((items, page.version)),
            }
        }
    }

    /// Watches the objects of a kind, from a version on.
    pub async fn watch<R: Resource + Clone + 'static>(
        &self,
        params: &WatchParams,
        version: Version,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<R>>> + use<R>> {
        let doing = format!("watch {}", R::KIND);
        let request = self.requests::<R>().watch(params, &version.to_string());
        let request =
            request.map_err(|error| Error::kube(kube::Error::BuildRequest(error), &doing))?;
        call(doing, self.client.request_events(request)).await
    }

    /// Creates an object, or with `dry_run` lets Kubernetes only check it; returns it, and the warnings of Kubernetes.
    pub async fn create<R: Resource>(
        &self,
        object: &impl Serialize,
        dry_run: bool,
    ) -> kube::Result<(R, Vec<String>)> {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let params = PostParams {
            dry_run,
            ..PostParams::default()
        };
        let request = self.requests::<R>().create(&params, body);
        let request = request.map_err(kube::Error::BuildRequest)?;
        // `Client::request` drops the headers of the answer.
        let answer = self.client.send(request.map(Body::from)).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect_bytes().await?;
        if head.status.is_success() {
            let row = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
            return Ok((row, warnings::of(&head.headers)));
        }
        let status = serde_json::from_slice::<Status>(&body);
        let status = status.unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body);
            Status::failure(text.trim(), "").with_code(head.status.as_u16())
        });
        Err(kube::Error::Api(status.boxed()))
    }

    /// Merges a patch into the object of a name; returns the object, or `None` if it does not exist.
    pub async fn patch<R: Resource>(&self, name: &str, patch: Value) -> kube::Result<Option<R>> {
        let patch = Patch::Merge(patch);
        let request = self.requests::<R>();
        let request = request.patch(name, &PatchParams::default(), &patch);
        let request = request.map_err(kube::Error::BuildRequest)?;
        match self.client.request(request).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Reads the object of a name; `None` if it does not exist.
    pub async fn get<R: Resource>(&self, name: &str) -> kube::Result<Option<R>> {
        let request = self.requests::<R>().get(name, &GetParams::default());
        let request = request.map_err(kube::Error::BuildRequest)?;
        match self.client.request(request).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Deletes an object and, in the background, all objects that it owns; returns whether it existed.
    pub async fn delete<R: Resource>(&self, name: &str) -> kube::Result<bool> {
        let request = self
            .requests::<R>()
            .delete(name, &DeleteParams::background());
        let request = request.map_err(kube::Error::BuildRequest)?;
        match self.client.request_text(request).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
            answer => answer.map(|_| true),
        }
    }
}

fn unusable(problem: String) -> Error {
    Error::new(Reason::InternalError, format!("cannot use {problem}"))
}

/// Waits for one answer of Kubernetes, for at most [`DEADLINE`]. `doing` names the action in messages, as in ``create Job
/// `train-ab12cd34` ``.
///
/// # Errors
/// When Kubernetes refuses, cannot be reached, or takes too long.
pub async fn call<T>(
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
