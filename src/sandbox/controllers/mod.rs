//! The controllers: of Jobs and of claims, the scheduler, and the garbage collector.
//!
//! One loop passes each change to all of them and then lets each act, so the order of their writes is fixed: a Job's pods lose their
//! finalizer before the collector deletes them, as in the recording of a real cluster. Only the sandbox's own `mod.rs` imports this
//! wing. It starts no process: the kubelet has a loop of its own.

mod claims;
mod collector;
mod job;
mod scheduler;

use std::{path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use self::{claims::Claims, job::JobController, scheduler::Scheduler};
use crate::sandbox::objects::{clock, events, feed::Feed, registry::Registry};

/// The interval at which old events are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Runs all controllers for as long as the sandbox lives.
pub async fn run(registry: Arc<Registry>, claims_directory: PathBuf) {
    let mut feed = Feed::new(registry.clone());
    let mut claims = Claims::new(registry.clone(), claims_directory);
    let mut jobs = JobController::new(registry.clone());
    let mut scheduler = Scheduler::new(registry.clone());
    let mut next_sweep = Instant::now() + SWEEP_INTERVAL;
    loop {
        let wake = jobs
            .next_wake()
            .map_or(next_sweep, |time| next_sweep.min(instant(time)));
        let changes = tokio::select! {
            changes = feed.next() => match changes {
                Some(changes) => changes,
                None => return,
            },
            () = sleep_until(wake) => Vec::new(),
        };
        if Instant::now() >= next_sweep {
            events::sweep(&registry);
            next_sweep = Instant::now() + SWEEP_INTERVAL;
        }
        for change in &changes {
            claims.observe(change);
            jobs.observe(change);
            collector::observe(&registry, change);
            scheduler.observe(change);
        }
        claims.sync();
        jobs.sync();
        scheduler.sync();
    }
}

fn instant(time: Timestamp) -> Instant {
    let wait = time.duration_since(clock::now());
    Instant::now() + Duration::try_from(wait).unwrap_or_default()
}
