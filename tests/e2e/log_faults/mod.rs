//! Tests that each line of a log is printed exactly once while connections and servers fail.
//!
//! Each run has a seed, which determines the lines of the task and the faults. A failed run prints its seed;
//! `K8S_CLI_LOG_SEED=17` repeats that run alone, `K8S_CLI_LOG_RUNS=5000` sets the number of runs, and `K8S_CLI_LOG_CALM=1`
//! disables the faults. The timing also depends on the machine, so a seed makes the same failure likely, not certain.

mod cluster;
mod compare;
mod run;
mod task;
mod viewer;

use std::{
    collections::BTreeMap,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

use self::run::{TROUBLES, Trouble, run};
use crate::harness::{World, is_real_cluster};

/// The number of runs, on the sandbox and on a cluster.
const RUNS: [u64; 2] = [204, 8];
/// The number of runs of one kind at the same time. Runs mostly wait.
const WORKERS: [usize; 2] = [6, 1];
/// With fewer runs than this, a run may have no fault.
const FEW: usize = 5;
/// The most failures that are printed.
const MAX_PRINTED: usize = 3;

#[test]
fn nothing_is_lost_between_the_server_and_kubernetes() {
    check(Trouble::Upstream);
}

#[test]
fn nothing_is_lost_between_the_client_and_the_server() {
    check(Trouble::Downstream);
}

#[test]
fn nothing_is_lost_when_everything_breaks() {
    check(Trouble::Both);
}

#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    check(Trouble::Killed);
}

#[test]
fn nothing_is_lost_for_a_late_viewer() {
    check(Trouble::Late);
}

#[test]
fn a_part_of_a_log_is_complete() {
    check(Trouble::Part);
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
    )
}

/// The seeds of the runs with these faults.
fn seeds(trouble: Trouble) -> Vec<u64> {
    let runs = number("K8S_CLI_LOG_RUNS").unwrap_or(RUNS[usize::from(is_real_cluster())]);
    let all = match number("K8S_CLI_LOG_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..runs,
    };
    let kinds = TROUBLES.len() as u64;
    all.filter(|seed| TROUBLES[usize::try_from(seed % kinds).unwrap()] == trouble)
        .collect()
}

/// Does all runs with these faults, several at a time, in one world.
fn check(trouble: Trouble) {
    let seeds = seeds(trouble);
    if seeds.is_empty() {
        return;
    }
    let world = World::new();
    let user = world.login("ada");
    let (next, failures) = (Mutex::new(seeds.iter()), Mutex::new(Vec::new()));
    let faults = Mutex::new([BTreeMap::new(), BTreeMap::new()]);
    thread::scope(|scope| {
        for _ in 0..WORKERS[usize::from(is_real_cluster())] {
            scope.spawn(|| {
                while let Some(seed) = { next.lock().unwrap().next() } {
                    let result = catch_unwind(AssertUnwindSafe(|| run(&user, *seed, trouble)));
                    let result =
                        result.unwrap_or_else(|_| Err(format!("K8S_CLI_LOG_SEED={seed} panicked")));
                    match result {
                        Ok(counts) => add(&mut faults.lock().unwrap(), counts),
                        Err(why) => failures.lock().unwrap().push(why),
                    }
                }
            });
        }
    });
    // Dropping the world here keeps its log out of the failure: it covers all runs and does not help.
    drop(world);
    let failures = failures.into_inner().unwrap();
    let faults = faults.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} runs failed\n\n{}",
        failures.len(),
        seeds.len(),
        failures[..failures.len().min(MAX_PRINTED)].join("\n")
    );
    check_faults(trouble, seeds.len(), &faults);
}

/// The numbers of faults by name: upstream, downstream.
type Faults = [BTreeMap<&'static str, usize>; 2];

fn add(faults: &mut Faults, counts: [crate::harness::proxy::Counts; 2]) {
    for (faults, counts) in faults.iter_mut().zip(counts) {
        for (name, count) in counts.faults {
            *faults.entry(name).or_default() += count;
        }
    }
}

/// Checks that faults happened on the sides where they were enabled, and on no other.
fn check_faults(trouble: Trouble, runs: usize, faults: &Faults) {
    eprintln!(
        "{trouble:?}: {runs} runs, upstream {:?}, downstream {:?}",
        faults[0], faults[1]
    );
    let is_calm = env::var_os("K8S_CLI_LOG_CALM").is_some();
    let wanted = [trouble != Trouble::Downstream, trouble != Trouble::Upstream];
    for (side, (faults, is_wanted)) in faults.iter().zip(wanted).enumerate() {
        let total: usize = faults.values().sum();
        if is_wanted && !is_calm {
            // A short log may end before its first fault.
            assert!(
                total >= runs || runs < FEW,
                "{total} faults on side {side} are too few for {runs} runs"
            );
        } else {
            assert_eq!(total, 0, "side {side} must have no faults");
        }
    }
}
