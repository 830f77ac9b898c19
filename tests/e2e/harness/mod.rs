//! The test harness: a cluster, a server, and sessions of users.
//!
//! Nothing is mocked, and two worlds share nothing, so tests run in parallel. Tests wait for conditions and not for a fixed
//! time.

mod authority;
mod command;
pub mod front;
pub mod proxy;
mod rights;
mod route;
pub mod scripted;
mod server;
mod session;
mod team;
mod tunnel;
mod world;

use std::{
    env,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

pub use self::{
    authority::Authority,
    command::{Outcome, Running},
    front::{Front, Verdict, refusal, with_headers},
    route::FaultyRoute,
    server::{Server, Usage},
    session::Session,
    team::{MEMBER, Team},
    tunnel::Tunnel,
    world::World,
};

/// The limit of every wait. Only a failing test waits this long.
///
/// A pod that is deleted while its container is being created stays until the kubelet has collected its sandbox. Kubelet 1.20 does so
/// once a minute, and sometimes only the second time.
const LIMIT: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(20);

/// Whether the tests run against a real cluster.
pub fn is_real_cluster() -> bool {
    env::var("K8S_CLI_E2E").is_ok_and(|cluster| cluster == "cluster")
}

/// Waits until `probe` returns a value. At the limit it fails, and the message contains `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        thread::sleep(STEP);
    }
}

#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// A folder of this user that is deleted when it is dropped, unless the test failed.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        // Another user of the machine may have made any name that can be guessed.
        let name = format!("k8s-cli-test-{:016x}", rand::random::<u64>());
        let path = env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if !thread::panicking() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

/// Copies the binary under test into `dir`, for other users of this machine to run it. `cp` writes it: a file that this process
/// writes may be open in the children of other tests, and such a file cannot be run ("Text file busy").
pub fn copy_k8s_cli(dir: &Path) -> PathBuf {
    let copy = dir.join("k8s-cli");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_k8s-cli"))
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    copy
}

/// The binary under test, without the variables of the environment that change its behaviour.
pub fn k8s_cli() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-cli"));
    for (name, _) in env::vars_os() {
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with("K8S_CLI_"));
        if is_ours
            || ["KUBECONFIG", "NO_COLOR", "RUST_LOG", "XDG_CONFIG_HOME"]
                .iter()
                .any(|other| name == *other)
            || name.to_str().is_some_and(|name| {
                name.to_ascii_lowercase().ends_with("_proxy") || name.starts_with("SSL_CERT_")
            })
        {
            command.env_remove(name);
        }
    }
    command
}

fn send_signal(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -s {signal} {pid}");
}
