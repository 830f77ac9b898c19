use super::*;

fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
    query
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_query_survives_the_wire() {
    let query = LogQuery {
        follow: false,
        tail: Some(5),
        since: Some(Since::Ago(Duration::from_secs(600))),
        timestamps: true,
        nodes: vec![0, 3],
        attempt: Some(2),
        wait: Duration::from_secs(1),
        after: vec!["0-end".parse().unwrap()],
        joined: true,
    };
    for query in [query, LogQuery::default()] {
        let sent: Vec<_> = query
            .to_pairs()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        assert_eq!(LogQuery::from_pairs(&sent), Ok(query));
    }
    assert_eq!(
        LogQuery::from_pairs(&pairs(&[("theme", "dark")])),
        Ok(LogQuery::default())
    );
}

#[test]
fn a_time_may_have_a_zone() {
    for (text, sent) in [
        ("2025-10-05T12:34:56Z", "2025-10-05T12:34:56.000000Z"),
        (
            "2025-10-05T12:34:56.25+02:00",
            "2025-10-05T10:34:56.250000Z",
        ),
        ("2025-10-05T12:34:56", "2025-10-05T12:34:56.000000Z"),
        ("90m", "5400s"),
    ] {
        assert_eq!(
            text.parse::<Since>().map(|since| since.to_string()),
            Ok(sent.to_owned())
        );
    }
    assert!("12:34".parse::<Since>().is_err());
}

#[test]
fn every_invalid_value_of_a_query_is_reported() {
    let query = pairs(&[
        ("follow", "yes"),
        ("tail", "-1"),
        ("since", "yesterday"),
        ("node", "x"),
        ("wait", "1y"),
        ("wait", "18446744073709551615"),
        ("joined", "maybe"),
        ("after", "x"),
    ]);
    let problems = LogQuery::from_pairs(&query).unwrap_err();
    let fields: Vec<_> = problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "follow", "tail", "since", "node", "wait", "wait", "joined", "after"
        ]
    );
    assert_eq!(problems[0].message, "\"yes\" is neither true nor false");
}

#[test]
fn durations_have_units() {
    for (text, seconds) in [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("10min", 600),
        ("2 days", 2 * 86400),
        ("1w", 7 * 86400),
        ("3000ms", 3),
        ("+1s", 1),
        ("1s1000000us", 2),
        ("1000000µs", 1),
        ("1000000μs1000000000ns", 2),
    ] {
        assert_eq!(
            parse_duration(text),
            Some(Duration::from_secs(seconds)),
            "{text}"
        );
    }
    for text in [
        "",
        "m",
        "-1s",
        "1h30",
        "1..5h",
        "1M",
        "1 h  30m",
        "99999999999999999999d",
        "9e9s",
        ".s",
        "0.5",
        " 1s",
        "+",
        "++1s",
        "+90",
        "1h+1s",
        "1ß",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}
