//! The pager: the program that shows a long text page by page at a terminal.

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

/// Replaces this process with the pager, which then handles signals and the terminal itself. The choice works as in git:
/// `K8S_CLI_PAGER`, else `PAGER`, else `less`; an empty value or `cat` means no pager.
///
/// Returns if no pager is wanted or none can be started. The caller then prints the text.
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
    // A shell reports 126 or 127 when it cannot start a program. The text is still unread then. Any other status means that
    // the user left the pager, which is not a failure of the command.
    let mut script = OsString::from("(");
    script.push(chosen.unwrap_or_else(|| DEFAULT.into()));
    script.push("\n); case $? in 126|127) exec cat;; esac");
    // `exec` returns only on an error.
    let _ = Command::new("sh").arg("-c").arg(script).stdin(text).exec();
}

/// A file in memory that holds the text, positioned at its beginning.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("topic", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
