//! Logs that Kubernetes does not send, or not whole.

use super::*;

/// An answer to the request for a log.
#[derive(Clone, Copy)]
enum Answer {
    /// The first lines, this many, as if there were no more.
    Lines(usize),
    /// The connection is closed.
    Nothing,
    Refusal(u16, &'static str),
    /// What a kubelet writes instead of a log that it has removed.
    Complaint,
}

use Answer::{Complaint, Lines, Nothing, Refusal};

const ALL: usize = 8;
const AFTER_RESTART: &str = "the server could not find the requested resource ( pods/log p-0)";

fn lines(range: std::ops::Range<usize>) -> String {
    let lines = range.map(|nth| format!("2026-01-02T03:04:05.{nth:09}Z {nth}\n"));
    lines.collect()
}

fn text(answer: Answer) -> Option<String> {
    Some(match answer {
        Lines(count) => lines(0..count),
        Nothing => return None,
        Refusal(code, message) => {
            json!({"kind": "Status", "status": "Failure", "code": code, "message": message})
                .to_string()
        }
        Complaint => "unable to retrieve container logs for containerd://0123".to_owned(),
    })
}

/// A cluster with a node that has ended, whose log has [`ALL`] lines. Requests for the log get one answer after the other, and the last
/// one again and again. Requests for its last lines get them, or the next answer if that is an error.
async fn cluster(pods: Vec<Value>, answers: Vec<Answer>) -> Cluster {
    let mut next = 0;
    scripted_server::cluster(move |request| {
        if request.contains("/jobs") {
            return Some(list(&[job(0, 1)]));
        }
        if !request.contains("/log?") {
            return Some(list(&pods));
        }
        let answer = answers[next.min(answers.len() - 1)];
        if let (Some(count), Lines(_)) = (parameter(request, "tailLines"), answer) {
            let count: usize = count.parse().unwrap();
            return Some(lines(ALL.saturating_sub(count)..ALL));
        }
        next += 1;
        text(answer)
    })
    .await
}

async fn seen(pods: Vec<Value>, answers: Vec<Answer>, follow: bool) -> Vec<String> {
    let live = LiveView::new(cluster(pods, answers).await);
    merge(&live, &[job(0, 1)], &[pod(0)]);
    let query = LogQuery {
        follow,
        ..LogQuery::default()
    };
    let mut items = logs(&live, query).await;
    let all = all(&mut items).await;
    let not_said = |words: &String| !words.starts_with("resumed") && !words.contains("cannot");
    let is_gap = |words: &String| words.starts_with("missing");
    all.into_iter()
        .filter(|words| is_gap(words) || not_said(words))
        .collect()
}

/// The lines of a log, without messages about passing errors.
fn joined(seen: &[String]) -> String {
    let lines = seen.iter().filter(|words| words.ends_with('/'));
    lines.map(String::as_str).collect()
}

const WHOLE: &str = "0/1/2/3/4/5/6/7/";

#[actix_rt::test]
async fn the_log_of_a_finished_pod_is_read_to_its_end_in_spite_of_passing_errors() {
    let whole = Lines(ALL);
    let cases = [
        vec![Refusal(404, AFTER_RESTART), whole],
        vec![Refusal(401, "Unauthorized"), whole],
        vec![Refusal(403, "forbidden"), whole],
        vec![Refusal(400, "container is not available"), whole],
        vec![Complaint, whole],
        // The first answer ends early, without an error.
        vec![Lines(4), whole],
        vec![Lines(0), whole],
        vec![Lines(4), Refusal(404, AFTER_RESTART), whole],
        vec![
            Lines(4),
            Refusal(500, "dial tcp"),
            Refusal(404, AFTER_RESTART),
            whole,
        ],
        // The next ones end early, too.
        vec![Lines(4), Lines(4), Lines(4), whole],
        vec![Lines(4), Lines(2), Lines(0), Lines(6), whole],
        vec![
            Lines(4),
            Nothing,
            Lines(1),
            Refusal(404, AFTER_RESTART),
            whole,
        ],
    ];
    let runs = cases.into_iter().flat_map(|answers| {
        [true, false].map(|follow| seen(vec![pod(0)], answers.clone(), follow))
    });
    for seen in futures::future::join_all(runs).await {
        assert_eq!(joined(&seen), WHOLE, "{seen:?}");
        assert!(
            !seen.iter().any(|words| words.starts_with("missing")),
            "{seen:?}"
        );
        assert_eq!(seen.last().unwrap(), "Completed");
    }
}

#[actix_rt::test]
async fn a_log_that_cannot_be_read_ends_with_a_gap() {
    let cases = [
        (vec![Complaint], "unable to retrieve container logs"),
        (vec![Refusal(500, "dial tcp: refused")], "dial tcp: refused"),
        (vec![Refusal(404, AFTER_RESTART)], AFTER_RESTART),
        (vec![Lines(4)], "Kubernetes sends less of it than it has"),
        (
            vec![Lines(4), Complaint],
            "unable to retrieve container logs",
        ),
    ];
    let runs = cases.iter().flat_map(|(answers, why)| {
        [true, false]
            .map(|follow| async move { (seen(vec![pod(0)], answers.clone(), follow).await, *why) })
    });
    for (seen, why) in futures::future::join_all(runs).await {
        let gaps: Vec<_> = seen
            .iter()
            .filter(|words| words.starts_with("missing"))
            .collect();
        assert_eq!(gaps.len(), 1, "{seen:?}");
        assert!(gaps[0].contains(why), "{seen:?}");
        assert_eq!(seen.last().unwrap(), "Completed");
    }
}

#[actix_rt::test]
async fn a_log_so_far_that_cannot_be_read_ends_with_a_gap() {
    let mut running = pod(0);
    running["status"]["phase"] = "Running".into();
    running["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
    let live = LiveView::new(cluster(vec![running.clone()], vec![Refusal(500, "dial tcp")]).await);
    let mut active = job(0, 1);
    active["status"] = json!({});
    merge(&live, &[active], &[running]);
    let query = LogQuery {
        follow: false,
        ..LogQuery::default()
    };
    let seen = all(&mut logs(&live, query).await).await;
    let gap = "missing: its log cannot be read: dial tcp";
    assert_eq!(seen[seen.len() - 2..], [gap, "Unfinished"]);
}

#[actix_rt::test]
async fn the_log_of_a_pod_that_is_gone_is_not_tried_again() {
    let answers = vec![Refusal(404, "pods \"p-0\" not found")];
    let began = Instant::now();
    let seen = seen(Vec::new(), answers, true).await;
    assert_eq!(
        seen,
        [
            "missing: its log cannot be read: pods \"p-0\" not found",
            "Completed"
        ]
    );
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[actix_rt::test]
async fn an_evicted_pod_without_a_container_has_a_gap() {
    let mut evicted = pod(0);
    evicted["status"] = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
    let mut failed = job(0, 1);
    failed["status"] = json!({"failed": 1, "conditions": [
        {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"},
    ]});
    let live = LiveView::new(cluster(vec![evicted.clone()], vec![Nothing]).await);
    merge(&live, &[failed], &[evicted]);
    let seen = all(&mut logs(&live, LogQuery::default()).await).await;
    assert_eq!(seen, ["missing: its pod was evicted", "Failed"]);
}
