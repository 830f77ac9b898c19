//! The archive of the files that travel with a task.
//!
//! It is a tar file, compressed with gzip. What stands under `home/` is unpacked to the home directory of the task's container, and what
//! stands under `root/` to `/`. The archive has an entry for each of these directories that it uses, since some programs find no
//! others in it.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The working directory of SkyPilot's tasks.
pub const SKY_WORKDIR: &str = "~/sky_workdir";
/// The directory of an archive whose contents are unpacked to the home directory.
pub const ARCHIVE_HOME: &str = "home";
/// The directory of an archive whose contents are unpacked to `/`.
pub const ARCHIVE_ROOT: &str = "root";
/// The place of [`SKY_WORKDIR`] in an archive.
pub const ARCHIVE_WORKDIR: &str = "home/sky_workdir";

/// The place in an archive of a destination in the container. A relative one lies in [`SKY_WORKDIR`].
///
/// # Errors
/// The reason why nothing can be unpacked there.
pub fn archive_path(destination: &str) -> Result<String, String> {
    let (base, rest) = match destination.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (ARCHIVE_HOME, rest),
        Some(_) => return Err("names the home directory of another user".to_owned()),
        None if destination.starts_with('/') => (ARCHIVE_ROOT, destination),
        None => (ARCHIVE_WORKDIR, destination),
    };
    let mut path = base.to_owned();
    for part in rest.split('/') {
        match part {
            "" | "." => (),
            ".." => return Err("must not contain `..`".to_owned()),
            part => path.extend(["/", part]),
        }
    }
    Ok(path)
}

/// The files that a server keeps for a task: a part of its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskFiles {
    /// The length of the archive in bytes.
    pub size: u64,
    /// The SHA-256 of the archive, in hexadecimal digits.
    pub sha256: String,
}

impl fmt::Display for TaskFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = format_size(self.size);
        write!(f, "{size} packed, sha256:{}", self.sha256)
    }
}

/// The answer to a request with the part `check`: the task would be accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskCheckResponse {
    /// Always `accepted`.
    pub status: String,
    /// The most bytes that the archive of the task's files may have.
    pub max_files_size: u64,
    /// The reason for that limit, as the rest of a sentence.
    pub limit: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A size for people: `512 bytes`, `1.5 MiB`.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes == 1 {
        return "1 byte".to_owned();
    }
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    // `16 MiB`, not `16.0 MiB`.
    let text = format!("{size:.1}");
    format!(
        "{} {}",
        text.strip_suffix(".0").unwrap_or(&text),
        UNITS[unit]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_have_a_place_in_the_archive() {
        for (destination, expected) in [
            ("~", Ok("home")),
            ("~/", Ok("home")),
            ("~/.ssh/id", Ok("home/.ssh/id")),
            ("~/sky_workdir", Ok("home/sky_workdir")),
            ("/data//x/./y/", Ok("root/data/x/y")),
            ("/", Ok("root")),
            ("data", Ok("home/sky_workdir/data")),
            ("./a b", Ok("home/sky_workdir/a b")),
            ("~bob/x", Err("names the home directory of another user")),
            ("/a/../b", Err("must not contain `..`")),
            ("..", Err("must not contain `..`")),
        ] {
            let path = archive_path(destination);
            let path = path.as_deref().map_err(String::as_str);
            assert_eq!(path, expected, "{destination}");
        }
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (16 << 20, "16 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            (3 << 40, "3 TiB"),
        ] {
            assert_eq!(format_size(bytes), expected);
        }
    }
}
