//! One run: a task, somebody who watches it by way of the [`FaultyRoute`], and what goes wrong meanwhile.

use std::{env, fs, thread, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    compare::{by_node, compare, lines},
    task::{Task, is_err},
    viewer::{Seen, Viewer},
};
use crate::harness::{FaultyRoute, Session, proxy::Counts};

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// Between the server and Kubernetes.
    Upstream,
    /// Between the client and the server.
    Downstream,
    Both,
    /// Both, and the server is killed and started again.
    Killed,
    /// Both, and another viewer comes when things have gone wrong already.
    Late,
    /// Both, after the task has ended, and only a part of its log may be wanted.
    Part,
}

/// All of them; the number of a seed, modulo theirs, says which it is.
pub const TROUBLES: [Trouble; 6] = [
    Trouble::Upstream,
    Trouble::Downstream,
    Trouble::Both,
    Trouble::Killed,
    Trouble::Late,
    Trouble::Part,
];

/// The nodes of a task on the sandbox, and on a cluster, where a pod takes seconds to start.
const NUM_NODES: [usize; 2] = [8, 3];

/// The answer has begun when so many bytes have passed: its head, and the record that it starts with.
const BEGUN: usize = 700;

/// How long a moment in a log is waited for that may not come, because things have gone wrong already.
const PATIENCE: Duration = Duration::from_secs(2);

/// What of a log is wanted.
#[derive(Default)]
struct Part {
    options: Vec<String>,
    /// How Kubernetes is asked for it.
    params: LogParams,
    /// Only so many lines at its end.
    tail: Option<usize>,
    /// None: all of them.
    nodes: Option<Vec<usize>>,
}

/// Does one run; returns what its proxies did, upstream and downstream.
///
/// # Errors
/// What the client printed is not what the task did.
pub fn run(user: &Session<'_>, seed: u64, trouble: Trouble) -> Result<[Counts; 2], String> {
    let mut random = StdRng::seed_from_u64(seed);
    let num_nodes = NUM_NODES[usize::from(crate::harness::is_real_cluster())];
    // Lines with times are wanted of some; a time is only before the first piece of a long line.
    let has_times = trouble == Trouble::Part && random.random_ratio(1, 4);
    let task = Task::draw(&mut random, num_nodes, !has_times);
    let mut route = FaultyRoute::new(user.world, seed);
    let id = user.submit(&task.file());
    let mut part = Part::default();
    if trouble == Trouble::Part {
        user.wait_for_status(&id, "completed");
        part = draw_part(&mut random, user, &id, num_nodes, has_times);
    }
    // Until the log has begun, an error is an answer; so there are none before.
    let begun = BEGUN + (1 << random.random_range(0..14));
    route
        .downstream
        .after_bytes(begun, unleash(&route, trouble));
    let mut viewers = vec![Viewer::start(user, &route.url(), &id, &part.options)];
    let moment = random.random_range(1..50_000);
    match trouble {
        Trouble::Killed => {
            viewers[0].wait_for_bytes(moment, PATIENCE);
            route.kill_server();
            // Nobody is there for a while; how long is part of the run.
            thread::sleep(Duration::from_millis(random.random_range(0..1500)));
            // A server that cannot reach Kubernetes does not start, and should not.
            route.upstream.switch().calm();
            route.start_server();
            unleash(&route, trouble)();
        }
        Trouble::Late => {
            viewers[0].wait_for_bytes(moment, PATIENCE);
            route.upstream.switch().calm();
            route.downstream.switch().calm();
            let mut late = Viewer::start(user, &route.url(), &id, &[]);
            late.wait_for_bytes(1, PATIENCE);
            unleash(&route, trouble)();
            viewers.push(late);
        }
        _ => (),
    }
    let seen: Vec<Seen> = viewers.into_iter().map(Viewer::finish).collect();
    user.wait_for_status(&id, "completed");
    let checked = check(user, &id, &task, &part, &seen);
    user.run(["jobs", "stop", &id]).success();
    let counts = route.counts();
    checked.map_err(|why| describe(&why, seed, trouble, &counts, &seen, &route.log()))?;
    Ok(counts)
}

/// Lets the faults of the run happen. `K8S_CLI_LOG_CALM=1` has none: what fails then has another cause.
fn unleash(route: &FaultyRoute, trouble: Trouble) -> impl FnOnce() + Send + use<> {
    let is_calm = env::var_os("K8S_CLI_LOG_CALM").is_some();
    let (upstream, downstream) = (route.upstream.switch(), route.downstream.switch());
    move || {
        if !is_calm && trouble != Trouble::Downstream {
            upstream.unleash();
        }
        if !is_calm && trouble != Trouble::Upstream {
            downstream.unleash();
        }
    }
}

fn draw_part(
    random: &mut StdRng,
    user: &Session<'_>,
    id: &str,
    num_nodes: usize,
    has_times: bool,
) -> Part {
    let mut part = Part::default();
    let mut options = Vec::new();
    if has_times {
        part.params.timestamps = true;
        options.push("--timestamps".to_owned());
    }
    if random.random_ratio(1, 3) {
        let nodes = [0, num_nodes - 1];
        options.extend(nodes.iter().map(|rank| format!("--node={rank}")));
        part.nodes = Some(nodes.to_vec());
    }
    match random.random_range(0..3) {
        0 => {
            let tail = random.random_range(0..400);
            options.push(format!("--tail={tail}"));
            part.tail = Some(tail);
        }
        1 => {
            // From a moment in the middle: the first whole second since the first line.
            let params = LogParams {
                timestamps: true,
                ..LogParams::default()
            };
            let log = user.world.pod_logs(&pods(user, id)[..1], &params);
            let time = log[0].split(|byte| *byte == b' ').next().unwrap();
            let time: Timestamp = std::str::from_utf8(time).unwrap().parse().unwrap();
            let time = Timestamp::from_second(time.as_second() + 1).unwrap();
            options.push(format!("--since={time}"));
            part.params.since_time = Some(time);
        }
        _ => (),
    }
    Part { options, ..part }
}

/// The name of each node's pod.
pub fn pods(user: &Session<'_>, id: &str) -> Vec<String> {
    let task = user.status(id);
    let nodes = task["metadata"]["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| node["pod_name"].as_str().unwrap().to_owned())
        .collect()
}

/// Checks what Kubernetes has against what the task printed, and what the viewers have seen against what Kubernetes has.
fn check(
    user: &Session<'_>,
    id: &str,
    task: &Task,
    part: &Part,
    seen: &[Seen],
) -> Result<(), String> {
    let pods = pods(user, id);
    let mut logs = user.world.pod_logs(&pods, &LogParams::default());
    for (rank, log) in logs.iter().enumerate() {
        check_log(&task.lines(rank), log)
            .map_err(|why| format!("Kubernetes itself does not have it: node {rank}, {why}"))?;
    }
    if !part.options.is_empty() {
        logs = user.world.pod_logs(&pods, &part.params);
        cut_rests(user, &pods, &part.params, &mut logs);
    }
    // Kubernetes counts the pieces of a long line; people count lines.
    if let Some(tail) = part.tail {
        for log in &mut logs {
            let all = lines(log);
            *log = all[all.len().saturating_sub(tail)..].join(&b'\n');
        }
    }
    for (rank, log) in logs.iter_mut().enumerate() {
        if part
            .nodes
            .as_ref()
            .is_some_and(|nodes| !nodes.contains(&rank))
        {
            log.clear();
        }
    }
    seen.iter()
        .try_for_each(|seen| check_seen(&logs, seen).map_err(|why| format!("{}: {why}", seen.line)))
}

/// Cuts off the rest of a line that began before the time from which on a log is wanted: Kubernetes begins with it, without a
/// time, and it belongs to no line that is wanted.
fn cut_rests(user: &Session<'_>, pods: &[String], params: &LogParams, logs: &mut [Vec<u8>]) {
    if params.since_time.is_none() {
        return;
    }
    let params = LogParams {
        timestamps: true,
        ..params.clone()
    };
    for (log, timed) in logs.iter_mut().zip(user.world.pod_logs(pods, &params)) {
        let stamp = timed.split(|byte| *byte == b' ').next().unwrap_or_default();
        let begins_a_line =
            std::str::from_utf8(stamp).is_ok_and(|stamp| stamp.parse::<Timestamp>().is_ok());
        if !begins_a_line {
            let rest = log.iter().position(|byte| *byte == b'\n');
            log.drain(..rest.map_or(log.len(), |end| end + 1));
        }
    }
}

/// Checks that each of the writers has all its lines in the log, in order.
fn check_log(written: &[Vec<Vec<u8>>; 2], log: &[u8]) -> Result<(), String> {
    let (err, out): (Vec<&[u8]>, Vec<&[u8]>) =
        lines(log).into_iter().partition(|line| is_err(line));
    for (writer, (logged, written)) in [out, err].iter().zip(written).enumerate() {
        let written: Vec<&[u8]> = written.iter().map(Vec::as_slice).collect();
        compare(logged, &written, false).map_err(|why| format!("writer {}, {why}", writer + 1))?;
    }
    Ok(())
}

fn check_seen(logs: &[Vec<u8>], seen: &Seen) -> Result<(), String> {
    let printed = by_node(&seen.out)?;
    for (rank, log) in logs.iter().enumerate() {
        let printed = printed.get(&rank).map_or(&[][..], Vec::as_slice);
        compare(printed, &lines(log), true).map_err(|why| format!("node {rank}, {why}"))?;
    }
    if let Some(rank) = printed.keys().find(|rank| **rank >= logs.len()) {
        return Err(format!("there is no node {rank}"));
    }
    if seen.code != Some(0) {
        return Err(format!("exit code {:?}, not 0", seen.code));
    }
    if seen.err.contains("missing") {
        return Err("no line is missing, but stderr says so".to_owned());
    }
    Ok(())
}

/// All that somebody needs who has to find out why a run failed.
fn describe(
    why: &str,
    seed: u64,
    trouble: Trouble,
    counts: &[Counts; 2],
    seen: &[Seen],
    log: &str,
) -> String {
    let stderrs: String = seen
        .iter()
        .map(|seen| {
            let out = env::temp_dir().join(format!("k8s-cli-seed-{seed}-{}.out", seen.number));
            fs::write(&out, &seen.out).unwrap();
            let (line, err) = (&seen.line, &seen.err);
            format!(
                "--- {line}: stdout is in {}, stderr is ---\n{err}",
                out.display()
            )
        })
        .collect();
    let log: Vec<&str> = log.lines().rev().take(30).collect();
    let log: String = log.iter().rev().map(|line| format!("{line}\n")).collect();
    let [upstream, downstream] = counts;
    format!(
        "K8S_CLI_LOG_SEED={seed} ({trouble:?}): {why}\n\
         upstream {upstream:?}\ndownstream {downstream:?}\n\
         {stderrs}--- the end of the server's log ---\n{log}"
    )
}
