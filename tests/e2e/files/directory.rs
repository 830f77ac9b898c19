//! Large files, which an operator keeps in a directory that a claim shows to pods.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::json;

use super::{file_secrets, noise, sha256, write};
use crate::harness::{TempDir, World, is_real_cluster, wait_until};

/// Makes a claim of this name that shows a directory of this machine.
fn claim(world: &World, name: &str, directory: &Path) {
    let spec = json!({
        "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": if is_real_cluster() { "" } else { "standard" },
        "volumeName": if is_real_cluster() { Some(&world.namespace) } else { None },
    });
    let claim = json!({"metadata": {"name": name}, "spec": spec});
    if is_real_cluster() {
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {"name": world.namespace},
            "spec": {
                "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "storageClassName": "",
                "hostPath": {"path": directory},
            },
        }))
        .unwrap();
        world.create_for_cluster(&volume);
    }
    world.create::<PersistentVolumeClaim>(&serde_json::from_value(claim).unwrap());
    if !is_real_cluster() {
        let claims = world.objects::<PersistentVolumeClaim>();
        let uid = claims[0].metadata.uid.as_ref().unwrap();
        let state = world.kubeconfig.parent().unwrap().join("claims");
        let own = state.join(uid);
        wait_until("the claim has a directory", || own.is_dir());
        fs::remove_dir(&own).unwrap();
        symlink(directory, own).unwrap();
    }
}

#[test]
fn large_files_go_through_the_directory_of_the_operator() {
    let directory = TempDir::new();
    let path = directory.path().join("files");
    let world = World::with(&[
        "--files-dir",
        path.to_str().unwrap(),
        "--files-claim",
        "team-share",
    ]);
    claim(&world, "team-share", &path);
    // A server that does not know the directory does not say that it has deleted a file there.
    let other = TempDir::new();
    let _second = world.second_server(&other);
    let ada = world.login("ada");
    let model = noise(20_000_000);
    write(&ada, &[("w/m.bin", &model), ("small/a", b"1")]);
    let list = || fs::read_dir(&path).unwrap().count();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o711
    );

    let small = ada.submit("workdir: small\nrun: sleep 1000");
    assert_eq!((list(), file_secrets(&world).len()), (0, 1));
    ada.run(["jobs", "stop", &small]).success();
    let id = ada.submit("workdir: w\nnum_nodes: 2\nrun: sha256sum < m.bin");
    let log = ada.run(["jobs", "logs", &id]).success().stdout;
    for rank in 0..2 {
        let line = format!("node-{rank} | {}  -\n", sha256(&model));
        assert!(log.contains(&line), "{log}");
    }
    wait_until("the archive is deleted", || list() == 0);

    // No task may mount what holds the files of all.
    let file = ada.file("volumes: {/x: team-share}\nrun: 'true'");
    let run = ada.run(["jobs", "submit", &file]).code(1);
    assert!(
        run.stderr.contains("holds the files of all tasks"),
        "{}",
        run.stderr
    );
    // Its mount cannot be extended, either.
    let mount = "volumeMounts: [{name: k8s-cli-files, mountPath: /x}]";
    let config =
        format!("config: {{kubernetes: {{pod_config: {{spec: {{containers: [{{{mount}}}]}}}}}}}}");
    let file = ada.file(&format!("workdir: w\n{config}\nrun: ls /x"));
    ada.run(["jobs", "submit", &file]).code(1).stdout("");
    wait_until("no archive is left", || list() == 0);
}
