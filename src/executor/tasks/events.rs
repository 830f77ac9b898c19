//! The last events of the objects of a task, as Kubernetes has them: the view keeps only those that are reasons.

use kube::api::ListParams;

use crate::{
    api::TaskEvent,
    executor::{
        identity::Uid,
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
        .map(|params| live.cluster.list::<EventText>(params));
    let lists = match futures::future::try_join_all(lists).await {
        Ok(lists) => lists,
        Err(error) => {
            log::debug!("cannot list events: {error}");
            return Vec::new();
        }
    };
    let events = lists.into_iter().flat_map(|(events, _)| events);
    let own = events.filter(|event| objects.contains(&event.object));
    let mut own: Vec<_> = own.map(|event| event.event).collect();
    own.sort_by_key(|event| event.time);
    own.split_off(own.len().saturating_sub(SHOWN))
}

fn about(object: &Uid) -> ListParams {
    ListParams::default().fields(&format!("involvedObject.uid={object}"))
}
