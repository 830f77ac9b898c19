//! Volumes, and the mounts in a container's own view of the file system.
//!
//! Volumes are bound to their paths in a mount namespace of the container. A volume may have a path that the machine does not have.
//! Then the view is a new root of bind mounts, and the nearest directory becomes a new tmpfs into which all its entries are bound, so
//! that the machine itself does not change. This file plans the steps. `init.sh` takes them as arguments, so no path is ever read as
//! script.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use super::{
    environment::{self, Variables},
    projections,
};
use crate::sandbox::{
    objects::{
        object::{elements, text},
        registry::Registry,
        resource::Kind,
    },
    state_dir::claim_directory,
};

const UNKNOWN_TYPE: &str = "the sandbox has no volumes of this type: use persistentVolumeClaim, emptyDir, secret, configMap, \
     downwardAPI or projected";

/// The reason why volumes are not ready.
pub struct NotReady(pub String);

/// The directories with the data of volumes.
pub struct Directories<'a> {
    /// The directory of the pod.
    pub pod: &'a Path,
    /// The directory of all claims.
    pub claims: &'a Path,
}

/// Prepares the data of a pod's volumes. The result has the name and the directory of each, and whether it is read-only.
pub fn prepare(
    registry: &Registry,
    pod: &Value,
    directories: &Directories<'_>,
) -> Result<Vec<(String, PathBuf, bool)>, NotReady> {
    let namespace = text(&pod["metadata"]["namespace"]);
    let mut sources = Vec::new();
    let containers = ["initContainers", "containers"].map(|list| elements(&pod["spec"][list]));
    let mounts = containers.iter().copied().flatten();
    let mounts: Vec<_> = mounts
        .flat_map(|one| elements(&one["volumeMounts"]))
        .collect();
    // A volume without a mount is not prepared.
    let is_mounted = |volume: &&Value| mounts.iter().any(|mount| mount["name"] == volume["name"]);
    for volume in elements(&pod["spec"]["volumes"]).iter().filter(is_mounted) {
        let name = text(&volume["name"]);
        let refuse = |why: String| {
            NotReady(format!(
                "MountVolume.SetUp failed for volume \"{name}\" : {why}"
            ))
        };
        let own = directories.pod.join("volumes").join(name);
        let claim = text(&volume["persistentVolumeClaim"]["claimName"]);
        let read_only = volume["persistentVolumeClaim"]["readOnly"] == true;
        if !claim.is_empty() {
            let found = registry
                .get(Kind::Claim, namespace, claim)
                .map_err(|status| refuse(status.to_string()))?;
            let data = claim_directory(directories.claims, &found.uid);
            fs::create_dir_all(&data).map_err(|error| refuse(error.to_string()))?;
            sources.push((name.to_owned(), data, read_only));
            continue;
        }
        fs::create_dir_all(&own).map_err(|error| refuse(error.to_string()))?;
        let is_projection = projections::is_projection(volume);
        if is_projection {
            projections::fill(registry, pod, volume, &own).map_err(refuse)?;
        } else if volume["emptyDir"].is_null() {
            return Err(refuse(UNKNOWN_TYPE.to_owned()));
        }
        sources.push((name.to_owned(), own, is_projection));
    }
    Ok(sources)
}

/// Whether a pod has volumes that the machine does not have already: its `/dev/shm` is as good as one of the pod's own.
pub fn need_mounts(spec: &Value) -> bool {
    let volumes = elements(&spec["volumes"]);
    let is_in_memory = |name: &Value| {
        let volume = volumes.iter().find(|volume| volume["name"] == *name);
        volume.is_some_and(|volume| volume["emptyDir"]["medium"] == "Memory")
    };
    let containers = elements(&spec["containers"]).iter();
    let mut mounts = containers.flat_map(|container| elements(&container["volumeMounts"]));
    mounts.any(|mount| mount["mountPath"] != "/dev/shm" || !is_in_memory(&mount["name"]))
}

/// Writes the present files of the volumes that have files from the API. One that cannot be updated stays as it is.
pub fn update(registry: &Registry, pod: &Value, directory: &Path) {
    for volume in elements(&pod["spec"]["volumes"]) {
        let own = directory.join("volumes").join(text(&volume["name"]));
        if projections::is_projection(volume)
            && let Err(why) = projections::fill(registry, pod, volume, &own)
        {
            log::debug!("sandbox: {} stays as it is: {why}", own.display());
        }
    }
}

/// Plans the steps for one container. `own` has the kubelet's own mounts: paths in the container, and the files to mount there, or
/// directories that show all entries of the machine.
pub fn plan(
    container: &Value,
    variables: &Variables,
    sources: &[(String, PathBuf, bool)],
    own: Vec<(PathBuf, PathBuf)>,
    root: &Path,
) -> Result<Vec<String>, NotReady> {
    let mut mounts = Mounts::new();
    for mount in elements(&container["volumeMounts"]) {
        let name = text(&mount["name"]);
        let Some((_, source, read_only)) = sources.iter().find(|(known, _, _)| known == name)
        else {
            continue;
        };
        let inner = inner_path(mount, variables).map_err(NotReady)?;
        let source = sub_path(source, &inner).map_err(|error| {
            NotReady(format!(
                "failed to prepare subPath for volumeMount \"{name}\": {error}"
            ))
        })?;
        let target = Path::new("/").join(text(&mount["mountPath"]));
        let read_only = *read_only || mount["readOnly"] == true;
        mounts.push((normal(&target), source, read_only));
    }
    let mut shown = Vec::new();
    for (target, source) in own {
        // A volume at the same path takes precedence.
        if mounts.iter().all(|(taken, ..)| *taken != target) {
            shown.push(target.clone());
            mounts.push((target, source, false));
        }
    }
    // Outer mounts first, so that inner ones are not hidden.
    mounts.sort();
    let mut steps = Steps {
        root,
        words: Vec::new(),
        fresh: BTreeSet::new(),
    };
    if fit_the_machine(&mounts, &shown) {
        steps.step(&["proc"], &[Path::new("/proc")]);
        for (target, source, read_only) in &mounts {
            steps.step(&["bind"], &[source, target]);
            if *read_only {
                steps.step(&["readonly"], &[target]);
            }
        }
    } else {
        steps.new_root(&mounts);
    }
    Ok(steps.words)
}

/// Whether the machine has all mount points, and no mount hides another one or its source. Then no new root is needed, which takes
/// some fifty processes. The mounts at `shown` show all entries that the machine has there.
fn fit_the_machine(mounts: &Mounts, shown: &[PathBuf]) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    mounts.iter().all(|(target, source, _)| {
        let Some(from) = real(source).filter(|_| real(target).is_some_and(|it| it == *target))
        else {
            return false;
        };
        let is_hidden_by = |(other, ..): &(PathBuf, PathBuf, bool)| {
            let is_inside = target.starts_with(other) && target != other;
            from.starts_with(other) || (is_inside && !shown.contains(other))
        };
        target.is_dir() == from.is_dir() && !mounts.iter().any(is_hidden_by)
    })
}

/// Targets, sources, and whether the mount is read-only.
type Mounts = Vec<(PathBuf, PathBuf, bool)>;

struct Steps<'a> {
    root: &'a Path,
    words: Vec<String>,
    /// The directories that are a new tmpfs, or inside one.
    fresh: BTreeSet<PathBuf>,
}

impl Steps<'_> {
    fn new_root(&mut self, mounts: &Mounts) {
        let root = self.root;
        self.step(&["tmpfs", "0755"], &[root]);
        self.refill(Path::new("/"));
        self.step(&["proc"], &[&root.join("proc")]);
        for (target, source, read_only) in mounts {
            self.mount(target, source, *read_only, mounts);
        }
        self.step(&["root"], &[root]);
    }

    fn step(&mut self, words: &[&str], paths: &[&Path]) {
        self.words
            .extend(words.iter().map(|word| (*word).to_owned()));
        self.words
            .extend(paths.iter().map(|path| path.to_string_lossy().into_owned()));
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Binds the machine's entries of `directory` into the new directory at the same path.
    fn refill(&mut self, directory: &Path) {
        self.fresh.insert(directory.to_owned());
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
                continue;
            };
            let target = self.inside(&path);
            if kind.is_symlink() {
                let Ok(link) = fs::read_link(&path) else {
                    continue;
                };
                self.step(&["link"], &[&link, &target]);
                continue;
            }
            self.step(&[if kind.is_dir() { "dir" } else { "file" }], &[&target]);
            self.step(&["bind"], &[&path, &target]);
        }
    }

    fn mount(&mut self, target: &Path, source: &Path, read_only: bool, mounts: &Mounts) {
        let outer = mounts
            .iter()
            .filter(|(outer, ..)| target.starts_with(outer) && outer != target)
            .map(|(path, ..)| path);
        let inside_other = outer.max_by_key(|path| path.components().count());
        let is_file = source.is_file();
        if inside_other.is_none() {
            self.make_room(target);
        }
        // NB: while the new root is not the root yet, a link in it to an absolute path leads out to the machine.
        let place = self.inside(&Self::real(target));
        if is_file {
            if let Some(parent) = place.parent() {
                self.step(&["dir"], &[parent]);
            }
            self.step(&["file"], &[&place]);
        } else {
            self.step(&["dir"], &[&place]);
        }
        self.step(&["bind"], &[source, &place]);
        if read_only {
            self.step(&["readonly"], &[&place]);
        }
    }

    /// The path on this machine after its links are followed, as far as it exists.
    fn real(target: &Path) -> PathBuf {
        let deepest = target
            .ancestors()
            .find_map(|path| Some((path, fs::canonicalize(path).ok()?)));
        let Some((path, real)) = deepest else {
            return target.to_owned();
        };
        // To join an empty path would add a slash.
        match target.strip_prefix(path) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            Ok(rest) => real.join(rest),
            Err(_) => target.to_owned(),
        }
    }

    /// Replaces the deepest existing directory above `target` by a new one, if `target` does not exist.
    fn make_room(&mut self, target: &Path) {
        if target.exists() {
            return;
        }
        let Some(deepest) = target.ancestors().find(|path| path.is_dir()) else {
            return;
        };
        // A mount point below a symbolic link belongs to the directory that the link leads to.
        let deepest = fs::canonicalize(deepest).unwrap_or_else(|_| deepest.to_owned());
        if self.fresh.contains(&deepest) {
            return;
        }
        let mode = fs::metadata(&deepest).map(|metadata| {
            use std::os::unix::fs::PermissionsExt;
            format!("{:o}", metadata.permissions().mode() & 0o7777)
        });
        let place = self.inside(&deepest);
        self.step(&["tmpfs", mode.as_deref().unwrap_or("0755")], &[&place]);
        self.refill(&deepest);
    }
}

/// Finds or creates a path inside a volume, without following a link out of it.
/// The path in its volume that a mount shows (Kubernetes, `pkg/kubelet/kubelet_pods.go`, `makeMounts`, v1.36).
fn inner_path(mount: &Value, variables: &Variables) -> Result<String, String> {
    let template = text(&mount["subPathExpr"]);
    if template.is_empty() {
        return Ok(text(&mount["subPath"]).to_owned());
    }
    let (path, unknown) = environment::expand_known(template, variables);
    if !unknown.is_empty() {
        let names: Vec<_> = unknown.into_iter().collect();
        return Err(format!("missing value for {}", names.join(", ")));
    }
    if path.starts_with('/') {
        return Err(format!(
            "error SubPath `{path}` must not be an absolute path"
        ));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!(
            "unable to provision SubPath `{path}`: must not contain '..'"
        ));
    }
    Ok(path)
}

fn sub_path(volume: &Path, inner: &str) -> io::Result<PathBuf> {
    if inner.is_empty() {
        return Ok(volume.to_owned());
    }
    let path = volume.join(inner);
    if !path.exists() {
        // The existing part of the path may lead out of the volume, so it is checked before a directory is created.
        let existing = path
            .ancestors()
            .find(|path| path.symlink_metadata().is_ok())
            .unwrap_or(volume);
        contained(volume, existing)?;
        fs::create_dir_all(&path)?;
    }
    contained(volume, &path)
}

fn contained(volume: &Path, path: &Path) -> io::Result<PathBuf> {
    let (volume, path) = (fs::canonicalize(volume)?, fs::canonicalize(path)?);
    if path.starts_with(&volume) {
        return Ok(path);
    }
    Err(io::Error::other("it leads out of the volume"))
}

/// Removes `.` and `..` from a path without reading the file system.
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => (),
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_new_root_is_made_for_what_the_machine_lacks() {
        let directory = std::env::temp_dir().join(format!("volumes-{}", std::process::id()));
        let directory = &directory;
        let [data, point, home] = ["data", "point", "home"].map(|name| directory.join(name));
        for path in [&data, &point, &home.join("point")] {
            fs::create_dir_all(path).unwrap();
        }
        let data = fs::canonicalize(data).unwrap();
        let parent = data.parent().unwrap();
        let [point, home] = [point, home].map(|path| fs::canonicalize(path).unwrap());
        std::os::unix::fs::symlink(&point, parent.join("link")).unwrap();
        let sources = [("v".to_owned(), data.clone(), true)];
        let needs_root = |targets: &[PathBuf], own: Vec<(PathBuf, PathBuf)>| {
            let mounts: Vec<_> = (targets.iter())
                .map(|target| json!({"name": "v", "mountPath": target}))
                .collect();
            let root = Path::new("/no/such/root");
            let steps = plan(
                &json!({"volumeMounts": mounts}),
                &Variables::new(),
                &sources,
                own,
                root,
            );
            let steps = steps.ok().unwrap();
            // In both cases the volume cannot be written.
            let read_only = steps.iter().filter(|step| *step == "readonly").count();
            assert_eq!(read_only, targets.len());
            steps.iter().any(|step| step == "root")
        };
        assert!(!needs_root(std::slice::from_ref(&point), vec![]));
        assert!(!needs_root(
            std::slice::from_ref(&point),
            vec![(home.clone(), data.clone())]
        ));
        for missing in [parent.join("none"), parent.join("link")] {
            assert!(needs_root(&[missing], vec![]));
        }
        // A mount inside one that shows what the machine has.
        assert!(!needs_root(
            &[home.join("point")],
            vec![(home.clone(), data.clone())]
        ));
        // A mount inside another volume, and a mount over the sources.
        assert!(needs_root(&[home.clone(), home.join("point")], vec![]));
        assert!(needs_root(&[parent.to_owned()], vec![]));
        fs::remove_dir_all(directory).unwrap();
    }
}
