//! The startup probe of a container: a command that runs in the container until it succeeds once.
//!
//! It follows Kubernetes, `pkg/kubelet/prober` and `pkg/probe/exec`, v1.36. Only `exec` is known: a container with a startup probe
//! of another type counts as started at once.

use std::{io, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{isolation::Isolation, process::Launch};
use crate::sandbox::objects::object::{elements, text};

/// The most bytes of the output of a command that an event has.
const MAX_OUTPUT: usize = 10 << 10;

/// A startup probe, and the variables and the working directory of its container.
pub struct Probe {
    command: Vec<String>,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    threshold: u64,
    pub grace_seconds: Option<u64>,
}

impl Probe {
    /// The startup probe of a container that is about to start.
    pub fn new(container: &Value, launch: &Launch) -> Option<Self> {
        let probe = &container["startupProbe"];
        let command: Vec<String> = elements(&probe["exec"]["command"])
            .iter()
            .map(|word| text(word).to_owned())
            .collect();
        let number = |field: &str, default| probe[field].as_u64().unwrap_or(default);
        (!command.is_empty()).then(|| Self {
            command,
            directory: launch.directory.clone(),
            environment: launch.environment.clone(),
            initial_delay: Duration::from_secs(number("initialDelaySeconds", 0)),
            period: Duration::from_secs(number("periodSeconds", 10).max(1)),
            timeout: Duration::from_secs(number("timeoutSeconds", 1)),
            threshold: number("failureThreshold", 3),
            grace_seconds: probe["terminationGracePeriodSeconds"].as_u64(),
        })
    }

    /// Runs the command until it succeeds, or until it has failed too often. `failed` gets the output of each failure. The result
    /// is whether the container has started.
    pub async fn run(
        &self,
        isolation: &Isolation,
        main: Option<Pid>,
        failed: impl Fn(&str),
    ) -> bool {
        sleep(self.initial_delay).await;
        // Attempts begin in each period. The next one follows at once on one that took longer.
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for _ in 0..self.threshold {
            ticks.tick().await;
            match self.attempt(isolation, main).await {
                Ok(None) => return true,
                Ok(Some(output)) => failed(&output),
                Err(error) => failed(&error.to_string()),
            }
        }
        false
    }

    /// Runs the command once. The result is the output of a command that failed.
    async fn attempt(
        &self,
        isolation: &Isolation,
        main: Option<Pid>,
    ) -> io::Result<Option<String>> {
        let (plain, odd) = isolation.split(&self.environment);
        let line = isolation.entry_line(main, &self.directory, &self.command, &odd);
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .envs(plain)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Ok(output) = timeout(self.timeout, child.wait_with_output()).await else {
            if let Some(group) = group
                && let Err(error) = kill_process_group(group, Signal::KILL)
            {
                log::debug!("startup probe: {error}");
            }
            return Ok(Some(format!(
                "command timed out: \"{}\" timed out after {}s",
                self.command.join(" "),
                self.timeout.as_secs()
            )));
        };
        let output = output?;
        let mut text = [output.stdout, output.stderr].concat();
        text.truncate(MAX_OUTPUT);
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((!output.status.success()).then_some(text))
    }
}
