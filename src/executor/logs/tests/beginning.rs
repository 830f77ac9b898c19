//! Logs whose first lines may have been rotated away.

use super::*;

/// A pod that ran from second 0 to 20.
fn old_pod() -> Value {
    let mut pod = pod(0);
    pod["status"]["containerStatuses"][0]["state"]["terminated"] = json!({
        "exitCode": 0, "startedAt": "2026-01-02T03:04:00Z", "finishedAt": "2026-01-02T03:04:20Z",
    });
    pod
}

/// The items for a viewer who was there before the pod. The log has one line, of this second, and can be read after `delay`.
async fn seen_by_a_witness(second: u32, delay: Duration) -> Vec<String> {
    let mut first = None;
    let cluster = scripted_server::cluster(move |request| {
        let line = format!("2026-01-02T03:04:{second:02}.1Z line\n");
        Some(match request {
            _ if request.contains("/jobs") => list(&[job(0, 1)]),
            _ if !request.contains("/log?") => list(&[old_pod()]),
            _ if first.get_or_insert_with(Instant::now).elapsed() < delay => return None,
            _ => line,
        })
    })
    .await;
    let live = LiveView::new(cluster);
    let mut active = job(0, 1);
    active["status"] = json!({});
    let mut waiting = pod(0);
    waiting["metadata"]["resourceVersion"] = "5".into();
    waiting["status"]["phase"] = "Pending".into();
    waiting["status"]["containerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "ErrImagePull"}});
    merge(&live, &[active], &[waiting]);
    let mut items = logs(&live, LogQuery::default()).await;
    assert_eq!(next(&mut items).await.as_deref(), Some("0: ErrImagePull"));
    merge(&live, &[job(0, 1)], &[old_pod()]);
    all(&mut items).await
}

#[actix_rt::test]
async fn a_beginning_that_was_read_too_late_is_reported() {
    let late = Duration::from_secs(6);
    let gap =
        "missing: its log could not be read at its beginning, and may have been rotated since";
    let runs = [
        (
            seen_by_a_witness(12, late),
            &[gap, "line/", "Completed"][..],
        ),
        // The first line is as old as the container.
        (seen_by_a_witness(1, late), &["line/", "Completed"]),
        // The log was read in time.
        (
            seen_by_a_witness(12, Duration::ZERO),
            &["line/", "Completed"],
        ),
    ];
    let runs = runs.map(|(seen, expected)| async move { (seen.await, expected) });
    for (mut seen, expected) in futures::future::join_all(runs).await {
        seen.retain(|words| expected.contains(&words.as_str()) || words.starts_with("missing"));
        assert_eq!(seen, expected);
    }
}

#[actix_rt::test]
async fn a_late_viewer_of_an_empty_log_gets_a_notice() {
    let notice = "its log has no line: it printed none, or its lines were rotated away";
    for (pod, expected) in [
        (old_pod(), &[notice, "Completed"][..]),
        // A pod of unknown age.
        (pod(0), &["Completed"]),
    ] {
        let pods = [pod.clone()];
        let cluster = scripted_server::cluster(move |request| {
            let is_log = request.contains("/log?");
            Some(if is_log { String::new() } else { list(&pods) })
        })
        .await;
        let live = LiveView::new(cluster);
        merge(&live, &[job(0, 1)], &[pod]);
        let seen = all(&mut logs(&live, LogQuery::default()).await).await;
        assert_eq!(seen, expected);
    }
}

#[actix_rt::test]
async fn a_late_viewer_of_a_long_log_that_begins_late_gets_a_notice() {
    let notice = "its log begins 12 s after its container: lines before may have been rotated away";
    let lines = |number: usize| {
        let line = |nth| format!("2026-01-02T03:04:12.{nth:09}Z {nth:0100}\n");
        (0..number).map(line).collect::<String>()
    };
    let query = LogQuery::default;
    let tail = LogQuery {
        tail: Some(20_000),
        ..query()
    };
    let runs = [
        (12_000, query(), true),
        // A program that begins to print late.
        (1_000, query(), false),
        // The beginning is not asked for.
        (12_000, tail, false),
    ];
    for (number, query, expected) in runs {
        let text = lines(number);
        let cluster = scripted_server::cluster(move |request| {
            let last = parameter(request, "tailLines").map(|tail| tail.parse().unwrap());
            let skipped = number.saturating_sub(last.unwrap_or(number));
            Some(match request {
                _ if request.contains("/jobs") => list(&[job(0, 1)]),
                _ if !request.contains("/log?") => list(&[old_pod()]),
                _ => text.split_inclusive('\n').skip(skipped).collect(),
            })
        })
        .await;
        let live = LiveView::new(cluster);
        merge(&live, &[job(0, 1)], &[old_pod()]);
        let mut seen = all(&mut logs(&live, query).await).await;
        seen.retain(|words| !words.ends_with('/'));
        let expected: &[_] = if expected {
            &[notice, "Completed"]
        } else {
            &["Completed"]
        };
        assert_eq!(seen, expected, "{number} lines");
    }
}
