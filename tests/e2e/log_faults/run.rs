//! One run: a task, its viewers behind a [`FaultyRoute`], and the faults.

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

/// The kind of faults of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// Between the server and Kubernetes.
    Upstream,
    /// Between the client and the server.
    Downstream,
    Both,
    /// Both, and the server is killed and restarted.
    Killed,
    /// Both, and another viewer starts after the first faults.
    Late,
    /// Both, after the task has ended, with options that select a part of its log.
    Part,
}

/// All kinds; a seed modulo their number selects one.
pub const TROUBLES: [Trouble; 6] = [
    Trouble::Upstream,
    Trouble::Downstream,
    Trouble::Both,
    Trouble::Killed,
    Trouble::Late,
    Trouble::Part,
];

/// The number of nodes on the sandbox, and on a cluster, where a pod takes seconds to start.
const NUM_NODES: [usize; 2] = [8, 3];

/// After this many bytes the answer has begun: its head and its first record.
const BEGUN: usize = 700;

/// The limit for waiting for bytes that may not come because of faults.
const PATIENCE: Duration = Duration::from_secs(2);

/// The selected part of a log.
#[derive(Default)]
struct Part {
    options: Vec<String>,
    /// The same selection for Kubernetes.
    params: LogParams,
    /// The number of lines at its end.
    tail: Option<usize>,
    /// `None` selects all nodes.
    nodes: Option<Vec<usize>>,
}

/// Does one run; returns the counts of its proxies, upstream and downstream.
///
/// # Errors
/// The client printed other lines than the task.
pub fn run(user: &Session<'_>, seed: u64, trouble: Trouble) -> Result<[Counts; 2], String> {
    let mut random = StdRng::seed_from_u64(seed);
    let num_nodes = NUM_NODES[usize::from(crate::harness::is_real_cluster())];
    // Some runs have timestamps. They have no long lines, because only the first piece of a long line has a timestamp.
    let has_times = trouble == Trouble::Part && random.random_ratio(1, 4);
    let task = Task::draw(&mut random, num_nodes, !has_times);
    let mut route = FaultyRoute::new(user.world, seed);
    // The barrier has tests of its own, and would be most of the time of each run.
    let id = user.submit_without_barrier(&task.file());
    let mut part = Part::default();
    if trouble == Trouble::Part {
        user.wait_for_status(&id, "completed");
        part = draw_part(&mut random, user, &id, num_nodes, has_times);
    }
    // Before the log has begun, the client reports an error and ends, so faults start later.
    let begun = BEGUN + (1 << random.random_range(0..14));
    route
        .downstream
        .after_bytes(begun, enable_faults(&route, trouble));
    let mut viewers = vec![Viewer::start(user, &route.url(), &id, &part.options)];
    let moment = random.random_range(1..50_000);
    match trouble {
        Trouble::Killed => {
            viewers[0].wait_for_bytes(moment, PATIENCE);
            route.kill_server();
            // The server is absent for a time that the seed determines.
            thread::sleep(Duration::from_millis(random.random_range(0..1500)));
            // A server that cannot reach Kubernetes does not start.
            route.upstream.switch().disable();
            route.start_server();
            enable_faults(&route, trouble)();
        }
        Trouble::Late => {
            viewers[0].wait_for_bytes(moment, PATIENCE);
            route.upstream.switch().disable();
            route.downstream.switch().disable();
            let mut late = Viewer::start(user, &route.url(), &id, &[]);
            late.wait_for_bytes(1, PATIENCE);
            enable_faults(&route, trouble)();
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

/// Enables the faults of the run. With `K8S_CLI_LOG_CALM=1` there are none, so a failure has another cause.
fn enable_faults(route: &FaultyRoute, trouble: Trouble) -> impl FnOnce() + Send + use<> {
    let is_calm = env::var_os("K8S_CLI_LOG_CALM").is_some();
    let (upstream, downstream) = (route.upstream.switch(), route.downstream.switch());
    move || {
        if !is_calm && trouble != Trouble::Downstream {
            upstream.enable();
        }
        if !is_calm && trouble != Trouble::Upstream {
            downstream.enable();
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
            // A time in the middle of the log: the first whole second after the first line.
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
        .map(|node| node["pod"].as_str().unwrap().to_owned())
        .collect()
}

/// Compares the logs of Kubernetes with the lines of the task, and the output of the viewers with the logs of Kubernetes.
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
            .map_err(|why| format!("the log of Kubernetes differs: node {rank}, {why}"))?;
    }
    if !part.options.is_empty() {
        logs = user.world.pod_logs(&pods, &part.params);
        remove_partial_lines(user, &pods, &part.params, &mut logs);
    }
    // Kubernetes counts the pieces of a long line, and `--tail` counts lines.
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

/// Removes the rest of a line that began before `since_time`. Kubernetes starts with this rest, without a timestamp, and the
/// line is not selected.
fn remove_partial_lines(
    user: &Session<'_>,
    pods: &[String],
    params: &LogParams,
    logs: &mut [Vec<u8>],
) {
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

/// Checks that the log has all lines of each writer, in order.
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
        return Err("stderr reports missing lines, but no line is missing".to_owned());
    }
    Ok(())
}

/// The facts for finding out why a run failed.
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
            let out = env::temp_dir().join(format!(
                "k8s-cli-seed-{seed}-{}-{:08x}.out",
                seen.number,
                rand::random::<u32>()
            ));
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
