//! Ends nodes whose container has ended or can never start, and notes ends that Kubernetes would forget. Pure.

use super::{Change, Target};
use crate::{
    api::TaskState,
    executor::observed::{Ends, JobRow, NodeEnd, Observed, PodRow, node_status},
};

/// The changes for the Jobs of one owner: notes, and stops.
pub fn plan(task: &Observed) -> (Vec<Change>, Vec<Change>) {
    let (mut notes, mut stops) = (Vec::new(), Vec::new());
    let pods = task.newest_pods();
    for job in &task.jobs {
        let pod = pods.get(&job.uid);
        let noted = job.ends.as_ref().and_then(|ends| ends.get(job.rank));
        let end = match pod {
            Some(pod) => end(task, job, pod),
            None => end_without_pod(task, job),
        };
        if let Some(end) = end
            && noted.is_none()
        {
            let mut ends = job.ends.as_deref().cloned().unwrap_or_default();
            ends.insert(job.rank, end);
            notes.push(note(job, ends));
        }
        let Some(pod) = pod else { continue };
        if pod.has_leftovers && !pod.has_ended() {
            let target = Target::Pod(pod.name.to_string());
            stops.push(Change::Stop {
                target,
                after: None,
            });
        } else if pod.is_hopeless {
            let target = Target::Job(job.name.to_string());
            stops.push(Change::Stop {
                target,
                after: None,
            });
        }
    }
    if notes.is_empty() {
        notes.extend(memory(task));
    }
    (notes, stops)
}

fn note(job: &JobRow, ends: Ends) -> Change {
    let job = job.name.to_string();
    Change::Note { job, ends }
}

/// The end of a node that Kubernetes would show differently.
fn end(task: &Observed, job: &JobRow, pod: &PodRow) -> Option<NodeEnd> {
    let failure = |reason: &str| NodeEnd {
        status: TaskState::Failed,
        exit_code: pod.exit_code(),
        reason: Some(reason.to_owned()),
        stopped_after: None,
    };
    match pod.exit_code() {
        None if pod.is_hopeless => pod.pending.as_deref().map(failure),
        Some(0) if pod.has_leftovers => Some(NodeEnd {
            status: TaskState::Completed,
            exit_code: Some(0),
            reason: None,
            stopped_after: None,
        }),
        Some(_) if pod.has_leftovers => pod.failure.as_deref().map(failure),
        // Kubernetes calls the Job failed, because another container failed.
        Some(0) if job.state.has_failed() => {
            let node = node_status(job, Some(pod), task);
            (node.status == TaskState::Completed).then(|| NodeEnd::of(&node))
        }
        _ => None,
    }
}

/// The end of a node whose failed pod was deleted: the Job says less of it. A node that another one stopped says that by itself.
fn end_without_pod(task: &Observed, job: &JobRow) -> Option<NodeEnd> {
    let was_seen = task.lost_pods.contains_key(&job.uid);
    let node = (was_seen && job.state.has_failed()).then(|| node_status(job, None, task))?;
    (node.status == TaskState::Failed && node.stopped_after.is_none()).then(|| NodeEnd::of(&node))
}

/// The note about the nodes whose Jobs Kubernetes has removed, or may remove before others. It stands on the Job that Kubernetes
/// will remove last: one that has not ended, else the one that ended last.
fn memory(task: &Observed) -> Option<Change> {
    let unfinished = task.jobs.iter().find(|job| !job.state.has_ended());
    let last = task.jobs.iter().max_by_key(|job| job.changed_at);
    let holder = unfinished.or(last)?;
    if holder.num_nodes.unwrap_or(1) == 1 {
        return None;
    }
    let mut ends = task.seen_ends.clone();
    for noted in task.jobs.iter().filter_map(|job| job.ends.as_ref()) {
        ends.extend(noted);
    }
    if unfinished.is_none() {
        let pods = task.newest_pods();
        let others = task.jobs.iter().filter(|job| job.uid != holder.uid);
        for job in others {
            let node = node_status(job, pods.get(&job.uid).copied(), task);
            ends.insert(job.rank, NodeEnd::of(&node));
        }
    }
    let is_known = match &holder.ends {
        Some(known) => known.contains(&ends),
        None => ends == Ends::default(),
    };
    (!is_known).then(|| note(holder, ends))
}
