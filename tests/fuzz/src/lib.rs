//! What the fuzz targets share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The most CPU time for an input. CPU time does not depend on other processes.
const MAX_TIME: Duration = Duration::from_secs(1);

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Runs `work` on one input, and panics if it took too long.
pub fn limit_time(work: impl FnOnce()) {
    let start = cpu_time();
    work();
    let took = cpu_time() - start;
    assert!(took < MAX_TIME, "took {took:?}");
}
