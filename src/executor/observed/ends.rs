//! The ends of nodes that Kubernetes may no longer show, because it removed their Jobs or pods. Pure.
//!
//! An annotation of a Job holds them, in groups of nodes with the same end:
//! `[{"ranks":"0-5,7","status":"completed"},{"ranks":"6","status":"failed","reason":"exit code 3","exit_code":3}]`.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::api::{MAX_NUM_NODES, NodeStatus, TaskState};

/// The end of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeEnd {
    /// `Completed` or `Failed`.
    pub status: TaskState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rank of the node whose failure stopped this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_after: Option<u32>,
}

impl NodeEnd {
    /// The end of a node that has ended.
    pub fn of(node: &NodeStatus) -> Self {
        Self {
            status: node.status,
            exit_code: node.exit_code,
            reason: node.reason.clone(),
            stopped_after: node.stopped_after,
        }
    }
}

/// The ends of nodes, by rank.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ends(Vec<Group>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Group {
    ranks: Ranks,
    #[serde(flatten)]
    end: NodeEnd,
}

/// Ranks as ranges with inclusive bounds, in order and not adjacent.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ranks(Vec<(u32, u32)>);

impl Ends {
    /// The ends in an annotation; none if it is not one of this program's.
    pub fn parse(annotation: &str) -> Option<Self> {
        let ends: Self = serde_json::from_str(annotation).ok()?;
        let is_end = |group: &Group| group.end.status.is_terminal();
        ends.0.iter().all(is_end).then_some(ends)
    }

    pub fn get(&self, rank: u32) -> Option<&NodeEnd> {
        let group = self.0.iter().find(|group| group.ranks.contains(rank))?;
        Some(&group.end)
    }

    /// Notes the end of a node, unless an end of it is known.
    pub fn insert(&mut self, rank: u32, end: NodeEnd) {
        if self.get(rank).is_some() {
            return;
        }
        match self.0.iter_mut().find(|group| group.end == end) {
            Some(group) => group.ranks.insert(rank),
            None => self.0.push(Group {
                ranks: Ranks(vec![(rank, rank)]),
                end,
            }),
        }
    }

    /// Notes the ends that only `other` knows.
    pub fn extend(&mut self, other: &Self) {
        for group in &other.0 {
            for rank in group.ranks.0.iter().flat_map(|(low, high)| *low..=*high) {
                self.insert(rank, group.end.clone());
            }
        }
    }

    /// Whether every end of `other` is known here, too.
    pub fn contains(&self, other: &Self) -> bool {
        let mut ranks = other.0.iter().flat_map(|group| &group.ranks.0);
        ranks.all(|(low, high)| (*low..=*high).all(|rank| self.get(rank).is_some()))
    }
}

impl Ranks {
    fn contains(&self, rank: u32) -> bool {
        let at = self.0.partition_point(|(_, high)| *high < rank);
        self.0.get(at).is_some_and(|(low, _)| *low <= rank)
    }

    /// Adds a rank that is not contained yet.
    fn insert(&mut self, rank: u32) {
        let at = self.0.partition_point(|(_, high)| *high < rank);
        self.0.insert(at, (rank, rank));
        for left in [at, at.saturating_sub(1)] {
            if let [(low, middle), (next, high)] = self.0.get(left..left + 2).unwrap_or_default()
                && middle + 1 == *next
            {
                self.0[left] = (*low, *high);
                self.0.remove(left + 1);
            }
        }
    }
}

impl Serialize for Ranks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        for (low, high) in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = match low == high {
                true => write!(text, "{comma}{low}"),
                false => write!(text, "{comma}{low}-{high}"),
            };
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Ranks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let range = |range: &str| {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let (low, high): (u32, u32) = (low.parse().ok()?, high.parse().ok()?);
            (low <= high && high < MAX_NUM_NODES).then_some((low, high))
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        let ranges = ranges.filter(|ranges| ranges.is_sorted_by(|a, b| a.1 < b.0));
        let invalid = || serde::de::Error::custom("invalid ranks");
        ranges.map(Self).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(exit_code: i32) -> NodeEnd {
        NodeEnd {
            status: match exit_code {
                0 => TaskState::Completed,
                _ => TaskState::Failed,
            },
            exit_code: Some(exit_code),
            reason: (exit_code != 0).then(|| format!("exit code {exit_code}")),
            stopped_after: None,
        }
    }

    #[test]
    fn nodes_with_the_same_end_share_a_group() {
        let mut ends = Ends::default();
        for rank in [4, 0, 2, 1, 7, 5] {
            ends.insert(rank, end(0));
        }
        ends.insert(3, end(3));
        ends.insert(3, end(0));
        let text = serde_json::to_string(&ends).unwrap();
        assert_eq!(
            text,
            r#"[{"ranks":"0-2,4-5,7","status":"completed","exit_code":0},{"ranks":"3","status":"failed","exit_code":3,"reason":"exit code 3"}]"#
        );
        let read = Ends::parse(&text).unwrap();
        assert_eq!(read, ends);
        assert_eq!((read.get(3), read.get(6)), (Some(&end(3)), None));
        let mut other = Ends::default();
        other.insert(6, end(0));
        assert!(!read.contains(&other));
        other.extend(&read);
        assert!(other.contains(&read) && !read.contains(&other));
    }

    #[test]
    fn an_annotation_of_another_shape_is_ignored() {
        let of = |ranks: &str| format!(r#"[{{"ranks":"{ranks}","status":"completed"}}]"#);
        assert!(Ends::parse(&of("0-1")).is_some());
        for ranks in ["", "1-0", "x", "0-4294967295", "3,1", "0-2,2"] {
            assert_eq!(Ends::parse(&of(ranks)), None, "{ranks}");
        }
        for text in ["", "{}", r#"[{"ranks":"0","status":"running"}]"#] {
            assert_eq!(Ends::parse(text), None, "{text}");
        }
    }
}
