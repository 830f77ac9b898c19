//! The life cycle of one container of a pod: image, environment, and one or more runs.
//!
//! Reasons, events and delays follow Kubernetes, `pkg/kubelet/kuberuntime/kuberuntime_container.go` and `pkg/kubelet/images`, v1.36.

use std::{path::PathBuf, rc::Rc, time::Duration};

use rustix::process::Pid;
use serde_json::{Value, json};

use super::{
    environment, image, open_files,
    pod::{Pod, Stopped},
    pod_status::ContainerView,
    probe::Probe,
    process::{Failure, Launch, Process, START_ERROR},
    termination, volumes,
};
use crate::sandbox::objects::{
    clock,
    events::Severity,
    object::{elements, text},
};

/// The longest pause before the next attempt to create a container.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The first and the longest pause before the next attempt of a pull or of a crashed container.
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// The time from the start of a container to the earliest stop signal. A kubelet handles a pod's events one after another, so that a
/// program has this time to install its signal handlers.
const REACTION: Duration = Duration::from_millis(100);
/// The time from `ErrImagePull` to `ImagePullBackOff`.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(2);

/// A container of a pod.
struct Container<'a> {
    pod: &'a Rc<Pod>,
    index: usize,
    is_init: bool,
    spec: &'a Value,
    field: String,
}

/// Runs a container until its last run has ended, and returns the exit code.
pub async fn run(pod: &Rc<Pod>, index: usize, is_init: bool, ip: &str) -> Result<i32, Stopped> {
    let list = if is_init {
        "initContainers"
    } else {
        "containers"
    };
    let spec = &pod.value["spec"][list][index];
    let field = format!("spec.{list}{{{}}}", text(&spec["name"]));
    let container = Container {
        pod,
        index,
        is_init,
        spec,
        field,
    };
    container.wait_for_image(ip).await?;
    let mut backoff = FIRST_BACKOFF;
    for run in 0.. {
        let code = container.run(run, ip).await?;
        let again = match text(&pod.value["spec"]["restartPolicy"]) {
            "Always" => !is_init || code != 0,
            "OnFailure" => code != 0,
            _ => false,
        };
        if !again || pod.stop.borrow().is_some() {
            return Ok(code);
        }
        container.crash_loop(backoff).await?;
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
    Err(Stopped)
}

impl Container<'_> {
    /// Reports a pull of the image, and returns when the container can run.
    async fn wait_for_image(&self, ip: &str) -> Result<(), Stopped> {
        let image = text(&self.spec["image"]);
        if let Some(why) = image::check_name(image) {
            self.warn("InspectFailed", &why);
            self.warn("Failed", "Error: InvalidImageName");
            self.set_ip(ip);
            self.waiting("InvalidImageName", &why);
            self.pod.stopped().await;
            return Err(Stopped);
        }
        if text(&self.spec["imagePullPolicy"]) == "Never" && image::check_pull(image).is_some() {
            let why =
                format!("Container image \"{image}\" is not present with pull policy of Never");
            self.warn("ErrImageNeverPull", &why);
            self.warn("Failed", "Error: ErrImageNeverPull");
            self.set_ip(ip);
            self.waiting("ErrImageNeverPull", &why);
            self.pod.stopped().await;
            return Err(Stopped);
        }
        let mut backoff = FIRST_BACKOFF;
        loop {
            let Some(why) = image::check_pull(image) else {
                let message = format!(
                    "Container image \"{image}\" already present on machine and can be accessed by the pod"
                );
                self.note("Pulled", &message);
                return Ok(());
            };
            self.note("Pulling", &format!("Pulling image \"{image}\""));
            self.warn(
                "Failed",
                &format!("Failed to pull image \"{image}\": {why}"),
            );
            self.warn("Failed", "Error: ErrImagePull");
            self.set_ip(ip);
            self.waiting("ErrImagePull", &why);
            self.pod.sleep(PULL_ERROR_SHOWN).await?;
            let message = format!("Back-off pulling image \"{image}\"");
            self.note("BackOff", &message);
            self.warn("Failed", "Error: ImagePullBackOff");
            let why = format!("{message}: ErrImagePull: {why}");
            self.waiting("ImagePullBackOff", &why);
            self.pod.sleep(backoff).await?;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn run(&self, run: usize, ip: &str) -> Result<i32, Stopped> {
        let (launch, message) = loop {
            match self.launch(ip) {
                Ok(found) => break found,
                Err((reason, why)) => {
                    self.warn("Failed", &format!("Error: {why}"));
                    self.set_ip(ip);
                    self.waiting(reason, &why);
                }
            }
            self.pod.pause(RETRY_INTERVAL).await?;
        };
        let pod = self.pod;
        if pod.stop.borrow().is_some() {
            return Err(Stopped);
        }
        let name = text(&self.spec["name"]);
        self.set_ip(ip);
        self.note("Created", "Container created");
        let id = format!(
            "sandbox://{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        let log = pod
            .machine
            .logs
            .start(&pod.directory, &pod.object.uid, name, run);
        let started = match log {
            Ok(log) => Process::start(pod.machine.isolation().await, &launch, log).await,
            Err(error) => Err(Failure::Setup(error.to_string())),
        };
        let probe = Probe::new(self.spec, &launch);
        // The environment may be large, and it is not needed while the process runs.
        drop(launch);
        let mut process = match started {
            Ok(process) => process,
            Err(failure) => {
                let message = match failure {
                    Failure::Program(message) => message,
                    Failure::Setup(why) => format!("failed to create containerd task: {why}"),
                };
                self.warn("Failed", &format!("Error: {message}"));
                let never = "1970-01-01T00:00:00Z";
                self.terminated(START_ERROR, "StartError", Some(&message), never, &id);
                return Ok(START_ERROR);
            }
        };
        self.note("Started", "Container started");
        let started = clock::seconds(clock::now());
        self.change(|view| {
            view.id.clone_from(&id);
            view.state = json!({ "running": { "startedAt": started } });
            view.started = probe.is_none();
        });
        pod.machine.running.send_modify(|count| *count += 1);
        let code = self.wait(&mut process, probe.as_ref()).await;
        process.finish().await;
        pod.machine.running.send_modify(|count| *count -= 1);
        let reason = if code == 0 { "Completed" } else { "Error" };
        let logs = &pod.machine.logs;
        let message = termination::message(self.spec, &message, logs, &pod.object.uid, code).await;
        self.terminated(code, reason, message.as_deref(), &started, &id);
        Ok(code)
    }

    /// Waits for the end of a process, and ends it when the pod has to end or its startup probe fails.
    async fn wait(&self, process: &mut Process, probe: Option<&Probe>) -> i32 {
        let ended = |result: std::io::Result<i32>| {
            result.unwrap_or_else(|error| {
                log::warn!("container of pod {}: {error}", self.pod.object.name());
                137
            })
        };
        let earliest = tokio::time::Instant::now() + REACTION;
        let stopped = async {
            let grace = self.pod.stopped().await;
            tokio::time::sleep_until(earliest).await;
            // Another deletion, or the end of the sandbox, may have come meanwhile.
            self.pod.stop.borrow().unwrap_or(grace).min(grace)
        };
        let name = text(&self.spec["name"]);
        let main = process.main();
        let (mut grace, why) = tokio::select! {
            code = process.wait() => return ended(code),
            grace = stopped => (grace, format!("Stopping container {name}")),
            grace = self.start_up(main, probe) => {
                let restarts = text(&self.pod.value["spec"]["restartPolicy"]) != "Never";
                let then = if restarts { ", will be restarted" } else { "" };
                (grace, format!("Container {name} failed startup probe{then}"))
            }
        };
        self.note("Killing", &why);
        process.terminate();
        let asked = tokio::time::Instant::now();
        let mut stop = self.pod.stop.subscribe();
        loop {
            tokio::select! {
                code = process.wait() => return ended(code),
                // A time beyond all times comes never, and `sleep` knows that.
                () = tokio::time::sleep(grace.saturating_sub(asked.elapsed())) => {
                    process.kill();
                    return ended(process.wait().await);
                }
                // A second deletion may shorten the grace period.
                _ = stop.changed() => grace = stop.borrow_and_update().unwrap_or_default().min(grace),
            }
        }
    }

    /// Runs the startup probe, and returns the grace period when it has failed too often.
    async fn start_up(&self, main: Option<Pid>, probe: Option<&Probe>) -> Duration {
        let Some(probe) = probe else {
            return std::future::pending().await;
        };
        let isolation = self.pod.machine.isolation().await;
        let failed = |output: &str| {
            self.warn("Unhealthy", &format!("Startup probe failed: {output}"));
        };
        if probe.run(isolation, main, failed).await {
            self.change(|view| view.started = true);
            return std::future::pending().await;
        }
        let own = self.pod.value["spec"]["terminationGracePeriodSeconds"].as_u64();
        Duration::from_secs(probe.grace_seconds.or(own).unwrap_or(0))
    }

    /// The parameters of the process, and the path of its termination message.
    fn launch(&self, ip: &str) -> Result<(Launch, PathBuf), (&'static str, String)> {
        let pod = self.pod;
        let failed = |error: std::io::Error| ("CreateContainerError", error.to_string());
        let name = text(&self.spec["name"]);
        // The home directory of the sandbox's user has keys and settings that a pod on a cluster would not find.
        let home = pod.directory.join(format!("home-{name}"));
        std::fs::create_dir_all(&home).map_err(failed)?;
        let registry = &pod.machine.registry;
        let variables = environment::variables(registry, &pod.value, self.spec, ip, &home)
            .map_err(|why| ("CreateContainerConfigError", why))?;
        let command = environment::command(self.spec, &variables);
        if command.is_empty() {
            let why =
                "the sandbox has no images, so it knows no program to run: name one in `command`";
            return Err(("CreateContainerError", why.to_owned()));
        }
        let root = pod.directory.join(format!("root-{name}"));
        std::fs::create_dir_all(&root).map_err(failed)?;
        let mut steps = vec!["hostname".to_owned(), environment::hostname(&pod.value)];
        if let Some(limit) = open_files::original_limit() {
            steps.extend(["files".to_owned(), limit.to_string()]);
        }
        let message = termination::prepare(self.spec, &pod.directory).map_err(failed)?;
        steps.extend(message.steps);
        let mut own = Vec::from_iter(message.mount);
        if let Some(names) = &*pod.names.borrow() {
            own.push((PathBuf::from("/etc/hosts"), names.file()));
        }
        let mounts = volumes::plan(self.spec, &variables, &pod.sources.borrow(), own, &root)
            .map_err(|volumes::NotReady(why)| ("CreateContainerConfigError", why))?;
        steps.extend(mounts);
        let directory = match text(&self.spec["workingDir"]) {
            "" => pod.directory.join("work"),
            directory => directory.into(),
        };
        let launch = Launch {
            init: pod.machine.init_script(),
            steps,
            directory,
            command,
            environment: variables,
        };
        Ok((launch, message.path))
    }

    async fn crash_loop(&self, backoff: Duration) -> Result<(), Stopped> {
        let seconds = backoff.as_secs();
        let name = text(&self.spec["name"]);
        let message = format!(
            "back-off {seconds}s restarting failed container={name} pod={}_{}({})",
            self.pod.object.name(),
            self.pod.object.namespace(),
            self.pod.object.uid
        );
        self.warn("BackOff", &message);
        self.change(|view| {
            view.last_state = view.state.take();
            view.restarts += 1;
            view.state = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
        });
        self.pod.sleep(backoff).await
    }

    fn waiting(&self, reason: &str, message: &str) {
        self.change(|view| {
            view.state = json!({ "waiting": { "reason": reason, "message": message } })
        });
    }

    fn terminated(&self, code: i32, reason: &str, message: Option<&str>, started: &str, id: &str) {
        let mut state = json!({
            "exitCode": code, "reason": reason, "startedAt": started,
            "finishedAt": clock::seconds(clock::now()), "containerID": id,
        });
        if let Some(message) = message {
            state["message"] = json!(message);
        }
        // The end of the only container is written together with the end of the pod.
        let policy = text(&self.pod.value["spec"]["restartPolicy"]);
        let last = !self.is_init
            && policy == "Never"
            && elements(&self.pod.value["spec"]["containers"]).len() == 1;
        self.set(|view| {
            view.id = id.to_owned();
            view.state = json!({ "terminated": state });
        });
        if !last {
            self.pod.publish();
        }
    }

    fn set_ip(&self, ip: &str) {
        self.pod.view.borrow_mut().ip = ip.to_owned();
    }

    fn set(&self, change: impl FnOnce(&mut ContainerView)) {
        let mut view = self.pod.view.borrow_mut();
        let list = if self.is_init {
            &mut view.init_containers
        } else {
            &mut view.containers
        };
        change(&mut list[self.index]);
        let running = view
            .containers
            .iter()
            .any(|one| !one.state["running"].is_null());
        if running {
            view.phase = "Running";
        }
    }

    fn change(&self, change: impl FnOnce(&mut ContainerView)) {
        self.set(change);
        self.pod.publish();
    }

    fn note(&self, reason: &str, message: &str) {
        self.pod.say(Severity::Normal, reason, message, &self.field);
    }

    fn warn(&self, reason: &str, message: &str) {
        self.pod
            .say(Severity::Warning, reason, message, &self.field);
    }
}
