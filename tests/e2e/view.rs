//! Tests of consistency: the next request sees every answered change, and a server does not answer from an outdated view.

use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};
use serde_json::{Value, json};

use crate::{
    harness::{TempDir, World, is_real_cluster, k8s_cli, wait_until},
    http::request,
};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Sends a request as `user`, which must be answered with 200.
fn ask(url: &str, user: &str, method: &str, path: &str, body: &Value) -> Value {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let answer = request(
        url,
        method,
        path,
        &[("X-User", user), JSON],
        body.as_bytes(),
    );
    assert_eq!(answer.0, 200, "{method} {path}: {}", answer.1);
    answer.1
}

fn get(url: &str, user: &str, path: &str) -> Value {
    ask(url, user, "GET", path, &Value::Null)
}

/// The ids in a list of tasks or volumes.
fn ids(list: &Value) -> Vec<&str> {
    let (key, id) = match list.get("tasks") {
        Some(_) => ("tasks", "task_id"),
        None => ("volumes", "volume_id"),
    };
    let rows = list[key].as_array().unwrap().iter();
    rows.map(|row| row[id].as_str().unwrap()).collect()
}

#[test]
fn the_next_request_of_any_user_sees_an_answered_change() {
    let world = World::new();
    let url = &world.url;
    let task = json!({"run": "sleep 1000", "num_nodes": 2, "resources": {"cpus": "1m"}});
    for round in 0..10 {
        let submitted = ask(url, "ada", "POST", "/tasks/submit", &task);
        let id = submitted["task_id"].as_str().unwrap();
        for (user, path) in [("ada", "/tasks"), ("bob", "/tasks?all_users=true")] {
            assert_eq!(ids(&get(url, user, path)), [id], "{path}");
        }
        let status = get(url, "ada", &format!("/tasks/{id}"));
        assert_eq!(status["metadata"]["node_jobs"].as_array().unwrap().len(), 2);
        let stop = match round % 2 {
            0 => format!("/tasks/{id}/stop"),
            _ => "/tasks/stop".to_owned(),
        };
        ask(url, "ada", "POST", &stop, &Value::Null);
        // Its pods may still run.
        for (user, path) in [("ada", "/tasks"), ("bob", "/tasks?all_users=true")] {
            for task in get(url, user, path)["tasks"].as_array().unwrap() {
                assert_eq!(task["status"], "stopping", "{path}");
            }
        }
        wait_until("the task to be gone", || {
            let user = [("X-User", "ada")];
            let (code, task) = request(url, "GET", &format!("/tasks/{id}"), &user, b"");
            assert!(code == 404 || task["status"] == "stopping", "{task}");
            code == 404
        });
    }
    // On a cluster without a storage class the claim stays pending, which is enough for this test.
    for _ in 0..5 {
        let volume = json!({"name": "data", "size": "1Mi", "access_modes": ["ReadWriteMany"]});
        let created = ask(url, "ada", "POST", "/volumes/create", &volume);
        let id = created["volume_id"].as_str().unwrap();
        assert_eq!(ids(&get(url, "bob", "/volumes?all_users=true")), [id]);
        ask(
            url,
            "ada",
            "DELETE",
            &format!("/volumes/{id}"),
            &Value::Null,
        );
        assert!(ids(&get(url, "ada", "/volumes")).is_empty());
    }
}

#[test]
fn changes_of_another_server_are_seen_by_id_at_once_and_in_lists_soon() {
    let world = World::new();
    let dir = TempDir::new();
    let second = world.second_server(&dir);
    let task = json!({"run": "sleep 1000", "resources": {"cpus": "1m"}});
    let submit = || ask(&world.url, "ada", "POST", "/tasks/submit", &task);
    for _ in 0..5 {
        let submitted = submit();
        let id = submitted["task_id"].as_str().unwrap();
        let status = get(&second.url, "ada", &format!("/tasks/{id}"));
        assert_eq!(status["task_id"], id);
        ask(
            &second.url,
            "ada",
            "POST",
            &format!("/tasks/{id}/stop"),
            &Value::Null,
        );
        wait_until("the first server no longer lists the stopped task", || {
            ids(&get(&world.url, "ada", "/tasks")).is_empty()
        });
    }
    let submitted = submit();
    let id = submitted["task_id"].as_str().unwrap();
    wait_until("the second server lists the task", || {
        ids(&get(&second.url, "ada", "/tasks")) == [id]
    });
    // A new server lists it from the start.
    let third = world.second_server(&dir);
    assert_eq!(ids(&get(&third.url, "ada", "/tasks")), [id]);
}

#[test]
fn a_server_without_its_cluster_stops_answering() {
    if is_real_cluster() {
        return;
    }
    // The cluster is stopped with all connections open, so that no connection reports an error.
    let world = World::sandbox(&[]);
    let dir = TempDir::new();
    let second = world.second_server(&dir);
    let list = || request(&second.url, "GET", "/tasks", &[("X-User", "ada")], b"").0;
    // Before the view is loaded, the cluster itself is asked.
    wait_until("the view is loaded", || {
        request(&second.url, "GET", "/readyz", &[], b"").0 == 200
    });
    assert_eq!(list(), 200);
    world.signal("STOP");
    // A recent view is still answered.
    assert_eq!(list(), 200);
    wait_until("the outdated view is not answered", || {
        matches!(list(), 503 | 504)
    });
    world.signal("CONT");
    wait_until("the server answers again", || list() == 200);
    let task = json!({"run": "true"});
    let submitted = ask(&world.url, "ada", "POST", "/tasks/submit", &task);
    wait_until("the server sees changes again", || {
        ids(&get(&second.url, "ada", "/tasks")) == [submitted["task_id"].as_str().unwrap()]
    });
}

#[test]
fn a_long_script_is_stored_once_for_all_nodes() {
    let world = World::new();
    let ada = world.login("ada");
    // On a cluster a pod takes seconds to start. All copies together decide whether one is kept for all.
    let num_nodes = if is_real_cluster() { 3 } else { 8 };
    let comment = "#".repeat(320 * 1024 / num_nodes);
    let id = ada.submit_without_barrier(&format!(
        "num_nodes: {num_nodes}\nresources: {{cpus: 10m}}\nsetup: 'true {comment}'\nrun: |\n  \
         echo \"$(wc -l <<< \"$SKYPILOT_NODE_IPS\") nodes, $0\"\n"
    ));
    ada.wait_for_status(&id, "completed");
    let log = ada
        .run(["jobs", "logs", &id, "--node", "2", "--prefix", "never"])
        .success();
    assert_eq!(log.stdout, format!("{num_nodes} nodes, /bin/bash\n"));
    let names = world.names_of::<Secret>(&id);
    assert!(names[0].ends_with("-shared"), "{names:?}");
    for job in world.objects::<Job>() {
        let size = serde_json::to_vec(&job).unwrap().len();
        assert!(size < 16 * 1024, "a Job has {size} bytes");
    }
    ada.run(["jobs", "stop", &id]).success();
    wait_until("the Secret is deleted with its task", || {
        world.names_of::<Secret>(&id).is_empty()
    });
}

#[test]
fn a_sandbox_starts_with_the_objects_of_a_file() {
    if is_real_cluster() {
        return;
    }
    // The Jobs are recorded from a real cluster. Finished Jobs do not change, and their pods are not in the sandbox.
    let recorded = include_str!("../../fixtures/recorded/jobs.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let ended = recorded["items"].as_array().unwrap().iter();
    let ended = ended.filter(|job| job["metadata"]["labels"]["task-name"] == "succeeded");
    let lines = ended.map(|job| {
        let mut job = job.clone();
        job["kind"] = "Job".into();
        format!("{job}\n")
    });
    let dir = TempDir::new();
    let path = dir.path().join("objects");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let world = World::sandbox(&["--sandbox-objects", path.to_str().unwrap()]);
    let tasks = get(&world.url, "ada", "/tasks?all_users=true");
    let task = &tasks["tasks"][0];
    assert_eq!(
        (&task["name"], &task["status"]),
        (&"succeeded".into(), &"completed".into())
    );

    std::fs::write(&path, "{\"kind\": \"Teapot\"}\n").unwrap();
    let output = k8s_cli()
        .args(["serve", "--sandbox", "--port", "0", "--sandbox-objects"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("objects: line 1: \"Teapot\" is not a kind"),
        "{said}"
    );
}

#[test]
fn an_answer_has_the_age_of_the_view() {
    let world = World::new();
    wait_until("the answer has an age, and it is small", || {
        let agent = ureq::Agent::new_with_defaults();
        let answer = agent
            .get(format!("{}/tasks", world.url))
            .header("X-User", "ada")
            .call();
        let answer = answer.unwrap();
        let age = answer.headers().get("age");
        age.is_some_and(|age| age.to_str().unwrap().parse::<u64>().unwrap() <= 10)
    });
}
