//! Fuzzes the small texts of paths, queries and fields: amounts, names, selectors, globs, ids, times, cursors. What is accepted has a
//! form that means the same. The first byte chooses the kind.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/api/mod.rs"]
mod api;
#[path = "../../../src/k8s/mod.rs"]
mod k8s;

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use api::{ListQuery, LogCursor, LogQuery, Since, TaskId, WaitQuery};
use k8s::{names, quantity, selector};
use k8s_cli_fuzz::limit_time;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    if let Ok(text) = std::str::from_utf8(text) {
        limit_time(|| check(*kind, text));
    }
});

fn check(kind: u8, text: &str) {
    match kind {
        b'a' => amounts(text),
        b'c' => has_a_form::<LogCursor>(text),
        b'g' => {
            let (pattern, text) = text.split_once('\n').unwrap_or((text, text));
            assert!(api::matches_glob("*", text));
            api::matches_glob(pattern, text);
        }
        b'i' => has_a_form::<TaskId>(text),
        b'n' => names(text),
        b'q' => queries(text),
        b's' => {
            let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
            if let Ok(requirements) = selector::parse_labels(text) {
                selector::matches_labels(&requirements, &labels);
            }
        }
        b't' => has_a_form::<Since>(text),
        _ => (),
    }
}

/// What a text means can be written, and the written text is a fixed point: it is read and written as itself.
fn has_a_form<T: FromStr<Err: std::fmt::Debug> + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        let read = written.parse::<T>().expect(&written);
        assert_eq!(read.to_string(), written, "{text}");
    }
}

fn amounts(text: &str) {
    let amount = quantity::Quantity::parse(text);
    if let Some(amount) = amount {
        assert!(quantity::is_quantity(text), "{text}");
        let written = amount.to_string();
        let read = quantity::Quantity::parse(&written).expect(&written);
        assert_eq!(read.nanos(), amount.nanos(), "{text} {written}");
        assert_eq!(quantity::is_positive(text), amount.nanos() > 0, "{text}");
    }
    quantity::is_size(text);
    let json = serde_json::Value::from(text);
    drop(api::read_memory(&json));
    if let Ok(amount) = api::read_cpus(&json) {
        let written = serde_json::to_value(&amount).expect("an amount is JSON");
        assert_eq!(api::read_cpus(&written), Ok(amount), "{text} {written}");
    }
}

fn names(text: &str) {
    let limits = [
        (names::is_dns_label(text), 63),
        (names::is_dns_subdomain(text), 253),
        (names::is_label_value(text), 63),
        (names::is_label_key(text), 317),
    ];
    for (is_name, longest) in limits {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(!is_name || (text.len() <= longest && is_plain), "{text}");
    }
    names::check_environment_name(text);
    drop(api::check_env_name(text));
    drop(api::archive_path(text));
    api::masked(text);
}

fn queries(text: &str) {
    let pairs: Vec<_> = text
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    drop(LogQuery::from_pairs(&pairs));
    drop(ListQuery::from_pairs(&pairs).map(|query| query.to_query()));
    drop(WaitQuery::from_pairs(&pairs).map(|query| query.to_query()));
}
