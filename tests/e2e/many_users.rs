//! Tests of several users of one server, which are isolated from each other.

use crate::harness::{World, wait_until};

#[test]
fn users_see_their_own_tasks_unless_they_ask_for_all() {
    let world = World::new();
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let hers = ada.submit("run: 'true'");
    let his = bob.submit("run: 'true'");
    let names = |outcome: crate::harness::Outcome| {
        outcome
            .stdout
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(ada.run(["jobs", "list", "-o", "name"]).success()),
        [hers.as_str()]
    );
    assert_eq!(
        names(bob.run(["jobs", "list", "-o", "name"]).success()),
        [his.as_str()]
    );
    assert_eq!(
        names(
            ada.run(["jobs", "list", "--all-users", "-o", "name"])
                .success()
        ),
        [his.clone(), hers]
    );

    // A task of another user is answered like a task that does not exist.
    let missing = format!("task `{his}` not found");
    ada.run(["jobs", "status", &his]).code(1).says(&missing);
    ada.run(["jobs", "stop", &his]).code(1).says(&missing);
    ada.run(["jobs", "logs", &his]).code(102).says(&missing);
    bob.wait_for_status(&his, "completed");
}

#[test]
fn users_with_the_same_label_are_isolated() {
    let world = World::new();
    let (at, dash) = (world.login("a@b.c"), world.login("a-b.c"));
    let id = at.submit("run: echo mine");
    let volume = at
        .run(["volumes", "create", "data", "1Gi"])
        .success()
        .stdout
        .trim()
        .to_owned();
    assert_eq!(at.status(&id)["username"], "a-b.c");

    dash.run(["jobs", "list"]).success().stdout("");
    dash.run(["jobs", "status", &id])
        .code(1)
        .says(&format!("task `{id}` not found"));
    dash.run(["jobs", "logs", &id]).code(102);
    dash.run(["jobs", "stop", "--all"]).success();
    dash.run(["volumes", "list"]).success().stdout("");
    dash.run(["volumes", "delete", &volume, "--force"])
        .code(1)
        .says(&format!("volume `{volume}` not found"));
    let task = dash.file("volumes: {/data: data}\nrun: 'true'");
    dash.run(["jobs", "submit", &task])
        .code(1)
        .says("you have no volume `data`");
    let task = dash.file(&format!("volumes: {{/data: data-{volume}}}\nrun: 'true'"));
    dash.run(["jobs", "submit", &task])
        .code(1)
        .says("no claim of that name is free to use");
    at.wait_for_status(&id, "completed");
}

#[test]
fn a_user_name_need_not_be_a_valid_label() {
    let world = World::new();
    let (ada, bob) = (
        world.login("Ada Lovelace <ada@example.com>"),
        world.login(&"b".repeat(200)),
    );
    let id = ada.submit("run: 'true'");
    ada.wait_for_status(&id, "completed");
    bob.run(["jobs", "list"]).success().stdout("");
    assert!(ada.run(["jobs", "list"]).success().stdout.contains(&id));
}

#[test]
fn stopping_all_tasks_skips_finished_ones() {
    let world = World::new();
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let finished = ada.submit("run: 'true'");
    ada.wait_for_status(&finished, "completed");
    let sleep = "num_nodes: 3\nrun: |\n  trap 'exit 0' TERM\n  sleep 1000 & wait";
    let hers: Vec<_> = (0..2).map(|_| ada.submit(sleep)).collect();
    let his = bob.submit(sleep);
    // A kubelet takes long to remove a pod that is deleted while it starts.
    for (user, id) in [(&ada, &hers[0]), (&ada, &hers[1]), (&bob, &his)] {
        wait_until("all nodes run", || {
            user.status(id)["metadata"]["running_nodes"] == 3
        });
    }

    let outcome = ada.run(["jobs", "stop", "--all", "-o", "json"]).success();
    let mut answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let ids = answer["task_ids"].as_array_mut().unwrap();
    ids.sort_by_key(|id| id.to_string());
    let mut expected = hers.clone();
    expected.sort();
    assert_eq!(
        answer,
        serde_json::json!({"count": 2, "status": "stopped", "message": "Stopped 2 tasks", "task_ids": expected})
    );
    for id in &hers {
        ada.run(["jobs", "status", id]).code(1);
    }
    assert_eq!(ada.status(&finished)["status"], "completed");
    assert_ne!(bob.status(&his)["status"], "completed");

    let outcome = ada
        .run(["jobs", "stop", "--all", "--all-users", "-o", "json"])
        .success();
    let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(answer["message"], "Stopped 1 tasks for all users");
    assert_eq!(answer["task_ids"], serde_json::json!([his]));
    bob.run(["jobs", "status", &his]).code(1);
    ada.run(["jobs", "stop", "--all", "-o", "name"])
        .success()
        .stdout("");
}

#[test]
fn a_user_may_open_64_log_streams() {
    let world = World::new();
    let (ada, bob) = (world.login("ada"), world.login("bob"));
    let id = ada.submit("run: echo hello; sleep 1000");
    ada.wait_for_status(&id, "running");
    let agent = crate::http::agent();
    let open = |user: &str, id: &str| {
        let url = format!("{}/tasks/{id}/logs", world.url);
        agent.get(url).header("X-User", user).call().unwrap()
    };
    let mut streams: Vec<_> = (0..64).map(|_| open("ada", &id)).collect();
    assert!(streams.iter().all(|answer| answer.status() == 200));
    let mut refused = open("ada", &id);
    assert_eq!(refused.status(), 429);
    let said = refused.body_mut().read_to_string().unwrap();
    let expected = "{\"detail\":\"you have 64 open logs, watched lists and waits, the most for one user: end some of them, or try again later\",\
                    \"reason\":\"TooManyRequests\"}";
    assert_eq!(said, expected);
    let wait = format!("/tasks/wait?id={id}");
    let waited = crate::http::request(&world.url, "GET", &wait, &[crate::http::ADA], b"");
    assert_eq!(waited.0, 429, "{waited:?}");

    let his = bob.submit("run: echo hello");
    assert_eq!(open("bob", &his).status(), 200);
    streams.pop();
    wait_until("the server notices the end of a stream", || {
        open("ada", &id).status() == 200
    });
    ada.run(["jobs", "stop", &id]).success();
}
