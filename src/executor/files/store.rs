//! The directory in which an operator keeps large archives, on a file system that pods see through a claim.
//!
//! Each task has a file of its own, whose name holds the hash of the archive and a random part, so that nobody can guess it. It is
//! deleted when its task has ended. A server that was killed may leave files without a task, so the directory is swept from time to
//! time.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::TempPath;

use crate::{
    api::{Reason, TaskId},
    executor::error::{Error, Result},
};

/// The mode of the directory: nobody else may list it.
const MODE: u32 = 0o711;
/// The age at which a file without a task is deleted: its task was stopped, or never created. A task is created in less time after its
/// upload has ended.
const MIN_AGE: Duration = Duration::from_secs(15 * 60);
/// The number of hexadecimal digits of a SHA-256.
const HASH_LENGTH: usize = 64;

/// The directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    claim: String,
}

/// The name of the file of a task.
pub fn file_name(sha256: &str, random: TaskId) -> String {
    format!("{sha256}-{random}")
}

/// Whether a name is one that [`file_name`] gives. Names also come from annotations, and lead to deletions.
fn is_file_name(name: &str) -> bool {
    name.split_once('-').is_some_and(|(hash, random)| {
        hash.len() == HASH_LENGTH
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            && random.parse::<TaskId>().is_ok()
    })
}

impl Store {
    /// Opens the directory, and creates it if it does not exist.
    pub fn open(directory: PathBuf, claim: String) -> Result<Self> {
        let path = directory.display().to_string();
        let cannot_use = |error| {
            let message = format!("cannot use the directory of --files-dir, {path}: {error}");
            Error::caused_by(Reason::Invalid, message, error)
        };
        // Other users of this machine may open a file whose name they know, and none do.
        if !directory.is_dir() {
            let created = DirBuilder::new().mode(MODE).create(&directory);
            created.map_err(cannot_use)?;
        }
        let mode = fs::metadata(&directory)
            .map_err(cannot_use)?
            .permissions()
            .mode();
        if mode & 0o777 & !MODE != 0 {
            let changed = fs::set_permissions(&directory, Permissions::from_mode(MODE));
            changed.map_err(cannot_use)?;
        }
        // The upload of the first task must not be the test.
        tempfile::tempfile_in(&directory).map_err(cannot_use)?;
        Ok(Self { directory, claim })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// Gives an upload the name of a task's file.
    pub fn keep(&self, upload: TempPath, name: &str) -> io::Result<()> {
        // Containers read it as any user.
        fs::set_permissions(&upload, Permissions::from_mode(0o444))?;
        let path = self.directory.join(name);
        upload.persist_noclobber(path).map_err(|error| error.error)
    }

    /// Deletes the file of a task. A file that is gone is no error.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        if !is_file_name(name) {
            return Ok(());
        }
        match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            deleted => deleted,
        }
    }

    /// Deletes old files that no task names, and old uploads; returns their number.
    pub fn sweep(&self, named: &HashSet<String>) -> io::Result<usize> {
        let now = SystemTime::now();
        let mut count = 0;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_ours = is_file_name(name) || name.starts_with(".upload-");
            let age = (entry.metadata()?.modified()).map(|time| now.duration_since(time));
            let is_old = matches!(age, Ok(Ok(age)) if age > MIN_AGE);
            if is_ours && is_old && !named.contains(name) {
                fs::remove_file(entry.path())?;
                count += 1;
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_old_files_without_a_task_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let open = |root: &Path| Store::open(root.join("new"), "team".to_owned()).unwrap();
        // One that exists is closed to others.
        fs::create_dir(root.path().join("new")).unwrap();
        fs::set_permissions(root.path().join("new"), Permissions::from_mode(0o777)).unwrap();
        let store = open(root.path());
        let mode = fs::metadata(store.directory())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o711);
        let name = |letter: &str| format!("{}-ab12cd3{letter}", "0f".repeat(32));
        let names = [&name("a"), &name("b"), &name("c"), ".upload-x", "of-others"];
        for file in names {
            let file = File::create(store.directory().join(file)).unwrap();
            file.set_modified(SystemTime::now() - 2 * MIN_AGE).unwrap();
        }
        File::create(store.directory().join(name("c"))).unwrap();
        assert_eq!(store.sweep(&HashSet::from([name("a")])).unwrap(), 2);
        let mut left: Vec<_> = fs::read_dir(store.directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [name("a"), name("c"), "of-others".to_owned()]);
        store.delete(&name("a")).unwrap();
        store.delete(&name("a")).unwrap();
        assert!(!store.directory().join(name("a")).exists());
    }

    #[test]
    fn only_names_of_archives_are_deleted() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path().join("store"), "team".to_owned()).unwrap();
        let outside = root.path().join("x");
        fs::write(&outside, "").unwrap();
        for name in ["../x", "x", "", ".", "/etc/passwd"] {
            store.delete(name).unwrap();
        }
        assert!(outside.exists());
    }
}
