//! Golden files: the results of pure functions, kept under `fixtures/` so that a review shows a change as a diff.
//!
//! `make golden` (`UPDATE_GOLDEN=1`) rewrites the files instead of comparing with them.

use std::{env, fs, path::PathBuf};

use proptest::test_runner::FileFailurePersistence;
use serde::{Serialize, de::DeserializeOwned};

/// The folder where proptest keeps failed cases, which it tries first. Its default would be a folder at the top level.
pub const REGRESSIONS: FileFailurePersistence =
    FileFailurePersistence::SourceParallel("tests/regressions");

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// The text of a file under `fixtures/`.
#[track_caller]
pub fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("fixtures/{name}: {error}"))
}

/// A YAML file under `fixtures/`, decoded.
#[track_caller]
pub fn read_yaml<T: DeserializeOwned>(name: &str) -> T {
    serde_yaml::from_str(&read(name)).unwrap_or_else(|error| panic!("fixtures/{name}: {error}"))
}

/// The items of a Kubernetes list under `fixtures/`.
#[track_caller]
pub fn items<T: DeserializeOwned>(name: &str) -> Vec<T> {
    #[derive(serde::Deserialize)]
    struct List<T> {
        items: Vec<T>,
    }
    let list: List<T> = serde_json::from_str(&read(name))
        .unwrap_or_else(|error| panic!("fixtures/{name}: {error}"));
    list.items
}

pub fn to_yaml<T: Serialize>(value: &T) -> String {
    serde_yaml::to_string(value).expect("the value can be written as YAML")
}

/// Fails unless the file under `fixtures/` holds exactly `actual`.
#[track_caller]
pub fn assert(name: &str, actual: &str) {
    let path = path(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a file under fixtures/ has a parent"))
            .expect("fixtures/ can be written");
        fs::write(&path, actual).expect("fixtures/ can be written");
        return;
    }
    let expected = read(name);
    assert!(
        expected == actual,
        "fixtures/{name} differs; if the change is intended, run `make golden`\n\
         --- expected ---\n{expected}\n--- got ---\n{actual}"
    );
}
