//! The parts of a pod that let the nodes of a task begin `run` together. Pure.
//!
//! `script/nodes.sh` makes a file when the `setup` of a node has ended, and the startup probe looks for it. `tasks::reconcile` sees that
//! all pods have started, and changes the annotation [`labels::START`] of each. The pods see that as a file.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, ExecAction,
    ObjectFieldSelector, PodSpec, Probe, Volume, VolumeMount,
};

use super::{labels, script};
use crate::api::TaskDefinition;

/// Whether the nodes of a task can begin `run` together: the commands of a single node need not, those of the user cannot wait, and a
/// container has one startup probe.
pub fn is_possible(task: &TaskDefinition) -> bool {
    task.num_nodes > 1 && !script::sets(task, &["command", "args", "startupProbe"])
}

/// Adds the startup probe, the volume of the node's file, and that of the annotation. `nodes.sh` names the paths too.
pub fn add(pod: &mut PodSpec) {
    // Directories of ours can be written by any user, and where the rest of the image cannot be written.
    let of_node = Volume {
        name: "k8s-cli-start-node".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let of_task = Volume {
        name: "k8s-cli-start-task".to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "start".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{}']", labels::START),
                    ..ObjectFieldSelector::default()
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mounts = [(&of_node, "node", None), (&of_task, "task", Some(true))];
    let mounts = mounts.map(|(volume, directory, read_only)| VolumeMount {
        name: volume.name.clone(),
        mount_path: format!("/.k8s-cli-start/{directory}"),
        read_only,
        ..VolumeMount::default()
    });
    // `-p`: a `BASH_ENV` of the user is not for this shell.
    let look = ["/bin/bash", "-p", "-c", "[ -e /.k8s-cli-start/node/ready ]"];
    let probe = Probe {
        exec: Some(ExecAction {
            command: Some(look.map(str::to_owned).into()),
        }),
        period_seconds: Some(1),
        timeout_seconds: Some(5),
        // `setup` may take any time.
        failure_threshold: Some(i32::MAX),
        ..Probe::default()
    };
    pod.volumes
        .get_or_insert_default()
        .extend([of_node, of_task]);
    for container in &mut pod.containers {
        let own = container.volume_mounts.get_or_insert_default();
        own.extend(mounts.clone());
        container.startup_probe = Some(probe.clone());
    }
}
