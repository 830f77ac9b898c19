//! Random logs, cut at random places.

use proptest::prelude::*;

use super::*;

/// One line of a container's log file: a time and a text.
type Written = (i64, Vec<u8>);

const BASE: i64 = 1_700_000_000_000_000_000;

/// The pieces of a stream from the second `since` on, of at most `size` bytes each.
fn pieces(log: &[Written], since: Option<i64>, size: usize) -> Vec<(Head, &[u8], bool)> {
    let wanted = log
        .iter()
        .filter(|(time, _)| since.is_none_or(|since| *time >= since * SECOND));
    wanted
        .flat_map(|(time, text)| {
            let mut rest = text.as_slice();
            let mut head = Head::Line(*time);
            let mut pieces = Vec::new();
            while rest.len() > size {
                let (piece, more) = rest.split_at(size);
                pieces.push((head, piece, false));
                (head, rest) = (Head::Middle, more);
            }
            pieces.push((head, rest, true));
            pieces
        })
        .collect()
}

/// One stream: the number of pieces before it is cut, and whether the next one resumes from the last cursor only.
#[derive(Clone, Copy, Debug)]
struct Cut {
    after: usize,
    forgets: bool,
}

/// Reads a log whose streams are cut; returns the bytes that were passed on, and the number of gaps.
fn read(log: &[Written], start: Position, cuts: &[Cut], size: usize) -> (Vec<u8>, usize) {
    let mut position = start;
    let (mut out, mut gaps) = (Vec::new(), 0);
    let last = Cut {
        after: usize::MAX,
        forgets: false,
    };
    for cut in cuts.iter().chain([&last]) {
        let since = position.resume();
        for (head, text, ends) in pieces(log, since, size).into_iter().take(cut.after) {
            let from = match position.advance(head, text.len() as u64, ends) {
                PieceNews::Known => continue,
                PieceNews::New(from) => from,
                PieceNews::AfterGap(_) => {
                    gaps += 1;
                    0
                }
            };
            out.extend(&text[usize::try_from(from).unwrap()..]);
            if ends {
                out.push(b'\n');
            }
        }
        // A viewer has a cursor once it has a line.
        if cut.forgets && position.unwanted == 0 && position.is_wanted {
            position = Position::at(position.point());
        }
    }
    (out, gaps)
}

fn joined(log: &[Written]) -> Vec<u8> {
    log.iter()
        .flat_map(|(_, text)| [text.as_slice(), b"\n"].concat())
        .collect()
}

/// Logs of two writers that are not in step, with equal times and lines, pauses, and clocks that are set forward, or back by less
/// than the overlap.
fn logs() -> impl Strategy<Value = Vec<Written>> {
    let step = prop_oneof![
        4 => Just(0),
        3 => Just(1),
        2 => 1..1_000_000_i64,
        2 => -1_000_000..0_i64,
        1 => SECOND..100 * SECOND,
        1 => -2 * SECOND..0_i64,
    ];
    let text = prop_oneof![
        Just(Vec::new()),
        Just(b"a".to_vec()),
        Just(b"bb".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec((step, text), 1..60).prop_map(|lines| {
        let (mut now, mut latest) = (BASE, BASE);
        let lines = lines.into_iter().map(|(step, text)| {
            now = (now + step).max(latest - 4 * SECOND);
            latest = latest.max(now);
            (now, text)
        });
        lines.collect()
    })
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let cut = (0..90_usize, any::<bool>()).prop_map(|(after, forgets)| Cut { after, forgets });
    proptest::collection::vec(cut, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_neither_lose_nor_repeat_lines(log in logs(), cuts in cuts(), size in 1..20_usize) {
        let (read, gaps) = read(&log, Position::at(None), &cuts, size);
        prop_assert_eq!(read, joined(&log));
        prop_assert_eq!(gaps, 0);
    }

    #[test]
    fn unwanted_lines_are_left_out(log in logs(), cuts in cuts(), unwanted in 0..70_usize) {
        let start = Position::start(None, i64::MIN, unwanted as u64);
        let (read, _) = read(&log, start, &cuts, 8);
        prop_assert_eq!(read, joined(&log[unwanted.min(log.len())..]));
    }

    #[test]
    fn lines_before_a_time_are_left_out(log in logs(), from in BASE..BASE + 200 * SECOND) {
        let (read, _) = read(&log, Position::start(None, from, 0), &[], 8);
        let wanted: Vec<_> = log.into_iter().filter(|(time, _)| *time >= from).collect();
        prop_assert_eq!(read, joined(&wanted));
    }

    /// The file is rotated at any line between two streams.
    #[test]
    fn possibly_missing_lines_give_a_gap(log in logs(), after in 1..60_usize, kept in 0..60_usize) {
        // No runtime writes lines of one time into two files: it stamps each line, and changing files takes longer.
        let is_split = |time| log.iter().skip(kept).any(|line| line.0 == time);
        prop_assume!(kept < after || !is_split(log[after.min(log.len()) - 1].0));
        let mut position = Position::at(None);
        for (head, text, ends) in pieces(&log, None, 100).into_iter().take(after) {
            position.advance(head, text.len() as u64, ends);
        }
        let after = after.min(log.len());
        let kept = &log[kept.min(log.len())..];
        let is_kept = log.len() - kept.len() < after;
        let since = position.resume();
        let (mut out, mut gaps) = (Vec::new(), 0);
        for (head, text, ends) in pieces(kept, since, 100) {
            match position.advance(head, text.len() as u64, ends) {
                PieceNews::Known => continue,
                PieceNews::New(_) => (),
                PieceNews::AfterGap(_) => gaps += 1,
            }
            out.extend(text);
            out.push(b'\n');
        }
        if is_kept {
            // Lines with the time of the last one may have stood before it, in the part that is gone.
            let last = log[after - 1].0;
            let is_alone = log[..after].iter().filter(|(time, _)| *time == last).count() == 1;
            if is_alone {
                prop_assert_eq!(out, joined(&log[after..]));
                prop_assert_eq!(gaps, 0);
                prop_assert_eq!(position.gap_at_end(), None);
            }
        } else {
            prop_assert!(gaps == 1 || position.gap_at_end().is_some() || kept.is_empty());
        }
    }
}

#[test]
fn a_clock_that_is_set_back_far_loses_no_line() {
    let hour = 3600 * SECOND;
    let log: Vec<_> = (0..10)
        .map(|i| {
            (
                BASE + i * SECOND - if i < 5 { 0 } else { hour },
                vec![b'a'; 3],
            )
        })
        .collect();
    // This holds for a continued stream, and for a new one after the first line of the new time.
    for after in 6..10 {
        for forgets in [false, true] {
            let cuts = [Cut { after, forgets }];
            let (read, gaps) = read(&log, Position::at(None), &cuts, 64);
            assert_eq!((read, gaps), (joined(&log), 0), "{after}");
        }
    }
}

#[test]
fn a_line_is_completed_after_a_break_within_it() {
    let log = [
        (BASE, b"short".to_vec()),
        (BASE + 5, b"0123456789".repeat(10)),
        (BASE + 9, b"last".to_vec()),
    ];
    for after in 0..=13 {
        for again in 0..=13 {
            for forgets in [false, true] {
                let cuts = [after, again].map(|after| Cut { after, forgets });
                let (read, gaps) = read(&log, Position::at(None), &cuts, 10);
                assert_eq!((read, gaps), (joined(&log), 0), "{after} {again}");
            }
        }
    }
}

#[test]
fn a_line_without_a_time_is_passed_on_once() {
    let mut position = Position::at(None);
    assert_eq!(position.advance(Head::Untimed, 3, true), PieceNews::New(0));
    assert_eq!(
        position.advance(Head::Line(BASE), 3, true),
        PieceNews::New(0)
    );
    position.resume();
    assert_eq!(position.advance(Head::Untimed, 3, true), PieceNews::Known);
    // It is the rest of a line that began before the requested second.
    let mut position = Position::start(Some(BASE / SECOND), i64::MIN, 0);
    assert_eq!(position.advance(Head::Untimed, 3, true), PieceNews::Known);
}
