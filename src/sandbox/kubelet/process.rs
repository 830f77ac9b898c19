//! The process of one run of a container, its output and its end.
//!
//! Standard output and standard error are one pipe, so that lines keep the order in which they were written. `container` starts
//! the process and decides whether the container runs again.

use std::{
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
    process::{Child, Command},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    isolation::{Isolation, find_program},
    logs::LogWriter,
};

const BUFFER: usize = 64 << 10;

/// The exit code of a container whose program cannot be started, as containerd reports it.
pub const START_ERROR: i32 = 128;

/// The parameters of a process.
#[derive(Debug, Default)]
pub struct Launch {
    /// The path of the script of the container's first process.
    pub init: std::path::PathBuf,
    /// Steps for that script, such as mounts.
    pub steps: Vec<String>,
    pub directory: std::path::PathBuf,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
}

/// A running container.
pub struct Process {
    child: Child,
    /// The process that gets SIGTERM.
    main: Option<Pid>,
    /// The group that gets SIGKILL.
    group: Option<Pid>,
    output: JoinHandle<()>,
    ended: oneshot::Sender<()>,
}

/// The reason why a container did not start.
#[derive(Debug)]
pub enum Failure {
    /// The program cannot be run, in containerd's words.
    Program(String),
    /// The environment of the program cannot be prepared.
    Setup(String),
}

impl Process {
    /// Starts a container whose output goes to `log`.
    pub async fn start(
        isolation: &Isolation,
        launch: &Launch,
        log: LogWriter,
    ) -> Result<Self, Failure> {
        let broken = |error: io::Error| Failure::Setup(error.to_string());
        let name = launch.command.first().cloned().unwrap_or_default();
        if !isolation.has_namespaces() {
            let path = launch.environment.iter().find(|(name, _)| name == "PATH");
            if find_program(&name, path.map_or("", |(_, path)| path)).is_none() {
                return Err(Failure::Program(not_found(&name)));
            }
        }
        let (plain, odd) = isolation.split(&launch.environment);
        let line = isolation.command_line(
            &launch.init,
            &launch.steps,
            &launch.directory,
            &launch.command,
            &odd,
        );
        let (output, writer) = io::pipe().map_err(broken)?;
        let (report, report_writer) = io::pipe().map_err(broken)?;
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env_clear()
            .envs(plain)
            .current_dir(if isolation.has_namespaces() {
                std::path::Path::new("/")
            } else {
                &launch.directory
            })
            .stdout(writer.try_clone().map_err(broken)?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        if isolation.has_namespaces() {
            command.stdin(report_writer);
        } else {
            command.stdin(std::process::Stdio::null());
        }
        let child = command.spawn().map_err(broken)?;
        // The command holds the child's ends of the pipes.
        drop(command);
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let mut main = group;
        if isolation.has_namespaces() {
            let report = pipe::Receiver::from_owned_fd(OwnedFd::from(report)).map_err(broken)?;
            let mut line = String::new();
            let mut report = BufReader::new(report);
            report.read_line(&mut line).await.map_err(broken)?;
            main = Some(read_report(line.trim_end(), &name)?);
        }
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output)).map_err(broken)?;
        let (ended, end) = oneshot::channel();
        let output = tokio::task::spawn_local(pump(output, log, end));
        Ok(Self {
            child,
            main,
            group,
            output,
            ended,
        })
    }

    /// Waits for the end, with all output in the log, and returns the exit code: 128 and more for a signal.
    pub async fn wait(&mut self) -> io::Result<i32> {
        self.child.wait().await.map(exit_code)
    }

    /// The main process.
    pub fn main(&self) -> Option<Pid> {
        self.main
    }

    /// Asks the main process to end.
    pub fn terminate(&self) {
        signal(self.main, Signal::TERM, kill_process);
    }

    /// Kills the whole group.
    pub fn kill(&self) {
        signal(self.group, Signal::KILL, kill_process_group);
    }

    /// Kills the rest of the group after the end, and reads the rest of the output.
    pub async fn finish(self) {
        signal(self.group, Signal::KILL, kill_process_group);
        drop(self.ended);
        if let Err(error) = self.output.await {
            log::warn!("container output: {error}");
        }
    }
}

/// The message of runc if a program does not exist.
pub fn not_found(program: &str) -> String {
    let why = if program.contains('/') {
        format!("stat {program}: no such file or directory")
    } else {
        "executable file not found in $PATH".to_owned()
    };
    runtime_error(program, &why)
}

fn runtime_error(program: &str, why: &str) -> String {
    format!(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable \
         to start container process: exec: \"{program}\": {why}: unknown"
    )
}

fn read_report(line: &str, program: &str) -> Result<Pid, Failure> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("started", pid) => {
            let pid = pid.parse().ok().and_then(Pid::from_raw);
            pid.ok_or_else(|| Failure::Setup(format!("no process id in {line:?}")))
        }
        ("missing", _) => Err(Failure::Program(not_found(program))),
        ("denied", _) => Err(Failure::Program(runtime_error(
            program,
            "permission denied",
        ))),
        ("failed", why) => Err(Failure::Setup(why.to_owned())),
        _ => Err(Failure::Setup("it ended before it started".to_owned())),
    }
}

/// Copies output to the log until all writers have closed the pipe, or until the container has ended and its output is read.
async fn pump(output: pipe::Receiver, mut log: LogWriter, end: oneshot::Receiver<()>) {
    let mut buffer = vec![0; BUFFER];
    let mut end = std::pin::pin!(end);
    loop {
        let flush = log.flush_time();
        tokio::select! {
            biased;
            ready = output.readable() => {
                let read = ready.and_then(|()| output.try_read(&mut buffer));
                match read {
                    Ok(0) => break,
                    Ok(size) => write(&mut log, &buffer[..size]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                    Err(error) => {
                        log::warn!("container output: {error}");
                        break;
                    }
                }
            }
            _ = &mut end => break,
            () = sleep_until(flush.unwrap_or_else(Instant::now)), if flush.is_some() => {
                if let Err(error) = log.flush() {
                    log::warn!("container log: {error}");
                }
            }
        }
    }
    // The pipe has all output from before the end. The runtime may not know of it yet, so `try_read` would not do. A process that
    // left the group may hold the pipe open, so the end of the pipe is not awaited.
    match output.into_nonblocking_fd().map(File::from) {
        Ok(mut rest) => {
            while let Ok(size @ 1..) = rest.read(&mut buffer) {
                write(&mut log, &buffer[..size]);
            }
        }
        Err(error) => log::warn!("container output: {error}"),
    }
    log.end();
}

fn write(log: &mut LogWriter, bytes: &[u8]) {
    if let Err(error) = log.write(bytes) {
        log::warn!("container log: {error}");
    }
}

fn signal(pid: Option<Pid>, signal: Signal, send: fn(Pid, Signal) -> rustix::io::Result<()>) {
    let Some(pid) = pid else { return };
    if let Err(error) = send(pid, signal)
        && error != rustix::io::Errno::SRCH
    {
        log::debug!("signal {signal:?} to {pid:?}: {error}");
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
