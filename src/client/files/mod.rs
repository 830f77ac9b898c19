//! The files that travel with a task: `workdir` and `file_mounts`.
//!
//! ```text
//! definition ──► sources ──► git, fetch ──► tree ──► archive ──► http
//!                what         get what is     its      packs
//!                travels      elsewhere       files    them
//! ```
//!
//! Everything is found and fetched here, on the machine of the user: pods need no route to it, and logins stay on it.

mod archive;
mod fetch;
mod git;
mod progress;
mod sources;
mod tree;

use std::{
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::TempDir;

pub use self::{
    archive::Archive,
    progress::Progress,
    sources::{FileMounts, Sources},
};
use self::{
    sources::{Here, Origin},
    tree::{Entry, Rules},
};
use super::{Context, Error, config::Env, task_file::TaskFile};
use crate::{
    api::{Problem, TaskCheckResponse},
    hidden,
};

/// The files of a task, seen from the current directory.
///
/// # Errors
/// A source that is not there, or that no client can send.
pub fn sources(file: &TaskFile, mounts: FileMounts, env: Env<'_>) -> Result<Sources, Vec<Problem>> {
    let home = env("HOME").filter(|home| !home.is_empty());
    let here = Here {
        home: home.map(Into::into),
    };
    Sources::of(&file.task, mounts, &here)
}

/// Fetches and packs the files of a task.
///
/// # Errors
/// A file cannot be read or fetched, or the files are larger than the server takes.
pub fn pack(
    context: &mut Context<'_>,
    sources: &Sources,
    limit: &TaskCheckResponse,
) -> Result<Archive, Error> {
    let mut kept = Kept::default();
    let mut entries = Vec::new();
    let mut notes = Vec::new();
    for source in &sources.list {
        let (from, rules) = match &source.origin {
            Origin::Path(path) => (path.clone(), source.rules),
            Origin::Nothing => {
                entries.push(Entry::directory(&source.path));
                continue;
            }
            Origin::Git { url, reference } => {
                let directory = kept.directory()?;
                git::clone(directory, url, reference.as_deref(), context.env)?;
                (directory.to_owned(), Rules::AllButGit)
            }
            Origin::Url(url) => {
                let file = kept.directory()?.join("file");
                fetch::fetch(url, &file, context.env)?;
                (file, Rules::AllButGit)
            }
        };
        tree::collect(&from, &source.path, rules, &mut entries, &mut notes)?;
    }
    sources.remove_covered_links(&mut entries);
    // A file may travel to two places.
    notes.sort_unstable();
    notes.dedup();
    for note in notes {
        context.say(&format!("warning: {note}"));
    }
    archive::pack(entries, limit, &mut context.progress("packing"))
}

/// The directories of clones and downloads, which are gone when this is dropped.
#[derive(Default)]
struct Kept(Vec<TempDir>);

impl Kept {
    fn directory(&mut self) -> Result<&Path, Error> {
        let directory = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|source| Error::file("make", "a temporary directory", source))?;
        self.0.push(directory);
        Ok(self.0.last().expect("one was pushed").path())
    }
}

/// A path in a message. A line break in a name does not begin another line.
fn shown(path: &Path) -> String {
    hidden::escape(&path.to_string_lossy())
}

/// A file without a name, which is gone with the process.
fn nameless() -> Result<File, Error> {
    tempfile::tempfile().map_err(|source| Error::file("make", "a temporary file", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_cannot_read_what_was_cloned_or_fetched() {
        let mut kept = Kept::default();
        let directory = kept.directory().unwrap();
        let mode = directory.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
