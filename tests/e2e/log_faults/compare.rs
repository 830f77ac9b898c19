//! Compares printed lines with expected ones.

use std::collections::BTreeMap;

/// The most bytes of a line that are shown.
const SHOWN: usize = 120;

/// The lines of a log. The last one may have no newline.
pub fn lines(log: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = log.split(|byte| *byte == b'\n').collect();
    // The text after the last newline is empty, or a line without a newline.
    lines.pop_if(|last| last.is_empty());
    lines
}

/// The lines of each node, without their prefixes.
///
/// # Errors
/// A line has none.
pub fn by_node(stdout: &[u8]) -> Result<BTreeMap<usize, Vec<&[u8]>>, String> {
    let mut nodes: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
    for (number, line) in lines(stdout).into_iter().enumerate() {
        let (rank, text) = split(line)
            .ok_or_else(|| format!("line {} has no prefix: {}", number + 1, show(line)))?;
        nodes.entry(rank).or_default().push(text);
    }
    Ok(nodes)
}

/// `3` and `text` for `node-3 | text`.
fn split(line: &[u8]) -> Option<(usize, &[u8])> {
    let rest = line.strip_prefix(b"node-")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rank = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    Some((rank, rest[digits..].strip_prefix(b" | ")?))
}

/// Compares printed lines with expected ones. With several nodes, a line may be printed in parts: an unfinished line is shown
/// after a while, and a line of another node then breaks it.
///
/// # Errors
/// The first difference.
pub fn compare(printed: &[&[u8]], expected: &[&[u8]], several_nodes: bool) -> Result<(), String> {
    let mut rest_of_printed = printed.iter();
    for (number, whole) in expected.iter().enumerate() {
        let mut rest = *whole;
        loop {
            let line = rest_of_printed.next().copied();
            if line == Some(rest) {
                break;
            }
            let piece = line.filter(|line| {
                several_nodes && (1..rest.len()).contains(&line.len()) && rest.starts_with(line)
            });
            let Some(piece) = piece else {
                let got = line.map_or("the end".to_owned(), |line| {
                    let known = expected.iter().position(|other| *other == line);
                    let known = known.map_or("no line of it".to_owned(), |known| {
                        format!("equal to line {}", known + 1)
                    });
                    format!("{} ({known})", show(line))
                });
                return Err(format!(
                    "line {} of {}: expected {}, got {got}; {} lines in all",
                    number + 1,
                    expected.len(),
                    show(rest),
                    printed.len(),
                ));
            };
            rest = &rest[piece.len()..];
        }
    }
    match rest_of_printed.next() {
        Some(line) => Err(format!(
            "more than the {} expected lines: {}",
            expected.len(),
            show(line)
        )),
        None => Ok(()),
    }
}

/// A readable form of a line, shortened.
fn show(line: &[u8]) -> String {
    let text = line[..line.len().min(SHOWN)].escape_ascii();
    match line.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("\"{text}\" and {more} bytes more"),
        _ => format!("\"{text}\""),
    }
}

#[test]
fn the_first_difference_is_described() {
    let long = "0123456789".repeat(1000);
    let whole: [&[u8]; 4] = [b"a", b"", long.as_bytes(), b"a"];
    let check = |printed: &[&[u8]], difference: &str| {
        let error = compare(printed, &whole, true).expect_err(difference);
        assert!(error.starts_with(difference), "{error}");
    };
    assert_eq!(compare(&whole, &whole, false), Ok(()));
    let (head, tail) = long.as_bytes().split_at(8192);
    let broken: [&[u8]; 5] = [b"a", b"", head, tail, b"a"];
    assert_eq!(compare(&broken, &whole, true), Ok(()));
    assert!(compare(&broken, &whole, false).is_err());
    check(&[b"a", b"", head, &tail[1..], b"a"], "line 3 of 4: ");
    check(&[b"a", b"", head, b"", tail, b"a"], "line 3 of 4: ");
    check(
        &whole[1..],
        "line 1 of 4: expected \"a\", got \"\" (equal to line 2)",
    );
    check(&whole[..3], "line 4 of 4: expected \"a\", got the end");
    check(&[b"a", b"", b""], "line 3 of 4: ");
    check(
        &[&whole[..], &[b"a"]].concat(),
        "more than the 4 expected lines",
    );
}

#[test]
fn lines_are_split_by_node() {
    let nodes = by_node(b"node-0 | a\nnode-10 | node-1 | b\nnode-0 | \nnode-0 | c").unwrap();
    assert_eq!(nodes[&0], [&b"a"[..], b"", b"c"]);
    assert_eq!(nodes[&10], [b"node-1 | b"]);
    assert!(by_node(b"node-0 | a\nb\n").is_err());
}
