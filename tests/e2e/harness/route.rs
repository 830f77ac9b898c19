//! A second server for a world's cluster, between two proxies that inject faults.
//!
//! ```text
//! user ──► proxy ──► server ──► proxy ──► Kubernetes
//! ```
//!
//! The world's own server has no faults, so a test can compare with its answers.

use std::{
    ffi::OsStr,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use kube::config::Kubeconfig;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Server, TempDir, Usage, World,
    proxy::{Counts, FaultPlan, Proxy},
};

/// A server between two proxies.
#[must_use]
pub struct FaultyRoute {
    /// The proxy between the server and Kubernetes.
    pub upstream: Proxy,
    /// The proxy between the user and the server.
    pub downstream: Proxy,
    server: Option<Server>,
    log: String,
    namespace: String,
    kubeconfig: PathBuf,
    dir: TempDir,
}

impl FaultyRoute {
    /// Starts the server and the proxies. Faults are off, and `seed` determines them.
    pub fn new(world: &World, seed: u64) -> Self {
        Self::with(world, seed, |random| {
            let max_faults = random.random_range(3..=6);
            (
                max_faults,
                Duration::from_millis(random.random_range(0..400)),
            )
        })
    }

    /// The same, whose faults do not end by themselves.
    pub fn lasting(world: &World, seed: u64) -> Self {
        Self::with(world, seed, |_| (usize::MAX, Duration::from_millis(500)))
    }

    /// `limits` returns the most faults of a proxy, and the least time between two.
    fn with(world: &World, seed: u64, limits: impl Fn(&mut StdRng) -> (usize, Duration)) -> Self {
        let dir = TempDir::new();
        let mut random = StdRng::seed_from_u64(seed);
        let mut proxy = |target| {
            let plan = random.random();
            let (max_faults, gap) = limits(&mut random);
            Proxy::start(target, FaultPlan::Seeded(plan), max_faults, gap)
        };
        let kubeconfig = Kubeconfig::read_from(&world.kubeconfig).unwrap();
        let upstream = proxy(cluster_address(&kubeconfig));
        let redirected = dir.path().join("kubeconfig");
        redirect(kubeconfig, upstream.address, &redirected);
        let server = start_server(&dir, &world.namespace, &redirected);
        let downstream = proxy(address(&server));
        Self {
            upstream,
            downstream,
            server: Some(server),
            log: String::new(),
            namespace: world.namespace.clone(),
            kubeconfig: redirected,
            dir,
        }
    }

    /// The URL for users.
    pub fn url(&self) -> String {
        format!("http://{}", self.downstream.address)
    }

    /// Kills the server, as when its machine fails.
    pub fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.end("KILL");
            server.stop();
            self.log += &server.log();
            self.log += "--- killed ---\n";
        }
    }

    /// Starts the server again, on another port. The upstream proxy must have no faults, because a server that starts has to
    /// reach Kubernetes.
    pub fn start_server(&mut self) {
        let server = start_server(&self.dir, &self.namespace, &self.kubeconfig);
        self.downstream.set_target(address(&server));
        self.server = Some(server);
    }

    /// The peak of the server's memory, in KiB.
    pub fn peak_memory(&self) -> usize {
        self.server.as_ref().expect("it runs").peak_memory()
    }

    /// What the server uses now.
    pub fn usage(&self) -> Usage {
        self.server.as_ref().expect("it runs").usage()
    }

    /// Enables or disables the faults of both proxies.
    pub fn set_faults(&self, enabled: bool) {
        for proxy in [&self.upstream, &self.downstream] {
            match enabled {
                true => proxy.switch().enable(),
                false => proxy.switch().disable(),
            }
        }
    }

    /// The log of the server and of those before it.
    pub fn log(&self) -> String {
        let last = self.server.as_ref().map(Server::log).unwrap_or_default();
        format!("{}{last}", self.log)
    }

    /// The counts of the proxies: upstream, downstream.
    pub fn counts(&self) -> [Counts; 2] {
        [self.upstream.counts(), self.downstream.counts()]
    }
}

impl Drop for FaultyRoute {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "--- the log of the server behind faults ---\n{}",
                self.log()
            );
        }
    }
}

fn start_server(dir: &TempDir, namespace: &str, kubeconfig: &Path) -> Server {
    let args = ["--host", "127.0.0.1", "--namespace", namespace];
    let env = [
        ("KUBECONFIG", kubeconfig.as_os_str()),
        // The whole log helps to find out why a run failed.
        (
            "RUST_LOG",
            OsStr::new("info,k8s_cli=debug,actix_server=warn,kube_client=off"),
        ),
    ];
    Server::start(&args, dir.path(), &env)
}

fn address(server: &Server) -> SocketAddr {
    let address = server.url.strip_prefix("http://").unwrap();
    address.parse().unwrap()
}

/// `https`, `localhost`, `6443` and `/path` of the only cluster.
fn cluster_url(kubeconfig: &Kubeconfig) -> (String, String, u16, String) {
    let [cluster] = kubeconfig.clusters.as_slice() else {
        panic!("the kubeconfig names more than one cluster, or none");
    };
    let url: &str = cluster
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.server.as_deref())
        .expect("the cluster has a server");
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let default = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap()),
        _ => (authority, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (scheme.to_owned(), host.to_owned(), port, path.to_owned())
}

fn cluster_address(kubeconfig: &Kubeconfig) -> SocketAddr {
    let (_, host, port, _) = cluster_url(kubeconfig);
    (host.as_str(), port)
        .to_socket_addrs()
        .unwrap()
        .next()
        .expect("the cluster has an address")
}

/// Writes a kubeconfig that reaches the cluster through `proxy`.
fn redirect(mut kubeconfig: Kubeconfig, proxy: SocketAddr, path: &Path) {
    let (scheme, host, _, rest) = cluster_url(&kubeconfig);
    let cluster = kubeconfig.clusters[0].cluster.as_mut().unwrap();
    cluster.server = Some(format!("{scheme}://{proxy}{rest}"));
    // The certificate is for the cluster's name, which is not the proxy's address.
    if scheme == "https" && cluster.tls_server_name.is_none() {
        cluster.tls_server_name = Some(host);
    }
    std::fs::write(path, serde_yaml::to_string(&kubeconfig).unwrap()).unwrap();
}
