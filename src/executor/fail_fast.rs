//! When a node of a task fails, the others are stopped at once: they would wait for it for as long as they are let.
//!
//! What they have printed stays readable, so their Jobs are not deleted: a pod that has started is given a deadline that has
//! passed already, which its kubelet enforces. A pod that has not started never would notice; there the Job is given
//! the deadline. Both say in an annotation whose failure it was. Nothing is remembered that the cluster does not know: a server
//! that starts finds what another one has left to do.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Debug,
    pin::pin,
};

use futures::StreamExt;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, WatchEvent},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    CONCURRENCY, Executor, PAGE, Result, call, labels, list, observe,
    status::{self, Observed, condition, pods_of, rank},
};
use crate::api::{Backoff, TaskId};

/// How many failed tasks are remembered, so that a Job that is created after the failure of another is stopped too.
const REMEMBERED: usize = 10_000;

impl Executor {
    /// Stops the other nodes of every task of which one fails, now and from now on.
    pub async fn fail_fast(&self) {
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            if let Err(error) = self.watch_failures(&mut backoff).await {
                let error = error.to_string();
                if error != told {
                    log::warn!(
                        "the other nodes of tasks that fail are not stopped for now: {error}"
                    );
                    told = error;
                }
            }
            sleep(backoff.next(rand::random())).await;
        }
    }

    /// Lists all Jobs, then watches them; returns when they have to be listed again.
    async fn watch_failures(&self, backoff: &mut Backoff) -> Result<()> {
        let selector = format!("{}=true", labels::TASK);
        let (mut failed, mut version) = self.failed_tasks(&selector).await?;
        let unfinished = failed.iter().filter(|(_, is_over)| !**is_over);
        let mut stopped = Ok(());
        for (id, _) in unfinished {
            stopped = self.stop_others(id).await.and(stopped);
        }
        stopped?;
        *backoff = Backoff::default();
        let jobs = self.jobs();
        loop {
            let mut events = pin!(observe::events(&jobs, &selector, &version).await?);
            while let Ok(Some(event)) = timeout(observe::WATCH, events.next()).await {
                let (job, is_new) = match event {
                    Ok(WatchEvent::Added(job)) => (job, true),
                    Ok(WatchEvent::Modified(job)) => (job, false),
                    Ok(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_)) => continue,
                    // The version is too old, as a rule.
                    Ok(WatchEvent::Error(_)) => return Ok(()),
                    Err(_) => break,
                };
                if let Some(newer) = &job.metadata.resource_version {
                    version.clone_from(newer);
                }
                let Some(id) = task_of(&job) else { continue };
                let is_known = failed.contains_key(&id);
                let is_news = match condition(&job) {
                    Some(end) => end.type_ == "Failed" && !is_known,
                    // It was still to be created when another failed.
                    None => is_new && is_known,
                };
                if is_news {
                    self.stop_others(&id).await?;
                    if failed.len() == REMEMBERED {
                        failed.clear();
                    }
                    failed.insert(id, true);
                }
            }
        }
    }

    /// The tasks of which a node has failed, and whether no other goes on.
    async fn failed_tasks(&self, selector: &str) -> Result<(HashMap<TaskId, bool>, String)> {
        let (mut failed, mut unfinished) = (HashMap::new(), HashSet::new());
        // Page by page: all Jobs of a large cluster at once would be many.
        let mut page = ListParams::default().labels(selector).limit(PAGE);
        let version = loop {
            let list = call("list Jobs", self.jobs().list(&page)).await?;
            for job in &list.items {
                let Some(id) = task_of(job) else { continue };
                match condition(job) {
                    Some(end) if end.type_ == "Failed" => drop(failed.insert(id, true)),
                    Some(_) => (),
                    None => drop(unfinished.insert(id)),
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break list.metadata.resource_version.unwrap_or_default(),
            }
        };
        for (id, is_over) in &mut failed {
            *is_over = !unfinished.contains(id);
        }
        Ok((failed, version))
    }

    /// Stops what still goes on of a task of which a node has failed.
    async fn stop_others(&self, id: &TaskId) -> Result<()> {
        let params = ListParams::default().labels(&labels::task_selector(id));
        let (jobs, pods) = (self.jobs(), self.pods());
        let (observed_jobs, observed_pods) = futures::try_join!(
            list(&jobs, params.clone(), "Jobs"),
            list(&pods, params, "pods")
        )?;
        let observed = Observed {
            jobs: observed_jobs.0,
            pods: observed_pods.0,
            events: Vec::new(),
        };
        let Some(plan) = plan(&observed) else {
            return Ok(());
        };
        let Plan { first, victims } = plan;
        if !victims.is_empty() {
            log::info!(
                "task stopped after a failure task_id={id} failed_node={first} stopped_nodes={}",
                victims.len()
            );
        }
        let stops = victims.into_iter().map(|victim| async {
            match victim {
                Victim::Pod(name) => stop(&pods, "pod", &name, first).await,
                Victim::Job(name) => stop(&jobs, "Job", &name, first).await,
            }
        });
        let results: Vec<_> = futures::stream::iter(stops)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        results.into_iter().collect()
    }
}

/// The task that a Job belongs to, if the failure of a node is to end it.
fn task_of(job: &Job) -> Option<TaskId> {
    let meta = &job.metadata;
    let num_nodes = labels::annotation(meta, labels::NUM_NODES)?
        .parse::<u32>()
        .ok()?;
    let is_kept = labels::annotation(meta, labels::FAIL_FAST).is_some_and(|value| value == "false");
    if num_nodes < 2 || is_kept || meta.deletion_timestamp.is_some() {
        return None;
    }
    labels::label(meta, labels::TASK_ID)?.parse().ok()
}

/// What is to be done about a failure.
#[derive(Debug, PartialEq)]
struct Plan {
    /// The rank of the node that failed first.
    first: u32,
    victims: Vec<Victim>,
}

/// Who is to have no time left.
#[derive(Debug, PartialEq)]
enum Victim {
    Pod(String),
    Job(String),
}

/// Whom to stop of a task; none if no node has failed.
fn plan(observed: &Observed) -> Option<Plan> {
    let jobs = observed.jobs.iter().filter(|job| task_of(job).is_some());
    let (ended, unfinished): (Vec<_>, Vec<_>) = jobs.partition(|job| condition(job).is_some());
    let failures = ended.into_iter().filter_map(|job| {
        let end = condition(job).filter(|end| end.type_ == "Failed")?;
        let moment = end.last_transition_time.as_ref().map(|time| time.0);
        let pods = pods_of(job, &observed.pods);
        // Those that were stopped have failed too.
        let own = status::stopped_after(job, pods.last().copied()).is_none();
        own.then(|| (moment, rank(job)))
    });
    let (_, first) = failures.min()?;
    let victims = unfinished.into_iter().filter_map(|job| {
        let pods = pods_of(job, &observed.pods);
        let pod = pods.last().copied();
        if status::stopped_after(job, pod).is_some() {
            return None;
        }
        Some(match pod.filter(|pod| has_started(pod)) {
            Some(pod) => Victim::Pod(pod.metadata.name.clone()?),
            None => Victim::Job(job.metadata.name.clone()?),
        })
    });
    Some(Plan {
        first,
        victims: victims.collect(),
    })
}

/// Whether a kubelet has taken notice of a pod. From then on it counts the pod's time.
fn has_started(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.is_some_and(|status| status.start_time.is_some())
}

/// Gives a pod or a Job a deadline that has passed already, or passes in a second. It may be gone, too.
async fn stop<K>(api: &Api<K>, kind: &str, name: &str, first: u32) -> Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let annotations = BTreeMap::from([(labels::STOPPED_AFTER, first.to_string())]);
    let patch = Patch::Merge(json!({
        "metadata": { "annotations": annotations },
        "spec": { "activeDeadlineSeconds": 1 },
    }));
    let patched = async {
        match api.patch(name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            answer => answer.map(drop),
        }
    };
    call(format!("stop {kind} `{name}`"), patched).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value};

    use super::*;

    fn job(rank: u32, end: Option<(&str, &str)>) -> Job {
        let conditions: Vec<Value> = end
            .iter()
            .map(|(kind, time)| {
                json!({ "type": kind, "status": "True", "lastTransitionTime": format!("2026-01-02T03:04:{time}Z") })
            })
            .collect();
        let job = json!({
            "metadata": {
                "name": format!("job-{rank}"),
                "uid": format!("uid-{rank}"),
                "labels": { "task-id": "ab12cd34", "node-idx": rank.to_string() },
                "annotations": { "num-nodes": "4" },
            },
            "status": { "conditions": conditions },
        });
        from_value(job).unwrap()
    }

    fn pod(rank: u32, start: Option<&str>) -> Pod {
        let pod = json!({
            "metadata": {
                "name": format!("pod-{rank}"),
                "ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": format!("uid-{rank}"), "controller": true,
                }],
            },
            "status": { "startTime": start },
        });
        from_value(pod).unwrap()
    }

    fn four() -> Observed {
        Observed {
            jobs: vec![
                job(0, None),
                job(1, Some(("Failed", "07"))),
                job(2, Some(("Failed", "06"))),
                job(3, None),
            ],
            pods: vec![pod(0, Some("2026-01-02T03:04:05Z")), pod(3, None)],
            events: Vec::new(),
        }
    }

    #[test]
    fn what_goes_on_is_stopped_after_the_first_that_failed() {
        let victims = vec![
            Victim::Pod("pod-0".to_owned()),
            Victim::Job("job-3".to_owned()),
        ];
        assert_eq!(plan(&four()), Some(Plan { first: 2, victims }));
    }

    #[test]
    fn what_was_stopped_is_not_stopped_again_and_has_not_failed_first() {
        let mut observed = four();
        let mark = |annotations: &mut Option<BTreeMap<String, String>>| {
            let annotations = annotations.get_or_insert_default();
            annotations.insert(labels::STOPPED_AFTER.to_owned(), "1".to_owned());
        };
        mark(&mut observed.pods[0].metadata.annotations);
        mark(&mut observed.jobs[2].metadata.annotations);
        mark(&mut observed.jobs[3].metadata.annotations);
        assert_eq!(
            plan(&observed),
            Some(Plan {
                first: 1,
                victims: vec![]
            })
        );
    }

    #[test]
    fn nothing_is_stopped_without_a_failure_or_when_the_user_says_so() {
        let mut observed = four();
        observed.jobs.retain(|job| condition(job).is_none());
        assert_eq!(plan(&observed), None);
        let mut observed = four();
        for job in &mut observed.jobs {
            let annotations = job.metadata.annotations.get_or_insert_default();
            annotations.insert(labels::FAIL_FAST.to_owned(), "false".to_owned());
        }
        assert_eq!(plan(&observed), None);
    }
}
