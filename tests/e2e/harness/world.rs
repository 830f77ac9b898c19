//! A server with its cluster: the sandbox, or a namespace of a real cluster.

use std::{
    env,
    ffi::OsStr,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitStatus,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use futures::AsyncReadExt;
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{Namespace, Node, Pod, ServiceAccount},
    },
};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, PropagationPolicy},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;

use super::{
    Front, Server, Session, TempDir, Usage, Verdict, is_real_cluster, rights, wait_for, wait_until,
};

/// An object in a namespace.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
{
}

/// A server with its cluster.
#[must_use]
pub struct World {
    pub url: String,
    pub namespace: String,
    /// The kubeconfig of the tests.
    pub kubeconfig: PathBuf,
    /// The kubeconfig of servers, which may have fewer rights.
    server_kubeconfig: PathBuf,
    /// Whether the namespace is deleted with the world.
    is_namespace_own: bool,
    dir: TempDir,
    server: Server,
}

impl World {
    /// The peak of the server's memory, in KiB. With the sandbox, that is the memory of both.
    pub fn peak_memory(&self) -> usize {
        self.server.peak_memory()
    }

    /// What the server uses now. With the sandbox, that is the usage of both.
    pub fn usage(&self) -> Usage {
        self.server.usage()
    }

    pub fn new() -> Self {
        Self::with(&[])
    }

    /// A server with these options.
    pub fn with(options: &[&str]) -> Self {
        if is_real_cluster() {
            let dir = TempDir::new();
            let kubeconfig =
                PathBuf::from(env::var_os("KUBECONFIG").expect("`make e2e` needs KUBECONFIG"));
            let namespace = format!(
                "k8s-cli-e2e-{}",
                dir.path().file_name().unwrap().to_str().unwrap()
            );
            create_namespace(&kubeconfig, &namespace);
            let server_kubeconfig = dir.path().join("kubeconfig");
            with_client(&kubeconfig, async |client| {
                rights::grant(client, &kubeconfig, &namespace, &server_kubeconfig).await;
            });
            let args = ["--host", "127.0.0.1", "--namespace", &namespace];
            let env = [("KUBECONFIG", server_kubeconfig.as_os_str())];
            let server = Server::start(&[&args, options].concat(), dir.path(), &env);
            return Self {
                url: server.url.clone(),
                namespace,
                kubeconfig,
                server_kubeconfig,
                is_namespace_own: true,
                dir,
                server,
            };
        }
        Self::sandbox(options)
    }

    /// A sandbox with these options, even if other tests run on a real cluster.
    pub fn sandbox(options: &[&str]) -> Self {
        Self::sandbox_in(options, &[])
    }

    /// The same with these variables in the environment of the server.
    pub fn sandbox_in(options: &[&str], env: &[(&str, &OsStr)]) -> Self {
        let dir = TempDir::new();
        let options = [&["--sandbox"], options].concat();
        let server = Server::start(&options, dir.path(), env);
        let kubeconfig = wait_for(
            "the server logs the path of the sandbox's kubeconfig",
            || {
                let log = server.log();
                let path = log.split("KUBECONFIG=").nth(1)?.split_whitespace().next()?;
                Some(PathBuf::from(path))
            },
        );
        Self {
            url: server.url.clone(),
            namespace: "default".to_owned(),
            server_kubeconfig: kubeconfig.clone(),
            kubeconfig,
            is_namespace_own: false,
            dir,
            server,
        }
    }

    /// The session of a user who is logged in.
    pub fn login(&self, user: &str) -> Session<'_> {
        let session = self.anonymous();
        session.run(["auth", "login", user]).success();
        session
    }

    /// The session of a user who is not logged in.
    pub fn anonymous(&self) -> Session<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let home = self
            .dir
            .path()
            .join(format!("home-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&home).unwrap();
        Session { world: self, home }
    }

    /// The log of the server so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The names of the objects of a kind in the world's namespace.
    pub fn names<K: Object>(&self) -> Vec<String> {
        self.objects::<K>()
            .iter()
            .filter_map(|object| object.meta().name.clone())
            .collect()
    }

    /// The names of the objects of a kind that belong to a task, beside its Jobs and pods.
    pub fn names_of<K: Object>(&self, id: &str) -> Vec<String> {
        let mut names = self.names::<K>();
        names.retain(|name| name.starts_with(&format!("task-{id}")));
        names
    }

    /// The objects of a kind in the world's namespace, listed from the cluster.
    pub fn objects<K: Object>(&self) -> Vec<K> {
        self.objects_in(&self.namespace)
    }

    pub fn objects_in<K: Object>(&self, namespace: &str) -> Vec<K> {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<K> = Api::namespaced(client, namespace);
            api.list(&ListParams::default()).await.unwrap().items
        })
    }

    /// What a failure is explained by: the Jobs and pods of the world's namespace, one a line.
    fn contents(&self) -> String {
        if !self.kubeconfig.exists() {
            return "the sandbox is gone".to_owned();
        }
        with_client(&self.kubeconfig, async |client| {
            let jobs = Api::<Job>::namespaced(client.clone(), &self.namespace);
            let pods = Api::<Pod>::namespaced(client, &self.namespace);
            let [jobs, pods] = [
                jobs.list(&ListParams::default())
                    .await
                    .map(|jobs| lines(&jobs.items)),
                pods.list(&ListParams::default())
                    .await
                    .map(|pods| lines(&pods.items)),
            ];
            let contents = [jobs, pods].map(|kind| kind.unwrap_or_else(|error| error.to_string()));
            contents.join("\n")
        })
    }

    /// A number of CPUs that one pod can have, but not two.
    pub fn most_cpus(&self) -> f64 {
        with_client(&self.kubeconfig, async |client| {
            let nodes = Api::<Node>::all(client).list(&ListParams::default()).await;
            let cpus = nodes.unwrap().items.into_iter().map(|node| {
                let allocatable = node.status.unwrap().allocatable.unwrap();
                allocatable["cpu"].0.parse::<f64>().unwrap()
            });
            cpus.fold(0.0, f64::max) * 0.6
        })
    }

    /// Creates an object in the world's namespace, without the server.
    pub fn create<K: Object + serde::Serialize>(&self, object: &K) {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<K> = Api::namespaced(client, &self.namespace);
            api.create(&PostParams::default(), object).await.unwrap();
        });
    }

    /// Creates an object that is in no namespace, without the server.
    pub fn create_for_cluster<K>(&self, object: &K)
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + serde::Serialize,
    {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<K> = Api::all(client);
            api.create(&PostParams::default(), object).await.unwrap();
        });
    }

    /// Deletes a pod without the server, and waits until it is gone.
    pub fn delete_pod(&self, name: &str) {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<Pod> = Api::namespaced(client, &self.namespace);
            let params = DeleteParams::default().grace_period(0);
            api.delete(name, &params).await.unwrap();
        });
        wait_until("the pod to be gone", || {
            !self.names::<Pod>().iter().any(|pod| pod == name)
        });
    }

    /// Deletes a claim without the server. It exists as long as a pod uses it.
    pub fn delete_claim(&self, name: &str) {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<k8s_openapi::api::core::v1::PersistentVolumeClaim> =
                Api::namespaced(client, &self.namespace);
            api.delete(name, &DeleteParams::default()).await.unwrap();
        });
    }

    /// Merges a patch into an object without the server.
    pub fn patch<K: Object>(&self, name: &str, patch: &serde_json::Value) {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<K> = Api::namespaced(client, &self.namespace);
            let params = PatchParams::default();
            api.patch(name, &params, &Patch::Merge(patch))
                .await
                .unwrap();
        });
    }

    /// Deletes a Job without the server; `propagation` as in `kubectl delete --cascade`.
    pub fn delete_job(&self, name: &str, propagation: PropagationPolicy) {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<Job> = Api::namespaced(client, &self.namespace);
            let params = DeleteParams {
                propagation_policy: Some(propagation),
                ..DeleteParams::default()
            };
            api.delete(name, &params).await.unwrap();
        });
    }

    /// The logs of pods, read from Kubernetes without the server.
    pub fn pod_logs(&self, pods: &[String], params: &LogParams) -> Vec<Vec<u8>> {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<Pod> = Api::namespaced(client, &self.namespace);
            let mut logs = Vec::new();
            for pod in pods {
                let mut log = Vec::new();
                let mut stream = pin!(api.log_stream(pod, params).await.unwrap());
                stream.read_to_end(&mut log).await.unwrap();
                logs.push(log);
            }
            logs
        })
    }

    /// Sends requests to the API of the cluster, one after the other; returns the status codes and the bodies.
    pub fn ask(
        &self,
        requests: impl Iterator<Item = ureq::http::Request<Vec<u8>>>,
    ) -> Vec<(u16, String)> {
        with_client(&self.kubeconfig, async |client| {
            let mut answers = Vec::new();
            for request in requests {
                let answer = client.send(request.map(Into::into)).await.unwrap();
                let status = answer.status().as_u16();
                let body = answer.into_body().collect_bytes().await.unwrap();
                answers.push((status, String::from_utf8_lossy(&body).into_owned()));
            }
            answers
        })
    }

    /// The minor version of the cluster.
    pub fn minor_version(&self) -> u32 {
        with_client(&self.kubeconfig, async |client| {
            let version = client.apiserver_version().await.unwrap();
            version.minor.trim_end_matches('+').parse().unwrap()
        })
    }

    /// Sends the server a signal that does not end it.
    pub fn signal(&self, signal: &str) {
        self.server.signal(signal);
    }

    pub fn server_kubeconfig(&self) -> &Path {
        &self.server_kubeconfig
    }

    /// Starts another server on the same cluster, with its files in `dir`.
    pub fn second_server(&self, dir: &TempDir) -> Server {
        let args = ["--host", "127.0.0.1", "--namespace", &self.namespace];
        let env = [("KUBECONFIG", self.server_kubeconfig.as_os_str())];
        Server::start(&args, dir.path(), &env)
    }

    /// Starts another server for the sandbox, with its files in `dir`; `judge` decides on each of its requests to Kubernetes.
    pub fn server_behind(
        &self,
        dir: &TempDir,
        judge: impl Fn(&str) -> Verdict + Send + Sync + 'static,
    ) -> Server {
        let kubeconfig = fs::read_to_string(&self.kubeconfig).unwrap();
        let (_, target) = kubeconfig.split_once("http://").unwrap();
        let host = target.split('/').next().unwrap();
        let front = Front::start(host.parse().unwrap(), None, judge);
        let redirected = dir.path().join("kubeconfig");
        let url = front.address.to_string();
        fs::write(&redirected, kubeconfig.replace(host, &url)).unwrap();
        let env = [("KUBECONFIG", redirected.as_os_str())];
        Server::start(&["--host", "127.0.0.1"], dir.path(), &env)
    }

    /// Sends the server a signal and waits for its end.
    pub fn end(&mut self, signal: &str) -> ExitStatus {
        self.server.end(signal)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The sandbox ends with its server.
        let contents = thread::panicking().then(|| self.contents());
        self.server.stop();
        if let Some(contents) = contents {
            eprintln!("--- the server's log ---\n{}", self.log());
            eprintln!("--- what is in its namespace ---\n{contents}");
        }
        if self.is_namespace_own {
            with_client(&self.kubeconfig, async |client| {
                drop(
                    Api::<Namespace>::all(client)
                        .delete(&self.namespace, &DeleteParams::background())
                        .await,
                );
            });
        }
    }
}

/// The metadata and the status of objects.
fn lines<K: serde::Serialize>(objects: &[K]) -> String {
    let lines = objects.iter().map(|object| {
        let mut object = serde_json::to_value(object).unwrap_or_default();
        object["metadata"]["managedFields"].take();
        format!("{} {}", object["metadata"], object["status"])
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub fn with_client<T>(kubeconfig: &Path, work: impl AsyncFnOnce(Client) -> T) -> T {
    actix_rt::System::new().block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        work(Client::try_from(config).unwrap()).await
    })
}

/// Creates a namespace, and waits for its service account, without which no pod can be created.
fn create_namespace(kubeconfig: &Path, name: &str) {
    let namespace: Namespace =
        serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap();
    with_client(kubeconfig, async |client| {
        Api::<Namespace>::all(client)
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    });
    wait_until("the namespace has a service account", || {
        with_client(kubeconfig, async |client| {
            Api::<ServiceAccount>::namespaced(client, name)
                .get_opt("default")
                .await
                .unwrap()
                .is_some()
        })
    });
}
