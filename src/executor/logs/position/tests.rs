use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// One line of a container's log file: a time and a text.
type Written = (Timestamp, Vec<u8>);

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(1_700_000_000_000_000_000 + nanoseconds)).unwrap()
}

/// The pieces in which a stream of the log comes that begins at `since`, at most `size` bytes each, and how many there are
/// of each line.
fn pieces(log: &[Written], since: Option<Timestamp>, size: usize) -> Vec<Piece> {
    let wanted = log
        .iter()
        .filter(|(time, _)| since.is_none_or(|since| *time >= since));
    wanted
        .flat_map(|(time, text)| {
            let mut chunks: Vec<_> = text.chunks(size).map(<[u8]>::to_vec).collect();
            if chunks.is_empty() {
                chunks.push(Vec::new());
            }
            let last = chunks.len() - 1;
            let time = *time;
            chunks
                .into_iter()
                .enumerate()
                .map(move |(index, bytes)| Piece {
                    time: (index == 0).then(|| time.to_string()),
                    bytes,
                    is_partial: index < last,
                    is_unterminated: false,
                })
        })
        .collect()
}

/// Reads a log whose stream breaks after so many pieces each time, and returns the bytes that were handed on and the gaps.
fn read(log: &[Written], breaks: &[usize], size: usize) -> (Vec<u8>, usize) {
    let mut position = Position::default();
    let (mut out, mut gaps) = (Vec::new(), 0);
    for (index, take) in breaks.iter().chain([&usize::MAX]).enumerate() {
        let since = if index == 0 { None } else { position.resume() };
        for piece in pieces(log, since, size).iter().take(*take) {
            let from = match position.judge(piece) {
                Verdict::Known => continue,
                Verdict::New(from) => from,
                Verdict::AfterGap(_) => {
                    gaps += 1;
                    0
                }
            };
            out.extend(&piece.bytes[from..]);
            if !piece.is_partial {
                out.push(b'\n');
            }
        }
    }
    (out, gaps)
}

fn joined(log: &[Written]) -> Vec<u8> {
    log.iter()
        .flat_map(|(_, text)| [text.as_slice(), b"\n"].concat())
        .collect()
}

#[test]
fn a_log_that_never_breaks_is_handed_on_as_it_is() {
    let log: Vec<_> = (0..10)
        .map(|i| (time(i), format!("line {i}").into_bytes()))
        .collect();
    assert_eq!(read(&log, &[], 64), (joined(&log), 0));
}

#[test]
fn equal_lines_are_counted() {
    let log: Vec<_> = [b"a", b"a", b"b", b"a"]
        .iter()
        .map(|text| (time(0), text.to_vec()))
        .collect();
    for breaks in 0..=4 {
        assert_eq!(read(&log, &[breaks], 64), (joined(&log), 0), "{breaks}");
    }
}

#[test]
fn a_line_in_whose_middle_the_stream_broke_is_completed() {
    let log = [
        (time(0), b"short".to_vec()),
        (time(5), b"0123456789".repeat(10)),
        (time(9), b"last".to_vec()),
    ];
    for breaks in 0..=13 {
        for again in 0..=13 {
            assert_eq!(
                read(&log, &[breaks, again], 10),
                (joined(&log), 0),
                "{breaks} {again}"
            );
        }
    }
}

#[test]
fn random_logs_survive_random_breaks() {
    for seed in 0..2_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut now = 0;
        let log: Vec<_> = (0..random.random_range(1..60))
            .map(|_| {
                // Two writers that are not in step, lines at the same nanosecond, and pauses of seconds.
                now += [0, 0, 1, 1_000, 900_000_000, 3_000_000_000][random.random_range(0..6)];
                let late = [0, 0, 0, 500_000][random.random_range(0..4)];
                let text = [&b""[..], b"a", b"bb", b"012345678901234567890123456789"]
                    [random.random_range(0..4)];
                (time((now - late).max(0)), text.to_vec())
            })
            .collect();
        // A long line is told by its time alone, so two at one nanosecond would be one.
        let mut long = std::collections::HashSet::new();
        let log: Vec<_> = log
            .into_iter()
            .filter(|(time, text)| text.len() <= 10 || long.insert(*time))
            .collect();
        let long_times: Vec<_> = log
            .iter()
            .filter(|(_, text)| text.len() > 10)
            .map(|(time, _)| *time)
            .collect();
        let log: Vec<_> = log
            .into_iter()
            .filter(|(time, text)| text.len() > 10 || !long_times.contains(time))
            .collect();
        let breaks: Vec<_> = (0..random.random_range(0..8))
            .map(|_| random.random_range(0..80))
            .collect();
        let (read, _) = read(&log, &breaks, 10);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            text(&read),
            text(&joined(&log)),
            "seed {seed}, breaks {breaks:?}, log {log:?}"
        );
    }
}

#[test]
fn lines_that_are_missing_are_noticed() {
    let before: Vec<_> = (0..3).map(|i| (time(i), b"before".to_vec())).collect();
    let after: Vec<_> = (0..3)
        .map(|i| (time(9_000_000_000 + i), b"after".to_vec()))
        .collect();
    let mut position = Position::default();
    for piece in pieces(&before, None, 64) {
        assert_eq!(position.judge(&piece), Verdict::New(0));
    }
    let since = position.resume();
    // What was there before was rotated away.
    let verdicts: Vec<_> = pieces(&after, since, 64)
        .iter()
        .map(|piece| position.judge(piece))
        .collect();
    assert_eq!(
        verdicts,
        [Verdict::AfterGap(time(2)), Verdict::New(0), Verdict::New(0)]
    );
}
