//! Tests of the reasons of pending tasks.

use crate::harness::{World, is_real_cluster, wait_for};

/// Submits a task, and waits until its reason is one of the expected ones.
#[track_caller]
fn reason(world: &World, task: &str, expected: &[&str]) {
    let ada = world.login("ada");
    let id = ada.submit(task);
    let reason = wait_for(&format!("a reason with one of {expected:?}"), || {
        let task = ada.status(&id);
        assert_eq!(task["status"], "pending", "{task}");
        let reason = task["reason"].as_str()?.to_owned();
        expected
            .iter()
            .any(|expected| reason.contains(expected))
            .then_some(reason)
    });
    let listed = ada.run(["jobs", "list"]).success();
    assert!(listed.stdout.contains("pending"), "{}", listed.stdout);
    assert!(!reason.contains('\n'));
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn a_missing_image_is_a_reason() {
    let world = World::new();
    let task = "resources: {image_id: 'registry.invalid/none:1'}\nrun: 'true'";
    reason(&world, task, &["ErrImagePull: ", "ImagePullBackOff: "]);
}

#[test]
fn a_reason_that_never_goes_away_ends_the_task() {
    let world = World::with(&["--allow-pod-config"]);
    let ada = world.login("ada");
    let pulled = |image: &str, policy: &str| {
        format!(
            "resources: {{image_id: '{image}'}}\nconfig: {{kubernetes: {{pod_config: {{spec: {{containers: [{{imagePullPolicy: \
             {policy}}}]}}}}}}}}\nrun: 'true'"
        )
    };
    let mounted = |value: &str, path: &str| {
        format!(
            "envs: {{PART: '{value}'}}\nconfig: {{kubernetes: {{pod_config: {{spec: {{volumes: [{{name: v, emptyDir: {{}}}}], \
             containers: [{{volumeMounts: [{{name: v, mountPath: /mnt, subPathExpr: '{path}'}}]}}]}}}}}}}}\nrun: 'true'"
        )
    };
    let config = "CreateContainerConfigError: ";
    let tasks = [
        (
            pulled("registry.invalid/none:1", "Never"),
            "ErrImageNeverPull: ".to_owned(),
        ),
        (
            mounted("a", "$(PART)/$(ABSENT)-$(AB)"),
            format!("{config}missing value for AB, ABSENT"),
        ),
        (
            mounted("/a", "$(PART)"),
            format!("{config}error SubPath `/a` must not be an absolute path"),
        ),
        (
            mounted("../a", "$(PART)"),
            format!("{config}unable to provision SubPath `../a`: must not contain '..'"),
        ),
    ];
    // At the same time, since a kubelet of 1.20 takes a minute to remove such a pod.
    let submitted = tasks.map(|(task, expected)| (ada.submit(&task), expected));
    for (id, expected) in submitted {
        let task = ada.wait_for_status(&id, "failed");
        let reason = task["reason"].as_str().unwrap();
        assert!(reason.starts_with(&expected), "{reason}");
        wait_for("its pod is gone", || {
            let task = ada.status(&id);
            let pod = &task["metadata"]["nodes"][0]["pod"];
            pod.is_null().then_some(())
        });
        // It has written nothing that could be missing.
        let log = ada.run(["jobs", "logs", &id]).code(100).stdout("");
        assert!(!log.stderr.contains("may be missing"), "{}", log.stderr);
    }
    let file = ada.file(&mounted("a/b", "$(PART)/c").replace(
        "run: 'true'",
        "run: 'echo >/mnt/own && while read -r _ root at _; do [ $at != /mnt ] || echo ${root##*/}; done < <(cut -d\" \" -f3- /proc/self/mountinfo)'",
    ));
    let run = ada.run(["jobs", "submit", &file]).success();
    assert!(run.stdout.ends_with("\nc\n"), "{}", run.stdout);
}

#[test]
fn insufficient_resources_are_a_reason() {
    let world = World::new();
    reason(
        &world,
        "resources: {cpus: 1000}\nrun: 'true'",
        &["Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."],
    );
    let gpu = "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.";
    reason(
        &world,
        "resources: {accelerators: 'V100:2'}\nrun: 'true'",
        &[gpu],
    );
}

#[test]
fn the_reason_of_a_task_names_its_first_pending_node() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("num_nodes: 2\nresources: {memory: 900Ti}\nrun: 'true'");
    let task = wait_for("both nodes have a reason", || {
        let task = ada.status(&id);
        let nodes = task["metadata"]["nodes"].as_array()?.clone();
        nodes
            .iter()
            .all(|node| node["reason"].is_string())
            .then_some(task)
    });
    assert_eq!(task["metadata"]["pending_nodes"], 2);
    let reason = task["reason"].as_str().unwrap();
    assert!(
        reason
            .starts_with("node-0: Unschedulable: 0/1 nodes are available: 1 Insufficient memory."),
        "{reason}"
    );
}

#[test]
fn a_mount_that_fails_is_a_reason() {
    let world = World::with(&["--allow-pod-config"]);
    let config = "{volumes: [{name: c, configMap: {name: absent}}], containers: [{volumeMounts: [{name: c, mountPath: /c}]}]}";
    let task = format!("config: {{kubernetes: {{pod_config: {{spec: {config}}}}}}}\nrun: 'true'");
    reason(&world, &task, &["configmap \"absent\" not found"]);
}

#[test]
fn a_pending_volume_is_a_reason_with_its_name() {
    let world = World::new();
    let ada = world.login("ada");
    let class = ["--storage-class", "absent"];
    let create = ["volumes", "create", "data", "1Gi"];
    let created = ada.run([create.as_slice(), &class].concat()).success();
    let volume = created.stdout.trim();
    let expected = format!("claim `data-{volume}`: storageclass");
    reason(&world, "volumes: {/data: data}\nrun: 'true'", &[&expected]);
}

#[test]
fn a_pod_that_fits_exactly_is_placed() {
    if is_real_cluster() {
        // The system's own pods take a part of each node.
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let id = ada.submit("resources: {cpus: 64, memory: 256Gi}\nrun: sleep 1000");
    ada.wait_for_status(&id, "running");
    reason(
        &world,
        "resources: {cpus: 1m}\nrun: 'true'",
        &["Insufficient cpu"],
    );
    ada.run(["jobs", "stop", &id]).success();
    let id = ada.submit("resources: {cpus: 65}\nrun: 'true'");
    let task = wait_for("a reason", || {
        let task = ada.status(&id);
        task["reason"].is_string().then_some(task)
    });
    assert_eq!(task["status"], "pending", "{task}");
}
