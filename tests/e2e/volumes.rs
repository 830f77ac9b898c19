//! Tests of volumes.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::harness::{World, wait_until};

#[test]
fn a_task_reads_the_file_that_another_wrote() {
    let world = World::new();
    let ada = world.login("ada");
    let id = ada
        .run(["volumes", "create", "data", "1Gi"])
        .success()
        .stdout
        .trim()
        .to_owned();
    let writer = ada.file("volumes: {/data: data, /mnt/deep/er: data}\nrun: echo hello > /data/greeting; cat /mnt/deep/er/greeting");
    let outcome = ada.run(["jobs", "submit", &writer]).success();
    assert!(outcome.stdout.ends_with("\nhello\n"), "{}", outcome.stdout);
    let reader =
        ada.file("num_nodes: 2\nvolumes: {/elsewhere: data}\nrun: cat /elsewhere/greeting");
    let outcome = ada.run(["jobs", "submit", &reader]).success();
    for rank in 0..2 {
        assert!(
            outcome.stdout.contains(&format!("node-{rank} | hello\n")),
            "{}",
            outcome.stdout
        );
    }
    assert_eq!(
        world.names::<PersistentVolumeClaim>(),
        [format!("data-{id}")]
    );
}

#[test]
fn a_volume_is_listed_shown_and_deleted() {
    let world = World::new();
    let ada = world.login("ada");
    ada.run(["volumes", "list"])
        .success()
        .stdout("")
        .stderr("no volumes\n");
    let first = ada
        .run(["volumes", "create", "first", "1Gi"])
        .success()
        .stdout
        .trim()
        .to_owned();
    let second = ada
        .run([
            "volumes",
            "create",
            "second",
            "2Gi",
            "--storage-class",
            "standard",
            "--access-modes",
            "ReadWriteOnce,ReadOnlyMany",
        ])
        .success()
        .stdout
        .trim()
        .to_owned();
    ada.run(["volumes", "list", "-o", "name"])
        .success()
        .stdout(&format!("{second}\n{first}\n"));

    let volume: serde_json::Value = serde_json::from_str(
        &ada.run(["volumes", "status", &second, "-o", "json"])
            .success()
            .stdout,
    )
    .unwrap();
    assert_eq!(
        (&volume["name"], &volume["size"]),
        (&"second".into(), &"2Gi".into())
    );
    assert_eq!(volume["storage_class"], "standard");
    assert_eq!(
        volume["access_modes"],
        serde_json::json!(["ReadWriteOnce", "ReadOnlyMany"])
    );
    assert_eq!(volume["metadata"]["pvc_name"], format!("second-{second}"));

    // Standard input is not a terminal, so the command cannot ask.
    ada.run(["volumes", "delete", &first])
        .code(1)
        .says("--force");
    ada.run(["volumes", "delete", &first, "--force"]).success();
    ada.run(["volumes", "status", &first])
        .code(1)
        .says(&format!("volume `{first}` not found"));
    ada.run(["volumes", "delete", &first, "--force"])
        .code(1)
        .says(&format!("volume `{first}` not found"));
    ada.run(["volumes", "list", "-o", "name"])
        .success()
        .stdout(&format!("{second}\n"));
    wait_until("its claim is gone", || {
        world.names::<PersistentVolumeClaim>() == [format!("second-{second}")]
    });
}

#[test]
fn a_pending_volume_has_a_reason() {
    let world = World::new();
    let ada = world.login("ada");
    let create = [
        "volumes",
        "create",
        "data",
        "1Gi",
        "--storage-class",
        "no-such-class",
    ];
    let id = ada.run(create).success().stdout.trim().to_owned();
    let expected = "storageclass.storage.k8s.io \"no-such-class\" not found";
    wait_until("the volume has a reason", || {
        let status = ada.run(["volumes", "status", &id]).success().stdout;
        status.contains(&format!("reason\t{expected}\n"))
    });
    ada.run([
        "volumes",
        "create",
        "other",
        "1Gi",
        "--storage-class",
        "no-such-class",
    ])
    .success();
    let listed = ada.run(["volumes", "list"]).success().stdout;
    let line = listed.lines().find(|line| line.starts_with(&id)).unwrap();
    assert_eq!(line.split('\t').nth(10), Some(expected), "{line}");
}

#[test]
fn a_volume_in_use_cannot_be_deleted() {
    let world = World::new();
    let ada = world.login("ada");
    let volume = ada
        .run(["volumes", "create", "data", "1Gi"])
        .success()
        .stdout
        .trim()
        .to_owned();
    let task = ada.submit("volumes: {/data: data}\nrun: |\n  trap 'exit 0' TERM\n  echo kept > /data/file\n  sleep 1000 & wait");
    ada.wait_for_status(&task, "running");
    let in_use = format!("volume `{volume}` is in use by task `{task}`");
    ada.run(["volumes", "delete", &volume, "--force"])
        .code(1)
        .says(&in_use);
    ada.run(["jobs", "stop", &task]).success();
    wait_until("the volume is free", || {
        ada.run(["volumes", "delete", &volume, "--force"]).code == Some(0)
    });
}

#[test]
fn an_invalid_volume_is_refused() {
    let world = World::new();
    let ada = world.login("ada");
    ada.run(["volumes", "create", "data", "1Gi"]).success();
    ada.run(["volumes", "create", "data", "2Gi"])
        .code(1)
        .stdout("")
        .says("you have a volume `data` already");
    for (args, message) in [
        (
            &["My_Vol", "1Gi"][..],
            "name: \"My_Vol\" is not a volume name",
        ),
        (&["other", "ten"], "size: \"ten\" is not a size"),
        (&["other", "-1Gi"], "-1Gi"),
        (
            &["other", "1Gi", "--access-modes", "Sometimes"],
            "\"Sometimes\" is not an access mode",
        ),
    ] {
        let outcome = ada.run(["volumes", "create"].iter().chain(args));
        assert!(
            matches!(outcome.code, Some(1 | 2)) && outcome.stderr.contains(message),
            "{args:?}: {}",
            outcome.stderr
        );
    }
    assert_eq!(world.names::<PersistentVolumeClaim>().len(), 1);
}

#[test]
fn concurrent_requests_create_one_volume_of_a_name() {
    let world = World::new();
    let ada = world.login("ada");
    let racers: Vec<_> = (0..8)
        .map(|_| ada.start(["volumes", "create", "data", "1Gi"]))
        .collect();
    let winners = racers
        .into_iter()
        .map(|racer| racer.finish().code)
        .filter(|code| *code == Some(0));
    assert_eq!(winners.count(), 1);
    assert_eq!(world.names::<PersistentVolumeClaim>().len(), 1);
}

#[test]
fn a_mount_below_a_symlink_is_visible_in_the_task_only() {
    // `/var/run` is a symlink to `/run` on current Linux systems.
    let world = World::new();
    let ada = world.login("ada");
    ada.run(["volumes", "create", "data", "1Gi"]).success();
    let path = format!("/var/run/k8s-cli-{}", std::process::id());
    // A cluster may provide storage with old files, so the test checks the new file only.
    let writer = ada.file(&format!(
        "volumes: {{{path}: data}}\nrun: echo below {path} > {path}/written"
    ));
    ada.run(["jobs", "submit", &writer]).success();
    let reader = ada.file("volumes: {/data: data}\nrun: cat /data/written");
    let outcome = ada.run(["jobs", "submit", &reader]).success();
    let expected = format!("\nbelow {path}\n");
    assert!(outcome.stdout.ends_with(&expected), "{}", outcome.stdout);
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn a_volume_shows_who_uses_it() {
    let world = World::new();
    let ada = world.login("ada");
    ada.run(["volumes", "create", "data", "1Gi"]).success();
    let id = ada.submit("volumes: {/data: data}\nrun: sleep 1000");
    ada.wait_for_status(&id, "running");
    let list = ada.run(["volumes", "list"]).success().stdout;
    assert!(list.trim_end().ends_with(&format!("\t{id}")), "{list}");
    let table = ada.run(["volumes", "list", "-o", "table"]).success().stdout;
    assert!(table.contains("USED BY") && table.contains(&id), "{table}");
    // Kubernetes keeps a claim that a pod uses.
    let claim = &world.names::<PersistentVolumeClaim>()[0];
    world.delete_claim(claim);
    wait_until("the volume is being deleted", || {
        let list = ada.run(["volumes", "list"]).success().stdout;
        list.contains("\tTerminating\t")
    });
    let task = ada.file("volumes: {/data: data}\nrun: 'true'");
    ada.run(["jobs", "submit", &task])
        .code(1)
        .says("you have no volume `data`");
    ada.run(["jobs", "stop", &id]).success();
    wait_until("the volume is gone", || {
        ada.run(["volumes", "list"]).success().stdout.is_empty()
    });
}
