//! The rows of a task, sorted by the rank of their nodes. Pure.

use std::sync::Arc;

use crate::executor::{
    identity::Uid,
    observed::{JobRow, PodRow},
};

/// A row that belongs to a node.
pub trait OfNode {
    fn uid(&self) -> Uid;
    /// The sort key among the rows of a task: rank, then age.
    fn order(&self) -> (u32, i64);
}

impl OfNode for JobRow {
    fn uid(&self) -> Uid {
        self.uid
    }

    fn order(&self) -> (u32, i64) {
        (self.rank, self.created_at.unix_nanoseconds())
    }
}

impl OfNode for PodRow {
    fn uid(&self) -> Uid {
        self.uid
    }

    fn order(&self) -> (u32, i64) {
        (self.rank, self.created.unwrap_or(i64::MIN))
    }
}

/// The index of an object's row among those of a task.
pub fn find<T: OfNode>(rows: &[Arc<T>], rank: u32, uid: Uid) -> Option<usize> {
    let first = rows.partition_point(|row| row.order().0 < rank);
    let same = rows[first..].iter().take_while(|row| row.order().0 == rank);
    Some(first + same.into_iter().position(|row| row.uid() == uid)?)
}

/// Inserts a row at its place, or replaces the row of the same object, which is returned.
pub fn put<T: OfNode>(rows: &mut Vec<Arc<T>>, row: T) -> Option<Arc<T>> {
    let order = row.order();
    match find(rows, order.0, row.uid()) {
        Some(at) => Some(std::mem::replace(&mut rows[at], Arc::new(row))),
        None => {
            let at = rows.partition_point(|other| other.order() <= order);
            rows.insert(at, Arc::new(row));
            None
        }
    }
}
