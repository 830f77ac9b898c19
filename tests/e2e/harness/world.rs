//! A server with a cluster behind it.

use std::{
    env,
    fmt::Debug,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;

use super::{
    LIMIT, STEP, Session, TempDir, command::gather, is_real_cluster, k8s_cli, send_signal,
    wait_for, wait_until,
};

/// A server with a cluster behind it.
#[must_use]
pub struct World {
    pub url: String,
    pub namespace: String,
    dir: TempDir,
    server: Child,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
    kubeconfig: PathBuf,
}

impl World {
    pub fn new() -> Self {
        let dir = TempDir::new();
        if is_real_cluster() {
            let kubeconfig =
                PathBuf::from(env::var_os("KUBECONFIG").expect("`make e2e` needs KUBECONFIG"));
            let namespace = format!(
                "k8s-cli-e2e-{}",
                dir.path().file_name().unwrap().to_str().unwrap()
            );
            create_namespace(&kubeconfig, &namespace);
            return Self::start(
                dir,
                &["--host", "127.0.0.1", "--namespace", &namespace],
                &namespace,
                kubeconfig,
            );
        }
        Self::start(dir, &["--sandbox"], "default", PathBuf::new())
    }

    fn start(dir: TempDir, args: &[&str], namespace: &str, kubeconfig: PathBuf) -> Self {
        let mut command = k8s_cli();
        command
            .args(["serve", "--port", "0"])
            .args(args)
            .env("HOME", dir.path());
        if !kubeconfig.as_os_str().is_empty() {
            command.env("KUBECONFIG", &kubeconfig);
        }
        let mut server = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let log_reader = gather(server.stderr.take().unwrap(), log.clone());
        let mut announced = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut announced)
            .unwrap();
        let Some(url) = announced
            .trim()
            .strip_prefix("listening on ")
            .map(str::to_owned)
        else {
            let status = server.wait();
            log_reader.join().unwrap();
            panic!(
                "the server did not start: {announced:?}, {status:?}\n{}",
                log.lock().unwrap()
            );
        };
        let mut world = Self {
            url,
            namespace: namespace.to_owned(),
            dir,
            server,
            log,
            log_reader: Some(log_reader),
            kubeconfig,
        };
        if !is_real_cluster() {
            world.kubeconfig =
                wait_for("the server says where the sandbox's kubeconfig is", || {
                    let log = world.log();
                    let path = log.split("KUBECONFIG=").nth(1)?.split_whitespace().next()?;
                    Some(PathBuf::from(path))
                });
        }
        world
    }

    /// A user at a terminal of their own, logged in.
    pub fn login(&self, user: &str) -> Session<'_> {
        let session = self.stranger();
        session.run(["auth", "login", user]).success();
        session
    }

    /// A user who has not logged in.
    pub fn stranger(&self) -> Session<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let home = self
            .dir
            .path()
            .join(format!("home-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&home).unwrap();
        Session { world: self, home }
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// The names of the objects of a kind in the world's namespace.
    pub fn names<K>(&self) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        self.objects::<K>()
            .iter()
            .filter_map(|object| object.meta().name.clone())
            .collect()
    }

    /// The objects of a kind in the world's namespace, seen past the server.
    pub fn objects<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<K> = Api::namespaced(client, &self.namespace);
            api.list(&ListParams::default()).await.unwrap().items
        })
    }

    /// Creates an object in the world's namespace, past the server.
    pub fn create<K>(&self, object: &K)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + Debug,
    {
        with_client(&self.kubeconfig, async |client| {
            let api: Api<K> = Api::namespaced(client, &self.namespace);
            api.create(&PostParams::default(), object).await.unwrap();
        });
    }

    /// Sends the server a signal and waits for its end.
    pub fn end(&mut self, signal: &str) -> ExitStatus {
        send_signal(self.pid(), signal);
        wait_for("the server ends", || self.server.try_wait().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(None) = self.server.try_wait() {
            send_signal(self.pid(), "TERM");
            let start = Instant::now();
            while matches!(self.server.try_wait(), Ok(None)) && start.elapsed() < LIMIT {
                thread::sleep(STEP);
            }
            drop(self.server.kill());
            drop(self.server.wait());
        }
        if let Some(reader) = self.log_reader.take() {
            drop(reader.join());
        }
        if thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
        if is_real_cluster() {
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

fn with_client<T>(kubeconfig: &Path, work: impl AsyncFnOnce(Client) -> T) -> T {
    actix_rt::System::new().block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        work(Client::try_from(config).unwrap()).await
    })
}

/// Makes a namespace in which pods can be created: that takes a service account, which comes a moment later.
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
