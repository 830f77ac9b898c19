//! The plan for a Job: its next status and the pods to create or delete, from the Job, its pods and the time.
//!
//! Pure. It follows Kubernetes, `pkg/controller/job/job_controller.go`, v1.36, and its two steps. First the status lists a finished
//! pod as uncounted, with an interim condition. When the finalizer of the pod is gone, the status counts it, with the final
//! condition.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::sandbox::objects::{
    clock,
    object::{elements, text},
};

/// The finalizer that keeps a pod until its Job has counted it.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// The next step for a Job.
#[derive(Debug, Default)]
pub struct JobPlan {
    /// The status to write first.
    pub status: Value,
    pub create: usize,
    /// Names of pods to delete.
    pub delete: Vec<String>,
    /// Names of pods that lose their finalizer.
    pub release: Vec<String>,
    /// The time of the next plan if nothing changes before.
    pub wake: Option<Timestamp>,
    /// Whether the Job has ended.
    pub finished: bool,
}

/// The condition of that type, if it is true.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    elements(&status["conditions"])
        .iter()
        .find(|condition| text(&condition["type"]) == kind && text(&condition["status"]) == "True")
}

/// Plans the first step.
pub fn plan(job: &Value, pods: &[Value], now: Timestamp) -> JobPlan {
    let (spec, old) = (&job["spec"], &job["status"]);
    let mut plan = JobPlan {
        status: old.clone(),
        ..JobPlan::default()
    };
    if condition(old, "Complete")
        .or(condition(old, "Failed"))
        .is_some()
    {
        plan.finished = true;
        plan.release = pods
            .iter()
            .filter(|pod| is_tracked(pod))
            .map(pod_name)
            .collect();
        return plan;
    }
    let mut uncounted = (uids(old, "succeeded"), uids(old, "failed"));
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = text(&pod["metadata"]["uid"]).to_owned();
        if uncounted.0.contains(&uid) || uncounted.1.contains(&uid) {
            plan.release.push(pod_name(pod));
        } else if phase(pod) == "Succeeded" {
            uncounted.0.push(uid);
            plan.release.push(pod_name(pod));
        } else if phase(pod) == "Failed"
            || is_leaving(pod) && text(&pod["spec"]["nodeName"]).is_empty()
        {
            uncounted.1.push(uid);
            plan.release.push(pod_name(pod));
        }
    }
    let succeeded = count(old, "succeeded") + uncounted.0.len();
    let failed = count(old, "failed") + uncounted.1.len();
    let active: Vec<&Value> = pods
        .iter()
        .filter(|pod| !is_done(pod) && !is_leaving(pod))
        .collect();
    let leaving = pods
        .iter()
        .filter(|pod| !is_done(pod) && is_leaving(pod))
        .count();
    let ready = active.iter().filter(|pod| is_ready(pod)).count();
    let suspend = spec["suspend"] == true;
    let conclusion = conclude(spec, old, succeeded, failed, active.len(), now);
    let status = &mut plan.status;
    if let Some((kind, reason, message)) = &conclusion {
        add_condition(status, kind, reason, message, now);
    }
    let mut num_active = active.len();
    let mut num_leaving = leaving;
    if conclusion.is_some() || suspend {
        plan.delete = active.iter().map(|pod| pod_name(pod)).collect();
        num_leaving += num_active;
        num_active = 0;
    } else {
        let failures = failed.saturating_sub(count(old, "failed"));
        let retry_at = retry_time(pods, failed);
        plan.create = wanted(spec, succeeded).saturating_sub(num_active + leaving);
        if let Some(retry_at) =
            retry_at.filter(|retry_at| *retry_at > now && (failures > 0 || failed > 0))
        {
            plan.create = 0;
            plan.wake = Some(retry_at);
        }
        num_active += plan.create;
    }
    set_suspended(status, suspend, now);
    if suspend {
        remove(status, "startTime");
    } else if conclusion.is_none() && status["startTime"].is_null() {
        status["startTime"] = json!(clock::seconds(now));
    }
    if let Some(deadline) = deadline(spec, status).filter(|_| conclusion.is_none() && !suspend) {
        plan.wake = Some(plan.wake.map_or(deadline, |wake| wake.min(deadline)));
    }
    set_count(&mut plan.status, "active", num_active);
    plan.status["terminating"] = json!(num_leaving);
    plan.status["ready"] = json!(ready.min(num_active));
    let mut lists = json!({});
    for (field, uids) in [("succeeded", uncounted.0), ("failed", uncounted.1)] {
        if !uids.is_empty() {
            lists[field] = json!(uids);
        }
    }
    plan.status["uncountedTerminatedPods"] = lists;
    plan
}

/// The second step: counts the uncounted pods and, if no pod is left, sets the final condition.
pub fn settle(status: &mut Value, now: Timestamp) {
    for field in ["succeeded", "failed"] {
        let total = count(status, field) + uids(status, field).len();
        set_count(status, field, total);
    }
    status["uncountedTerminatedPods"] = json!({});
    let waits = count(status, "active") + count(status, "terminating") > 0;
    for (interim, last) in [
        ("SuccessCriteriaMet", "Complete"),
        ("FailureTarget", "Failed"),
    ] {
        let Some(found) = condition(status, interim).cloned().filter(|_| !waits) else {
            continue;
        };
        let (reason, message) = (text(&found["reason"]), text(&found["message"]));
        add_condition(status, last, reason, message, now);
        if last == "Complete" {
            status["completionTime"] = json!(clock::seconds(now));
        }
    }
}

fn conclude(
    spec: &Value,
    old: &Value,
    succeeded: usize,
    failed: usize,
    active: usize,
    now: Timestamp,
) -> Option<(&'static str, String, String)> {
    let conclusion =
        |kind, reason: &str, message: &str| Some((kind, reason.to_owned(), message.to_owned()));
    for kind in ["SuccessCriteriaMet", "FailureTarget"] {
        if let Some(found) = condition(old, kind) {
            return conclusion(kind, text(&found["reason"]), text(&found["message"]));
        }
    }
    let failure = |reason, message| conclusion("FailureTarget", reason, message);
    let limit = spec["backoffLimit"]
        .as_u64()
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(6);
    if failed > limit {
        let message = "Job has reached the specified backoff limit";
        return failure("BackoffLimitExceeded", message);
    }
    if spec["suspend"] != true && deadline(spec, old).is_some_and(|deadline| deadline <= now) {
        let message = "Job was active longer than specified deadline";
        return failure("DeadlineExceeded", message);
    }
    let reached = match spec["completions"].as_u64() {
        Some(completions) => succeeded as u64 >= completions,
        None => succeeded > 0 && active == 0,
    };
    if reached {
        let message = "Reached expected number of succeeded pods";
        return conclusion("SuccessCriteriaMet", "CompletionsReached", message);
    }
    None
}

/// The number of pods that should run.
fn wanted(spec: &Value, succeeded: usize) -> usize {
    let parallelism = spec["parallelism"].as_u64().unwrap_or(1);
    let wanted = match spec["completions"].as_u64() {
        Some(completions) => parallelism.min(completions.saturating_sub(succeeded as u64)),
        None if succeeded > 0 => 0,
        None => parallelism,
    };
    usize::try_from(wanted).unwrap_or(usize::MAX)
}

fn deadline(spec: &Value, status: &Value) -> Option<Timestamp> {
    let start = clock::parse(text(&status["startTime"]))?;
    let seconds = spec["activeDeadlineSeconds"].as_i64()?;
    Some(clock::after(start, seconds))
}

/// The pause before a failed pod is replaced: 10 s, then 20 s, and so on up to 10 minutes.
fn retry_time(pods: &[Value], failed: usize) -> Option<Timestamp> {
    let ends = pods
        .iter()
        .filter(|pod| phase(pod) == "Failed")
        .filter_map(|pod| {
            let containers = elements(&pod["status"]["containerStatuses"]);
            containers
                .iter()
                .filter_map(|one| clock::parse(text(&one["state"]["terminated"]["finishedAt"])))
                .max()
        });
    let doublings = u32::try_from(failed.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(6);
    let delay = (10_i64 << doublings).min(600);
    Some(clock::after(ends.max()?, delay))
}

fn set_suspended(status: &mut Value, suspend: bool, now: Timestamp) {
    let suspended = condition(status, "Suspended").is_some();
    if suspend && !suspended {
        remove_condition(status, "Suspended");
        add_condition(status, "Suspended", "JobSuspended", "Job suspended", now);
    } else if !suspend && suspended {
        remove_condition(status, "Suspended");
        add_condition(status, "Suspended", "JobResumed", "Job resumed", now);
        if let Some(last) = status["conditions"]
            .as_array_mut()
            .and_then(|list| list.last_mut())
        {
            last["status"] = json!("False");
        }
    }
}

fn add_condition(status: &mut Value, kind: &str, reason: &str, message: &str, now: Timestamp) {
    if condition(status, kind).is_some() {
        return;
    }
    let now = clock::seconds(now);
    let mut conditions = elements(&status["conditions"]).to_vec();
    conditions.push(json!({
        "type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now, "reason": reason,
        "message": message,
    }));
    status["conditions"] = json!(conditions);
}

fn remove_condition(status: &mut Value, kind: &str) {
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|condition| text(&condition["type"]) != kind);
    }
}

fn uids(status: &Value, field: &str) -> Vec<String> {
    elements(&status["uncountedTerminatedPods"][field])
        .iter()
        .map(|uid| text(uid).to_owned())
        .collect()
}

fn count(status: &Value, field: &str) -> usize {
    status[field]
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(0)
}

fn set_count(status: &mut Value, field: &str, count: usize) {
    if count == 0 {
        return remove(status, field);
    }
    status[field] = json!(count);
}

fn remove(status: &mut Value, field: &str) {
    if let Some(map) = status.as_object_mut() {
        map.remove(field);
    }
}

fn phase(pod: &Value) -> &str {
    text(&pod["status"]["phase"])
}

fn pod_name(pod: &Value) -> String {
    text(&pod["metadata"]["name"]).to_owned()
}

fn is_done(pod: &Value) -> bool {
    // Only the finalizer holds up the deletion of a pod that never ran.
    matches!(phase(pod), "Succeeded" | "Failed")
        || is_leaving(pod) && text(&pod["spec"]["nodeName"]).is_empty()
}

fn is_leaving(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_tracked(pod: &Value) -> bool {
    elements(&pod["metadata"]["finalizers"])
        .iter()
        .any(|name| text(name) == TRACKING)
}

fn is_ready(pod: &Value) -> bool {
    condition(&pod["status"], "Ready").is_some()
}
