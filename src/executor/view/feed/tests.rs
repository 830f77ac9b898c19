//! Watches that break, against a scripted server.

use serde_json::json;

use super::*;
use crate::executor::{scripted_server, view::versions::Versions};

/// A view of a server that answers each request with these lines, and then closes the connection.
async fn live_view(lines: &[serde_json::Value]) -> LiveView {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    LiveView::new(scripted_server::cluster(move |_| Some(body.clone())).await)
}

/// Watches Jobs, in a view that is complete up to version 5.
async fn watch(lines: &[serde_json::Value]) -> (LiveView, Result<()>) {
    let live = live_view(lines).await;
    live.view.change::<JobRow, _>(|table| {
        Table::<JobRow>::versions(table).has_listed(Version::new("5"), Instant::now());
        // From here on, only the watch can update the version.
        Table::<JobRow>::versions(table).forget();
    });
    let end = Feed(&live)
        .watch::<JobRow>(&WatchParams::default(), Version::new("5"))
        .await;
    (live, end)
}

fn versions<T>(live: &LiveView, read: impl FnOnce(&mut Versions) -> T) -> T {
    live.view
        .change::<JobRow, _>(|table| read(Table::<JobRow>::versions(table)))
}

#[actix_rt::test]
async fn a_watch_that_ends_at_once_does_not_refresh_the_view() {
    let (live, end) = watch(&[]).await;
    let error = end.unwrap_err().to_string();
    assert_eq!(error, "cannot watch Jobs: it ended at once");
    assert_eq!(
        versions(&live, |versions| versions.age(Instant::now())),
        None
    );
}

#[actix_rt::test]
async fn a_bookmark_refreshes_the_view() {
    let bookmark = json!({
        "type": "BOOKMARK",
        "object": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"resourceVersion": "9"}},
    });
    let (live, end) = watch(&[bookmark]).await;
    end.unwrap();
    assert!(versions(&live, |versions| versions.age(Instant::now())).is_some());
    assert_eq!(
        versions(&live, |versions| versions.watched()),
        Some(Version::new("9"))
    );
}

#[actix_rt::test]
async fn a_watch_that_cannot_resume_makes_the_view_stale() {
    let gone = json!({
        "type": "ERROR",
        "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": "too old resource version: 5 (1000)",
        },
    });
    let (live, end) = watch(&[gone]).await;
    assert!(
        end.unwrap_err()
            .to_string()
            .contains("too old resource version")
    );
    assert_eq!(
        versions(&live, |versions| (
            versions.watched(),
            versions.age(Instant::now())
        )),
        (None, None)
    );
}

#[actix_rt::test]
async fn an_older_bookmark_means_that_the_cluster_was_restored() {
    let bookmark = json!({
        "type": "BOOKMARK",
        "object": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"resourceVersion": "4"}},
    });
    let (live, end) = watch(&[bookmark]).await;
    assert!(end.unwrap_err().to_string().contains("set back"));
    assert_eq!(versions(&live, |versions| versions.watched()), None);
}

#[actix_rt::test]
async fn a_restored_cluster_is_listed_again() {
    let job = json!({"metadata": {"name": "j", "uid": "uid-1", "resourceVersion": "3", "labels": {"task-id": "ab12cd34"}}});
    let list = json!({"metadata": {"resourceVersion": "4"}, "items": [job]});
    let live = live_view(&[list]).await;
    let old = json!({"metadata": {"name": "o", "uid": "uid-0", "resourceVersion": "900", "labels": {"task-id": "ef56ab78"}}});
    live.view.change::<JobRow, _>(|table| {
        table.put(serde_json::from_value::<JobRow>(old).unwrap());
        Table::<JobRow>::versions(table).advance(Version::new("1000"), Instant::now());
    });
    Feed(&live)
        .load::<JobRow>(&ListParams::default())
        .await
        .unwrap();
    let known: Vec<_> = live
        .view
        .list(None)
        .into_iter()
        .map(|(id, _)| id.to_string())
        .collect();
    assert_eq!(known, ["ab12cd34"]);
}

#[actix_rt::test]
async fn an_incomplete_task_is_listed_again() {
    let job = |rank: u32| {
        json!({"metadata": {
            "name": format!("j-{rank}"), "uid": format!("uid-{rank}"), "resourceVersion": "7",
            "labels": {"task-id": "ab12cd34", "username": "ada", "node-idx": rank.to_string()},
            "annotations": {"num-nodes": "2", "k8s-cli/user": "ada"},
        }})
    };
    let list = json!({"metadata": {"resourceVersion": "8"}, "items": [job(0), job(1)]});
    let live = live_view(&[list]).await;
    // The watch has shown one node and not yet the other, which does not mean that the task was stopped.
    live.view.change::<JobRow, _>(|table| {
        table.put(serde_json::from_value::<JobRow>(job(0)).unwrap());
        Table::<JobRow>::versions(table).has_listed(Version::new("6"), Instant::now());
        Table::<PodRow>::versions(table).has_listed(Version::new("6"), Instant::now());
        Table::<EventRow>::versions(table).has_listed(Version::new("6"), Instant::now());
    });
    assert!(live.view.is_fresh());
    let (ada, id) = ("ada".parse().unwrap(), "ab12cd34".parse().unwrap());
    let task = live.task(&ada, id).await.unwrap();
    assert_eq!(task.jobs.len(), 2);
}
