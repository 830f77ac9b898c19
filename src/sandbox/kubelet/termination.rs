//! Termination messages, which a container leaves in a file for its status.
//!
//! It follows Kubernetes, `pkg/kubelet/kuberuntime/kuberuntime_container.go` (`getTerminationMessage` and
//! `readLastStringFromContainerLogs`), v1.36. A container without namespaces has no such file, since the path would be one of the
//! machine. It can still have the end of its log as its message.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    log_reader::{LogReader, Options},
    logs::Logs,
    volumes,
};
use crate::sandbox::objects::object::text;

/// The most bytes of a message, taken from its end: `MaxContainerTerminationMessageLength` and
/// `MaxContainerTerminationMessageLogLength`.
const MAX_LENGTH: u64 = 4096;
const MAX_LOG_LENGTH: usize = 2048;

/// The most lines of a log that become a message.
const MAX_LOG_LINES: usize = 80;

/// The place of the machine's devices in a device directory of ours.
const MACHINE: &str = ".machine";

/// The file for a message, and its mount.
pub struct MessageFile {
    pub path: PathBuf,
    /// Steps before all mounts.
    pub steps: Vec<String>,
    /// A path in the container, and the file or directory to mount there.
    pub mount: Option<(PathBuf, PathBuf)>,
}

/// Creates an empty file for the message of a container's next run.
pub fn prepare(container: &Value, directory: &Path) -> io::Result<MessageFile> {
    let name = text(&container["name"]);
    let target = text(&container["terminationMessagePath"]);
    let path = directory.join(format!("message-{name}"));
    let mut file = MessageFile {
        path,
        steps: Vec::new(),
        mount: None,
    };
    let target = volumes::normal(&Path::new("/").join(target));
    match (target.parent(), target.file_name()) {
        (None, _) | (_, None) => return Ok(file),
        (Some(parent), Some(name)) if parent == Path::new("/dev") && !target.exists() => {
            let devices = directory.join(format!("dev-{}", text(&container["name"])));
            link_devices(&devices)?;
            let machine = devices.join(MACHINE).to_string_lossy().into_owned();
            file.path = devices.join(name);
            file.steps = ["bind".to_owned(), "/dev".to_owned(), machine].into();
            file.mount = Some((parent.to_owned(), devices));
        }
        _ => file.mount = Some((target, file.path.clone())),
    }
    File::create(&file.path)?;
    Ok(file)
}

/// The message of a run that ended with `code`, if there is one.
pub async fn message(
    container: &Value,
    path: &Path,
    logs: &Logs,
    uid: &str,
    code: i32,
) -> Option<String> {
    let mut message = match read_end(path) {
        Ok(message) => message,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let path = text(&container["terminationMessagePath"]);
            return Some(format!("Error on reading termination log {path}: {error}"));
        }
    };
    let falls_back = text(&container["terminationMessagePolicy"]) == "FallbackToLogsOnError";
    if message.is_empty() && falls_back && code != 0 {
        message = read_log_end(logs, uid, text(&container["name"])).await;
    }
    (!message.is_empty()).then(|| String::from_utf8_lossy(&message).into_owned())
}

/// Creates a directory of links to the devices of `/dev`, in which a file can be created.
///
/// Mounts of a hundred devices would delay the start of a pod.
fn link_devices(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(directory.join(MACHINE))?,
    }
    for entry in fs::read_dir("/dev")? {
        let name = entry?.file_name();
        symlink(Path::new(MACHINE).join(&name), directory.join(&name))?;
    }
    Ok(())
}

fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    // The container may have replaced the file, for example by a link or a pipe.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(MAX_LENGTH)))?;
    let mut end = Vec::new();
    file.take(MAX_LENGTH).read_to_end(&mut end)?;
    Ok(end)
}

async fn read_log_end(logs: &Logs, uid: &str, container: &str) -> Vec<u8> {
    let options = Options {
        tail: Some(MAX_LOG_LINES),
        ..Options::default()
    };
    let log = logs.find(uid, container, false);
    let reader = log.map(|log| LogReader::open(&log, &options)).transpose();
    let mut end = Vec::new();
    match reader {
        Ok(Some(mut reader)) => {
            while let Some(Ok(chunk)) = reader.next().await {
                end.extend_from_slice(&chunk);
                end.drain(..end.len().saturating_sub(MAX_LOG_LENGTH));
            }
        }
        Ok(None) => (),
        Err(error) => log::warn!("container log: {error}"),
    }
    end
}
