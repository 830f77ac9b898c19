//! Tests of reading YAML as PyYAML does, of its limits, and of writing YAML for readers of both versions.

use proptest::{collection::vec, prelude::*};

use super::{scalar::resolve, *};
use crate::golden::REGRESSIONS;

#[test]
fn plain_scalars_have_the_values_of_pyyaml() {
    let int = |number| Ok(Atom::Int(number));
    let float = |number| Ok(Atom::Float(number));
    for (text, expected) in [
        ("", Ok(Atom::Null)),
        ("~", Ok(Atom::Null)),
        ("yes", Ok(Atom::Bool(true))),
        ("OFF", Ok(Atom::Bool(false))),
        ("0", int(0)),
        ("+5", int(5)),
        ("010", int(8)),
        ("-0x1F", int(-31)),
        ("0b1_1", int(3)),
        ("1_000", int(1000)),
        ("12:30:45", int(45045)),
        ("100000000000000000000", int(100_000_000_000_000_000_000)),
        ("1.", float(1.0)),
        (".5", float(0.5)),
        ("1_0.2_5", float(10.25)),
        ("1.0e+1", float(10.0)),
        ("-.inf", float(f64::NEG_INFINITY)),
        ("1:30.5", float(90.5)),
        ("2024-01-01", Ok(Atom::Date("2024-01-01".to_owned()))),
        (
            "2024-1-1 1:02:03",
            Ok(Atom::DateTime("2024-01-01 01:02:03".to_owned())),
        ),
        (
            "2024-01-01T01:02:03.5Z",
            Ok(Atom::DateTime(
                "2024-01-01 01:02:03.500000+00:00".to_owned(),
            )),
        ),
        (
            "2024-01-01 01:02:03 -5:30",
            Ok(Atom::DateTime("2024-01-01 01:02:03-05:30".to_owned())),
        ),
    ] {
        assert_eq!(resolve(text), expected, "{text:?}");
    }
    let digits = "9".repeat(60);
    assert_eq!(
        resolve(&format!("-{digits}")),
        Ok(Atom::BigInt(format!("-{digits}")))
    );
    for text in [
        "y",
        "n",
        "True ",
        "0o7",
        "08",
        "1e1",
        "1e-5",
        "1.0e1",
        "-.5",
        "+.nan",
        "1:60",
        "01:30",
        "0x",
        "0b2",
        ".",
        "-",
        "1.2.3",
        "12-30",
        "2024-1-1",
        "2024-01-01x",
        "12e03",
        "1,000",
        "nul",
        ".e1",
        "2024-01-01T1:2:3",
        "١",
    ] {
        assert_eq!(resolve(text), Ok(Atom::Text(text.to_owned())), "{text:?}");
    }
    for text in [
        "=",
        "<<",
        "2024-13-01",
        "2023-02-29",
        "2024-01-01 25:00:00",
        "0b_",
        "2024-01-01 00:00:00+99",
    ] {
        assert!(resolve(text).is_err(), "{text:?}");
    }
}

#[test]
fn floats_are_written_as_python_writes_them() {
    for (number, expected) in [
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (1e16, "1e+16"),
        (123_456_789_012_345.0, "123456789012345.0"),
        (1.5e300, "1.5e+300"),
        (-0.0, "-0.0"),
        (f64::INFINITY, "inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(python::float(number), expected);
    }
}

fn one(text: &str) -> Node {
    let stream = read(text).unwrap();
    assert_eq!(stream.problems, [], "{text}");
    stream.documents.into_iter().next().unwrap()
}

#[test]
fn collections_are_written_as_python_writes_them() {
    let text = "[a, \"it's\", 'x\"y', yes, 1.50, ~, {b: [], 2: 2024-01-02}, \"\\t\\\\\\x01\"]";
    assert_eq!(
        one(text).to_python(),
        r#"['a', "it's", 'x"y', True, 1.5, None, {'b': [], 2: datetime.date(2024, 1, 2)}, '\t\\\x01']"#
    );
    assert_eq!(one("abc").to_python(), "abc");
}

#[test]
fn values_have_lines() {
    let root = one("a: 1\nb.c:\n  - x\n  - d: 2\n    e: 3\n");
    for (path, line) in [
        ("a", Some(1)),
        ("b.c", Some(2)),
        ("b.c[0]", Some(3)),
        ("b.c[1].e", Some(5)),
        ("b.c[1].f", Some(4)),
        ("z", None),
    ] {
        assert_eq!(root.line_of(path), line, "{path}");
    }
}

#[test]
fn tags_give_the_type_of_a_scalar() {
    for (text, expected) in [
        ("!!str 5", Atom::Text("5".to_owned())),
        ("! 5", Atom::Text("5".to_owned())),
        ("!!int '5'", Atom::Int(5)),
        ("!!float 5", Atom::Float(5.0)),
        ("!!bool 'on'", Atom::Bool(true)),
        ("'5'", Atom::Text("5".to_owned())),
        ("|-\n 5", Atom::Text("5".to_owned())),
    ] {
        match one(&format!("a: {text}"))
            .get("a")
            .map(|node| &node.content)
        {
            Some(Content::Scalar(scalar)) => assert_eq!(scalar.atom, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    for text in [
        "!x 5",
        "!!int x",
        "!!binary aGk=",
        "!!python/none x",
        "!x [a]",
        "!!str {a: b}",
    ] {
        assert_eq!(read(text).unwrap().problems.len(), 1, "{text}");
    }
}

#[test]
fn a_block_scalar_at_the_end_gets_no_newline() {
    for (text, expected) in [
        ("|\n a\n", "a\n"),
        ("|\n a", "a"),
        ("|\n a\n ", "a\n"),
        ("|\n a\n  ", "a\n "),
        (">\n a\n b", "a b"),
        ("|+\n a\n\n", "a\n\n"),
    ] {
        match one(text).content {
            Content::Scalar(scalar) => assert_eq!(scalar.text(), Some(expected), "{text:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn null_documents_are_skipped() {
    for (text, count) in [
        ("", 0),
        ("# x\n", 0),
        ("---\n---\na: b\n---\n", 1),
        ("a\n---\nb\n", 2),
        ("\u{feff}%YAML 1.2\n---\r\na: b\r\n", 1),
    ] {
        assert_eq!(read(text).unwrap().documents.len(), count, "{text:?}");
    }
    assert!(read("%YAML 2.0\n---\na").is_err());
}

#[test]
fn own_keys_win_over_merged_ones() {
    let root =
        one("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\nq: {\"<<\": 1}\n");
    let z = root.get("z").unwrap();
    assert_eq!(z.to_python(), "{'a': 0, 'b': 1, 'c': 2}");
    assert_eq!(root.get("q").unwrap().to_python(), "{'<<': 1}");
}

#[test]
fn all_problems_of_the_structure_are_reported() {
    let problems = read("a: 1\nb: {c: 1, c: 2}\na: 2\n[x]: 1\nd: {<<: 1}\ne: !x 1\n")
        .unwrap()
        .problems;
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 5, 6, 3, 4], "{problems:?}");
    let describe = |problem: &reader::Problem| format!("{}: {}", problem.path, problem.message);
    assert_eq!(
        describe(&problems[0]),
        "b.c: is given twice: first on line 2"
    );
    assert_eq!(
        describe(&problems[2]),
        "e: the tag `!x` has no meaning here"
    );
}

#[test]
fn alias_bombs_and_deep_nesting_are_refused() {
    let nested = |open: &str| format!("a: {}", open.repeat(5000));
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for i in 1..200 {
        deep.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(100_000),
        ["*a"; 1000].join(",")
    );
    let anchors = format!(
        "a: {}{}{}",
        "&a [".repeat(90),
        "x".repeat(100_000),
        "]".repeat(90)
    );
    for text in [
        nested("["),
        nested("{a: "),
        nested("- "),
        deep,
        long,
        anchors,
        "a: &a [*a]".to_owned(),
    ] {
        let problem = read(&text).unwrap_err();
        assert!(problem.message.len() < 200, "{}", problem.message);
    }
}

/// Writes data, and reads the text as YAML 1.1.
fn written_and_read(data: &impl serde::Serialize) -> Node {
    let text = to_string(data).unwrap();
    let mut stream = read(&text).unwrap_or_else(|problem| panic!("{problem:?}\n{text}"));
    assert!(stream.problems.is_empty(), "{:?}\n{text}", stream.problems);
    stream.documents.remove(0)
}

#[test]
fn written_texts_are_texts_in_yaml_1_1_and_1_2() {
    let written = |value: &str| to_string(&[value]).unwrap();
    for text in [
        "off",
        "Yes",
        "y",
        "N",
        "1_000",
        "010",
        "0b1",
        "0x1f",
        "12:30:45",
        "1:30.5",
        "=",
        "<<",
        "2026-01-01",
        "2026-01-01T10:00:00.123456",
        "2026-99-99",
        ".inf",
        "-.5",
        "~",
        "",
    ] {
        let Content::List(items) = written_and_read(&[text]).content else {
            panic!("{text:?} is no list");
        };
        assert!(
            matches!(&items[0].content, Content::Scalar(scalar) if scalar.text() == Some(text)),
            "{text:?}"
        );
        // `serde_yaml` reads YAML 1.2.
        assert_eq!(
            serde_yaml::from_str::<Vec<String>>(&written(text)).unwrap(),
            [text]
        );
        let key = std::collections::BTreeMap::from([(text, 1)]);
        let Content::Mapping(entries) = written_and_read(&key).content else {
            panic!("{text:?} is no key");
        };
        assert_eq!(entries[0].key.text(), Some(text));
    }
    for text in ["y", "n", "off"] {
        assert_eq!(written(text), format!("- '{text}'\n"));
    }
    for text in ["yes please", "offline", "a: b", "é", "-1a"] {
        assert_eq!(written(text), serde_yaml::to_string(&[text]).unwrap());
    }
    let data =
        serde_json::json!({"a": [null, true, -2, 0.5, 1e300, 18446744073709551615_u64], "b": {}});
    assert_eq!(
        to_string(&data).unwrap(),
        serde_yaml::to_string(&data).unwrap()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(REGRESSIONS))]

    #[test]
    fn a_written_text_is_read_back_unchanged(texts in vec("[-+.:_ \\n'\"#0-9a-fxnyoéT]{0,12}", 0..4)) {
        let Content::List(items) = written_and_read(&texts).content else {
            panic!("no list");
        };
        let read = items.iter().map(|item| match &item.content {
            Content::Scalar(scalar) => scalar.text().map(str::to_owned),
            _ => None,
        });
        prop_assert_eq!(read.collect::<Vec<_>>(), texts.into_iter().map(Some).collect::<Vec<_>>());
    }
}
