//! Packs the files of a task: a tar file, compressed with gzip, in a file without a name.
//!
//! Equal files make equal archives: entries are sorted, and have neither owners nor times.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write as _},
    fs::File,
    io::{self, BufWriter, PipeReader, PipeWriter, Read, Seek, Write},
    num::NonZero,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use flate2::{Compression, write::GzEncoder};
use ring::digest::{self, SHA256};
use tar::{Builder, EntryType, Header};

use super::{
    nameless,
    progress::Progress,
    shown,
    tree::{Entry, Kind},
};
use crate::{
    api::{ARCHIVE_HOME, ARCHIVE_ROOT, TaskCheckResponse, TaskFiles, format_size},
    client::Error,
};

/// Source code shrinks to a fifth, and the next level takes twice the time for a tenth less.
const LEVEL: u32 = 2;
/// The size of a buffer before and behind the compression: that of a pipe.
const BUFFER: usize = 1 << 16;
/// So much is compressed at a time. What the beginning of a block costs, because nothing stands before it, is far below a hundredth.
const BLOCK: usize = 1 << 20;
/// The most paths that a message names.
const LARGEST: usize = 10;

/// The most entries that are listed.
const MAX_LISTED: usize = 1000;

/// A packed archive.
pub struct Archive {
    pub file: File,
    pub packed: Packed,
}

impl Archive {
    /// Lets the next reader begin at the start.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.file.rewind().map_err(cannot_pack)
    }
}

/// What an archive holds.
pub struct Packed {
    pub about: TaskFiles,
    /// The destination of each entry, with its size; the target of a link instead.
    pub entries: Vec<(String, String)>,
    /// The size of all files before they were packed.
    pub unpacked: u64,
}

/// A listing: a line for the whole, and one for each entry.
impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.entries.iter().filter(|(_, detail)| !detail.is_empty());
        let (count, files) = (self.entries.len(), files.count());
        let (unpacked, about) = (format_size(self.unpacked), &self.about);
        let noun = if files == 1 { "file" } else { "files" };
        write!(f, "{files} {noun} would travel: {unpacked}, {about}")?;
        let shown = self.entries.iter().take(MAX_LISTED);
        for (path, detail) in shown {
            write!(f, "\n  {path}  {detail}")?;
        }
        match count.saturating_sub(MAX_LISTED) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Packs entries.
///
/// # Errors
/// A file cannot be read, one is to lie below another, or the archive is larger than the server takes.
pub fn pack(
    entries: Vec<Entry>,
    limit: &TaskCheckResponse,
    progress: &mut Progress<'_>,
) -> Result<Archive, Error> {
    // A file mount may put a file at the place of another one.
    let entries: BTreeMap<PathBuf, Kind> = entries
        .into_iter()
        .map(|entry| (entry.path, entry.kind))
        .collect();
    check_places(&entries)?;
    let sizes = entries.iter().map(|(path, kind)| (path, size(kind)));
    let unpacked = sizes.clone().map(|(_, size)| size).sum();
    let too_large = || Error::TooManyFiles {
        most: format_size(limit.max_files_size),
        why: limit.limit.clone(),
        largest: largest(sizes.clone()),
    };
    let sink = Sink {
        file: BufWriter::with_capacity(BUFFER, nameless()?),
        hash: digest::Context::new(&SHA256),
        size: 0,
        most: limit.max_files_size,
    };
    let roots = [ARCHIVE_HOME, ARCHIVE_ROOT].map(Path::new);
    let used = roots
        .into_iter()
        .filter(|root| entries.keys().any(|path| path.starts_with(root)));
    let used: Vec<_> = used
        .map(|root| (root.to_owned(), Kind::Directory { mode: 0o755 }))
        .collect();
    let all = used.iter().map(|(path, kind)| (path, kind)).chain(&entries);
    // One thread reads the files while others compress them.
    let (compressor, tar) = io::pipe().map_err(cannot_pack)?;
    let (added, compressed) = thread::scope(|scope| {
        let compressed = scope.spawn(|| compress(compressor, sink));
        let added = add_all(tar, all, |done| progress.show(done, unpacked));
        (added, compressed.join())
    });
    // Where compressing ends early, adding does because of it.
    let (sink, file) = match compressed.unwrap_or_else(|panic| resume_unwind(panic)) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(too_large()),
        ended => ended.map_err(cannot_pack)?,
    };
    added?;
    let entries = entries.iter().map(|(path, kind)| {
        let detail = match kind {
            Kind::File { size, .. } => format_size(*size),
            Kind::Directory { .. } => String::new(),
            Kind::Link { target } => format!("-> {}", shown(target)),
        };
        (destination(path), detail)
    });
    Ok(Archive {
        packed: Packed {
            about: file,
            entries: entries.collect(),
            unpacked,
        },
        file: sink,
    })
}

/// Checks that no entry lies below a file.
fn check_places(entries: &BTreeMap<PathBuf, Kind>) -> Result<(), Error> {
    for path in entries.keys() {
        let is_file = |above: &&Path| matches!(entries.get(*above), Some(Kind::File { .. }));
        if let Some(above) = path.ancestors().skip(1).find(is_file) {
            let message = format!("{} is a file, which also travels", destination(above));
            let source = io::Error::new(io::ErrorKind::NotADirectory, message);
            return Err(Error::file("pack", destination(path), source));
        }
    }
    Ok(())
}

/// Compresses a tar file until its end. Each block becomes a gzip file of its own, on a thread of its own: gzip takes several in a row
/// for one, and where the blocks end does not depend on the machine.
fn compress(mut tar: PipeReader, mut sink: Sink) -> io::Result<(File, TaskFiles)> {
    let most = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let mut running = VecDeque::new();
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            tar.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
            let is_end = block.is_empty();
            if !is_end {
                running.push_back(scope.spawn(move || gzip(&block)));
            }
            while running.len() >= most || is_end {
                let Some(oldest) = running.pop_front() else {
                    return sink.into_file();
                };
                let packed = oldest.join().unwrap_or_else(|panic| resume_unwind(panic));
                sink.write_all(&packed?)?;
            }
        }
    })
}

fn gzip(block: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    gzip.write_all(block)?;
    gzip.finish()
}

/// Writes a tar file. `show` gets the number of bytes of files that were read.
fn add_all<'a>(
    to: PipeWriter,
    entries: impl Iterator<Item = (&'a PathBuf, &'a Kind)>,
    mut show: impl FnMut(u64),
) -> Result<(), Error> {
    let mut tar = Builder::new(BufWriter::with_capacity(BUFFER, to));
    let mut done = 0;
    for (path, kind) in entries {
        add(&mut tar, path, kind, &mut |more| show(done + more))?;
        done += size(kind);
    }
    let end = tar.into_inner().and_then(|mut to| to.flush());
    end.map_err(cannot_pack)
}

/// Adds an entry. `show` gets the number of bytes of its content that were read.
fn add(
    tar: &mut Builder<impl Write>,
    path: &Path,
    kind: &Kind,
    show: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    match kind {
        Kind::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            tar.append_data(&mut header, path, io::empty())
                .map_err(cannot_pack)
        }
        Kind::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, target)
                .map_err(cannot_pack)
        }
        Kind::File { from, size, mode } => {
            let cannot_read = |error| Error::file("read", from, error);
            let file = match File::open(from) {
                // Programs remove their temporary files while others are packed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                file => file.map_err(cannot_read)?,
            };
            header.set_mode(*mode);
            header.set_size(*size);
            let mut content = Content {
                file: file.take(*size),
                error: None,
                read: 0,
                show,
            };
            let added = tar.append_data(&mut header, path, &mut content);
            if let Some(error) = content.error {
                return Err(cannot_read(error));
            }
            let is_short = content.file.limit() > 0;
            if is_short && added.is_ok() {
                let error = io::Error::other("it became shorter while it was packed: try again");
                return Err(cannot_read(error));
            }
            added.map_err(cannot_pack)
        }
    }
}

/// The content of a file, with the error that ended it: the archive cannot tell it from its own errors.
struct Content<'a> {
    file: io::Take<File>,
    error: Option<io::Error>,
    /// The bytes that were read so far.
    read: u64,
    show: &'a mut dyn FnMut(u64),
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(read) => {
                self.read += read as u64;
                (self.show)(self.read);
                Ok(read)
            }
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// The archive on its way to a file.
struct Sink {
    file: BufWriter<File>,
    hash: digest::Context,
    size: u64,
    most: u64,
}

impl Sink {
    fn into_file(self) -> io::Result<(File, TaskFiles)> {
        let sha256 = self.hash.finish();
        let about = TaskFiles {
            size: self.size,
            sha256: sha256
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        };
        Ok((
            self.file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?,
            about,
        ))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size += bytes.len() as u64;
        if self.size > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.hash.update(bytes);
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn cannot_pack(error: io::Error) -> Error {
    Error::file("pack", "the files of the task", error)
}

fn size(kind: &Kind) -> u64 {
    match kind {
        Kind::File { size, .. } => *size,
        Kind::Directory { .. } | Kind::Link { .. } => 0,
    }
}

/// The largest files, a line each.
fn largest<'a>(sizes: impl Iterator<Item = (&'a PathBuf, u64)>) -> String {
    let mut sizes: Vec<_> = sizes.filter(|(_, size)| *size > 0).collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut lines = String::new();
    for (path, size) in sizes.into_iter().take(LARGEST) {
        let _ = write!(
            lines,
            "\n  {:>10}  {}",
            format_size(size),
            destination(path)
        );
    }
    lines
}

/// The destination of an entry in the container.
fn destination(path: &Path) -> String {
    let in_home = path
        .strip_prefix(ARCHIVE_HOME)
        .map(|inner| Path::new("~").join(inner));
    let place = in_home
        .unwrap_or_else(|_| Path::new("/").join(path.strip_prefix(ARCHIVE_ROOT).unwrap_or(path)));
    shown(&place)
}

#[cfg(test)]
mod tests;
