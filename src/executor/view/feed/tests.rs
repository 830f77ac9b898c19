//! Watches that do not go as they should, against a server that plays them.

use k8s_openapi::serde_json::json;

use super::{super::super::played, *};

/// An executor on a server that answers every request with these lines, and then closes the connection.
async fn executor(lines: &[serde_json::Value]) -> Executor {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    played::executor(move |_| Some(body.clone())).await
}

/// Watches Jobs, of which everything is known up to version 5.
async fn watch(lines: &[serde_json::Value]) -> (Executor, Result<()>) {
    let executor = executor(lines).await;
    executor.view.change::<JobRow, _>(|table| {
        Table::<JobRow>::ledger(table).has_listed(Version::new("5"), Instant::now());
        // What is seen of it now is seen by the watch.
        Table::<JobRow>::ledger(table).forget();
    });
    let end = executor
        .watch::<JobRow>(&WatchParams::default(), Version::new("5"))
        .await;
    (executor, end)
}

fn ledger<T>(executor: &Executor, read: impl FnOnce(&mut super::super::ledger::Ledger) -> T) -> T {
    executor
        .view
        .change::<JobRow, _>(|table| read(Table::<JobRow>::ledger(table)))
}

#[actix_rt::test]
async fn a_watch_that_opens_and_ends_proves_nothing() {
    let (executor, end) = watch(&[]).await;
    let error = end.unwrap_err().to_string();
    assert_eq!(error, "cannot watch Jobs: it ended at once");
    assert_eq!(ledger(&executor, |ledger| ledger.age(Instant::now())), None);
}

#[actix_rt::test]
async fn a_bookmark_proves_that_everything_was_told() {
    let bookmark = json!({
        "type": "BOOKMARK",
        "object": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"resourceVersion": "9"}},
    });
    let (executor, end) = watch(&[bookmark]).await;
    end.unwrap();
    assert!(ledger(&executor, |ledger| ledger.age(Instant::now())).is_some());
    assert_eq!(
        ledger(&executor, |ledger| ledger.watched()),
        Some(Version::new("9"))
    );
}

#[actix_rt::test]
async fn what_cannot_be_gone_on_with_is_not_believed() {
    let gone = json!({
        "type": "ERROR",
        "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": "too old resource version: 5 (1000)",
        },
    });
    let (executor, end) = watch(&[gone]).await;
    assert!(
        end.unwrap_err()
            .to_string()
            .contains("too old resource version")
    );
    assert_eq!(
        ledger(&executor, |ledger| (
            ledger.watched(),
            ledger.age(Instant::now())
        )),
        (None, None)
    );
}

#[actix_rt::test]
async fn a_bookmark_of_before_says_that_the_cluster_was_set_back() {
    let bookmark = json!({
        "type": "BOOKMARK",
        "object": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"resourceVersion": "4"}},
    });
    let (executor, end) = watch(&[bookmark]).await;
    assert!(end.unwrap_err().to_string().contains("set back"));
    assert_eq!(ledger(&executor, |ledger| ledger.watched()), None);
}

#[actix_rt::test]
async fn a_cluster_that_was_set_back_is_read_anew() {
    let job = json!({"metadata": {"name": "j", "uid": "uid-1", "resourceVersion": "3", "labels": {"task-id": "ab12cd34"}}});
    let list = json!({"metadata": {"resourceVersion": "4"}, "items": [job]});
    let executor = executor(&[list]).await;
    let old = json!({"metadata": {"name": "o", "uid": "uid-0", "resourceVersion": "900", "labels": {"task-id": "ef56ab78"}}});
    executor.view.change::<JobRow, _>(|table| {
        table.put(serde_json::from_value::<JobRow>(old).unwrap());
        Table::<JobRow>::ledger(table).advance(Version::new("1000"), Instant::now());
    });
    executor
        .load::<JobRow>(&ListParams::default())
        .await
        .unwrap();
    let known: Vec<_> = executor
        .view
        .list(None)
        .into_iter()
        .map(|(id, _)| id.to_string())
        .collect();
    assert_eq!(known, ["ab12cd34"]);
}

#[actix_rt::test]
async fn a_task_that_is_known_in_part_is_looked_for() {
    let job = |rank: u32| {
        json!({"metadata": {
            "name": format!("j-{rank}"), "uid": format!("uid-{rank}"), "resourceVersion": "7",
            "labels": {"task-id": "ab12cd34", "node-idx": rank.to_string()},
            "annotations": {"num-nodes": "2", "k8s-cli/user": "ada"},
        }})
    };
    let list = json!({"metadata": {"resourceVersion": "8"}, "items": [job(0), job(1)]});
    let executor = executor(&[list]).await;
    // The watch has told of one node, and not yet of the other: that is not to say that it was stopped.
    executor.view.change::<JobRow, _>(|table| {
        table.put(serde_json::from_value::<JobRow>(job(0)).unwrap());
        Table::<JobRow>::ledger(table).has_listed(Version::new("6"), Instant::now());
        Table::<PodRow>::ledger(table).has_listed(Version::new("6"), Instant::now());
        Table::<EventRow>::ledger(table).has_listed(Version::new("6"), Instant::now());
    });
    assert!(executor.view.is_fresh());
    let (ada, id) = ("ada".parse().unwrap(), "ab12cd34".parse().unwrap());
    let task = executor.look_up(&ada, id).await.unwrap();
    assert_eq!(task.jobs.len(), 2);
}
