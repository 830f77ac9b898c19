//! Reads every message from its fixture and writes it again, byte for byte.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::*;
use crate::golden;

/// Reads and writes `fixtures/wire/<name>.json`; returns the message.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(name: &str) -> T {
    let text = golden::read(&format!("wire/{name}.json"));
    let message: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_string_pretty(&message).unwrap() + "\n", text);
    message
}

#[test]
fn answers_about_tasks() {
    let id: TaskId = "ab12cd34".parse().unwrap();
    let submitted: TaskSubmitResponse = check("task-submit-response-bare");
    assert_eq!(submitted, TaskSubmitResponse::new(id, Vec::new()));
    let submitted: TaskSubmitResponse = check("task-submit-response");
    assert_eq!(submitted.warnings.len(), 1);
    let group: GroupSubmitResponse = check("group-submit-response");
    let ids = ["ab12cd34", "ef56gh78"].map(|id| id.parse().unwrap());
    let group_id = "gr00up00".parse().unwrap();
    assert_eq!(
        group,
        GroupSubmitResponse::new(group_id, ids.into(), Vec::new())
    );
    check::<TaskGroup>("task-group");
    check::<TaskStatus>("task-status");
    check::<TaskListResponse>("task-list-response");
    assert_eq!(
        check::<TaskStopResponse>("task-stop-response"),
        TaskStopResponse::new(id)
    );
    let stopped: TaskStopAllResponse = check("task-stop-all-response");
    let ids = ["ab12cd34", "ef56gh78"].map(|id| id.parse().unwrap());
    assert_eq!(stopped, TaskStopAllResponse::new(ids.into(), true));
    assert_eq!(
        TaskStopAllResponse::new(Vec::new(), false).message,
        "Stopped 0 tasks"
    );
}

#[test]
fn answers_about_volumes() {
    let id: VolumeId = "vol12345".parse().unwrap();
    let created: VolumeCreateResponse = check("volume-create-response");
    assert_eq!(created, VolumeCreateResponse::new(id));
    check::<VolumeStatus>("volume-status");
    check::<VolumeListResponse>("volume-list-response");
    let deleted: VolumeDeleteResponse = check("volume-delete-response");
    assert_eq!(deleted, VolumeDeleteResponse::new(id));
}

#[test]
fn refusals() {
    let error: ErrorBody = check("error");
    assert_eq!(error.reason, Some(Reason::NotFound));
    let ancestors: ErrorBody = serde_json::from_str(r#"{"detail": "Task not found"}"#).unwrap();
    assert_eq!(ancestors.reason, None);
}

#[test]
fn definitions() {
    let text = golden::read("wire/task-definition.json");
    let task = TaskDefinition::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(serde_json::to_string_pretty(&task).unwrap() + "\n", text);
    let text = golden::read("wire/volume-definition.json");
    let volume =
        VolumeDefinition::from_json(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    assert_eq!(serde_json::to_string_pretty(&volume).unwrap() + "\n", text);
}

#[test]
fn records_of_a_log() {
    for line in golden::read("wire/log-records.jsonl").lines() {
        let record =
            LogRecord::from_json(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }
}

#[test]
fn every_reason_has_a_status_code_of_its_kind() {
    use Reason::*;
    for (reason, status) in [
        (BadRequest, 400),
        (Unauthorized, 401),
        (Forbidden, 403),
        (NotFound, 404),
        (MethodNotAllowed, 405),
        (AlreadyExists, 409),
        (Conflict, 409),
        (RequestEntityTooLarge, 413),
        (UnsupportedMediaType, 415),
        (Invalid, 422),
        (InternalError, 500),
        (ServiceUnavailable, 503),
        (Timeout, 504),
    ] {
        assert_eq!(reason.http_status(), status, "{reason:?}");
    }
}
