//! The last events of the objects of a task, as Kubernetes has them: the view keeps only those that are reasons.

use kube::api::ListParams;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::{TaskEvent, Timestamp},
    executor::{
        cluster::Resource,
        identity::{Uid, Version},
        observed::{EventText, Observed},
        view::LiveView,
    },
};

/// How many events are shown.
const SHOWN: usize = 10;
/// Up to this number of objects each has a request of its own. A namespace may have many events of others.
const FEW: usize = 4;

/// The last events of the Jobs and pods of a task, oldest first. An error is only logged: events explain, and decide nothing.
pub async fn last(live: &LiveView, task: &Observed) -> Vec<TaskEvent> {
    let jobs = task.jobs.iter().map(|job| job.uid);
    let objects: Vec<Uid> = jobs.chain(task.pods.iter().map(|pod| pod.uid)).collect();
    let requests = match objects.len() > FEW {
        true => vec![ListParams::default()],
        false => objects.iter().map(about).collect(),
    };
    let lists = requests
        .into_iter()
        .map(|params| live.cluster.list::<VersionedEvent>(params));
    let lists = match futures::future::try_join_all(lists).await {
        Ok(lists) => lists,
        Err(error) => {
            log::debug!("cannot list events: {error}");
            return Vec::new();
        }
    };
    let events = lists.into_iter().flat_map(|(events, _)| events);
    let own = events.filter(|event| objects.contains(&event.text.object));
    let mut own = in_order(own.collect());
    own.split_off(own.len().saturating_sub(SHOWN))
}

/// Events from the oldest to the newest. The scheduler gives the time of an event to the microsecond, others to the second: within
/// a second the version decides, which grows with each event that is written.
fn in_order(mut events: Vec<VersionedEvent>) -> Vec<TaskEvent> {
    let second = |time: Timestamp| time.unix_nanoseconds().div_euclid(1_000_000_000);
    events.sort_by_key(|event| (event.text.event.time.map(second), event.version));
    events.into_iter().map(|event| event.text.event).collect()
}

/// An event with the version in which it was last written.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct VersionedEvent {
    text: EventText,
    version: Version,
}

impl Resource for VersionedEvent {
    const PATH: (&'static str, &'static str) = EventText::PATH;
    const KIND: &'static str = EventText::KIND;
}

impl TryFrom<Value> for VersionedEvent {
    type Error = serde_json::Error;

    fn try_from(event: Value) -> serde_json::Result<Self> {
        let version = event["metadata"]["resourceVersion"].as_str();
        let version = Version::new(version.unwrap_or_default());
        let text = serde_json::from_value(event)?;
        Ok(Self { text, version })
    }
}

fn about(object: &Uid) -> ListParams {
    ListParams::default().fields(&format!("involvedObject.uid={object}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn events_of_a_second_have_the_order_in_which_they_were_written() {
        let event = |reason: &str, version: &str, key: &str, time: &str| {
            from_value::<VersionedEvent>(json!({
                "metadata": { "name": reason, "uid": "u", "resourceVersion": version },
                "involvedObject": { "kind": "Pod", "name": "p", "uid": "p" },
                "reason": reason, key: time,
            }))
            .unwrap()
        };
        let started = "2026-11-27T17:44:16Z";
        let events = vec![
            event("Created", "14", "lastTimestamp", started),
            event("Started", "9", "lastTimestamp", "2026-11-27T17:44:17Z"),
            event("Pulled", "13", "lastTimestamp", started),
            event(
                "Scheduled",
                "12",
                "eventTime",
                "2026-11-27T17:44:16.734211Z",
            ),
            event(
                "FailedScheduling",
                "99",
                "eventTime",
                "2026-11-27T17:44:15.9Z",
            ),
        ];
        let order = in_order(events).into_iter().map(|event| event.reason);
        assert_eq!(
            order.collect::<Vec<_>>(),
            [
                "FailedScheduling",
                "Scheduled",
                "Pulled",
                "Created",
                "Started"
            ]
        );
    }
}
