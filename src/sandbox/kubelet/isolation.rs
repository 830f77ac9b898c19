//! The isolation of containers from the machine: the kind that works here, and its command line.
//!
//! Where the kernel allows it, a container gets process and mount namespaces of its own by util-linux's `unshare`. Then none of its
//! processes can outlive it, and volumes have their paths without a change to the machine. A test run finds out, once, which kind
//! works. `volumes` plans the mounts, and `process` runs the command line.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::Pid;
use tokio::process::Command;

/// The script of a container's process 1.
pub const INIT: &str = include_str!("init.sh");

/// The option of `setpriv` by which the kernel kills a process whose parent is gone.
const DEATH_SIGNAL: [&str; 2] = ["--pdeathsig", "KILL"];

/// A kind of isolation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    /// Namespaces, made by root.
    Root,
    /// Namespaces inside a user namespace, in which the user is root.
    User,
    /// A process group.
    Group,
}

/// The tools that this machine has.
#[derive(Clone, Debug)]
pub struct Isolation {
    level: Level,
    /// The path of `setpriv`, if it can bind the life of a process to its parent's.
    ///
    /// NB: with a name instead of a path, the standard library forks, to look the name up in the child's `PATH`. A fork copies the page
    /// tables of this process, which with two thousand pods takes longer than all other steps.
    setpriv: Option<String>,
    /// The paths of `unshare`, `nsenter` and `setsid`, or their names. They run with the variables of the container, whose `PATH` may not have them.
    unshare: String,
    nsenter: String,
    setsid: String,
    /// The path of `env`, if it can reset signals: background processes of a shell ignore SIGINT.
    env: Option<String>,
}

impl Isolation {
    /// Tries the kinds of isolation, best first.
    pub async fn probe() -> Self {
        let death_signal = works(&["setpriv", DEATH_SIGNAL[0], DEATH_SIGNAL[1], "true"]).await;
        let path = std::env::var("PATH").unwrap_or_default();
        let find = |name: &str| {
            let found = find_program(name, &path)?;
            Some(found.to_string_lossy().into_owned())
        };
        let named = |name: &str| find(name).unwrap_or_else(|| name.to_owned());
        let setpriv = find("setpriv").filter(|_| death_signal);
        let unshare = named("unshare");
        let default_signals = works(&["env", "--default-signal=INT,QUIT", "true"]).await;
        let mut level = Level::Group;
        for candidate in [Level::Root, Level::User] {
            let mut command = vec!["setpriv"];
            command.extend(DEATH_SIGNAL);
            command.extend(namespaces(&unshare, candidate));
            command.push("true");
            if setpriv.is_some() && works(&command).await {
                level = candidate;
                break;
            }
        }
        log::debug!("sandbox: containers are isolated by {level:?}");
        if level == Level::Group {
            log::warn!(
                "sandbox: containers have no namespaces, because unshare and setpriv of util-linux cannot make them here: volumes do not \
                 work, and the first process of a container gets signals without a handler, unlike on a cluster"
            );
        }
        Self {
            level,
            setpriv,
            unshare,
            nsenter: named("nsenter"),
            setsid: named("setsid"),
            env: find("env").filter(|_| default_signals),
        }
    }

    /// Whether pods have namespaces, which volumes need.
    pub fn has_namespaces(&self) -> bool {
        self.level != Level::Group
    }

    /// The command line that runs `command`, after `steps`, in `directory`. `init` is the path of [`INIT`].
    ///
    /// `odd` are variables for the command alone: see [`Self::split`].
    pub fn command_line(
        &self,
        init: &Path,
        steps: &[String],
        directory: &Path,
        command: &[String],
        odd: &[String],
    ) -> Vec<String> {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<String>>()
        };
        let mut line = Vec::new();
        if let Some(setpriv) = &self.setpriv {
            line.push(setpriv.clone());
            line.extend(words(&DEATH_SIGNAL));
        }
        if !self.has_namespaces() {
            if let Some(env) = self.env.as_ref().filter(|_| !odd.is_empty()) {
                line.push(env.clone());
                line.extend(odd.iter().cloned());
            }
            line.extend(command.iter().cloned());
            return line;
        }
        line.extend(words(&namespaces(&self.unshare, self.level)));
        line.extend(["/bin/sh".to_owned(), init.to_string_lossy().into_owned()]);
        line.extend(steps.iter().cloned());
        line.push("--".to_owned());
        line.push(directory.to_string_lossy().into_owned());
        line.extend(command.first().cloned());
        line.push(self.setsid.clone());
        if let Some(env) = &self.env {
            line.extend(words(&[env, "--default-signal=INT,QUIT"]));
            line.extend(odd.iter().cloned());
        }
        line.extend(command.iter().cloned());
        line
    }

    /// The command line that runs `command` in the container whose main process is `main`, in `directory`.
    pub fn entry_line(
        &self,
        main: Option<Pid>,
        directory: &Path,
        command: &[String],
        odd: &[String],
    ) -> Vec<String> {
        let mut line = Vec::new();
        if let Some(main) = main.filter(|_| self.has_namespaces()) {
            let target = format!("--target={}", main.as_raw_nonzero());
            line.extend([self.nsenter.clone(), target]);
            if self.level == Level::User {
                line.extend(["--user", "--preserve-credentials"].map(str::to_owned));
            }
            line.extend(["--mount", "--uts", "--pid", "--"].map(str::to_owned));
        }
        let script = "cd -- \"$0\" && exec \"$@\"";
        line.extend(["/bin/sh", "-c", script].map(str::to_owned));
        line.push(directory.to_string_lossy().into_owned());
        if let Some(env) = self.env.as_ref().filter(|_| !odd.is_empty()) {
            line.push(env.clone());
            line.extend(odd.iter().cloned());
        }
        line.extend(command.iter().cloned());
        line
    }

    /// Splits variables into those that the tools may have, too, and those that only the command of the container gets: a shell
    /// would drop their names, or the loader of the tools would obey them.
    pub fn split<'a>(
        &self,
        variables: &'a [(String, String)],
    ) -> (Vec<(&'a str, &'a str)>, Vec<String>) {
        let (mut plain, mut odd) = (Vec::new(), Vec::new());
        for (name, value) in variables {
            if self.env.is_some() && (!is_identifier(name) || is_for_loader(name)) {
                odd.push(format!("{name}={value}"));
            } else {
                plain.push((name.as_str(), value.as_str()));
            }
        }
        (plain, odd)
    }
}

/// Finds a program in a `PATH`, as a shell does.
pub fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    path.split(':')
        .map(|directory| Path::new(directory).join(name))
        .find(|path| {
            let file = fs::metadata(path);
            file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
}

fn is_identifier(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(word) && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn is_for_loader(name: &str) -> bool {
    name.starts_with("LD_") || name == "GLIBC_TUNABLES"
}

/// The command that makes the namespaces of a container.
fn namespaces(unshare: &str, level: Level) -> Vec<&str> {
    let mut command = vec![unshare];
    if level == Level::User {
        command.extend(["--user", "--map-root-user"]);
    }
    command.extend(["--fork", "--kill-child", "--pid", "--mount", "--uts"]);
    command
}

async fn works(command: &[&str]) -> bool {
    let Some((program, arguments)) = command.split_first() else {
        return false;
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}
