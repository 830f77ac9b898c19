//! The plan for a Job: its next status and the pods to create or delete, from the Job, its pods and the time.
//!
//! Pure. It follows Kubernetes, `pkg/controller/job/job_controller.go`, v1.36, and its two steps. First the status lists a finished
//! pod as uncounted, with an interim condition. When the finalizer of the pod is gone, the status counts it, with the final
//! condition. Success policies and limits for each index are not here.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{indexes, policy};
use crate::sandbox::objects::{
    clock,
    object::{elements, text},
};

/// The finalizer that keeps a pod until its Job has counted it.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// The first and the longest pause before a failed pod is replaced.
const FIRST_BACKOFF_SECONDS: i64 = 10;
const LONGEST_BACKOFF_SECONDS: i64 = 600;

/// The next step for a Job.
#[derive(Debug, Default)]
pub struct JobPlan {
    /// The status to write first.
    pub status: Value,
    /// The pods to create, each with its completion index.
    pub create: Vec<Option<u64>>,
    /// Names of pods to delete.
    pub delete: Vec<String>,
    /// Whether these pods do not count as failures.
    pub spare: bool,
    /// Names of pods that lose their finalizer.
    pub release: Vec<String>,
    /// The time of the next plan if nothing changes before.
    pub wake: Option<Timestamp>,
    pub backoff: Backoff,
    /// Whether the Job has ended.
    pub finished: bool,
}

/// The failures of a Job since its last success, and the time of the last one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
    last: Option<Timestamp>,
}

/// The pods of a Job, as its controller counts them.
struct Census<'a> {
    spec: &'a Value,
    /// The pods that no status lists yet.
    fresh: Vec<&'a Value>,
    active: Vec<&'a Value>,
    leaving: usize,
    succeeded: usize,
    failed: usize,
    /// The completion indexes that have succeeded.
    completed: BTreeSet<u64>,
}

/// The condition of that type, if it is true.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    elements(&status["conditions"])
        .iter()
        .find(|condition| text(&condition["type"]) == kind && text(&condition["status"]) == "True")
}

/// Plans the first step.
pub fn plan(job: &Value, pods: &[Value], backoff: Backoff, now: Timestamp) -> JobPlan {
    let (spec, old) = (&job["spec"], &job["status"]);
    let mut plan = JobPlan {
        status: old.clone(),
        backoff,
        ..JobPlan::default()
    };
    let tracked = pods.iter().filter(|pod| is_tracked(pod));
    if ["Complete", "Failed"].map(|kind| condition(old, kind)) != [None, None] {
        plan.finished = true;
        plan.release = tracked.map(pod_name).collect();
        return plan;
    }
    let census = Census::take(spec, old, pods);
    plan.backoff.note(&census, now);
    let suspend = spec["suspend"] == true;
    let conclusion = conclude(&census, old, pods, now);
    let is_failure = conclusion
        .as_ref()
        .is_some_and(|(kind, ..)| *kind != SUCCESS);
    if let Some((kind, reason, message)) = &conclusion {
        set_condition(&mut plan.status, kind, true, reason, message, now);
        plan.delete = census.active.iter().map(|pod| pod_name(pod)).collect();
    } else if job["metadata"]["deletionTimestamp"].is_null() {
        manage(&mut plan, &census, now);
        let (reason, message) = match suspend {
            true => ("JobSuspended", "Job suspended"),
            false => ("JobResumed", "Job resumed"),
        };
        set_condition(&mut plan.status, "Suspended", suspend, reason, message, now);
    }
    let mut lists = [uids(old, "succeeded"), uids(old, "failed")];
    for pod in tracked {
        let uid = text(&pod["metadata"]["uid"]).to_owned();
        let is_fresh = census.fresh.iter().any(|fresh| std::ptr::eq(*fresh, pod));
        let failed = census.is_failed(pod);
        let succeeded = phase(pod) == "Succeeded";
        let counts = || policy::action(spec, pod).is_none_or(|(action, _)| action != "Ignore");
        if is_fresh && succeeded && !census.is_indexed() {
            lists[0].push(uid);
        } else if is_fresh && !succeeded && (failed || is_failure) && counts() {
            lists[1].push(uid);
        }
        let leaves = !job["metadata"]["deletionTimestamp"].is_null();
        if !is_fresh || succeeded || failed || conclusion.is_some() || leaves {
            plan.release.push(pod_name(pod));
        }
    }
    let status = &mut plan.status;
    if suspend && conclusion.is_none() {
        remove(status, "startTime");
    } else if status["startTime"].is_null() {
        status["startTime"] = json!(clock::seconds(now));
    }
    if let Some(deadline) = deadline(spec, status).filter(|_| conclusion.is_none() && !suspend) {
        plan.wake = Some(plan.wake.map_or(deadline, |wake| wake.min(deadline)));
    }
    let stays = |pod: &&&Value| !plan.delete.contains(&pod_name(pod));
    let ready = census
        .active
        .iter()
        .filter(stays)
        .filter(|pod| is_ready(pod));
    status["ready"] = json!(ready.count());
    let active = census.active.len() - plan.delete.len() + plan.create.len();
    set_count(status, "active", active);
    status["terminating"] = json!(census.leaving + plan.delete.len());
    status["uncountedTerminatedPods"] = json!({});
    for (field, uids) in ["succeeded", "failed"].into_iter().zip(lists) {
        if !uids.is_empty() {
            status["uncountedTerminatedPods"][field] = json!(uids);
        }
    }
    if census.is_indexed() && !census.completed.is_empty() {
        status["completedIndexes"] = json!(indexes::write(&census.completed));
        status["succeeded"] = json!(census.succeeded);
    }
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
    for (interim, last) in [(SUCCESS, "Complete"), (FAILURE, "Failed")] {
        let Some(found) = condition(status, interim).cloned().filter(|_| !waits) else {
            continue;
        };
        let (reason, message) = (text(&found["reason"]), text(&found["message"]));
        set_condition(status, last, true, reason, message, now);
        if last == "Complete" {
            status["completionTime"] = json!(clock::seconds(now));
        }
    }
}

const SUCCESS: &str = "SuccessCriteriaMet";
const FAILURE: &str = "FailureTarget";

impl<'a> Census<'a> {
    fn take(spec: &'a Value, old: &Value, pods: &'a [Value]) -> Self {
        let listed = [uids(old, "succeeded"), uids(old, "failed")];
        let is_listed = |pod: &Value| {
            listed
                .iter()
                .flatten()
                .any(|uid| pod["metadata"]["uid"] == **uid)
        };
        let is_done = |pod: &Value| is_terminal(pod) || is_leaving(pod) && is_unplaced(pod);
        let mut census = Self {
            spec,
            fresh: pods
                .iter()
                .filter(|pod| is_tracked(pod) && !is_listed(pod))
                .collect(),
            active: pods
                .iter()
                .filter(|pod| !is_terminal(pod) && !is_leaving(pod))
                .collect(),
            leaving: pods
                .iter()
                .filter(|pod| !is_done(pod) && is_leaving(pod))
                .count(),
            succeeded: count(old, "succeeded") + listed[0].len(),
            failed: count(old, "failed") + listed[1].len(),
            completed: indexes::read(text(&old["completedIndexes"])),
        };
        let counts =
            |pod: &&&Value| policy::action(spec, pod).is_none_or(|(action, _)| action != "Ignore");
        census.failed += census.failures().filter(|pod| counts(pod)).count();
        let successes = census.fresh.iter().filter(|pod| phase(pod) == "Succeeded");
        if census.is_indexed() {
            let indexes: Vec<u64> = successes.filter_map(|pod| indexes::of(pod)).collect();
            census.completed.extend(indexes);
            census.succeeded = census.completed.len();
        } else {
            census.succeeded += successes.count();
        }
        census
    }

    fn is_indexed(&self) -> bool {
        self.spec["completionMode"] == "Indexed"
    }

    /// Whether a failed pod is replaced only when its processes have ended.
    fn replaces_late(&self) -> bool {
        self.spec["podReplacementPolicy"] == "Failed"
    }

    /// Whether a pod counts as failed: a deleted one does at once.
    fn is_failed(&self, pod: &Value) -> bool {
        let is_lost = is_leaving(pod) && (!self.replaces_late() || is_unplaced(pod));
        phase(pod) == "Failed" || is_lost && phase(pod) != "Succeeded"
    }

    fn failures(&self) -> impl Iterator<Item = &&'a Value> {
        self.fresh.iter().filter(|pod| self.is_failed(pod))
    }

    /// The number of pods that should run.
    fn wanted(&self) -> usize {
        let parallelism = size(&self.spec["parallelism"], 1);
        match self.spec["completions"].as_u64() {
            Some(_) => {
                parallelism.min(size(&self.spec["completions"], 0).saturating_sub(self.succeeded))
            }
            None if self.succeeded > 0 => self.active.len(),
            None => parallelism,
        }
    }
}

impl Backoff {
    fn note(&mut self, census: &Census<'_>, now: Timestamp) {
        let successes = census.fresh.iter().filter(|pod| phase(pod) == "Succeeded");
        let success = successes.map(|pod| finished_at(pod, now)).max();
        if success.is_some() {
            *self = Self::default();
        }
        for failure in census.failures().map(|pod| finished_at(pod, now)) {
            if success.is_none_or(|success| failure > success) {
                self.failures += 1;
                self.last = self.last.max(Some(failure));
            }
        }
    }

    /// The time before which no pod is created: 10 s after a failure, then 20 s, and so on up to 10 minutes.
    fn end(self) -> Option<Timestamp> {
        let doublings = self.failures.saturating_sub(1).min(6);
        let delay = (FIRST_BACKOFF_SECONDS << doublings).min(LONGEST_BACKOFF_SECONDS);
        Some(clock::after(self.last?, delay))
    }
}

/// Plans the pods to create or to delete.
fn manage(plan: &mut JobPlan, census: &Census<'_>, now: Timestamp) {
    let active = census.active.len();
    let wanted = match census.spec["suspend"] == true {
        true => 0,
        false => census.wanted(),
    };
    if active > wanted {
        let mut surplus = census.active.clone();
        surplus.sort_by_key(|pod| is_ready(pod));
        surplus.truncate(active - wanted);
        plan.delete = surplus.into_iter().map(pod_name).collect();
        plan.spare = true;
        return;
    }
    let waits = if census.replaces_late() {
        census.leaving
    } else {
        0
    };
    let missing = wanted.saturating_sub(active + waits);
    if missing == 0 {
        return;
    }
    if let Some(end) = plan.backoff.end().filter(|end| *end > now) {
        plan.wake = Some(end);
        return;
    }
    plan.create = vec![None; missing];
    if census.is_indexed() {
        let used: BTreeSet<u64> = census
            .active
            .iter()
            .filter_map(|pod| indexes::of(pod))
            .collect();
        let all = 0..census.spec["completions"].as_u64().unwrap_or(0);
        let free = all.filter(|index| !used.contains(index) && !census.completed.contains(index));
        plan.create = free.take(missing).map(Some).collect();
    }
}

/// The interim condition of a Job that is about to end: type, reason and message.
fn conclude(
    census: &Census<'_>,
    old: &Value,
    pods: &[Value],
    now: Timestamp,
) -> Option<(&'static str, String, String)> {
    let conclusion =
        |kind, reason: &str, message: &str| Some((kind, reason.to_owned(), message.to_owned()));
    for kind in [SUCCESS, FAILURE] {
        if let Some(found) = condition(old, kind) {
            return conclusion(kind, text(&found["reason"]), text(&found["message"]));
        }
    }
    let spec = census.spec;
    let failed = pods.iter().filter(|pod| census.is_failed(pod));
    let mut actions = failed.filter_map(|pod| policy::action(spec, pod));
    if let Some((_, message)) = actions.find(|(action, _)| *action == "FailJob") {
        return conclusion(FAILURE, "PodFailurePolicy", &message);
    }
    let limit = size(&spec["backoffLimit"], 6);
    let restarts = match spec["template"]["spec"]["restartPolicy"] == "OnFailure" {
        true => census.active.iter().map(|pod| restarts(pod)).sum(),
        false => 0,
    };
    if census.failed > limit || restarts > 0 && restarts >= limit {
        let message = "Job has reached the specified backoff limit";
        return conclusion(FAILURE, "BackoffLimitExceeded", message);
    }
    if spec["suspend"] != true && deadline(spec, old).is_some_and(|deadline| deadline <= now) {
        let message = "Job was active longer than specified deadline";
        return conclusion(FAILURE, "DeadlineExceeded", message);
    }
    let reached = match spec["completions"].is_null() {
        false => census.succeeded >= size(&spec["completions"], 0),
        true => census.succeeded > 0 && census.active.is_empty(),
    };
    let message = "Reached expected number of succeeded pods";
    reached.then(|| (SUCCESS, "CompletionsReached".to_owned(), message.to_owned()))
}

fn deadline(spec: &Value, status: &Value) -> Option<Timestamp> {
    let start = clock::parse(text(&status["startTime"]))?;
    let seconds = spec["activeDeadlineSeconds"].as_i64()?;
    Some(clock::after(start, seconds))
}

/// The time at which a pod ended, or at which its deletion was asked for.
fn finished_at(pod: &Value, now: Timestamp) -> Timestamp {
    let ends = elements(&pod["status"]["containerStatuses"])
        .iter()
        .filter_map(|one| clock::parse(text(&one["state"]["terminated"]["finishedAt"])));
    let deleted = || {
        let metadata = &pod["metadata"];
        let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        let end = clock::parse(text(&metadata["deletionTimestamp"]))?;
        Some(clock::after(end, -grace))
    };
    ends.max().or_else(deleted).unwrap_or(now)
}

fn set_condition(
    status: &mut Value,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let word = if holds { "True" } else { "False" };
    let mut conditions = elements(&status["conditions"]).to_vec();
    let present = conditions
        .iter_mut()
        .find(|condition| condition["type"] == kind);
    if present
        .as_ref()
        .map_or(!holds, |condition| condition["status"] == word)
    {
        return;
    }
    let now = clock::seconds(now);
    let condition = json!({
        "type": kind, "status": word, "lastProbeTime": now, "lastTransitionTime": now, "reason": reason,
        "message": message,
    });
    match present {
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
    status["conditions"] = json!(conditions);
}

fn uids(status: &Value, field: &str) -> Vec<String> {
    elements(&status["uncountedTerminatedPods"][field])
        .iter()
        .map(|uid| text(uid).to_owned())
        .collect()
}

/// A number of an object as a size, which is `default` if it is missing.
fn size(number: &Value, default: usize) -> usize {
    number.as_u64().map_or(default, |number| {
        usize::try_from(number).unwrap_or(usize::MAX)
    })
}

fn count(status: &Value, field: &str) -> usize {
    size(&status[field], 0)
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

fn is_terminal(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

fn is_leaving(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

/// Whether no kubelet has the pod, so that only its finalizer holds up its deletion.
fn is_unplaced(pod: &Value) -> bool {
    text(&pod["spec"]["nodeName"]).is_empty()
}

fn is_tracked(pod: &Value) -> bool {
    elements(&pod["metadata"]["finalizers"])
        .iter()
        .any(|name| text(name) == TRACKING)
}

fn is_ready(pod: &Value) -> bool {
    condition(&pod["status"], "Ready").is_some()
}

fn restarts(pod: &Value) -> usize {
    ["initContainerStatuses", "containerStatuses"]
        .iter()
        .flat_map(|list| elements(&pod["status"][list]))
        .map(|one| size(&one["restartCount"], 0))
        .sum()
}
