//! Volumes of files from Secrets, `ConfigMaps` and the metadata of the pod, and their updates.
//!
//! The files of a volume are links to `..data/`, which is a link to a directory with the present content. An update replaces the
//! second link, so that a reader sees either all old files or all new ones. It follows Kubernetes,
//! `pkg/volume/util/atomic_writer.go` and `pkg/volume/projected`, v1.36, except that the directory's name is not a time but a hash.

use std::{
    collections::{BTreeMap, HashSet, hash_map::DefaultHasher},
    fs,
    hash::{Hash, Hasher},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{environment, volumes::normal};
use crate::sandbox::objects::{
    object::{elements, text},
    registry::Registry,
    resource::Kind,
};

/// The link to the directory with the present files.
const DATA: &str = "..data";

/// The content and the mode of each file.
type Files = BTreeMap<PathBuf, (Vec<u8>, u32)>;

/// Whether a volume has files from the API.
pub fn is_projection(volume: &Value) -> bool {
    ["secret", "configMap", "downwardAPI", "projected"]
        .iter()
        .any(|source| !volume[source].is_null())
}

/// The names of the Secrets and `ConfigMaps` that the volumes and variables of a pod read.
pub fn sources(spec: &Value) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut rest = vec![spec];
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(entries) => {
                for (key, value) in entries {
                    if matches!(
                        key.as_str(),
                        "secret"
                            | "configMap"
                            | "secretRef"
                            | "configMapRef"
                            | "secretKeyRef"
                            | "configMapKeyRef"
                    ) {
                        let fields = ["name", "secretName"].map(|field| value[field].as_str());
                        names.extend(fields.into_iter().flatten().map(str::to_owned));
                    }
                    rest.push(value);
                }
            }
            _ => (),
        }
    }
    names
}

/// Writes the files of a volume, and removes those that it no longer has. The error names a missing object or key.
pub fn fill(
    registry: &Registry,
    pod: &Value,
    volume: &Value,
    directory: &Path,
) -> Result<(), String> {
    let projected = &volume["projected"];
    let mut files = Files::new();
    let sources = match projected.is_null() {
        true => std::slice::from_ref(volume),
        false => elements(&projected["sources"]),
    };
    for source in sources {
        collect(registry, pod, source, &projected["defaultMode"], &mut files)?;
    }
    publish(directory, &files).map_err(|error| error.to_string())
}

fn collect(
    registry: &Registry,
    pod: &Value,
    volume: &Value,
    default_mode: &Value,
    files: &mut Files,
) -> Result<(), String> {
    let mut add = |item: &Value, source: &Value, path: &str, content: Vec<u8>| {
        let modes = [&item["mode"], &source["defaultMode"], default_mode];
        let mode = modes.into_iter().find_map(Value::as_u64);
        let mode = mode.and_then(|mode| u32::try_from(mode).ok());
        // A path cannot lead out of the volume.
        let path = normal(&Path::new("/").join(path));
        let path = path.strip_prefix("/").unwrap_or(&path).to_owned();
        files.insert(path, (content, mode.unwrap_or(0o644) & 0o777));
    };
    let namespace = text(&pod["metadata"]["namespace"]);
    for (field, kind, word) in [
        ("secret", Kind::Secret, "secret"),
        ("configMap", Kind::ConfigMap, "config"),
    ] {
        let source = &volume[field];
        if source.is_null() {
            continue;
        }
        // The name of a Secret has another field in a volume of its own.
        let name = source["secretName"]
            .as_str()
            .unwrap_or(text(&source["name"]));
        let optional = source["optional"] == true;
        let entries = match environment::read_object(registry, kind, namespace, name) {
            Ok(entries) => entries,
            Err(_) if optional => continue,
            Err(why) => return Err(why),
        };
        let items = elements(&source["items"]);
        if items.is_empty() {
            for (key, content) in entries {
                add(&Value::Null, source, &key, content);
            }
            continue;
        }
        for item in items {
            let key = text(&item["key"]);
            match entries.iter().find(|(known, _)| known == key) {
                Some((_, content)) => add(item, source, text(&item["path"]), content.clone()),
                None if optional => (),
                None => return Err(format!("references non-existent {word} key: {key}")),
            }
        }
    }
    let source = &volume["downwardAPI"];
    for item in elements(&source["items"]) {
        let name = text(&item["resourceFieldRef"]["containerName"]);
        let containers = elements(&pod["spec"]["containers"]);
        let container = containers.iter().find(|one| text(&one["name"]) == name);
        let container = container.unwrap_or(&Value::Null);
        let content = environment::pod_field(pod, container, item, "");
        add(item, source, text(&item["path"]), content.into_bytes());
    }
    if volume["serviceAccountToken"].is_null() {
        return Ok(());
    }
    Err("the sandbox has no tokens of service accounts".to_owned())
}

/// Makes `files` the content of `directory` in one step.
fn publish(directory: &Path, files: &Files) -> io::Result<()> {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let name = format!("..{:016x}", hasher.finish());
    let old = fs::read_link(directory.join(DATA)).ok();
    if old.as_deref() == Some(Path::new(&name)) {
        return Ok(());
    }
    let fresh = directory.join(&name);
    // An attempt that failed may have left some files.
    absent(fs::remove_dir_all(&fresh))?;
    for (path, (content, mode)) in files {
        let path = fresh.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&fresh))?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    fs::create_dir_all(&fresh)?;
    let link = directory.join("..data_tmp");
    absent(fs::remove_file(&link))?;
    symlink(&name, &link)?;
    fs::rename(&link, directory.join(DATA))?;
    for top in files.keys().filter_map(|path| path.iter().next()) {
        let shown = directory.join(top);
        if shown.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(top), shown)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // A link to a file that is gone.
        if path.is_symlink() && !path.exists() {
            fs::remove_file(path)?;
        }
    }
    match old {
        Some(old) => fs::remove_dir_all(directory.join(old)),
        None => Ok(()),
    }
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_reads_the_objects_of_its_volumes_and_variables() {
        let spec = json!({
            "volumes": [
                {"name": "v", "secret": {"secretName": "a"}},
                {"name": "w", "projected": {"sources": [{"configMap": {"name": "b"}}, {"secret": {"name": "c"}}]}},
            ],
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "d"}}, {"secretRef": {"name": "e"}}]}],
            "containers": [{"name": "j", "env": [
                {"name": "F", "valueFrom": {"secretKeyRef": {"name": "f", "key": "k"}}},
                {"name": "G", "valueFrom": {"configMapKeyRef": {"name": "g", "key": "k"}}},
            ]}],
        });
        let mut names: Vec<_> = sources(&spec).into_iter().collect();
        names.sort();
        assert_eq!(names.concat(), "abcdefg");
    }

    #[test]
    fn an_update_replaces_all_files() {
        let directory = std::env::temp_dir().join(format!("projections-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let files = |files: &[(&str, &str)]| -> Files {
            let file = |(path, content): &(&str, &str)| {
                (PathBuf::from(path), (content.as_bytes().to_vec(), 0o600))
            };
            files.iter().map(file).collect()
        };
        let names = || {
            let entries = fs::read_dir(&directory).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.filter(|name| !name.starts_with("..")).collect();
            names.sort();
            names
        };
        let read = |path: &str| fs::read_to_string(directory.join(path)).unwrap();
        publish(&directory, &files(&[("a", "1"), ("d/b", "2")])).unwrap();
        assert_eq!(
            (names(), read("a"), read("d/b")),
            (
                vec!["a".to_owned(), "d".to_owned()],
                "1".to_owned(),
                "2".to_owned()
            )
        );
        publish(&directory, &files(&[("d/b", "3"), ("c", "4")])).unwrap();
        assert_eq!(
            (names(), read("c"), read("d/b")),
            (
                vec!["c".to_owned(), "d".to_owned()],
                "4".to_owned(),
                "3".to_owned()
            )
        );
        // The link, the present directory, and the two names.
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 4);
        fs::remove_dir_all(&directory).unwrap();
    }
}
