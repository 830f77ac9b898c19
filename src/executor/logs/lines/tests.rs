use futures::io::BufReader;

use super::*;

/// A time or none, the bytes, and whether the line ends with them.
type Seen = (Option<String>, Vec<u8>, bool);

fn seen(block: &Block) -> Vec<Seen> {
    let pieces = block.pieces.iter().map(|piece| {
        let stamp = &block.bytes[piece.stamp.clone()];
        let stamp = (!stamp.is_empty()).then(|| String::from_utf8(stamp.to_vec()).unwrap());
        (stamp, block.bytes[piece.text.clone()].to_vec(), piece.ends)
    });
    pieces.collect()
}

fn pieces(log: &[u8]) -> Vec<Seen> {
    actix_rt::System::new().block_on(async {
        // A small buffer, so that lines cross its boundaries.
        let mut lines = Lines::new(BufReader::with_capacity(7, log));
        let mut position = Position::at(None);
        let mut pieces = Vec::new();
        while let Next::Block { block, .. } = lines.next(&mut position).await.unwrap() {
            pieces.extend(seen(&block));
        }
        pieces
    })
}

fn line(time: &str, text: &[u8]) -> Seen {
    (Some(time.to_owned()), text.to_vec(), true)
}

const TIME: &str = "2026-11-22T02:11:01.359989251Z";

#[test]
fn a_line_is_split_from_its_time() {
    let tokyo = "2026-11-22T11:11:02.000000001+09:00";
    let log = format!("{TIME} one\n{tokyo}  two \n{TIME} \n{TIME} {TIME} x\nno time\n{TIME} last");
    assert_eq!(
        pieces(log.as_bytes()),
        [
            line(TIME, b"one"),
            line(tokyo, b" two "),
            line(TIME, b""),
            line(TIME, format!("{TIME} x").as_bytes()),
            (None, b"no time".to_vec(), true),
            (Some(TIME.to_owned()), b"last".to_vec(), false),
        ]
    );
    assert_eq!(pieces(b""), []);
}

#[test]
fn the_fast_and_the_slow_parser_of_times_agree() {
    let mut stamps = Stamps::default();
    for (stamp, expected) in [
        ("1970-01-01T00:00:01.000000002Z ", 1_000_000_002),
        ("1970-01-01T00:00:01.999999999Z ", 1_999_999_999),
        ("1970-01-01T00:00:02.5Z ", 2_500_000_000),
        ("1970-01-01T09:00:02.5+09:00 ", 2_500_000_000),
        ("1970-01-01T00:00:01.000000003Z ", 1_000_000_003),
    ] {
        let Stamp::Is { length, time } = stamps.read(format!("{stamp}text").as_bytes()) else {
            panic!("{stamp} is a time");
        };
        assert_eq!((length, time), (stamp.len(), expected), "{stamp}");
    }
    for text in [
        "1970-01-01T00:00:01.00000000xZ a",
        "hello world",
        " ",
        "\n",
        "x",
    ] {
        assert!(
            matches!(stamps.read(text.as_bytes()), Stamp::IsNot),
            "{text}"
        );
    }
    for text in ["", "1970-01-01T00:00:01.", "1970-01-01T09:00:02.5+09:00"] {
        assert!(
            matches!(stamps.read(text.as_bytes()), Stamp::Begins),
            "{text}"
        );
    }
}

#[test]
fn any_bytes_are_a_line() {
    let text = b"\xff\x00\r50%\r\x1b[0m";
    let log = [TIME.as_bytes(), b" ", text, b"\n", TIME.as_bytes(), b" \n"].concat();
    assert_eq!(pieces(&log), [line(TIME, text), line(TIME, b"")]);
}

#[test]
fn an_incomplete_time_is_no_text() {
    for end in 0..=TIME.len() {
        let log = format!("{TIME} one\n{}", &TIME[..end]);
        assert_eq!(pieces(log.as_bytes()), [line(TIME, b"one")], "{end}");
    }
}

#[test]
fn times_within_a_long_line_are_no_text() {
    for cut in [8 * 1024, 16 * 1024] {
        let text = vec![b'x'; 5 * 8 * 1024 + 100];
        let log: Vec<u8> = text
            .chunks(cut)
            .flat_map(|chunk| [format!("{TIME} ").as_bytes(), chunk].concat())
            .collect();
        let pieces = pieces(&[&log[..], b"\n"].concat());
        let timed = pieces.iter().filter(|(time, ..)| time.is_some());
        assert_eq!(timed.count(), 1);
        let joined: Vec<u8> = pieces.into_iter().flat_map(|(_, bytes, _)| bytes).collect();
        assert!(joined == text, "cut at {cut}");
    }
}

/// A program may print a time of the past.
#[test]
fn an_earlier_time_within_a_long_line_is_text() {
    let text = [
        &[b'x'; MAX_PIECE][..],
        b"2026-11-22T02:11:01.359989250Z said",
    ]
    .concat();
    let log = [TIME.as_bytes(), b" ", &text, b"\n"].concat();
    let joined: Vec<u8> = pieces(&log)
        .into_iter()
        .flat_map(|(_, bytes, _)| bytes)
        .collect();
    assert!(joined == text);
}

#[test]
fn a_long_line_comes_in_pieces() {
    let text = vec![b'x'; 2 * MAX_PIECE];
    let log = [
        TIME.as_bytes(),
        b" ",
        &text,
        b"\n",
        TIME.as_bytes(),
        b" next\n",
    ]
    .concat();
    let pieces = pieces(&log);
    let ends: Vec<_> = pieces.iter().map(|(_, _, ends)| *ends).collect();
    assert_eq!(ends, [false, false, true, true]);
    assert!(pieces[1..3].iter().all(|(time, ..)| time.is_none()));
    assert!(pieces.iter().all(|(_, bytes, _)| bytes.len() <= MAX_PIECE));
}

/// The complaint of the kubelet is not a line of the container, with a newline or without.
#[test]
fn a_complaint_of_the_kubelet_is_no_line() {
    actix_rt::System::new().block_on(async {
        for end in ["", "\n", "\n2026-11-22T02:11:02.359989251Z two\n"] {
            let log = format!("{TIME} one\nrpc error: code = Unknown desc = gone{end}");
            let mut lines = Lines::new(log.as_bytes());
            let mut position = Position::at(None);
            let next = lines.next(&mut position).await.unwrap();
            assert!(matches!(next, Next::Block { block, .. } if block.pieces.len() == 1));
            let next = lines.next(&mut position).await.unwrap();
            assert!(matches!(next, Next::Complaint(reason) if reason.ends_with("gone")));
            // The text behind it was not passed on, and is read again.
            let time: Timestamp = TIME.parse().unwrap();
            let point = position.point().unwrap();
            assert_eq!(i128::from(point.time), time.as_nanosecond());
        }
    });
}

/// A prompt is passed on before its line ends, without an incomplete character, and the text after it continues the line.
#[test]
fn a_prompt_does_not_wait_for_its_newline() {
    actix_rt::System::new().block_on(async {
        let (mut writer, reader) = tokio::io::duplex(1024);
        let stream = futures::stream::unfold(reader, async |mut reader| {
            let mut buffer = vec![0; 64];
            let length = tokio::io::AsyncReadExt::read(&mut reader, &mut buffer)
                .await
                .unwrap();
            buffer.truncate(length);
            (length > 0).then_some((Ok::<_, io::Error>(buffer), reader))
        });
        let reader = futures::TryStreamExt::into_async_read(Box::pin(stream));
        let mut lines = Lines::new(reader);
        let mut position = Position::at(None);
        let mut next = async || match lines.next(&mut position).await.unwrap() {
            Next::Block { block, .. } => seen(&block),
            _ => Vec::new(),
        };
        let write = async |writer: &mut tokio::io::DuplexStream, text: &[u8]| {
            tokio::io::AsyncWriteExt::write_all(writer, text)
                .await
                .unwrap();
        };
        let (begun, rest) = "name? ø\n".as_bytes().split_at("name? ".len() + 1);
        write(&mut writer, &[TIME.as_bytes(), b" ", begun].concat()).await;
        assert_eq!(
            next().await,
            [(Some(TIME.to_owned()), b"name? ".to_vec(), false)]
        );
        write(&mut writer, rest).await;
        assert_eq!(next().await, [(None, "ø".as_bytes().to_vec(), true)]);
        // A line without a time may be a complaint of the kubelet, so it has to be complete.
        write(&mut writer, b"rpc error: ").await;
        assert!(next().now_or_never().is_none());
        write(&mut writer, b"code = Unknown\n").await;
        assert_eq!(next().await, []);
        drop(writer);
        assert_eq!(next().await, []);
    });
}

/// Both halves of a long line stay text, with a time between them or within a character, and without.
#[test]
fn a_piece_ends_between_characters() {
    for char in ["ø", "€", "🦀"] {
        for before in 0..8 {
            let text = "x".repeat(before) + &char.repeat(3 * MAX_PIECE / char.len());
            for cut in [MAX_PIECE, 2 * MAX_PIECE, text.len()] {
                let parts = text.as_bytes().chunks(cut);
                let parts = parts.map(|part| [TIME.as_bytes(), b" ", part].concat());
                let log: Vec<u8> = parts.flatten().collect();
                let next = format!("\n{TIME} next\n");
                let pieces = pieces(&[&log[..], next.as_bytes()].concat());
                let joined: Vec<u8> = pieces
                    .iter()
                    .flat_map(|(_, bytes, _)| bytes.clone())
                    .collect();
                assert!(
                    joined == [text.as_bytes(), b"next"].concat(),
                    "{char} {before} {cut}"
                );
                for (_, bytes, _) in &pieces {
                    assert!(bytes.len() < MAX_PIECE + 4);
                    assert!(std::str::from_utf8(bytes).is_ok(), "{char} {before} {cut}");
                }
            }
        }
    }
}

#[test]
fn an_incomplete_character_is_no_whole_one() {
    for text in ["a", "ø", "€", "🦀", "aø€🦀"] {
        assert_eq!(whole_chars(text.as_bytes()), text.len());
        for end in 1..text.len() {
            let whole = (0..=end).rev().find(|end| text.is_char_boundary(*end));
            assert_eq!(
                whole_chars(&text.as_bytes()[..end]),
                whole.unwrap(),
                "{text} {end}"
            );
        }
    }
    for bytes in [&b"\xff"[..], b"\x80\x80\x80\x80", b"\xff\x80", b""] {
        assert_eq!(whole_chars(bytes), bytes.len());
    }
}
