use std::sync::Mutex;

use serde_json::{Value, from_value, json};

use super::*;
use crate::{
    executor::{
        observed::PodRow,
        scripted_server,
        view::{View, ViewRow},
    },
    golden,
};

fn now() -> Timestamp {
    "2026-11-27T00:00:00".parse().unwrap()
}

/// Why a task is started again, and whether that counts as an error; or how long it waits.
fn planned(task: &Observed) -> String {
    match plan(task, now()) {
        Step::Nothing => "nothing".to_owned(),
        Step::Wait(time) => format!("wait {}", time.as_secs()),
        Step::Begin(restarts) => match restarts.after_errors {
            0 => restarts.cause,
            errors => format!("{} ({errors})", restarts.cause),
        },
    }
}

/// The step that the recorded life of a task ends with, which is the first one.
fn end_of_life(name: &str, recovery: &str) -> String {
    fn merge<R: ViewRow>(view: &View, object: Value, is_deleted: bool) {
        let row: R = from_value(object).unwrap();
        let now = std::time::Instant::now();
        view.change::<R, _>(|table| table.merge_event(row, is_deleted, now));
    }
    let view = View::default();
    let mut steps = Vec::new();
    for line in golden::read(&format!("recorded/lives/{name}.jsonl")).lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        let is_deleted = event["type"] == "DELETED";
        let mut object = event["object"].take();
        let id = object["metadata"]["labels"]["task-id"].as_str().unwrap();
        let id = id.parse().unwrap();
        if object["kind"] == "Job" {
            object["metadata"]["annotations"][labels::RECOVERY] = recovery.into();
            merge::<JobRow>(&view, object, is_deleted);
        } else {
            merge::<PodRow>(&view, object, is_deleted);
        }
        steps.push(planned(&view.task(id).unwrap_or_default()));
    }
    let last = steps.pop().unwrap();
    let earlier = steps.iter().filter(|step| **step != last);
    assert!(earlier.clone().all(|step| step == "nothing"), "{steps:?}");
    last
}

#[test]
fn pods_that_a_real_cluster_has_lost_are_started_again() {
    let [lost, errors] = [0, 1].map(|most| format!(r#"{{"max_restarts_on_errors":{most}}}"#));
    for (life, recovery, expected) in [
        ("evicted", &lost, "evicted"),
        ("node-lost", &lost, "node lost"),
        ("preempted", &lost, "preempted"),
        // Somebody has deleted it.
        ("pod-deleted", &lost, "nothing"),
        ("pod-deadline", &lost, "nothing"),
        ("init-fails", &lost, "nothing"),
        ("parallelism-zero", &lost, "nothing"),
        ("preempted", &errors, "preempted"),
        ("pod-deadline", &errors, "nothing"),
        ("parallelism-zero", &errors, "nothing"),
        (
            "init-fails",
            &errors,
            "init container `prepare`: exit code 9 (1)",
        ),
    ] {
        assert_eq!(end_of_life(life, recovery), expected, "{life} {recovery}");
    }
    let deleted = end_of_life("pod-deleted", &errors);
    assert!(deleted.starts_with("its pod was deleted"), "{deleted}");
}

#[test]
fn a_job_says_that_its_pod_was_lost_when_the_pod_is_gone() {
    let mut job: Value =
        serde_json::from_str(&golden::read("recorded/job-failure-policy.json")).unwrap();
    job["metadata"]["annotations"][labels::RECOVERY] = "{}".into();
    let task = Observed {
        jobs: vec![Arc::new(from_value(job).unwrap())],
        ..Observed::default()
    };
    assert_eq!(planned(&task), "pod removed by the cluster");
}

/// A Job of a task with this policy. `end` is the exit code of its pod, or the status of the pod; none while it runs.
fn node(num_nodes: u32, rank: u32, policy: &Value, end: &Value) -> (Value, Value) {
    let is_over = !end.is_null();
    let condition = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]);
    let job = json!({
        "metadata": {
            "name": format!("job-{rank}"), "uid": format!("uid-{rank}"), "resourceVersion": "1",
            "labels": {"task-id": "ab12cd34", "node-idx": rank.to_string()},
            "annotations": {"num-nodes": num_nodes.to_string(), labels::RECOVERY: policy.to_string()},
        },
        "spec": {"backoffLimit": 0, "template": {"spec": {"activeDeadlineSeconds": 7}}},
        "status": {"conditions": if is_over { condition } else { json!([]) }},
    });
    let terminated =
        |code: &Value| json!([{"name": "task", "state": {"terminated": {"exitCode": code}}}]);
    let status = match end {
        Value::Null => json!({"phase": "Running"}),
        Value::Number(_) => json!({"phase": "Failed", "containerStatuses": terminated(end)}),
        status => {
            let mut status = status.clone();
            status["phase"] = "Failed".into();
            status
        }
    };
    let pod = json!({
        "metadata": {
            "name": format!("pod-{rank}"), "uid": format!("pod-{rank}"), "resourceVersion": "1",
            "labels": {"task-id": "ab12cd34", "node-idx": rank.to_string()},
            "ownerReferences": [{"kind": "Job", "name": "j", "uid": format!("uid-{rank}"), "controller": true}],
        },
        "spec": {"activeDeadlineSeconds": 7, "containers": [{"name": "task"}]},
        "status": status,
    });
    (job, pod)
}

fn observed(nodes: Vec<(Value, Value)>) -> Observed {
    let (jobs, pods): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
    Observed {
        jobs: (jobs
            .into_iter()
            .map(|job| Arc::new(from_value(job).unwrap())))
        .collect(),
        pods: (pods
            .into_iter()
            .map(|pod| Arc::new(from_value(pod).unwrap())))
        .collect(),
        ..Observed::default()
    }
}

#[test]
fn the_policy_decides_about_failures() {
    let policy = |most: u32, codes: &[u8]| json!({"max_restarts_on_errors": most, "recover_on_exit_codes": codes});
    let evicted = |message: &str| json!({"reason": "Evicted", "message": message});
    for (policy, end, expected) in [
        (policy(0, &[]), json!(3), "nothing"),
        (policy(1, &[]), json!(3), "exit code 3 (1)"),
        (policy(0, &[3]), json!(3), "exit code 3"),
        (policy(9, &[3]), json!(3), "exit code 3"),
        (policy(0, &[3]), json!(4), "nothing"),
        (policy(0, &[]), json!(null), "nothing"),
        (policy(0, &[]), json!({"reason": "NodeLost"}), "node lost"),
        (policy(0, &[]), json!({"reason": "Preempting"}), "preempted"),
        (
            policy(0, &[]),
            json!({"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."}),
            "node lost",
        ),
        (
            policy(0, &[]),
            evicted("The node was low on resource: memory. "),
            "evicted",
        ),
        (
            policy(0, &[]),
            evicted("Pod The node had condition: [DiskPressure]. "),
            "evicted",
        ),
        // Limits of its own.
        (
            policy(0, &[]),
            evicted("Usage of EmptyDir volume \"shared-memory\" exceeds the limit \"1Gi\". "),
            "nothing",
        ),
        (
            policy(0, &[]),
            evicted(
                "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
            ),
            "nothing",
        ),
        (
            policy(1, &[]),
            evicted("Container task exceeded its local ephemeral storage limit \"1Gi\". "),
            "Evicted: Container task exceeded its local ephemeral storage limit \"1Gi\". (1)",
        ),
        (
            policy(5, &[]),
            json!({"reason": "DeadlineExceeded", "message": "too long"}),
            "nothing",
        ),
    ] {
        let task = observed(vec![node(1, 0, &policy, &end)]);
        assert_eq!(planned(&task), expected, "{policy} {end}");
    }
}

#[test]
fn a_failure_is_judged_when_the_end_of_the_pod_is_known() {
    let policy = json!({"max_restarts_on_errors": 0, "recover_on_exit_codes": [33]});
    let state = |task: &Observed| {
        let status = task.status("ab12cd34".parse().unwrap(), None, "default");
        status.unwrap().status.to_string()
    };
    let (mut job, ended) = node(1, 0, &policy, &json!(33));
    job["metadata"]["labels"]["username"] = "ada".into();
    let (_, runs) = node(1, 0, &policy, &json!(null));
    let late = observed(vec![(job.clone(), runs.clone())]);
    assert_eq!((&*planned(&late), &*state(&late)), ("nothing", "running"));
    assert!(!late.has_ended());
    // The log goes on.
    assert!(late.node(0, &"ada".parse().unwrap()).may_follow);
    let known = observed(vec![(job.clone(), ended)]);
    assert_eq!(
        (&*planned(&known), &*state(&known)),
        ("exit code 33", "pending")
    );
    // The pod is gone, and its Job says how it ended.
    job["status"]["conditions"][0]["message"] =
        "Container task for pod default/p failed with exit code 33 matching FailJob rule at index 1".into();
    job["status"]["conditions"][0]["reason"] = "PodFailurePolicy".into();
    let mut gone = observed(vec![(job, runs)]);
    gone.pods.clear();
    assert_eq!(planned(&gone), "exit code 33");
}

#[test]
fn all_nodes_end_before_they_are_started_again() {
    let policy = json!({"max_restarts_on_errors": 1});
    let stopped = |(job, mut pod): (Value, Value)| {
        pod["metadata"]["annotations"] = json!({labels::STOPPED_AFTER: "1"});
        (job, pod)
    };
    let lost = json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]});
    let two = |first: &Value, second: &Value| {
        [(0, first), (1, second)].map(|(rank, end)| node(2, rank, &policy, end))
    };
    let [first, second] = two(&json!(137), &json!(3));
    let task = observed(vec![stopped(first), second]);
    assert_eq!(planned(&task), "node-1: exit code 3 (1)");
    let task = observed(two(&json!(null), &json!(3)).into());
    assert_eq!(planned(&task), "nothing");
    assert!(task.cause_of_restart().is_some());
    // The other node may have failed because of the loss.
    let task = observed(two(&json!(1), &lost).into());
    assert_eq!(planned(&task), "node lost");
    // A Job was deleted by hand.
    let mut task = observed(two(&json!(1), &lost).into());
    task.jobs.remove(0);
    assert_eq!(planned(&task), "nothing");
    let [mut first, second] = two(&json!(1), &json!(3));
    first.0["metadata"]["annotations"][labels::COMPLETE] = "true".into();
    let task = observed(vec![first.clone()]);
    assert_eq!(planned(&task), "nothing");
    for (mark, value) in [(labels::STOPPING, "true"), (labels::INCOMPLETE, "1")] {
        let mut marked = first.clone();
        marked.0["metadata"]["annotations"][mark] = value.into();
        let mut task = observed(vec![marked, second.clone()]);
        task.pods.remove(0);
        assert_eq!(planned(&task), "nothing", "{mark}");
    }
}

#[test]
fn the_last_attempt_decides() {
    let policy = json!({"max_restarts_on_errors": 2});
    let attempt = |number: u32, errors: u32, end: &Value| {
        let (mut job, mut pod) = node(1, 0, &policy, end);
        let restarts = json!({"cause": "exit code 3", "after_errors": errors, "times": []});
        for object in [&mut job, &mut pod] {
            object["metadata"]["labels"][labels::ATTEMPT] = number.to_string().into();
            object["metadata"]["uid"] = format!("{}{number}", object["metadata"]["name"]).into();
        }
        pod["metadata"]["ownerReferences"][0]["uid"] = job["metadata"]["uid"].clone();
        job["metadata"]["annotations"][labels::RESTARTS] = restarts.to_string().into();
        (job, pod)
    };
    let task = |attempts: Vec<(Value, Value)>| {
        let mut task = observed(attempts);
        task.split_attempts();
        task
    };
    let three = [json!(3), json!(3), json!(3)];
    let [one, two, three] = [1, 2, 3].map(|number| attempt(number, number - 1, &three[0]));
    assert_eq!(planned(&task(vec![one.clone()])), "exit code 3 (1)");
    let both = task(vec![two.clone(), one.clone()]);
    assert_eq!((both.jobs[0].attempt, both.earlier[0].attempt), (2, 1));
    assert_eq!(planned(&both), "exit code 3 (2)");
    let all = task(vec![one.clone(), two.clone(), three]);
    assert_eq!(planned(&all), "nothing");
    assert!(all.has_ended() && !both.has_ended());
    let status = |task: &Observed| {
        let status = task.status("ab12cd34".parse().unwrap(), None, "default");
        let status = status.unwrap();
        let state = status.status.to_string();
        (state, status.reason.unwrap_or_default())
    };
    let state = |state: &str, reason: &str| (state.to_owned(), reason.to_owned());
    assert_eq!(
        status(&both),
        state("pending", "attempt 3 of 3 follows: exit code 3")
    );
    assert_eq!(
        status(&all),
        state("failed", "exit code 3 (attempt 3 of 3)")
    );
    let runs = task(vec![one.clone(), attempt(2, 1, &json!(null))]);
    assert_eq!(
        status(&runs),
        state("running", "attempt 2 of 3: exit code 3")
    );
    // The second one was made, and its Job is gone: somebody has deleted it.
    let mut noted = one;
    noted.0["metadata"]["annotations"][labels::ATTEMPTS] = "2".into();
    assert_eq!(planned(&task(vec![noted.clone()])), "nothing");
    let unnoted = task(vec![noted, two]);
    assert!(unnoted.unnoted_attempt().is_none() && both.unnoted_attempt().is_some());
}

#[test]
fn attempts_that_fail_at_once_come_ever_later() {
    let ago = |seconds: i64| {
        let seconds = u64::try_from(3600 * 24 - seconds).unwrap();
        let midnight: Timestamp = "2026-11-26T00:00:00".parse().unwrap();
        midnight.later(Duration::from_secs(seconds))
    };
    let after = |times: &[i64], ended: i64| {
        let times: Vec<_> = times.iter().map(|seconds| ago(*seconds)).collect();
        begins_after(&times, Some(ago(ended)), now())
    };
    assert_eq!(after(&[], 0), 0);
    assert_eq!(after(&[5], 0), 1);
    assert_eq!(after(&[9, 5], 0), 2);
    assert_eq!(after(&[9, 5], 1), 1);
    assert_eq!(after(&[9, 5], 9), 0);
    // The clock of the cluster is ahead.
    assert_eq!(after(&[9, 5], -100), 2);
    assert_eq!(after(&[30; 12], 0), 300);
    // Old restarts do not count.
    assert_eq!(after(&[4000; 20], 0), 0);
    let mut times = vec![100; 20];
    times[0] = 3000;
    assert_eq!(after(&times, 2000), 600);
    assert_eq!(begins_after(&[ago(5)], None, now()), 0);
}

/// The first Job of a second attempt of two nodes, which is being created, and the Jobs of the first attempt.
fn begun() -> Vec<Value> {
    let policy = json!({"max_restarts_on_errors": 1});
    let mut jobs: Vec<_> = [(0, 137), (1, 3), (0, 0)]
        .map(|(rank, code)| node(2, rank, &policy, &json!(code)).0)
        .into();
    for job in &mut jobs {
        job["metadata"]["annotations"][labels::COMPLETE] = "true".into();
    }
    let restarts = json!({"cause": "node-1: exit code 3", "after_errors": 1, "times": []});
    let next = &mut jobs[2];
    next["metadata"]["name"] = "job-0-try2".into();
    next["metadata"]["uid"] = "uid-0-2".into();
    next["metadata"]["labels"][labels::ATTEMPT] = "2".into();
    let annotations = &mut next["metadata"]["annotations"];
    annotations[labels::RESTARTS] = restarts.to_string().into();
    annotations[labels::COMPLETE] = "false".into();
    next["spec"]["parallelism"] = 0.into();
    next["spec"]["template"]["spec"]["subdomain"] = "task-ab12cd34-try2".into();
    next["status"] = json!({});
    jobs
}

/// The changes that a task with these Jobs leads to; `noted` is the first Job after its change.
async fn changes(jobs: Vec<Value>, noted: Value) -> Vec<String> {
    let requests = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let known = jobs.clone();
    let cluster = scripted_server::cluster(move |request| {
        let (method, name) = scripted_server::method_and_name(request);
        if method != "GET" {
            seen.lock().unwrap().push(format!("{method} {name}"));
        }
        let mut made = known[1].clone();
        made["metadata"]["name"] = "job-1-try2".into();
        made["metadata"]["uid"] = "uid-1-2".into();
        made["metadata"]["labels"][labels::ATTEMPT] = "2".into();
        made["status"] = json!({});
        let named = |job: &&Value| job["metadata"]["name"] == name;
        Some(match (method, name) {
            ("GET", "jobs" | "pods") => {
                json!({"metadata": {"resourceVersion": "1"}, "items": known}).to_string()
            }
            ("GET", _) => known.iter().find(named).unwrap().to_string(),
            ("POST", "jobs") => made.to_string(),
            ("PATCH", "job-0") => noted.to_string(),
            ("PATCH", _) => known[2].to_string(),
            _ => json!({"metadata": {"name": "x"}}).to_string(),
        })
    })
    .await;
    let live = LiveView::new(cluster);
    for job in jobs {
        let row: JobRow = from_value(job).unwrap();
        live.view.change::<JobRow, _>(|table| table.merge(row));
    }
    settle(&live, "ab12cd34".parse().unwrap()).await.unwrap();
    let requests = requests.lock().unwrap();
    requests.clone()
}

#[actix_rt::test]
async fn an_attempt_that_another_server_has_begun_is_completed() {
    let jobs = begun();
    let noted = jobs[0].clone();
    let expected = [
        "POST services",
        "POST jobs",
        "PATCH job-0",
        "PATCH job-0-try2",
    ];
    assert_eq!(changes(jobs, noted).await, expected);
}

#[actix_rt::test]
async fn an_attempt_of_a_task_that_was_stopped_meanwhile_ends() {
    let jobs = begun();
    let mut noted = jobs[0].clone();
    noted["metadata"]["annotations"][labels::STOPPING] = "true".into();
    let mut requests = changes(jobs, noted.clone()).await;
    requests[3..].sort();
    let expected = [
        "POST services",
        "POST jobs",
        "PATCH job-0",
        "DELETE job-0-try2",
        "DELETE job-1-try2",
    ];
    assert_eq!(requests, expected);
    // Where the mark is known before, nothing is created.
    let mut jobs = begun();
    jobs[0] = noted.clone();
    assert_eq!(changes(jobs, noted).await, [""; 0]);
}

#[test]
fn the_view_shows_the_last_attempt_of_a_task() {
    let view = View::default();
    let merge = |job: Value, is_deleted| {
        let row: JobRow = from_value(job).unwrap();
        let now = std::time::Instant::now();
        view.change::<JobRow, _>(|table| table.merge_event(row, is_deleted, now));
    };
    let task = || view.task("ab12cd34".parse().unwrap()).unwrap_or_default();
    let jobs = begun();
    // The last one may come first.
    for job in jobs.iter().rev() {
        merge(job.clone(), false);
    }
    let attempts = |task: &Observed| {
        let of =
            |jobs: &[Arc<JobRow>]| -> Vec<u32> { jobs.iter().map(|job| job.attempt).collect() };
        (of(&task.jobs), of(&task.earlier))
    };
    assert_eq!(attempts(&task()), (vec![2], vec![1, 1]));
    assert_eq!(attempts(&task().of_attempt(1)), (vec![1, 1], vec![]));
    let gone = |mut job: Value| {
        job["metadata"]["resourceVersion"] = "2".into();
        merge(job, true);
    };
    gone(jobs[2].clone());
    assert_eq!(attempts(&task()), (vec![1, 1], vec![]));
    gone(jobs[0].clone());
    gone(jobs[1].clone());
    assert_eq!(attempts(&task()), (vec![], vec![]));
}
