//! The reasons for which nodes wait: one message per change of meaning, and one for many nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::api::TaskId;

/// Up to this many nodes are named one by one.
const FEW: usize = 8;
/// How long the reasons of a task of many nodes are collected, at first. Each report of a reason doubles the time for further nodes
/// with it.
const COLLECTING: Duration = Duration::from_millis(500);
/// The greatest number of these doublings: 16 s.
const DOUBLINGS: u32 = 5;
/// The characters of the random end of a pod's name, and their number (`k8s.io/apimachinery/pkg/util/rand`).
const RANDOM: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const RANDOM_LENGTH: usize = 5;

/// The reasons that were reported, and those that are collected.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Whether the task has many nodes.
    is_large: bool,
    /// The last reason of each node.
    last: BTreeMap<u32, String>,
    /// The nodes with a new reason.
    new: BTreeSet<u32>,
    /// The number of reports of each meaning, in a task of many nodes.
    reports: BTreeMap<String, u32>,
    /// The time at which the new reasons are to be reported.
    due: Option<Instant>,
}

impl Waiting {
    /// Takes the reason of a node, in a task of `num_nodes`.
    pub fn add(&mut self, id: &TaskId, num_nodes: u32, node: u32, reason: &str, now: Instant) {
        let reason = without_random_ends(reason, id.as_str());
        let last = self.last.get(&node);
        if last.is_some_and(|last| is_same(last, &reason)) {
            return;
        }
        let reports = self.reports.get(&meaning(&reason)).copied().unwrap_or(0);
        self.last.insert(node, reason);
        self.new.insert(node);
        let has_few = usize::try_from(num_nodes).is_ok_and(|nodes| nodes <= FEW);
        let delay = if has_few {
            Duration::ZERO
        } else {
            COLLECTING * (1 << reports.min(DOUBLINGS))
        };
        let due = now + delay;
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
        self.is_large = !has_few;
    }

    /// The time at which [`Self::take`] is to be called; none if there is no new reason.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The messages about the new reasons.
    pub fn take(&mut self) -> Vec<String> {
        self.due = None;
        let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
        for node in std::mem::take(&mut self.new) {
            let meaning = meaning(&self.last[&node]);
            match groups.iter_mut().find(|(known, _)| *known == meaning) {
                Some((_, nodes)) => nodes.push(node),
                None => groups.push((meaning, vec![node])),
            }
        }
        let mut messages = Vec::new();
        for (meaning, nodes) in groups {
            let reports = self.reports.entry(meaning).or_default();
            let is_known = self.is_large && *reports > 0 && nodes.len() > 1;
            if is_known || nodes.len() > FEW {
                let reason = &self.last[&nodes[0]];
                let more = if is_known { "more " } else { "" };
                messages.push(format!("{} {more}nodes: {reason}", grouped(nodes.len())));
            } else {
                let each = nodes.iter();
                messages
                    .extend(each.map(|node| format!("node-{node}: pending, {}", self.last[node])));
            }
            *reports += 1;
        }
        messages
    }
}

/// Whether two reasons have one meaning. The cause of a failed pull is worth a message after a mere back-off.
fn is_same(last: &str, next: &str) -> bool {
    let tells_more = |reason: &str| reason.contains("ErrImagePull");
    meaning(last) == meaning(next)
        && (is_pull(last).is_none() || tells_more(last) || !tells_more(next))
}

/// A reason without its numbers, which change from attempt to attempt. All failed pulls of an image have one meaning.
fn meaning(reason: &str) -> String {
    if let Some(pull) = is_pull(reason) {
        return pull.to_owned();
    }
    let mut meaning = String::with_capacity(reason.len());
    for c in reason.chars() {
        match c {
            '0'..='9' if meaning.ends_with('0') => (),
            '0'..='9' => meaning.push('0'),
            c => meaning.push(c),
        }
    }
    meaning
}

/// The kubelet alternates between these two.
fn is_pull(reason: &str) -> Option<&'static str> {
    let kind = reason.split(':').next().unwrap_or_default();
    matches!(kind, "ErrImagePull" | "ImagePullBackOff").then_some("ErrImagePull")
}

/// A reason without the random ends of the names of the task's pods.
fn without_random_ends(reason: &str, id: &str) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut out = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some(start) = rest.find(is_of_name) {
        let (before, name) = rest.split_at(start);
        let (name, after) = name.split_at(name.find(|c| !is_of_name(c)).unwrap_or(name.len()));
        out.push_str(before);
        out.push_str(match name.rsplit_once('-') {
            Some((job, end)) if job.contains(id) && is_random(end) => job,
            _ => name,
        });
        rest = after;
    }
    out + rest
}

fn is_random(end: &str) -> bool {
    end.len() == RANDOM_LENGTH && end.bytes().all(|byte| RANDOM.contains(&byte))
}

/// A number with commas: `1,500`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_begin_to_wait_one_by_one_are_reported_together() {
        let id: TaskId = "ab12cd34".parse().unwrap();
        let mut waiting = Waiting::default();
        // The time from the first of the nodes to the report, in milliseconds, and the messages.
        let mut reported = |nodes: std::ops::Range<u32>, reason: &str| {
            let began = Instant::now();
            for node in nodes {
                waiting.add(&id, 100, node, reason, began);
            }
            let delay = waiting.due().unwrap() - began;
            (delay.as_millis(), waiting.take().join("/"))
        };
        let pulling = |words: &str| format!("{words} Pulling: image `a`");
        for (nodes, delay, words) in [
            (0..1, 500, "node-0: pending,"),
            (1..3, 1000, "2 more nodes:"),
            (3..4, 2000, "node-3: pending,"),
            (4..14, 4000, "10 more nodes:"),
            (14..94, 8000, "80 more nodes:"),
            (94..96, 16000, "2 more nodes:"),
            (96..99, 16000, "3 more nodes:"),
        ] {
            assert_eq!(
                reported(nodes, "Pulling: image `a`"),
                (delay, pulling(words))
            );
        }
        // Another reason does not wait.
        let other = "node-99: pending, Unschedulable".to_owned();
        assert_eq!(reported(99..100, "Unschedulable"), (500, other));
    }
}
