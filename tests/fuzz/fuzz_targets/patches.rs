//! Fuzzes the patches and the selectors that the sandbox takes from kubectl: `{"target": .., "patch": ..}`, applied in each of the three
//! ways.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/k8s/mod.rs"]
mod k8s;
#[path = "../../../src/sandbox/api/patch.rs"]
mod patch;

use k8s_cli_fuzz::limit_time;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(input) = serde_json::from_slice::<Value>(data) {
        limit_time(|| check(&input["target"], &input["patch"]));
    }
});

fn check(target: &Value, change: &Value) {
    let merged = |strategic| {
        let mut merged = target.clone();
        patch::merge(&mut merged, change, strategic);
        merged
    };
    merged(true);
    // A merge patch is idempotent (RFC 7386).
    let once = merged(false);
    let mut twice = once.clone();
    patch::merge(&mut twice, change, false);
    assert_eq!(twice, once);
    if let Some(operations) = change.as_array() {
        patch::apply(&mut target.clone(), operations);
    }
}
