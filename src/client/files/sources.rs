//! Decides which files travel with a task, from where and to where.
//!
//! It follows SkyPilot 0.14.1 (`sky/task.py`, `sky/backends/cloud_vm_ray_backend.py`): the working directory lands in `~/sky_workdir`, and a
//! source of `file_mounts` at its destination.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::tree::{Entry, Kind, Rules};
use crate::{
    api::{ARCHIVE_WORKDIR, Problem, TaskDefinition, archive_path},
    client::config::without_login,
};

/// The machine of the user, as far as paths depend on it.
pub struct Here {
    /// The directory that `~` stands for.
    pub home: Option<PathBuf>,
}

/// The files that travel with a task.
#[derive(Debug, Default)]
pub struct Sources {
    /// The working directory first, then the others by destination.
    pub list: Vec<Source>,
    /// Remarks for the user.
    pub notes: Vec<Problem>,
}

/// Files from one place for one destination.
#[derive(Debug, PartialEq)]
pub struct Source {
    pub origin: Origin,
    /// Its place in the archive.
    pub path: PathBuf,
    /// Which files of a directory travel.
    pub rules: Rules,
}

/// The place of files.
#[derive(Debug, PartialEq)]
pub enum Origin {
    /// A file or a directory of this machine.
    Path(PathBuf),
    /// An empty directory.
    Nothing,
    Git {
        url: String,
        reference: Option<String>,
    },
    Url(String),
}

/// Whether the file mounts of a task travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FileMounts {
    Travel,
    Ignored,
}

impl Sources {
    /// The files of a task.
    ///
    /// # Errors
    /// A source that is not there, or that no client can send.
    pub fn of(
        task: &TaskDefinition,
        mounts: FileMounts,
        here: &Here,
    ) -> Result<Self, Vec<Problem>> {
        let mut sources = Self::default();
        let mut problems = Vec::new();
        sources
            .add_workdir(task, here)
            .unwrap_or_else(|problem| problems.push(problem));
        let mounts = task.file_mounts().filter(|_| mounts == FileMounts::Travel);
        for (destination, source) in mounts.into_iter().flatten() {
            let field = format!("file_mounts.{}", masked(destination, task));
            let added = archive_path(destination)
                .and_then(|path| sources.add_mount(&field, &path, source, task, here));
            if let Err(message) = added {
                problems.push(Problem::new(field, message));
            }
        }
        match problems.is_empty() {
            true => Ok(sources),
            false => Err(problems),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the working directory travels.
    pub fn has_workdir(&self) -> bool {
        let first = self.list.first();
        first.is_some_and(|first| {
            first.path == Path::new(ARCHIVE_WORKDIR) && first.rules == Rules::Workdir
        })
    }

    /// Removes symbolic links at whose place a file mount puts a file or a directory: nothing can be unpacked behind a link.
    pub fn remove_covered_links(&self, entries: &mut Vec<Entry>) {
        entries.retain(|entry| {
            let is_link = matches!(entry.kind, Kind::Link { .. });
            let covers =
                |source: &Source| source.path != entry.path && source.path.starts_with(&entry.path);
            !(is_link && self.list.iter().any(covers))
        });
    }

    fn add_workdir(&mut self, task: &TaskDefinition, here: &Here) -> Result<(), Problem> {
        let origin = if let Some(git) = task.git_workdir() {
            let text = |key| git.get(key).and_then(Value::as_str).map(str::to_owned);
            Origin::Git {
                url: text("url").unwrap_or_default(),
                reference: text("ref"),
            }
        } else if let Some(workdir) = task
            .workdir
            .as_deref()
            .filter(|workdir| !workdir.is_empty())
        {
            let path = here.expand(workdir);
            let is_here = path.is_dir();
            if workdir.starts_with('/') {
                let what = match is_here {
                    true => "is a directory of this machine, which travels with the task",
                    false => {
                        "is a directory in the container, since this machine has none of that name"
                    }
                };
                let note = format!("{} {what}", masked(workdir, task));
                self.notes.push(Problem::new("workdir", note));
                if !is_here {
                    return Ok(());
                }
            } else if !is_here {
                let what = match path.exists() {
                    true => "is a file, not a directory",
                    false => "is not a directory here",
                };
                let message = format!("{} {what}", masked(workdir, task));
                return Err(Problem::new("workdir", message));
            }
            Origin::Path(path)
        } else {
            return Ok(());
        };
        self.list.push(Source {
            origin,
            path: PathBuf::from(ARCHIVE_WORKDIR),
            rules: Rules::Workdir,
        });
        Ok(())
    }

    fn add_mount(
        &mut self,
        field: &str,
        path: &str,
        source: &Value,
        task: &TaskDefinition,
        here: &Here,
    ) -> Result<(), String> {
        match source {
            Value::String(source) => self.add(path, origin(source, task, here)?),
            Value::Object(storage) => self.add_storage(field, path, storage, task, here)?,
            // SkyPilot's checks of the definition have refused others.
            _ => (),
        }
        Ok(())
    }

    /// Adds a storage: SkyPilot uploads its sources to a bucket, and mounts or copies that.
    fn add_storage(
        &mut self,
        field: &str,
        path: &str,
        storage: &Map<String, Value>,
        task: &TaskDefinition,
        here: &Here,
    ) -> Result<(), String> {
        let mode = storage
            .get("mode")
            .and_then(Value::as_str)
            .unwrap_or("MOUNT");
        match storage.get("source") {
            Some(Value::String(source)) => {
                let origin = origin(source, task, here)?;
                self.add(path, origin);
            }
            Some(Value::Array(sources)) => {
                for source in sources.iter().filter_map(Value::as_str) {
                    let origin = origin(source, task, here)?;
                    let name = Path::new(source).file_name().unwrap_or_default();
                    let place = Path::new(path).join(name);
                    self.add(&place.to_string_lossy(), origin);
                }
            }
            _ => self.add(path, Origin::Nothing),
        }
        if !mode.eq_ignore_ascii_case("copy") {
            let message = "there are no buckets: it is a directory of the container, and what the task writes there is gone with it; use a volume to keep it";
            self.notes.push(Problem::new(field, message));
        }
        Ok(())
    }

    fn add(&mut self, path: &str, origin: Origin) {
        self.list.push(Source {
            origin,
            path: PathBuf::from(path),
            rules: Rules::Mount,
        });
    }
}

impl Here {
    /// A path with `~` expanded.
    fn expand(&self, path: &str) -> PathBuf {
        match (path.strip_prefix('~'), &self.home) {
            (Some(""), Some(home)) => home.clone(),
            (Some(rest), Some(home)) if rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(path),
        }
    }
}

/// A path of a task without the values of its secrets, for messages.
fn masked(path: &str, task: &TaskDefinition) -> String {
    let secrets = task.secrets.values().filter(|secret| !secret.is_empty());
    secrets.fold(path.to_owned(), |path, secret| path.replace(secret, "***"))
}

/// The place of a source.
fn origin(source: &str, task: &TaskDefinition, here: &Here) -> Result<Origin, String> {
    if let Some((scheme, _)) = source.split_once("://") {
        return match scheme {
            "http" | "https" => Ok(Origin::Url(source.to_owned())),
            _ => {
                let source = masked(&without_login(source), task);
                Err(format!(
                    "{source} is in a bucket, which is not copied: put the data into a volume, or submit without it (--ignore-file-mounts)"
                ))
            }
        };
    }
    if source.is_empty() {
        return Err("names no source".to_owned());
    }
    let path = here.expand(source);
    match path.try_exists() {
        Ok(true) => Ok(Origin::Path(path)),
        _ => Err(format!("{} is not here", masked(source, task))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sources(task: Value) -> Result<Sources, Vec<String>> {
        let mut task = task;
        task["run"] = "true".into();
        let task = TaskDefinition::from_json(&task).unwrap();
        let here = Here {
            home: Some(PathBuf::from("/usr")),
        };
        Sources::of(&task, FileMounts::Travel, &here)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn listed(task: Value) -> Vec<String> {
        let sources = sources(task).unwrap();
        let line = |source: &Source| {
            let from = match &source.origin {
                Origin::Path(path) => path.display().to_string(),
                Origin::Nothing => "nothing".to_owned(),
                Origin::Git { url, reference } => {
                    format!("{url}@{}", reference.as_deref().unwrap_or("HEAD"))
                }
                Origin::Url(url) => url.clone(),
            };
            format!("{from} -> {}", source.path.display())
        };
        let notes = sources
            .notes
            .iter()
            .map(|note| format!("note {}", note.field));
        sources.list.iter().map(line).chain(notes).collect()
    }

    #[test]
    fn files_come_from_here_and_elsewhere() {
        for (task, expected) in [
            (json!({}), &[][..]),
            (json!({"workdir": "."}), &[". -> home/sky_workdir"]),
            (
                json!({"workdir": "~/bin"}),
                &["/usr/bin -> home/sky_workdir"],
            ),
            (json!({"workdir": "/nosuch"}), &["note workdir"]),
            (
                json!({"workdir": "/usr"}),
                &["/usr -> home/sky_workdir", "note workdir"],
            ),
            (
                json!({"workdir": {"url": "https://example.com/a.git", "ref": "main"}}),
                &["https://example.com/a.git@main -> home/sky_workdir"],
            ),
            (
                json!({"file_mounts": {"~/d": "src", "/etc/x": "~/lib", "m": "https://example.com/m"}}),
                &[
                    "/usr/lib -> root/etc/x",
                    "https://example.com/m -> home/sky_workdir/m",
                    "src -> home/d",
                ],
            ),
            (
                json!({"file_mounts": {"/in": {"source": ["src", "/usr/lib"], "mode": "COPY"}, "/out": {"name": "bucket"}}}),
                &[
                    "src -> root/in/src",
                    "/usr/lib -> root/in/lib",
                    "nothing -> root/out",
                    "note file_mounts./out",
                ],
            ),
        ] {
            assert_eq!(listed(task.clone()), expected, "{task}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mounts = json!({
            "/a": "s3://bucket/x", "/b": "nosuch", "/c/../d": "src", "/e": {"source": "gs://u:p@bucket", "mode": "MOUNT"},
            "/f": ""
        });
        let problems = sources(json!({"workdir": "./nosuch", "file_mounts": mounts})).unwrap_err();
        let expected = [
            "workdir: ./nosuch is not a directory here",
            "file_mounts./a: s3://bucket/x is in a bucket",
            "file_mounts./b: nosuch is not here",
            "file_mounts./c/../d: must not contain `..`",
            "file_mounts./e: gs://***@bucket is in a bucket",
            "file_mounts./f: names no source",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn secrets_are_masked_in_paths_and_nowhere_else() {
        let mounts = json!({"/ms": "s3://os/s", "/n": "os"});
        for (secret, expected) in [
            (
                "s",
                [
                    "workdir: ./no***uch is not a directory here",
                    "file_mounts./m***: ***3://o***/*** is in a bucket, which is not copied",
                    "file_mounts./n: o*** is not here",
                ],
            ),
            (
                "os",
                [
                    "workdir: ./n***uch is not a directory here",
                    "file_mounts./ms: s3://***/s is in a bucket, which is not copied",
                    "file_mounts./n: *** is not here",
                ],
            ),
        ] {
            let task =
                json!({"secrets": {"S": secret}, "workdir": "./nosuch", "file_mounts": mounts});
            let problems = sources(task).unwrap_err();
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.starts_with(expected), "{problem}");
            }
        }
    }
}
