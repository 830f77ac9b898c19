//! Fuzzes the bodies of requests: a definition of a task or of a volume must not panic the server, and one that is accepted is
//! accepted unchanged when it is sent again.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/api/mod.rs"]
mod api;
#[path = "../../../src/k8s/mod.rs"]
mod k8s;

use api::{TaskDefinition, VolumeDefinition};
use k8s_cli_fuzz::limit_time;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Ok(body) = serde_json::from_slice::<Value>(data) {
        limit_time(|| check(&body));
    }
});

fn check(body: &Value) {
    drop(VolumeDefinition::from_json(body));
    if let Ok(task) = TaskDefinition::from_json(body) {
        let sent = serde_json::to_value(&task).expect("a task is JSON");
        let read = TaskDefinition::from_json(&sent);
        assert!(read.as_ref() == Ok(&task), "{sent} is read as {read:?}");
    }
}
