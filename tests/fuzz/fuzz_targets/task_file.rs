//! Fuzzes the parser of task files: it must not panic or take long, and the server must accept every task that it accepts.
//!
//! The program has no library, so its modules are compiled into this target.

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/api/mod.rs"]
mod api;
#[path = "../../../src/k8s/mod.rs"]
mod k8s;
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
    #[path = "task_file/source.rs"]
    pub mod source;
}

use client::{document, dotenv, settings::Settings};
use k8s_cli_fuzz::limit_time;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        limit_time(|| check(text));
    }
});

fn check(text: &str) {
    drop(dotenv::parse(text, &|_| None));
    let settings = Settings {
        envs: vec![("A".to_owned(), "$B ${A}".to_owned())],
        secrets: vec![("B".to_owned(), "b".to_owned())],
        fields: vec![("--cpus", "resources.cpus", "4+".into())],
        swept: vec!["A".to_owned()],
    };
    for settings in [&Settings::default(), &settings] {
        if let Ok(file) = document::parse(text, settings) {
            let sent = serde_json::to_value(&file.task).expect("a task is JSON");
            let read = api::TaskDefinition::from_json(&sent);
            assert!(read.as_ref() == Ok(&file.task), "{sent} is read as {read:?}");
        }
    }
}
