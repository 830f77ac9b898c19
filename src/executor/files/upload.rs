//! Receives the archive of a task's files.

use std::{
    fs::File,
    io::{self, Seek},
    os::unix::fs::FileExt,
    sync::Arc,
};

use ring::digest::{self, SHA256};
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::{io::AsyncWriteExt, sync::OwnedSemaphorePermit, task::spawn_blocking};

use super::archive::{self, Contents};
use crate::{
    api::{Reason, format_size},
    executor::error::{Error, Result},
};

/// How many times its size an archive may be when it is unpacked.
const MAX_GROWTH: u64 = 100;
/// The unpacked size that every archive may have.
const MIN_UNPACKED: u64 = 1 << 30;

/// An archive that is being received.
pub struct Upload {
    file: tokio::fs::File,
    name: Option<tempfile::TempPath>,
    hash: digest::Context,
    size: u64,
    max_size: u64,
    turn: OwnedSemaphorePermit,
}

/// A checked archive. It is gone when this is dropped.
pub struct Archive {
    file: Arc<File>,
    /// Its name, if it stands in a directory.
    pub name: Option<tempfile::TempPath>,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    pub contents: Contents,
    _turn: OwnedSemaphorePermit,
}

impl Upload {
    /// Begins to receive an archive of at most `max_size` bytes, into memory or a `directory`.
    pub fn begin(
        directory: Option<&std::path::Path>,
        max_size: u64,
        turn: OwnedSemaphorePermit,
    ) -> io::Result<Self> {
        let (file, name) = match directory {
            // The file has no name and no directory, so that a server without a writable one takes files too.
            None => (
                File::from(memfd_create("files", MemfdFlags::CLOEXEC)?),
                None,
            ),
            Some(directory) => {
                let file = tempfile::Builder::new()
                    .prefix(".upload-")
                    .tempfile_in(directory)?;
                let (file, name) = file.into_parts();
                (file, Some(name))
            }
        };
        Ok(Self {
            file: tokio::fs::File::from_std(file),
            name,
            hash: digest::Context::new(&SHA256),
            size: 0,
            max_size,
            turn,
        })
    }

    /// Adds the next bytes.
    ///
    /// # Errors
    /// The archive is too large, or cannot be kept.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.size > self.max_size {
            let most = format_size(self.max_size);
            return Err(Error::new(
                Reason::RequestEntityTooLarge,
                format!("files: the archive is larger than {most}, the limit of this server"),
            ));
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).await.map_err(cannot_keep)
    }

    /// Ends the upload, and checks the archive.
    ///
    /// # Errors
    /// It is no archive that a task can use.
    pub async fn finish(mut self) -> Result<Archive> {
        self.file.flush().await.map_err(cannot_keep)?;
        let file = Arc::new(self.file.into_std().await);
        let most = self.size.saturating_mul(MAX_GROWTH).max(MIN_UNPACKED);
        let reader = file.clone();
        let checked = spawn_blocking(move || {
            let mut reader = &*reader;
            reader.rewind().map_err(|error| error.to_string())?;
            archive::check(io::BufReader::with_capacity(1 << 16, reader), most)
        });
        let contents = checked
            .await
            .map_err(|error| cannot_keep(io::Error::other(error)))?
            .map_err(|problem| {
                Error::new(Reason::Invalid, format!("files: the archive {problem}"))
            })?;
        let sha256 = self.hash.finish();
        let sha256 = sha256
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Archive {
            file,
            name: self.name,
            size: self.size,
            sha256,
            contents,
            _turn: self.turn,
        })
    }
}

impl Archive {
    /// Reads `length` bytes from an offset, less at the end.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let length = length.min(usize::try_from(self.size - offset).unwrap_or(usize::MAX));
        let file = self.file.clone();
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset).map(|()| bytes)
        });
        read.await
            .map_err(io::Error::other)
            .and_then(|read| read)
            .map_err(cannot_keep)
    }
}

pub(super) fn cannot_keep(error: io::Error) -> Error {
    let message = "the server cannot keep the files of the task";
    Error::caused_by(Reason::InternalError, message, error)
}
