use super::*;
use crate::executor::logs::block::Piece;

/// A block of complete lines with these times, of ten bytes each.
fn block(times: &[i64]) -> Entry {
    let pieces = times.iter().map(|time| piece(*time, 0, 10, true)).collect();
    Entry::Lines(Arc::new(Block {
        bytes: vec![b'x'; 10],
        pieces,
    }))
}

fn piece(time: i64, offset: u64, length: usize, ends: bool) -> Piece {
    Piece {
        stamp: 0..0,
        text: 0..length,
        point: Some(LogPoint {
            time,
            nth: 0,
            offset: (!ends).then_some(offset + length as u64),
            latest: time,
        }),
        offset,
        ends,
    }
}

fn point(time: i64) -> LogPoint {
    open(time, None)
}

fn open(time: i64, offset: Option<u64>) -> LogPoint {
    LogPoint {
        time,
        nth: 0,
        offset,
        latest: time,
    }
}

fn at(number: u64, piece: usize, byte: usize) -> Found {
    Found::At(RingPlace {
        number,
        piece,
        byte,
    })
}

#[test]
fn a_viewer_joins_at_its_place() {
    let ring = Ring::new(Some(point(1)));
    assert_eq!(ring.find(Some(&point(1))), at(0, 0, 0));
    assert_eq!(ring.find(Some(&point(5))), Found::Later);
    assert_eq!(ring.find(None), Found::Never);
    ring.push(block(&[2, 3]));
    ring.push(Entry::Resumed);
    ring.push(block(&[5]));
    assert_eq!(ring.find(Some(&point(1))), at(0, 0, 0));
    assert_eq!(ring.find(Some(&point(2))), at(0, 1, 0));
    assert_eq!(ring.find(Some(&point(3))), at(0, 2, 0));
    assert_eq!(ring.find(Some(&point(5))), at(3, 0, 0));
    assert_eq!(ring.find(Some(&point(4))), Found::Never);
    assert_eq!(ring.find(Some(&point(6))), Found::Later);
    assert!(matches!(ring.take(1), Taken::Entry(Entry::Resumed)));
    assert!(matches!(ring.take(3), Taken::Nothing));
    ring.end();
    assert!(matches!(ring.take(2), Taken::Entry(Entry::Lines(_))));
    assert!(matches!(ring.take(3), Taken::Ended));
}

#[test]
fn a_viewer_joins_within_a_line() {
    let ring = Ring::new(None);
    assert_eq!(ring.find(None), at(0, 0, 0));
    let pieces = vec![piece(1, 0, 4, false), piece(1, 4, 4, false)];
    ring.push(Entry::Lines(Arc::new(Block {
        bytes: vec![b'x'; 4],
        pieces,
    })));
    assert_eq!(ring.find(Some(&open(1, Some(4)))), at(0, 1, 0));
    assert_eq!(ring.find(Some(&open(1, Some(6)))), at(0, 1, 2));
    assert_eq!(ring.find(Some(&open(1, Some(2)))), at(0, 0, 2));
    assert_eq!(ring.find(Some(&open(1, Some(8)))), at(1, 0, 0));
    assert_eq!(ring.find(Some(&open(1, Some(9)))), Found::Later);
    assert_eq!(ring.find(Some(&point(1))), Found::Later);
    ring.push(Entry::Lines(Arc::new(Block {
        bytes: Vec::new(),
        pieces: vec![piece(1, 8, 0, true)],
    })));
    assert_eq!(ring.find(Some(&point(1))), at(2, 0, 0));
    assert_eq!(ring.find(Some(&open(1, Some(8)))), at(1, 0, 0));
}

#[test]
fn a_ring_drops_its_oldest_entries() {
    let ring = Ring::new(None);
    let large = |time| {
        Entry::Lines(Arc::new(Block {
            bytes: vec![b'x'; CAPACITY / 4],
            pieces: vec![piece(time, 0, CAPACITY / 4, true)],
        }))
    };
    for time in 1..=10 {
        ring.push(large(time));
    }
    assert!(matches!(ring.take(0), Taken::Missed));
    assert!(matches!(ring.take(9), Taken::Entry(_)));
    assert!(ring.state().size <= CAPACITY);
    assert_eq!(ring.find(Some(&point(1))), Found::Never);
    assert_eq!(ring.find(None), Found::Never);
    // The place of the last dropped line is a valid start.
    let first = ring.state().first;
    let before = i64::try_from(first).unwrap();
    assert_eq!(ring.find(Some(&point(before))), at(first, 0, 0));
}
