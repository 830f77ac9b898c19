//! The files that travel with a task, from the upload to the Secrets of the task.
//!
//! ```text
//! chunks of a request ──► Upload ──► Archive ──► admit ──► Travelling ──► Secrets, or a file of the operator's directory
//!                        (upload)   (archive)                (store)
//! ```
//!
//! What pods see of them is in `objects`. `tasks` creates the Secrets, and deletes them once the task has ended. The limits are for all
//! tasks of the namespace, since etcd is shared by the whole cluster, and a full etcd stops it.

mod archive;
mod store;
mod upload;

use std::{
    future::pending,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::DeleteParams};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};

pub use self::{
    archive::Contents,
    store::Store,
    upload::{Archive, Upload},
};
use super::{
    cluster::{CONCURRENCY, Cluster, call},
    error::{Error, Result},
    fresh,
    objects::{self, FilesPlace, KeptFiles, PART},
    view::View,
};
use crate::api::{ARCHIVE_HOME, ARCHIVE_ROOT, Reason, TaskFiles, TaskId, format_size};

/// The archives that are received, and kept until their task exists, at the same time. Each may take `max_size` bytes of memory.
const MAX_UPLOADS: usize = 8;
/// How long an upload waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes that the nodes of one task read from etcd together.
const MAX_ON_NODES: u64 = 4 << 30;
/// The time between two sweeps of the directory of the operator.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The smallest archive that stands in the directory of the operator.
const MIN_STORED: u64 = 1 << 20;
/// The default limit of an archive in Secrets.
const MAX_SIZE: u64 = 16 << 20;
/// The default limit of an archive in the directory of the operator.
const MAX_STORED: u64 = 1 << 30;

/// The limits of the operator.
#[derive(Clone, Debug)]
pub struct FileRules {
    /// The most bytes of one archive; none for the default.
    pub max_size: Option<u64>,
    /// The most bytes of all archives in Secrets.
    pub budget: u64,
    /// The directory for large archives.
    pub directory: Option<PathBuf>,
    /// The claim that shows the directory to pods.
    pub claim: Option<String>,
}

impl Default for FileRules {
    fn default() -> Self {
        Self {
            max_size: None,
            budget: 256 << 20,
            directory: None,
            claim: None,
        }
    }
}

/// What the server does with files.
pub struct Files {
    max_size: u64,
    budget: u64,
    pub store: Option<Arc<Store>>,
    turns: Arc<Semaphore>,
    /// The bytes of archives whose tasks are being created, so that the view may not show them yet.
    reserved: Arc<Mutex<u64>>,
}

/// An archive that may travel with a task.
pub struct Travelling {
    pub archive: Archive,
    /// What the objects of the task say about it.
    pub files: objects::Files,
    _reservation: Option<Reservation>,
}

/// A part of the budget.
struct Reservation {
    reserved: Arc<Mutex<u64>>,
    size: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *self.reserved.lock().unwrap_or_else(PoisonError::into_inner) -= self.size;
    }
}

impl Files {
    /// # Errors
    /// The directory of the operator cannot be used.
    pub fn new(rules: FileRules) -> Result<Self> {
        let store = match (rules.directory, rules.claim) {
            (Some(directory), Some(claim)) => Some(Arc::new(Store::open(directory, claim)?)),
            (None, None) => None,
            _ => {
                let message = "--files-dir and --files-claim belong together: the claim shows the directory to pods";
                return Err(Error::new(Reason::Invalid, message));
            }
        };
        let default = if store.is_some() {
            MAX_STORED
        } else {
            MAX_SIZE
        };
        Ok(Self {
            max_size: rules.max_size.unwrap_or(default),
            budget: rules.budget,
            store,
            turns: Arc::new(Semaphore::new(MAX_UPLOADS)),
            reserved: Arc::default(),
        })
    }

    /// Begins to receive an archive.
    ///
    /// # Errors
    /// Too many others are being received.
    pub async fn begin_upload(&self) -> Result<Upload> {
        let turn = timeout(TURN_TIMEOUT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let message = "the server receives the files of other tasks: try again in a minute";
            return Err(Error::new(Reason::ServiceUnavailable, message));
        };
        let directory = self.store.as_ref().map(|store| store.directory());
        Upload::begin(directory, self.max_size, turn).map_err(upload::cannot_keep)
    }

    /// The bytes that are kept in Secrets, and the most of them.
    pub fn kept(&self, view: &View) -> (u64, u64) {
        (in_secrets(view), self.budget)
    }

    /// The most bytes that the archive of a task of this many nodes may have now, and the reason.
    pub fn limit(&self, view: &View, num_nodes: u32) -> (u64, String) {
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        self.limit_beside(in_secrets(view) + *reserved, num_nodes)
    }

    fn limit_beside(&self, kept: u64, num_nodes: u32) -> (u64, String) {
        let most = format_size(self.max_size);
        let of_server = (
            self.max_size,
            format!("this server takes {most} (`serve --max-files-size`)"),
        );
        if self.store.is_some() {
            return of_server;
        }
        let nodes = format_size(MAX_ON_NODES);
        let left = self.budget.saturating_sub(kept);
        let limits = [
            of_server,
            (
                MAX_ON_NODES / u64::from(num_nodes),
                format!("the files of all nodes of a task may take {nodes} together"),
            ),
            (
                left,
                format!(
                    "the files of unfinished tasks take {} of {} on this server (`serve --files-budget`), until some have ended",
                    format_size(kept),
                    format_size(self.budget)
                ),
            ),
        ];
        limits
            .into_iter()
            .min_by_key(|limit| limit.0)
            .unwrap_or_default()
    }

    /// Whether Secrets are the better place for an archive, beside the bytes that are `kept` in others.
    fn fits_secrets(&self, size: u64, kept: u64, num_nodes: u32) -> bool {
        let is_small = size < MIN_STORED && size.saturating_mul(num_nodes.into()) <= MAX_ON_NODES;
        let has_store = self.store.is_some();
        !has_store || (is_small && kept.saturating_add(size) <= self.budget)
    }

    /// Lets an archive travel with a task, and chooses its place, unless an `earlier` request has done so.
    ///
    /// # Errors
    /// It is larger than the limit.
    pub fn admit(
        &self,
        view: &View,
        num_nodes: u32,
        archive: Archive,
        earlier: Option<FilesPlace>,
    ) -> Result<Travelling> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let size = archive.size;
        let kept = in_secrets(view) + *reserved;
        let (most, why) = self.limit_beside(kept, num_nodes);
        if size > most {
            let (size, most) = (format_size(size), format_size(most));
            let message = format!("files: {size} packed are more than {most}: {why}");
            return Err(Error::new(Reason::RequestEntityTooLarge, message));
        }
        let is_stored = match &earlier {
            Some(place) => matches!(place, FilesPlace::File(_)),
            None => !self.fits_secrets(size, kept, num_nodes),
        };
        let store = self.store.as_ref().filter(|_| is_stored);
        let reservation = store.is_none().then(|| {
            *reserved += size;
            Reservation {
                reserved: self.reserved.clone(),
                size,
            }
        });
        let Contents {
            has_home,
            has_root,
            has_workdir,
        } = archive.contents;
        let roots = [(has_home, ARCHIVE_HOME), (has_root, ARCHIVE_ROOT)];
        let files = objects::Files {
            kept: KeptFiles {
                about: TaskFiles {
                    size,
                    sha256: archive.sha256.clone(),
                },
                place: earlier.unwrap_or_else(|| match store {
                    Some(_) => {
                        FilesPlace::File(store::file_name(&archive.sha256, fresh::id::<TaskId>()))
                    }
                    None => FilesPlace::Secrets(size.div_ceil(PART as u64) as u32),
                }),
                nonce: None,
                holder: None,
            },
            claim: store.map(|store| store.claim().to_owned()),
            roots: roots
                .into_iter()
                .filter_map(|(is_used, root)| is_used.then_some(root))
                .collect(),
            has_workdir,
        };
        Ok(Travelling {
            archive,
            files,
            _reservation: reservation,
        })
    }
}

impl Travelling {
    /// Gives the archive its place in the directory of the operator, if it belongs there.
    pub async fn store(&mut self, files: &Files) -> Result<()> {
        let FilesPlace::File(name) = self.files.kept.place.clone() else {
            return Ok(());
        };
        let (Some(store), Some(upload)) = (files.store.clone(), self.archive.name.take()) else {
            return Ok(());
        };
        let kept = spawn_blocking(move || store.keep(upload, &name));
        let kept = kept.await.map_err(io::Error::other).and_then(|kept| kept);
        kept.map_err(upload::cannot_keep)
    }

    /// Deletes the archive from the directory of the operator.
    pub async fn discard(&self, files: &Files) {
        if let Err(error) = files.delete_file(&self.files.kept).await {
            log::warn!("{error}");
        }
    }
}

impl Files {
    /// Deletes the files of a task; returns whether they are gone. Those in the directory of an operator stay for a server that has it.
    pub async fn delete(&self, cluster: &Cluster, id: TaskId, kept: &KeptFiles) -> Result<bool> {
        delete_secrets(&cluster.api::<Secret>(), kept.secrets(id)).await?;
        self.delete_file(kept).await?;
        Ok(self.store.is_some() || !matches!(kept.place, FilesPlace::File(_)))
    }

    async fn delete_file(&self, kept: &KeptFiles) -> Result<()> {
        let (FilesPlace::File(name), Some(store)) = (kept.place.clone(), self.store.clone()) else {
            return Ok(());
        };
        let deleted = spawn_blocking(move || store.delete(&name));
        let deleted = deleted
            .await
            .map_err(io::Error::other)
            .and_then(|deleted| deleted);
        deleted.map_err(|error| {
            let message = "the server cannot delete the files of a task from its --files-dir";
            Error::caused_by(Reason::InternalError, message, error)
        })
    }

    /// Deletes files that no task names from the directory of the operator, from time to time. Never returns.
    pub async fn keep_swept(&self, view: &View) {
        let Some(store) = &self.store else {
            return pending().await;
        };
        loop {
            sleep(SWEEP_INTERVAL).await;
            // Without a complete view, a file may have a task that it does not show.
            if !view.is_fresh() {
                continue;
            }
            let named = view.kept_files(|kept| {
                kept.filter_map(|kept| match &kept.place {
                    FilesPlace::File(name) => Some(name.clone()),
                    FilesPlace::Secrets(_) => None,
                })
                .collect()
            });
            let store = store.clone();
            match spawn_blocking(move || store.sweep(&named)).await {
                Ok(Ok(0)) => (),
                Ok(Ok(count)) => log::info!("{count} files of no task deleted from --files-dir"),
                Ok(Err(error)) => log::warn!("cannot sweep --files-dir: {error}"),
                Err(error) => log::warn!("cannot sweep --files-dir: {error}"),
            }
        }
    }
}

/// The bytes of all archives in Secrets.
/// Deletes Secrets. Those that are gone are no error.
pub async fn delete_secrets(api: &Api<Secret>, names: impl Iterator<Item = String>) -> Result<()> {
    let delete = |name: String| async move {
        let deleted = async {
            match api.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                deleted => deleted.map(drop),
            }
        };
        call(format!("delete Secret `{name}`"), deleted).await
    };
    let deletions = stream::iter(names).map(delete);
    let deleted: Vec<_> = deletions.buffer_unordered(CONCURRENCY).collect().await;
    deleted.into_iter().collect()
}

fn in_secrets(view: &View) -> u64 {
    view.kept_files(|kept| {
        kept.filter(|kept| matches!(kept.place, FilesPlace::Secrets(_)))
            .fold(0_u64, |sum, kept| sum.saturating_add(kept.about.size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts() {
        let files = Files::new(FileRules::default()).unwrap();
        let mib = |bytes: u64| bytes >> 20;
        for (kept, num_nodes, expected, why) in [
            (0, 1, 16, "--max-files-size"),
            (0, 256, 16, "--max-files-size"),
            (0, 1024, 4, "all nodes of a task may take 4 GiB"),
            (250 << 20, 1, 6, "take 250 MiB of 256 MiB"),
            (300 << 20, 1, 0, "--files-budget"),
        ] {
            let (limit, reason) = files.limit_beside(kept, num_nodes);
            assert_eq!(mib(limit), expected);
            assert!(reason.contains(why), "{reason}");
        }
    }

    #[test]
    fn large_archives_and_those_that_are_too_much_for_etcd_stand_in_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let with_store = Files::new(FileRules {
            directory: Some(directory.path().to_owned()),
            claim: Some("team".to_owned()),
            ..FileRules::default()
        });
        let with_store = with_store.unwrap();
        assert_eq!(with_store.limit_beside(300 << 20, 10_000).0, 1 << 30);
        for (size, kept, num_nodes, expected) in [
            (1000, 0, 1, true),
            (1 << 20, 0, 1, false),
            (1000, 256 << 20, 1, false),
            (1 << 19, 0, 10_000, false),
        ] {
            assert_eq!(with_store.fits_secrets(size, kept, num_nodes), expected);
        }
        let without = Files::new(FileRules::default()).unwrap();
        assert!(without.fits_secrets(10 << 20, 0, 1));
    }

    #[test]
    fn directory_and_claim_belong_together() {
        let rules = FileRules {
            claim: Some("team".to_owned()),
            ..FileRules::default()
        };
        assert!(Files::new(rules).is_err());
    }
}
