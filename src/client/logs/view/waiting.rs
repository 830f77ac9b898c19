//! The reasons for which nodes wait: one message per change of meaning, and one for many nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::api::TaskId;

/// Up to this many nodes are named one by one.
const FEW: usize = 8;
/// How long the reasons of a task of many nodes are collected.
const COLLECTING: Duration = Duration::from_millis(500);
/// The characters of the random end of a pod's name, and their number (`k8s.io/apimachinery/pkg/util/rand`).
const RANDOM: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const RANDOM_LENGTH: usize = 5;

/// The reasons that were reported, and those that are collected.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The last reason of each node.
    last: BTreeMap<u32, String>,
    /// The nodes with a new reason.
    new: BTreeSet<u32>,
    /// The time at which the new reasons are to be reported.
    due: Option<Instant>,
}

impl Waiting {
    /// Takes the reason of a node, in a task of `num_nodes`.
    pub fn add(&mut self, id: &TaskId, num_nodes: u32, node: u32, reason: &str) {
        let reason = without_random_ends(reason, id.as_str());
        let last = self.last.get(&node);
        if last.is_some_and(|last| is_same(last, &reason)) {
            return;
        }
        self.last.insert(node, reason);
        self.new.insert(node);
        let has_few = usize::try_from(num_nodes).is_ok_and(|nodes| nodes <= FEW);
        let delay = if has_few { Duration::ZERO } else { COLLECTING };
        self.due.get_or_insert_with(|| Instant::now() + delay);
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
        for (_, nodes) in groups {
            if nodes.len() > FEW {
                let reason = &self.last[&nodes[0]];
                messages.push(format!("{} nodes: {reason}", grouped(nodes.len())));
            } else {
                let each = nodes.iter();
                messages
                    .extend(each.map(|node| format!("node-{node}: pending, {}", self.last[node])));
            }
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
