//! `make soak`: many clients for a long time, with faults between all parts. Nothing is lost, and nothing is left over.
//!
//! Each client is a user with commands of the real program. A seed determines what the clients do, in which order and with which tasks,
//! and the faults of each connection; when they do it depends on the machine. Storms of faults and calm times take turns. A command may
//! fail in a storm, and is repeated. In calm times it must not.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret, Service},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::harness::{FaultyRoute, Outcome, Session, Usage, World, wait_until};

const CLIENTS: usize = 200;
/// A person looks at an answer for up to this long.
const LONGEST_THOUGHT: u64 = 20_000;
const STORM: Duration = Duration::from_secs(20);
const CALM: Duration = Duration::from_secs(40);
/// How long after a storm a failure may still be one of its effects: the deadline of a request, and its repetition.
const AFTER_EFFECT: Duration = Duration::from_secs(25);
/// The server has no idle connections to Kubernetes when its files have not changed for this long.
const AT_REST: Duration = Duration::from_secs(100);
/// The changes that the sandbox keeps (`objects::store`), in KiB.
const CHANGES_OF_SANDBOX: usize = 96 << 10;
/// The most tasks of a client at a time.
const MOST_TASKS: usize = 3;

/// A number from the environment.
fn setting(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |value| value.parse().unwrap())
}

/// Whether there are faults, and since when there are none.
struct Weather {
    calm_since: Mutex<Option<Instant>>,
    is_over: AtomicBool,
    /// How many commands failed in storms.
    excused: AtomicUsize,
    done: AtomicUsize,
}

impl Weather {
    fn set_calm(&self, is_calm: bool) {
        *self.calm_since.lock().unwrap() = is_calm.then(Instant::now);
    }

    /// Whether faults explain the failure of a command that began at this time.
    fn explains(&self, began: Instant) -> bool {
        let calm_since = *self.calm_since.lock().unwrap();
        calm_since.is_none_or(|since| began < since + AFTER_EFFECT)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// A task of a client, and what its log must be.
struct Task {
    id: String,
    lines: Vec<String>,
    code: i32,
}

struct Client<'a> {
    session: Session<'a>,
    url: String,
    weather: &'a Weather,
    seed: u64,
    random: StdRng,
    number: usize,
    submitted: usize,
    tasks: Vec<Task>,
}

impl Client<'_> {
    /// Runs a command until it ends with one of these codes. In calm times it must do so at once.
    fn run(&self, args: &[&str], codes: &[i32]) -> Outcome {
        loop {
            let began = Instant::now();
            let outcome = self.session.start_at(&self.url, args).finish();
            self.weather.done.fetch_add(1, Ordering::Relaxed);
            if outcome.code.is_some_and(|code| codes.contains(&code)) {
                return outcome;
            }
            // A stop or a deletion whose answer was lost is repeated, too.
            let is_repeated = ["stop", "delete"].contains(&args[1]);
            if is_repeated && outcome.stderr.contains("not found") && self.weather.explains(began) {
                return outcome;
            }
            if !self.weather.explains(began) {
                return outcome.code(codes[0]);
            }
            self.weather.excused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn submit(&mut self) {
        let nodes = self.random.random_range(1..=2);
        let count = self.random.random_range(1..=40);
        let pause = self.random.random_range(0..3);
        let fails = self.random.random_ratio(1, 8);
        let secret = if self.random.random_ratio(1, 4) {
            "\nsecrets: {TOKEN: hidden}"
        } else {
            ""
        };
        let code = if fails { 100 } else { 0 };
        let exit = if fails { 3 } else { 0 };
        let file = self.session.file(&format!(
            "num_nodes: {nodes}{secret}\nrun: |\n  for i in $(seq {count}); do echo \"$SKYPILOT_NODE_RANK line $i\"; done\n  sleep 0.{pause}\n  echo \
             \"$SKYPILOT_NODE_RANK end\"\n  exit {exit}\n"
        ));
        let key = format!("{}-{}-{}", self.seed, self.number, self.submitted);
        self.submitted += 1;
        let args = [
            "jobs",
            "submit",
            "--detach",
            "--no-fail-fast",
            "--no-barrier",
        ];
        let args = [&args[..], &["--idempotency-key", &key, &file]].concat();
        let id = self.run(&args, &[0]).stdout.trim().to_owned();
        assert_eq!(id.len(), 8, "{id:?}");
        let mut lines: Vec<String> = (0..nodes)
            .flat_map(|rank| {
                let numbered = (1..=count).map(move |line| format!("{rank} line {line}"));
                let lines = numbered.chain([format!("{rank} end")]);
                lines.map(move |line| match nodes {
                    1 => line,
                    _ => format!("node-{rank} | {line}"),
                })
            })
            .collect();
        lines.sort();
        self.tasks.push(Task { id, lines, code });
    }

    /// A task of this client, if there is one.
    fn choose(&mut self) -> Option<usize> {
        let number = self.random.random_range(0..MOST_TASKS);
        (!self.tasks.is_empty()).then(|| number % self.tasks.len())
    }

    /// Every task that was not stopped or deleted is listed, and no other.
    fn list(&self) {
        let began = Instant::now();
        let list = self.run(&["jobs", "list", "-o", "name"], &[0]).stdout;
        let mut listed: Vec<&str> = list.lines().collect();
        let mut expected: Vec<&str> = self.tasks.iter().map(|task| task.id.as_str()).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        // A server whose cluster is away answers with what it knows.
        if !self.weather.explains(began) {
            assert_eq!(listed, expected, "client {}", self.number);
        }
    }

    /// Follows the log to the end of the task: each line is there once.
    fn read_log(&self, task: &Task) {
        let log = self.run(&["jobs", "logs", &task.id], &[task.code]);
        let mut lines: Vec<&str> = log.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, task.lines, "{}\n{}", task.id, log.stderr);
    }

    fn watch(&mut self) {
        let watch = self
            .session
            .start_at(&self.url, ["jobs", "list", "--watch"]);
        self.think();
        watch.interrupt();
        watch.finish();
    }

    fn think(&mut self) {
        let thought = Duration::from_millis(self.random.random_range(0..LONGEST_THOUGHT));
        let end = Instant::now() + thought;
        while !self.weather.is_over() && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn act(&mut self) {
        let action = self.random.random_range(0..12);
        let chosen = self.choose();
        match (action, chosen) {
            (0..4, _) if self.tasks.len() < MOST_TASKS => self.submit(),
            (0..6, _) | (_, None) => self.list(),
            (6, _) => self.watch(),
            (7, Some(index)) => {
                let id = &self.tasks[index].id;
                self.run(&["jobs", "wait", "--timeout", "5s", id], &[0, 100, 124]);
            }
            (8..10, Some(index)) => self.read_log(&self.tasks[index]),
            (10, Some(index)) => {
                let task = self.tasks.remove(index);
                self.run(&["jobs", "stop", &task.id], &[0]);
            }
            (_, Some(index)) => {
                let task = self.tasks.remove(index);
                self.read_log(&task);
                self.run(&["jobs", "delete", &task.id], &[0]);
            }
        }
    }

    /// Until the end of the day; then each task is read and deleted.
    fn live(mut self) {
        while !self.weather.is_over() {
            self.act();
            self.think();
        }
        self.list();
        for task in std::mem::take(&mut self.tasks) {
            self.read_log(&task);
            self.run(&["jobs", "delete", &task.id], &[0]);
        }
        self.list();
    }
}

/// Lets clients live for a time; returns when all have cleaned up.
fn live(world: &World, route: &FaultyRoute, seed: u64, time: Duration, storms: bool) -> Weather {
    let weather = Weather {
        calm_since: Mutex::new(None),
        is_over: AtomicBool::new(false),
        excused: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
    };
    // Nothing is excused without storms.
    *weather.calm_since.lock().unwrap() = Instant::now().checked_sub(AFTER_EFFECT);
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client {
                    session: world.login(&format!("user-{number}")),
                    url: route.url(),
                    weather: &weather,
                    seed,
                    random: StdRng::seed_from_u64(seed ^ (number as u64) << 32),
                    number,
                    submitted: 0,
                    tasks: Vec::new(),
                };
                scope.spawn(move || client.live())
            })
            .collect();
        let failed = || clients.iter().any(|client| client.is_finished());
        let pause = |time: Duration| {
            let until = (Instant::now() + time).min(end);
            while Instant::now() < until && !failed() {
                thread::sleep(Duration::from_millis(50));
            }
        };
        while Instant::now() < end && !failed() {
            pause(CALM);
            if storms && Instant::now() + STORM + AFTER_EFFECT < end {
                weather.set_calm(false);
                route.set_faults(true);
                pause(STORM);
                route.set_faults(false);
                weather.set_calm(true);
            }
        }
        weather.is_over.store(true, Ordering::Relaxed);
    });
    weather
}

/// Waits until the cluster is empty, and the servers are at rest.
fn rest(world: &World, route: &FaultyRoute) -> [Usage; 2] {
    wait_until("the cluster is empty", || {
        world.names::<Job>().is_empty()
            && world.names::<Pod>().is_empty()
            && world.names::<Secret>().is_empty()
            && world.names_of::<Service>("").is_empty()
    });
    wait_until("no process of a pod is left", || {
        world.usage().children == 0
    });
    let usage = || [world.usage(), route.usage()];
    let files = || usage().map(|usage| usage.files);
    let (mut last, mut since) = (files(), Instant::now());
    while since.elapsed() < AT_REST {
        thread::sleep(Duration::from_secs(1));
        let now = files();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    usage()
}

#[test]
#[ignore = "takes 15 minutes: `make soak`"]
fn many_clients_lose_nothing_in_a_long_time() {
    let seed = setting("K8S_CLI_SOAK_SEED", rand::random());
    let time = Duration::from_secs(setting("K8S_CLI_SOAK_SECONDS", 900));
    eprintln!("seed {seed}: repeat with K8S_CLI_SOAK_SEED={seed}");
    let world = World::sandbox(&[]);
    let mut route = FaultyRoute::lasting(&world, seed);
    let warm_up = live(&world, &route, seed, time / 4, false);
    let before = rest(&world, &route);
    let storms = live(&world, &route, seed + 1, time * 3 / 4, true);
    let after = rest(&world, &route);
    for (weather, what) in [(warm_up, "calm"), (storms, "with storms")] {
        let (done, excused) = (weather.done.into_inner(), weather.excused.into_inner());
        eprintln!("{what}: {done} commands, {excused} of them failed in storms");
    }
    eprintln!("faults: {:?}", route.counts());
    let log = route.log();
    let faults = ["panicked", "status=500"];
    let faults = log
        .lines()
        .filter(|line| faults.iter().any(|fault| line.contains(fault)));
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
    let [sandbox_before, before] = before;
    let [_, after] = after;
    eprintln!("server: {before:?}, then {after:?}");
    assert!(after.files <= before.files + 8, "files are left open");
    assert!(after.threads <= before.threads + 4, "threads are left");
    assert!(after.memory <= before.memory * 11 / 10, "memory has leaked");
    // The idle connections of the server end with it.
    route.kill_server();
    wait_until("the sandbox closes its files", || {
        world.usage().files <= sandbox_before.files
    });
    let sandbox = world.usage();
    eprintln!("sandbox: {sandbox_before:?}, then {sandbox:?}");
    assert!(sandbox.threads <= sandbox_before.threads + 4);
    // It keeps its last changes for watches that begin again.
    assert!(sandbox.memory <= sandbox_before.memory * 11 / 10 + CHANGES_OF_SANDBOX);
}
