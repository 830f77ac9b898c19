//! Fuzzes the parser of task files: it must not panic or take long, and the server must accept every task that it accepts.
//!
//! The program has no library, so its modules are compiled into this target.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/api/mod.rs"]
mod api;
#[path = "../../../src/yaml/mod.rs"]
mod yaml;

/// The part of the client that parses task files.
#[path = "../../../src/client"]
mod client {
    #[path = "task_file/document.rs"]
    pub mod document;
    #[path = "task_file/dotenv.rs"]
    pub mod dotenv;
    #[path = "task_file/settings.rs"]
    pub mod settings;
}

use std::time::Duration;

use client::{document, dotenv, settings::Settings};
use libfuzzer_sys::fuzz_target;
use rustix::time::{ClockId, clock_gettime};

/// The most CPU time for an input. CPU time does not depend on other processes.
const MAX_TIME: Duration = Duration::from_millis(100);

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let start = cpu_time();
    drop(dotenv::parse(text, &|_| None));
    let settings = Settings {
        envs: vec![("A".to_owned(), "$B ${A}".to_owned())],
        secrets: vec![("B".to_owned(), "b".to_owned())],
        fields: vec![("--cpus", "resources.cpus", "4+".into())],
    };
    for settings in [&Settings::default(), &settings] {
        if let Ok(file) = document::parse(text, settings) {
            let sent = serde_json::to_value(&file.task).expect("a task is JSON");
            let read = api::TaskDefinition::from_json(&sent);
            assert!(read.as_ref() == Ok(&file.task), "{sent} is read as {read:?}");
        }
    }
    let took = cpu_time() - start;
    assert!(took < MAX_TIME, "took {took:?}");
});
