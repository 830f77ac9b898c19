//! The files of a source, as entries of an archive.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ignore::{
    WalkBuilder,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::{git, shown};
use crate::client::Error;

/// The file with patterns of files that do not travel.
const SKYIGNORE: &str = ".skyignore";

/// Which files of a directory travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rules {
    /// Those that `.skyignore` does not name, else those that git tracks or does not ignore, also by the files of the directories above.
    Workdir,
    /// The same, but the files of the directories above do not count, since the user names the directory.
    Mount,
    /// All but those of git itself: a clone has only files that belong to it.
    AllButGit,
}

/// An entry of an archive.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Its place in the archive.
    pub path: PathBuf,
    pub kind: Kind,
}

#[derive(Debug, PartialEq)]
pub enum Kind {
    File { from: PathBuf, size: u64, mode: u32 },
    Directory { mode: u32 },
    Link { target: PathBuf },
}

impl Entry {
    /// An empty directory.
    pub fn directory(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::Directory { mode: 0o755 },
        }
    }
}

/// Adds the files of a source for a place in the archive, in the order of their names. A directory that is not empty has no entry at that
/// place itself: what is there in the container keeps its mode.
///
/// # Errors
/// A file or a directory cannot be read.
pub fn collect(
    from: &Path,
    place: &Path,
    rules: Rules,
    entries: &mut Vec<Entry>,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let root = fs::metadata(from).map_err(|error| Error::file("read", from, error))?;
    if !root.is_dir() {
        entries.extend(entry(from, place.to_owned(), &root, notes)?);
        return Ok(());
    }
    let before = entries.len();
    let skyignore = match rules {
        Rules::AllButGit => None,
        Rules::Workdir | Rules::Mount => skyignore(from)?,
    };
    let follows_git = rules != Rules::AllButGit && skyignore.is_none();
    if follows_git {
        for inner in git::tracked_and_ignored(from) {
            let path = from.join(&inner);
            // Git may track what is gone, and the commit of another repository.
            match fs::symlink_metadata(&path) {
                Ok(metadata) if !metadata.is_dir() => {
                    entries.extend(entry(&path, place.join(inner), &metadata, notes)?);
                }
                _ => (),
            }
        }
    }
    let has_tracked = entries.len() > before;
    for found in walk(from, skyignore, follows_git, rules == Rules::Workdir) {
        let found = found.map_err(|error| {
            let error = error
                .into_io_error()
                .unwrap_or_else(|| io::Error::other("a loop"));
            Error::file("read", from, error)
        })?;
        if found.depth() == 0 {
            continue;
        }
        let path = found.path();
        let metadata = found.metadata().map_err(|error| {
            let error = error
                .into_io_error()
                .unwrap_or_else(|| io::Error::other("it is gone"));
            Error::file("read", path, error)
        })?;
        let inner = path.strip_prefix(from).unwrap_or(path);
        entries.extend(entry(path, place.join(inner), &metadata, notes)?);
    }
    if entries.len() == before {
        entries.push(Entry::directory(place));
    }
    if has_tracked {
        // The patterns of directories above are git's too, and not those of a mount.
        let mut all = entries.split_off(before);
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all.dedup_by(|one, other| one.path == other.path);
        entries.extend(all);
    }
    Ok(())
}

/// Walks the files that travel by the patterns of `.skyignore` or of git; those of git may also stand in the directories above.
fn walk(
    from: &Path,
    skyignore: Option<Gitignore>,
    follows_git: bool,
    with_parents: bool,
) -> ignore::Walk {
    let mut walk = WalkBuilder::new(from);
    walk.standard_filters(false)
        .git_ignore(follows_git)
        .git_exclude(follows_git)
        .git_global(follows_git)
        .parents(follows_git && with_parents)
        .require_git(false)
        .sort_by_file_name(Ord::cmp)
        .filter_entry(move |entry| {
            let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
            let is_git = entry.depth() > 0 && entry.file_name() == ".git";
            let is_named = skyignore
                .as_ref()
                .is_some_and(|rules| rules.matched(entry.path(), is_directory).is_ignore());
            !is_git && !is_named
        });
    walk.build()
}

/// The patterns of `.skyignore`, if there is one.
fn skyignore(directory: &Path) -> Result<Option<Gitignore>, Error> {
    let path = directory.join(SKYIGNORE);
    if !path.exists() {
        return Ok(None);
    }
    let mut rules = GitignoreBuilder::new(directory);
    let broken = rules.add(&path);
    let rules = rules.build();
    match (broken, rules) {
        (None, Ok(rules)) => Ok(Some(rules)),
        (Some(error), _) | (None, Err(error)) => Err(Error::file(
            "read",
            path,
            io::Error::other(error.to_string()),
        )),
    }
}

/// The entry of a file; none of a socket and the like, which cannot travel.
fn entry(
    from: &Path,
    path: PathBuf,
    metadata: &Metadata,
    notes: &mut Vec<String>,
) -> Result<Option<Entry>, Error> {
    let kind = metadata.file_type();
    // Owners do not travel, so nothing may run as one.
    let mode = metadata.permissions().mode() & 0o777;
    let kind = if kind.is_file() {
        Kind::File {
            from: from.to_owned(),
            size: metadata.len(),
            mode,
        }
    } else if kind.is_dir() {
        Kind::Directory { mode }
    } else if kind.is_symlink() {
        let target = fs::read_link(from).map_err(|error| Error::file("read", from, error))?;
        Kind::Link { target }
    } else {
        let what = if kind.is_fifo() {
            "a named pipe"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        notes.push(format!("{} stays here: it is {what}", shown(from)));
        return Ok(None);
    };
    Ok(Some(Entry { path, kind }))
}
