//! The directory of the sandbox's files: kubeconfig, logs and claims.
//!
//! The directory belongs to one user and one process, which holds a lock on a file in it. If the lock is free, the process was
//! killed, and the next sandbox removes the directory.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

const PREFIX: &str = "k8s-cli-sandbox-";
const LOCK: &str = "lock";

/// A directory that is removed when this is dropped.
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes a directory that only this user can read, and removes those of dead processes.
    pub fn create() -> io::Result<Self> {
        let parent = parent();
        let name = format!(
            "{PREFIX}{}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        );
        let path = parent.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| io::Error::other(format!("cannot make {}: {error}", path.display())))?;
        // The file gets its name when it is locked. Another sandbox that starts now would take a free lock for a dead one's.
        let unlocked = path.join("unlocked");
        let lock = File::create(&unlocked)?;
        lock.try_lock()
            .map_err(|error| io::Error::other(error.to_string()))?;
        fs::rename(&unlocked, path.join(LOCK))?;
        let owner = fs::metadata(&path)?.uid();
        remove_stale(&parent, owner, &path);
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            log::warn!("sandbox: {} stays: {error}", self.path.display());
        }
    }
}

/// The directory that holds the data of the claim with this uid.
pub fn claim_directory(claims: &Path, uid: &str) -> PathBuf {
    claims.join(uid)
}

fn parent() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime
        .filter(|path| path.is_absolute() && path.is_dir())
        .unwrap_or_else(std::env::temp_dir)
}

fn remove_stale(parent: &Path, owner: u32, own: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX) && path != own;
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if !ours || !metadata.is_dir() || metadata.uid() != owner {
            continue;
        }
        // An owner that has just made its directory has no lock file yet. To open a pipe in its place would wait for a writer.
        let lock = path.join(LOCK);
        if !fs::symlink_metadata(&lock).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let Ok(lock) = File::open(lock) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => {
                log::info!(
                    "sandbox: removing {}, left behind by a process that is gone",
                    path.display()
                );
                if let Err(error) = fs::remove_dir_all(&path) {
                    log::debug!("sandbox: {}: {error}", path.display());
                }
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directory_of_a_dead_process_is_removed() {
        let parent = std::env::temp_dir().join(format!("state-dirs-{}", std::process::id()));
        let make = |name: &str| {
            let path = parent.join(format!("{PREFIX}{name}"));
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (dead, live, new, odd) = (make("dead"), make("live"), make("new"), make("odd"));
        File::create(dead.join(LOCK)).unwrap();
        let lock = File::create(live.join(LOCK)).unwrap();
        lock.try_lock().unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, odd.join(LOCK), kind, mode, 0).unwrap();
        let owner = fs::metadata(&parent).unwrap().uid();
        remove_stale(&parent, owner + 1, &parent);
        assert!(dead.exists(), "it belongs to another user");
        remove_stale(&parent, owner, &parent);
        let left = [dead, live, new, odd].map(|path| path.exists());
        assert_eq!(left, [false, true, true, true]);
        fs::remove_dir_all(parent).unwrap();
    }
}
