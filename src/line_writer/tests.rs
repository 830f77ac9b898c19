use super::*;

/// Writes pieces, and releases held lines after each piece whose text ends with `?`.
fn written(pieces: &[(u32, &str, bool)]) -> String {
    let mut writer = LineWriter::default();
    let mut out = Vec::new();
    for (node, text, is_partial) in pieces {
        let head = format!("{node}> ");
        writer
            .write(*node, &head, text.as_bytes(), *is_partial, &mut out)
            .unwrap();
        if text.ends_with('?') {
            writer.release(&mut out).unwrap();
        }
    }
    writer.end_all(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn pieces_of_a_line_are_joined_and_nodes_are_not_mixed() {
    let pieces = [
        (0, "a", false),
        (1, "lo", true),
        (2, "b", false),
        (1, "ng", true),
        (0, "c", true),
        (1, "er", false),
        (0, "d", false),
    ];
    assert_eq!(written(&pieces), "0> a\n2> b\n1> longer\n0> cd\n");
}

#[test]
fn a_prompt_is_shown_and_interrupted_only_by_other_nodes() {
    assert_eq!(
        written(&[(0, "name?", true), (0, " ada", false)]),
        "0> name? ada\n"
    );
    assert_eq!(
        written(&[
            (0, "name?", true),
            (1, "b", false),
            (0, " ada", true),
            (0, "!", false)
        ]),
        "0> name?\n1> b\n0>  ada!\n"
    );
    assert_eq!(written(&[(0, "last", true)]), "0> last\n");
    // Only the newline of the torn line was missing.
    assert_eq!(
        written(&[
            (0, "done?", true),
            (1, "b", false),
            (0, "", false),
            (0, "", false)
        ]),
        "0> done?\n1> b\n0> \n"
    );
}

#[test]
fn a_prompt_is_shown_after_two_calls_while_other_nodes_write() {
    let (mut writer, mut out) = (LineWriter::default(), Vec::new());
    writer.write(1, "1> ", b"name?", true, &mut out).unwrap();
    writer.release_old(&mut out).unwrap();
    writer.write(2, "2> ", b"you", true, &mut out).unwrap();
    writer.write(0, "0> ", b"a", false, &mut out).unwrap();
    assert_eq!(out, b"0> a\n");
    writer.release_old(&mut out).unwrap();
    assert_eq!(out, b"0> a\n1> name?");
    assert!(writer.is_within(2) && writer.holds());
    writer.write(2, "", b"?", false, &mut out).unwrap();
    assert_eq!(out, b"0> a\n1> name?\n2> you?\n");
    assert_eq!(writer.held_size, 0);
}

#[test]
fn several_lines_at_once_equal_single_lines() {
    for before in [&[][..], &[(0, "lo", true)], &[(1, "name?", true)]] {
        for head in ["", "0> "] {
            let mut outs = [true, false].map(|at_once| {
                let (mut writer, mut out) = (LineWriter::default(), Vec::new());
                for (node, text, is_partial) in before {
                    let text = text.as_bytes();
                    writer
                        .write(*node, head, text, *is_partial, &mut out)
                        .unwrap();
                    if *node == 1 {
                        writer.release(&mut out).unwrap();
                    }
                }
                if at_once {
                    writer.write_lines(0, head, b"ng\n\nb\n", &mut out).unwrap();
                } else {
                    for line in ["ng", "", "b"] {
                        writer
                            .write(0, head, line.as_bytes(), false, &mut out)
                            .unwrap();
                    }
                }
                writer.end_all(&mut out).unwrap();
                String::from_utf8(out).unwrap()
            });
            let [at_once, one_by_one] = &mut outs;
            assert_eq!(at_once, one_by_one, "after {before:?}");
        }
    }
}

#[test]
fn a_long_unfinished_line_is_released() {
    let mut writer = LineWriter::default();
    let mut out = Vec::new();
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..100 {
        writer.write(0, "", &piece, true, &mut out).unwrap();
        writer.write(1, "", b"b", false, &mut out).unwrap();
        assert!(writer.held_size <= MAX_HELD);
    }
    writer.end(0, &mut out).unwrap();
    let xs = out.iter().filter(|byte| **byte == b'x').count();
    assert_eq!(xs, 100 * piece.len());
}
