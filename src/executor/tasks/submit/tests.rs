use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{SubmitFlags, TaskDefinition},
    executor::{
        objects::PodRules,
        scripted_server,
        tasks::{
            keyed::random_origin,
            prepare::{Rules, prepare},
        },
    },
};

/// Submits a task of two nodes to a server that answers each POST as `script` says, and lists the Jobs that it has created and not
/// deleted; returns the error, and the methods and last path segments of the requests.
async fn submitted(
    mut script: impl FnMut(usize) -> Option<Value> + Send + 'static,
) -> (Error, Vec<String>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (seen, mut posts, mut jobs) = (requests.clone(), 0, Vec::new());
    let base = Arc::new(Mutex::new(String::new()));
    let of_task = base.clone();
    let cluster = scripted_server::cluster(move |request| {
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.split([' ', '?']).next().unwrap();
        let name = path.rsplit('/').next().unwrap();
        let base = of_task.lock().unwrap().clone();
        let shown = name.replace(&base, "job");
        seen.lock().unwrap().push(format!("{method} {shown}"));
        let answer = match method {
            "POST" => {
                posts += 1;
                script(posts).unwrap_or_else(|| {
                    let job = json!({"metadata": {
                        "name": format!("{base}-node-{}", posts / 2), "uid": format!("uid-{posts}"), "resourceVersion": posts.to_string(),
                    }});
                    jobs.push(job.clone());
                    job
                })
            }
            "DELETE" => {
                jobs.retain(|job| job["metadata"]["name"] != name);
                json!({"kind": "Status", "status": "Success"})
            }
            _ => {
                let mut items = jobs.clone();
                // The id of the task is random, so it is taken from the question.
                let id = request.split("task-id%3D").nth(1).unwrap_or_default();
                for item in &mut items {
                    item["metadata"]["labels"] = json!({"task-id": &id[..8.min(id.len())]});
                }
                json!({"metadata": {"resourceVersion": "9"}, "items": items})
            }
        };
        Some(answer.to_string())
    })
    .await;
    let live = LiveView::new(cluster);
    let task = TaskDefinition::from_json(&json!({"num_nodes": 2, "run": "true"})).unwrap();
    let user = "ada".parse().unwrap();
    let rules = Rules {
        pods: &PodRules::default(),
        reserved_claim: None,
    };
    let prepared = prepare(
        &live,
        &user,
        random_origin(),
        task,
        SubmitFlags::default(),
        None,
        rules,
    )
    .await;
    let (submission, first) = prepared.unwrap();
    *base.lock().unwrap() = names::job_name(&submission.task, submission.id);
    let submitted = submit(&live, &Arc::default(), submission, first, None, None).await;
    let error = submitted.unwrap_err();
    let requests = requests.lock().unwrap().clone();
    (error, requests)
}

fn refusal(code: u16, message: &str) -> Option<Value> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "message": message,
        "reason": "Refused",
    });
    Some(status)
}

#[actix_rt::test]
async fn a_refused_first_job_leaves_nothing_to_roll_back() {
    let (error, requests) = submitted(|_| refusal(401, "Unauthorized")).await;
    assert!(error.to_string().ends_with("says: Unauthorized"), "{error}");
    assert_eq!(requests, ["POST jobs"]);
}

#[actix_rt::test]
async fn a_refused_object_rolls_the_task_back() {
    // The first Job, the Service, and the second Job.
    let script = |post| {
        if post == 3 {
            refusal(403, "exceeded quota")
        } else {
            None
        }
    };
    let (error, requests) = submitted(script).await;
    assert!(
        error.to_string().ends_with("says: exceeded quota"),
        "{error}"
    );
    let expected = [
        "POST jobs",
        "POST services",
        "POST jobs",
        "GET jobs",
        "DELETE job-node-0",
    ];
    assert_eq!(requests[..5], expected);
    assert_eq!(requests.last().unwrap(), "GET jobs");
}

#[actix_rt::test]
async fn a_warning_of_kubernetes_reaches_the_user() {
    let cluster = scripted_server::cluster(|request| {
        assert!(request.starts_with("POST "), "{request}");
        let job = json!({"metadata": {"name": "job-1", "uid": "uid-1", "resourceVersion": "1"}});
        let warning = "would violate PodSecurity \\\"restricted:latest\\\"";
        Some(format!("Warning: 299 - \"{warning}\"\n\n{job}"))
    })
    .await;
    let live = LiveView::new(cluster);
    let task = TaskDefinition::from_json(&json!({"run": "true"})).unwrap();
    let user = "ada".parse().unwrap();
    let rules = Rules {
        pods: &PodRules::default(),
        reserved_claim: None,
    };
    let prepared = prepare(
        &live,
        &user,
        random_origin(),
        task,
        SubmitFlags::default(),
        None,
        rules,
    )
    .await;
    let (submission, first) = prepared.unwrap();
    let answer = submit(&live, &Arc::default(), submission, first, None, None).await;
    let warnings = answer.unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "Kubernetes warns: would violate PodSecurity \"restricted:latest\": the administrator can start the server with `serve \
          --pod-security restricted`"
        ]
    );
}
