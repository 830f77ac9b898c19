//! The pager: the program through which a person reads a long text at a terminal.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Seek, Write},
    os::unix::process::CommandExt,
    process::Command,
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::config::Env;

const DEFAULT: &str = "command -v less >/dev/null || exec cat; less -FRX";

/// Replaces this process by the pager, so that signals and the terminal are the pager's own business. The user chooses it as
/// with git: `K8S_CLI_PAGER`, else `PAGER`, else `less`; an empty value or `cat` means none.
///
/// Returns when no pager is wanted or none can be started. The caller prints the text then.
pub fn replace_process(text: &str, env: Env<'_>) {
    let chosen = env("K8S_CLI_PAGER").or_else(|| env("PAGER"));
    if chosen
        .as_ref()
        .is_some_and(|pager| pager.is_empty() || pager == "cat")
    {
        return;
    }
    let Ok(text) = in_memory(text) else {
        return;
    };
    // A shell reports 126 or 127 when it cannot start a program. The text is still unread then. Any other end is the reader's
    // choice and no failure of the command.
    let mut script = OsString::from("(");
    script.push(chosen.unwrap_or_else(|| DEFAULT.into()));
    script.push("\n); case $? in 126|127) exec cat;; esac");
    // It comes back only with an error.
    let _ = Command::new("sh").arg("-c").arg(script).stdin(text).exec();
}

/// A file that stands nowhere but in memory, to be read from its beginning.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("topic", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
