//! Requests that are sent twice with the same `Idempotency-Key`.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Secret},
};
use serde_json::Value;

use crate::{
    harness::{
        TempDir, Verdict, World, is_real_cluster,
        proxy::{Fault, FaultEvent, FaultPlan, Proxy},
        wait_until, with_headers,
    },
    http::{ADA, JSON, refused, request},
};

fn submit(url: &str, key: &str, body: &str) -> (u16, Value) {
    let key = ("Idempotency-Key", key);
    request(
        url,
        "POST",
        "/tasks/submit",
        &[ADA, JSON, key],
        body.as_bytes(),
    )
}

fn id_of(answer: (u16, Value)) -> String {
    let (status, body) = answer;
    assert_eq!(status, 200, "{body}");
    body["task_id"].as_str().unwrap().to_owned()
}

#[test]
fn the_same_key_gives_the_same_task() {
    let world = World::new();
    let task = r#"{"num_nodes": 2, "run": "sleep 1000", "secrets": {"TOKEN": "s3cret"}}"#;
    let first = submit(&world.url, "k1", task);
    assert_eq!(submit(&world.url, "k1", task), first);
    let id = id_of(first);
    assert_eq!(world.names::<Job>().len(), 2);
    let other = r#"{"num_nodes": 3, "run": "sleep 1000"}"#;
    refused(
        submit(&world.url, "k1", other),
        422,
        "Invalid",
        &format!("Idempotency-Key: has made task `{id}` from another definition"),
    );
    assert_ne!(id_of(submit(&world.url, "k2", task)), id);
    let key = ("Idempotency-Key", "k1");
    let bob = [("X-User", "bob"), JSON, key];
    let of_bob = request(&world.url, "POST", "/tasks/submit", &bob, task.as_bytes());
    assert_ne!(id_of(of_bob), id);
    for odd in ["", "a b", "\u{e4}", &"x".repeat(256)] {
        refused(
            submit(&world.url, odd, task),
            422,
            "Invalid",
            "Idempotency-Key: expected",
        );
    }
    let twice = [ADA, JSON, key, key];
    let answer = request(&world.url, "POST", "/tasks/submit", &twice, task.as_bytes());
    refused(answer, 422, "Invalid", "is given more than once");
    assert_eq!(world.names::<Job>().len(), 6);
}

#[test]
fn two_servers_and_many_requests_make_one_task() {
    let world = World::new();
    let dir = TempDir::new();
    let second = world.second_server(&dir);
    let task = r#"{"num_nodes": 4, "run": "sleep 1000", "secrets": {"TOKEN": "s3cret"}}"#;
    for round in 0..5 {
        let key = format!("round-{round}");
        let requests: Vec<_> = (0..8)
            .map(|number| {
                let url = if number % 2 == 0 {
                    &world.url
                } else {
                    &second.url
                };
                let (url, key) = (url.clone(), key.clone());
                thread::spawn(move || id_of(submit(&url, &key, task)))
            })
            .collect();
        let ids: Vec<_> = requests.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let ada = world.login("ada");
        assert_eq!(
            ada.status(&ids[0])["metadata"]["node_jobs"]
                .as_array()
                .unwrap()
                .len(),
            4
        );
        assert_eq!(world.names::<Job>().len(), 4);
        ada.run(["jobs", "stop", "--no-wait", &ids[0]]).success();
        wait_until("the Jobs are gone", || world.names::<Job>().is_empty());
    }
}

#[test]
fn a_key_is_free_once_its_task_is_gone() {
    let world = World::new();
    let ada = world.login("ada");
    let task = r#"{"run": "test $TOKEN = s3cret", "secrets": {"TOKEN": "s3cret"}}"#;
    let id = id_of(submit(&world.url, "k1", task));
    ada.wait_for_status(&id, "completed");
    ada.run(["jobs", "delete", &id]).success();
    // Kubernetes may not have collected the Secret of the first task yet.
    assert_eq!(id_of(submit(&world.url, "k1", task)), id);
    ada.wait_for_status(&id, "completed");
    wait_until("one Secret is left", || {
        let secrets = world.names::<Secret>();
        secrets.iter().filter(|name| name.contains(&id)).count() == 1
    });
}

#[test]
fn a_key_gives_no_task_that_is_being_stopped() {
    let world = World::new();
    let ada = world.login("ada");
    let task = r#"{"run": "trap 'sleep 2; exit 1' TERM; echo ready; while :; do sleep 0.1; done"}"#;
    let id = id_of(submit(&world.url, "k1", task));
    wait_until("its trap is set", || {
        let log = ada.run(["jobs", "logs", "--no-follow", &id]);
        log.stdout.contains("ready")
    });
    ada.run(["jobs", "stop", "--no-wait", &id]).success();
    refused(
        submit(&world.url, "k1", task),
        409,
        "Conflict",
        &format!("task `{id}` of this key is being stopped or deleted"),
    );
    wait_until("its processes have ended", || {
        submit(&world.url, "k1", task).0 == 200
    });
    assert_eq!(world.names::<Job>().len(), 1);
    ada.run(["jobs", "stop", &id]).success();
}

/// Sends two requests with one key at the same time, to two servers; returns how many were taken.
fn sent_at_once(path: &str, key: &str, requests: [(&str, &str); 2]) -> usize {
    let headers = &[ADA, JSON, ("Idempotency-Key", key)];
    let answers = thread::scope(|scope| {
        let sent = requests.map(|(url, body)| {
            scope.spawn(move || request(url, "POST", path, headers, body.as_bytes()).0)
        });
        sent.map(|sent| sent.join().unwrap())
    });
    let is_clear = |status: &u16| [200, 409, 422, 503].contains(status);
    assert!(answers.iter().all(is_clear), "{answers:?}");
    answers.iter().filter(|status| **status == 200).count()
}

#[test]
fn different_requests_with_one_key_at_two_servers_make_one_thing_at_most() {
    let world = World::new();
    let dir = TempDir::new();
    let second = world.second_server(&dir);
    let ada = world.login("ada");
    let both = |a, b| [(&*world.url, a), (&*second.url, b)];
    for round in 0..3 {
        let key = &format!("k{round}");
        let tasks = both(
            r#"{"name": "a", "num_nodes": 2, "run": "sleep 1000"}"#,
            r#"{"name": "b", "run": "sleep 1000"}"#,
        );
        let taken = sent_at_once("/tasks/submit", key, tasks);
        // They take none of the few volumes of the test cluster.
        let volumes = both(
            r#"{"name": "a", "size": "1Gi", "storage_class": "absent"}"#,
            r#"{"name": "b", "size": "1Gi", "storage_class": "absent"}"#,
        );
        let volumes_taken = sent_at_once("/volumes/create", key, volumes);
        assert!(taken <= 1 && volumes_taken <= 1, "{taken} {volumes_taken}");
        wait_until("nothing of what was refused is left", || {
            let jobs = world.names::<Job>();
            let whole = match jobs.iter().filter(|name| name.starts_with("a-")).count() {
                0 => jobs.len(),
                of_a => of_a.saturating_sub(1).max(jobs.len() - 1),
            };
            whole == taken && world.names::<PersistentVolumeClaim>().len() == volumes_taken
        });
        ada.run(["jobs", "stop", "--all"]).success();
        for volume in ada.run(["volumes", "list", "-o", "name"]).stdout.lines() {
            ada.run(["volumes", "delete", "--force", volume]).success();
        }
        wait_until("the volumes are gone", || {
            world.names::<PersistentVolumeClaim>().is_empty()
        });
    }
}

#[test]
fn a_key_makes_a_task_or_a_group() {
    let world = World::new();
    let task = r#"{"run": "sleep 1000"}"#;
    let group = |key: &str| {
        let headers = [ADA, JSON, ("Idempotency-Key", key)];
        let path = "/tasks/submit?array=2";
        request(&world.url, "POST", path, &headers, task.as_bytes())
    };
    id_of(submit(&world.url, "k1", task));
    let other = "Idempotency-Key: another request of this key makes another task";
    refused(group("k1"), 422, "Invalid", other);
    assert_eq!(group("k2").0, 200);
    let other = "Idempotency-Key: another request of this key makes another group";
    refused(submit(&world.url, "k2", task), 422, "Invalid", other);
    world.login("ada").run(["jobs", "stop", "--all"]).success();
}

#[test]
fn a_key_does_not_give_a_task_that_is_being_rolled_back() {
    if is_real_cluster() {
        eprintln!("the requests to this cluster are encrypted, so no answer can be lost");
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let dir = TempDir::new();
    let jobs = AtomicUsize::new(0);
    let server = world.server_behind(&dir, move |head| {
        let is_job = head.starts_with("POST ") && head.contains("/jobs");
        let sent_on = with_headers(head, &[]);
        match is_job && jobs.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Verdict::Lose(sent_on),
            false => Verdict::Forward(sent_on),
        }
    });
    // The processes of the first task take a while to end.
    let task = r#"{"run": "trap 'sleep 3; exit 1' TERM; for i in 1 2 3 4 5 6 7 8; do sleep 0.2; done; echo done"}"#;
    let (status, body) = submit(&server.url, "k1", task);
    assert_eq!(
        (status, &body["reason"]),
        (503, &"ServiceUnavailable".into()),
        "{body}"
    );
    let id = id_of(submit(&server.url, "k1", task));
    ada.wait_for_status(&id, "completed");
    assert_eq!(ada.run(["jobs", "logs", &id]).success().stdout, "done\n");
}

#[test]
fn a_command_sends_its_request_again_when_the_answer_is_lost() {
    let world = World::new();
    let ada = world.login("ada");
    let target = world.url.strip_prefix("http://").unwrap().parse().unwrap();
    for bytes in [0, 100] {
        for (args, count) in [
            (vec!["jobs", "submit", "--detach"], 1),
            (vec!["volumes", "create", "data", "1Gi"], 0),
        ] {
            let event = FaultEvent {
                bytes,
                time: Duration::from_secs(60),
                fault: Fault::Reset,
                everywhere: false,
            };
            let plan = FaultPlan::Always(event);
            let proxy = Proxy::start(target, plan, 1, Duration::ZERO);
            let file = ada.file("run: 'true'");
            let files = [file.as_str()];
            let args = args.into_iter().chain(files.into_iter().take(count));
            proxy.switch().enable();
            let url = format!("http://{}", proxy.address);
            let run = ada.start_at(&url, args.chain(["-o", "name"])).finish();
            assert_eq!(proxy.counts().total(), 1);
            run.success();
        }
        assert_eq!(world.names::<Job>().len(), 1);
        assert_eq!(world.names::<PersistentVolumeClaim>().len(), 1);
        let id = ada.run(["jobs", "list", "-o", "name"]).success().stdout;
        let volume = ada.run(["volumes", "list", "-o", "name"]).success().stdout;
        ada.wait_for_status(id.trim(), "completed");
        ada.run(["jobs", "delete", id.trim()]).success();
        ada.run(["volumes", "delete", "--force", volume.trim()])
            .success();
        wait_until("the volume is gone", || {
            world.names::<PersistentVolumeClaim>().is_empty()
        });
    }
}

#[test]
fn the_question_before_files_is_sent_again_when_its_answer_is_lost() {
    let world = World::new();
    let ada = world.login("ada");
    fs::create_dir(ada.home.join("code")).unwrap();
    let file = ada.file("workdir: code\nrun: 'true'");
    let target = world.url.strip_prefix("http://").unwrap().parse().unwrap();
    let event = FaultEvent {
        bytes: 0,
        time: Duration::from_secs(60),
        fault: Fault::Reset,
        everywhere: false,
    };
    let proxy = Proxy::start(target, FaultPlan::Always(event), 1, Duration::ZERO);
    proxy.switch().enable();
    let url = format!("http://{}", proxy.address);
    let run = ada.start_at(&url, ["jobs", "submit", "--detach", &file]);
    run.finish().success();
    assert_eq!(proxy.counts().total(), 1);
}

#[test]
fn a_creation_that_was_cut_off_is_continued() {
    let world = World::new();
    let dir = TempDir::new();
    let mut second = world.second_server(&dir);
    let task = r#"{"num_nodes": 24, "run": "sleep 1000", "secrets": {"TOKEN": "s3cret"}}"#;
    let url = second.url.clone();
    let cut = thread::spawn(move || {
        let key = ("Idempotency-Key", "k1");
        let request = ureq::post(format!("{url}/tasks/submit"));
        let request = [ADA, JSON, key]
            .into_iter()
            .fold(request, |it, (name, value)| it.header(name, value));
        request.send(task).map(|answer| answer.status())
    });
    wait_until("the first Job exists", || !world.names::<Job>().is_empty());
    second.end("KILL");
    // A server that was quick enough has answered.
    drop(cut.join().unwrap());
    let id = id_of(submit(&world.url, "k1", task));
    assert_eq!(world.names::<Job>().len(), 24);
    let ada = world.login("ada");
    assert_eq!(ada.status(&id)["metadata"]["num_nodes"], 24);
    assert!(
        !ada.status(&id)["reason"]
            .to_string()
            .contains("do not exist")
    );
    ada.run(["jobs", "stop", &id]).success();
}

#[test]
fn the_same_key_gives_the_same_volume() {
    let world = World::new();
    let create = |key: &str, body: &str| {
        let key = ("Idempotency-Key", key);
        request(
            &world.url,
            "POST",
            "/volumes/create",
            &[ADA, JSON, key],
            body.as_bytes(),
        )
    };
    let volume = r#"{"name": "data", "size": "1Gi"}"#;
    let first = create("k1", volume);
    assert_eq!(first.0, 200, "{}", first.1);
    assert_eq!(create("k1", volume), first);
    let other = r#"{"name": "data", "size": "2Gi"}"#;
    refused(
        create("k1", other),
        422,
        "Invalid",
        "Idempotency-Key: has made volume",
    );
    refused(
        create("k2", volume),
        409,
        "AlreadyExists",
        "you have a volume `data` already",
    );
    assert_eq!(world.names::<PersistentVolumeClaim>().len(), 1);
}
