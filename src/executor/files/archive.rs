//! Checks an archive of files before it becomes a part of a task. Pure: it reads a stream.
//!
//! The archive comes from a user, and the containers of the user's own task unpack it. So the check is for clear errors, and for
//! archives that are small here and large there.

use std::{
    collections::HashSet,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::api::{ARCHIVE_HOME, ARCHIVE_ROOT, ARCHIVE_WORKDIR};

/// What an archive holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contents {
    /// Whether something is for the home directory.
    pub has_home: bool,
    /// Whether something is for `/`.
    pub has_root: bool,
    /// Whether something is for the working directory.
    pub has_workdir: bool,
}

/// Reads an archive to its end; `most` is the limit for its unpacked size in bytes.
///
/// # Errors
/// The reason why it is refused.
pub fn check(packed: impl Read, most: u64) -> Result<Contents, String> {
    let mut unpacked = Limited {
        inner: MultiGzDecoder::new(packed),
        left: most,
    };
    let contents = check_entries(&mut unpacked);
    // Whatever is wrong with an entry, the limit comes first.
    let rest = match &contents {
        Ok(_) => io::copy(&mut unpacked, &mut io::sink()).map(drop),
        Err(_) => Ok(()),
    };
    if unpacked.left == 0 {
        return Err(format!(
            "takes more than {} MiB when it is unpacked: name large files that may stay in `.skyignore`, or put them into a volume",
            most >> 20
        ));
    }
    rest.map_err(|error| not_an_archive(&error))?;
    contents
}

fn not_an_archive(error: &io::Error) -> String {
    format!("is not a tar archive that is compressed with gzip: {error}")
}

fn check_entries(unpacked: impl Read) -> Result<Contents, String> {
    let mut archive = Archive::new(unpacked);
    let entries = archive.entries().map_err(|error| not_an_archive(&error))?;
    let mut contents = Contents::default();
    let (mut links, mut roots) = (HashSet::new(), HashSet::new());
    for entry in entries {
        let entry = entry.map_err(|error| not_an_archive(&error))?;
        let path = entry.path().map_err(|error| not_an_archive(&error))?;
        let path = normal(&path)?;
        let kind = entry.header().entry_type();
        if !matches!(
            kind,
            EntryType::Regular | EntryType::Directory | EntryType::Symlink
        ) {
            let path = path.display();
            return Err(format!(
                "has an entry that is not a file, a directory or a symbolic link: {path}"
            ));
        }
        if path
            .ancestors()
            .skip(1)
            .any(|parent| links.contains(parent))
        {
            let path = path.display();
            return Err(format!("has an entry behind a symbolic link: {path}"));
        }
        let [is_home, is_root] = [ARCHIVE_HOME, ARCHIVE_ROOT].map(|root| path.starts_with(root));
        if !is_home && !is_root {
            let path = path.display();
            return Err(format!(
                "has an entry outside of `{ARCHIVE_HOME}/` and `{ARCHIVE_ROOT}/`: {path}"
            ));
        }
        if path.components().count() == 1 {
            if kind != EntryType::Directory {
                return Err(format!(
                    "has an entry that is not a directory: {}",
                    path.display()
                ));
            }
            roots.insert(path);
            continue;
        }
        contents.has_home |= is_home;
        contents.has_root |= is_root;
        contents.has_workdir |= path.starts_with(ARCHIVE_WORKDIR);
        if kind == EntryType::Symlink {
            links.insert(path);
        }
    }
    let used = [
        (contents.has_home, ARCHIVE_HOME),
        (contents.has_root, ARCHIVE_ROOT),
    ];
    match used
        .iter()
        .find(|(is_used, root)| *is_used && !roots.contains(Path::new(root)))
    {
        Some((_, root)) => Err(format!("has no entry for the directory `{root}/` itself")),
        None => Ok(contents),
    }
}

/// A path without a slash at its end. One with `.` or with two slashes names what `tar` does not find by its usual name.
fn normal(path: &Path) -> Result<PathBuf, String> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => normal.push(part),
            Component::CurDir => (),
            _ => {
                let path = path.display();
                return Err(format!("has an entry that is absolute or has `..`: {path}"));
            }
        }
    }
    let bytes = path.as_os_str().as_encoded_bytes();
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    match bytes == normal.as_os_str().as_encoded_bytes() {
        true => Ok(normal),
        false => Err(format!(
            "has an entry whose path has `.` or `//` in it: `{}`; make it with `tar -cz {ARCHIVE_HOME} {ARCHIVE_ROOT}`",
            path.display()
        )),
    }
}

/// A stream that ends after a number of bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    use super::*;

    /// A packed archive of entries: kind, path, and the target of a link or the content.
    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (kind, path, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            // The setter refuses what a hostile archive has.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            if *kind == EntryType::Regular {
                header.set_size(content.len() as u64);
                header.set_cksum();
                archive.append(&header, content.as_bytes()).unwrap();
            } else {
                header.set_size(0);
                header.set_link_name(content).unwrap_or_default();
                header.set_cksum();
                archive.append(&header, io::empty()).unwrap();
            }
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    const HOME: (EntryType, &str, &str) = (EntryType::Directory, "home/", "");
    const ROOT: (EntryType, &str, &str) = (EntryType::Directory, "root/", "");

    #[test]
    fn the_contents_are_known() {
        use EntryType::{Directory, Regular, Symlink};
        let file = (Regular, "home/sky_workdir/a", "1");
        let found = |entries: &[_]| check(&archive(entries)[..], 1 << 20).unwrap();
        assert_eq!(found(&[HOME, ROOT]), Contents::default());
        assert_eq!(
            found(&[HOME, file, (Symlink, "home/sky_workdir/b", "/etc")]),
            Contents {
                has_home: true,
                has_workdir: true,
                ..Contents::default()
            }
        );
        assert_eq!(
            found(&[
                ROOT,
                (Directory, "root/data/", ""),
                (Regular, "root/data/x", "")
            ]),
            Contents {
                has_root: true,
                ..Contents::default()
            }
        );
    }

    #[test]
    fn hostile_archives_are_refused() {
        use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
        let link = (Symlink, "home/l", "/etc");
        for (entries, expected) in [
            (
                &[HOME, (Regular, "home/../x", "1")][..],
                "absolute or has `..`: home/../x",
            ),
            (&[(Regular, "../x", "1")], "absolute or has `..`"),
            (&[(Regular, "/etc/x", "1")], "absolute or has `..`: /etc/x"),
            (
                &[HOME, (Regular, "./home/x", "1")],
                "has `.` or `//` in it: `./home/x`",
            ),
            (&[HOME, (Regular, "home//x", "1")], "in it: `home//x`"),
            (&[(Directory, "./", "")], "in it: `./`"),
            (&[(Regular, "x", "1")], "outside of `home/` and `root/`: x"),
            (&[(Regular, "home", "1")], "not a directory: home"),
            (&[(Symlink, "home", "/")], "not a directory: home"),
            (
                &[HOME, link, (Regular, "home/l/x", "1")],
                "behind a symbolic link: home/l/x",
            ),
            (
                &[HOME, link, (Directory, "home/l/d/e", "")],
                "behind a symbolic link",
            ),
            (
                &[HOME, (Link, "home/h", "/etc/shadow")],
                "not a file, a directory",
            ),
            (&[HOME, (Fifo, "home/p", "")], "not a file, a directory"),
            (&[HOME, (Char, "home/c", "")], "not a file, a directory"),
            (&[HOME, (Block, "home/b", "")], "not a file, a directory"),
            (
                &[(Regular, "home/x", "1")],
                "no entry for the directory `home/`",
            ),
            (
                &[HOME, (Regular, "root/x", "1")],
                "no entry for the directory `root/`",
            ),
        ] {
            let refused = check(&archive(entries)[..], 1 << 20).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let good = archive(&[HOME, (EntryType::Regular, "home/x", "1")]);
        let mut wrong_sum = good.clone();
        *wrong_sum.iter_mut().nth_back(5).unwrap() ^= 1;
        let mut no_tar = GzEncoder::new(Vec::new(), Compression::fast());
        no_tar.write_all(&[b'x'; 1024]).unwrap();
        for bytes in [
            &b""[..],
            b"hello",
            &good[..good.len() / 2],
            &wrong_sum,
            &no_tar.finish().unwrap(),
        ] {
            let refused = check(bytes, 1 << 20).unwrap_err();
            assert!(refused.starts_with("is not a tar archive"), "{refused}");
        }
    }

    #[test]
    fn an_archive_that_grows_is_refused() {
        let zeros = "\0".repeat(1 << 20);
        let bomb = archive(&[HOME, (EntryType::Regular, "home/x", &zeros)]);
        assert!(bomb.len() < 16_384);
        let refused = check(&bomb[..], 1 << 19).unwrap_err();
        assert!(
            refused.starts_with("takes more than 0 MiB when it is unpacked: "),
            "{refused}"
        );
    }
}
