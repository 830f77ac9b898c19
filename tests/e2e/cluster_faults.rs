//! A Kubernetes that answers with faults: each kind in many runs, which a seed determines.
//!
//! A run is the life of a task at a server whose Kubernetes fails for a while. Its commands may fail, and say so in one line. Afterwards,
//! without a restart, the server is as good as new: a task that was accepted runs to its end, and nothing is left of any other.

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret, Service},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::harness::{
    Outcome, Server, TempDir, Verdict, World, is_real_cluster, refusal, wait_until, with_headers,
};

/// A kind of fault: given the head of a request, and a random number, the answer in its place.
type Kind = fn(&str, &mut StdRng) -> Option<Verdict>;

fn is_creation(head: &str, resource: &str) -> bool {
    head.starts_with("POST ") && head.contains(&format!("/{resource}?"))
        || head.starts_with("POST ") && head.contains(&format!("/{resource} "))
}

fn is_watch(head: &str) -> bool {
    head.starts_with("GET ") && head.contains("watch=")
}

fn is_list(head: &str) -> bool {
    head.starts_with("GET ") && head.contains("limit=") && !is_watch(head)
}

fn too_many(_: &str, _: &mut StdRng) -> Option<Verdict> {
    let message = "too many requests, please try again later";
    Some(refusal(429, "TooManyRequests", message))
}

fn broken(_: &str, random: &mut StdRng) -> Option<Verdict> {
    let code = [500, 502, 503, 504][random.random_range(0..4)];
    Some(refusal(code, "InternalError", "etcdserver: leader changed"))
}

fn gone(head: &str, _: &mut StdRng) -> Option<Verdict> {
    (is_watch(head) || head.contains("continue="))
        .then(|| refusal(410, "Expired", "too old resource version"))
}

fn silent(head: &str, _: &mut StdRng) -> Option<Verdict> {
    is_watch(head).then_some(Verdict::Silence)
}

fn slow(head: &str, random: &mut StdRng) -> Option<Verdict> {
    let time = Duration::from_millis(random.random_range(100..2000));
    is_list(head).then(|| Verdict::Delay(time, with_headers(head, &[])))
}

fn conflict(head: &str, _: &mut StdRng) -> Option<Verdict> {
    let message = "the object has been modified; please apply your changes to the latest version and try again";
    let is_change = ["PATCH ", "PUT ", "DELETE "]
        .iter()
        .any(|verb| head.starts_with(verb));
    is_change.then(|| refusal(409, "Conflict", message))
}

fn webhook(head: &str, _: &mut StdRng) -> Option<Verdict> {
    let message = "admission webhook \"policy.example.com\" denied the request: no team label";
    is_creation(head, "jobs").then(|| refusal(403, "Forbidden", message))
}

fn quota(head: &str, _: &mut StdRng) -> Option<Verdict> {
    let message = "exceeded quota: team, requested: count/jobs.batch=1, used: count/jobs.batch=50, limited: count/jobs.batch=50";
    let is_limited = ["jobs", "secrets", "services"]
        .iter()
        .any(|resource| is_creation(head, resource));
    is_limited.then(|| refusal(403, "Forbidden", message))
}

/// The commands that a fault may end say so in one line.
fn is_clear(outcome: &Outcome) -> bool {
    let errors = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("k8s-cli: "));
    outcome.code == Some(0) || errors.count() == 1
}

/// A server whose Kubernetes has faults of one kind while they are on.
struct Faulty {
    world: World,
    server: Server,
    is_on: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    random: Arc<Mutex<StdRng>>,
    _dir: TempDir,
}

impl Faulty {
    /// The faults are on from the start.
    fn new(kind: Kind, seed: u64) -> Self {
        let world = World::sandbox(&[]);
        let is_on = Arc::new(AtomicBool::new(true));
        let count = Arc::new(AtomicUsize::new(0));
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        let judge = {
            let (is_on, count, random) = (is_on.clone(), count.clone(), random.clone());
            move |head: &str| {
                let mut random = random.lock().unwrap();
                let is_hit = is_on.load(Ordering::SeqCst) && random.random_ratio(1, 3);
                let fault = is_hit.then(|| kind(head, &mut random)).flatten();
                if fault.is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                fault.unwrap_or_else(|| Verdict::Forward(with_headers(head, &[])))
            }
        };
        let dir = TempDir::new();
        Self {
            server: world.server_behind(&dir, judge),
            world,
            is_on,
            count,
            random,
            _dir: dir,
        }
    }

    /// Does one run; returns the number of faults.
    fn run(&self, seed: u64) -> usize {
        *self.random.lock().unwrap() = StdRng::seed_from_u64(seed);
        self.is_on.store(true, Ordering::SeqCst);
        let mut choices = StdRng::seed_from_u64(seed);
        let ada = self.world.login("ada");
        let file = ada.file(
            "num_nodes: 3\nsecrets: {TOKEN: hidden}\nrun: echo \"line of $SKYPILOT_NODE_RANK\"",
        );
        let at = |args: &[&str]| ada.start_at(&self.server.url, args).finish();

        let submitted = at(&["jobs", "submit", "--detach", &file]);
        assert!(is_clear(&submitted), "{}", submitted.stderr);
        let id = submitted.stdout.trim();
        for _ in 0..choices.random_range(1..4) {
            let command: &[&str] = match choices.random_range(0..3) {
                0 if !id.is_empty() => &["jobs", "status", id],
                1 if !id.is_empty() => &["jobs", "wait", "--timeout", "1s", id],
                _ => &["jobs", "list"],
            };
            let outcome = at(command);
            assert!(
                outcome.code == Some(124) || is_clear(&outcome),
                "{command:?}: {}",
                outcome.stderr
            );
        }
        self.is_on.store(false, Ordering::SeqCst);

        let tasks = || at(&["jobs", "list", "-o", "name"]).success().stdout;
        if submitted.code == Some(0) {
            assert_eq!(tasks().trim(), id);
            let log = at(&["jobs", "logs", id]).success().stdout;
            let lines = log.lines().filter(|line| line.contains("line of"));
            assert_eq!(lines.count(), 3, "{log}");
            at(&["jobs", "stop", id]).success();
        }
        let world = &self.world;
        wait_until("nothing is left", || {
            tasks().is_empty()
                && world.names::<Job>().is_empty()
                && world.names::<Pod>().is_empty()
                && world.names_of::<Secret>("").is_empty()
                && world.names_of::<Service>("").is_empty()
        });
        let log = self.server.log();
        let is_good = !log.contains("panicked") && !log.contains("status=500");
        assert!(is_good, "{log}");
        self.count.swap(0, Ordering::SeqCst)
    }
}

/// One run of a kind, or as many as the environment says.
fn runs(kind: Kind) {
    if is_real_cluster() {
        eprintln!("the requests to this cluster are encrypted, so nothing can answer them");
        return;
    }
    let number = |name, usual: u64| env::var(name).map_or(usual, |value| value.parse().unwrap());
    let (first, count) = (
        number("K8S_CLI_SOAK_SEED", 1),
        number("K8S_CLI_SOAK_RUNS", 1),
    );
    let mut faulty = None;
    let mut faults = 0;
    for seed in first..first + count {
        eprintln!("seed {seed}: repeat with K8S_CLI_SOAK_SEED={seed}");
        // Some faults happen only while a server starts.
        if (seed - first).is_multiple_of(20) {
            faulty = None;
        }
        let faulty = faulty.get_or_insert_with(|| Faulty::new(kind, seed));
        faults += faulty.run(seed);
    }
    eprintln!("{count} runs, {faults} faults");
    assert!(count < 20 || faults > 0);
}

#[test]
fn requests_are_repeated_when_kubernetes_is_busy() {
    runs(too_many);
}

#[test]
fn a_storm_of_errors_passes() {
    runs(broken);
}

#[test]
fn an_expired_version_is_listed_anew() {
    runs(gone);
}

#[test]
fn a_silent_watch_is_given_up() {
    runs(silent);
}

#[test]
fn slow_lists_hold_up_nothing_else() {
    runs(slow);
}

#[test]
fn conflicts_are_resolved() {
    runs(conflict);
}

#[test]
fn a_refusal_of_a_webhook_leaves_nothing() {
    runs(webhook);
}

#[test]
fn an_exceeded_quota_leaves_nothing() {
    runs(quota);
}
