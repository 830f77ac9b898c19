//! One task, kept in sight: its Jobs and pods as they are now, for as long as somebody looks.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, time::Duration};

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{Executor, Result, call, labels, list, status::Observed};
use crate::api::{TaskId, User};

/// How long to wait before listing again after a watch ended, and how often to look for events while a pod is
/// missing: nothing that is watched says why it is.
const PAUSE: Duration = Duration::from_secs(1);

impl Executor {
    /// Keeps a task of `user` in sight, beginning with what was observed already. The observation ends when all receivers
    /// are gone; the returned future does the work and has to be driven.
    pub(super) fn keep_observing(
        &self,
        user: User,
        id: TaskId,
        observed: Observed,
    ) -> (watch::Receiver<Observed>, impl Future<Output = ()> + use<>) {
        let (sender, receiver) = watch::channel(observed);
        let executor = self.clone();
        let work = async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    result = executor.observe_once(&user, &id, &sender) => {
                        if let Err(error) = result {
                            log::debug!("task {id}: lost sight of it, looking again: {error}");
                        }
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        (receiver, work)
    }

    /// Lists, then watches for as long as the watches last.
    async fn observe_once(
        &self,
        user: &User,
        id: &TaskId,
        sender: &watch::Sender<Observed>,
    ) -> Result<()> {
        let selector = labels::task_selector(id);
        let params = ListParams::default().labels(&selector);
        let (jobs_api, pods_api) = (self.jobs(), self.pods());
        let ((jobs, jobs_version), (pods, pods_version)) = futures::try_join!(
            list(&jobs_api, params.clone(), "Jobs"),
            list(&pods_api, params, "pods")
        )?;
        let mut jobs = by_uid(jobs);
        let mut pods = by_uid(pods);
        let mut job_events = pin!(events(&jobs_api, &selector, &jobs_version).await?);
        let mut pod_events = pin!(events(&pods_api, &selector, &pods_version).await?);
        loop {
            let mut observed = Observed {
                jobs: jobs
                    .values()
                    .filter(|job| labels::is_owned_by(&job.metadata, user))
                    .cloned()
                    .collect(),
                pods: pods.values().cloned().collect(),
                events: Vec::new(),
            };
            let misses_pods = observed.misses_pods();
            observed.events = self.creation_failures(&observed).await?;
            sender.send_replace(observed);
            let goes_on = tokio::select! {
                event = job_events.next() => apply(&mut jobs, event),
                event = pod_events.next() => apply(&mut pods, event),
                () = tokio::time::sleep(PAUSE), if misses_pods => true,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }
}

async fn events<K>(
    api: &Api<K>,
    selector: &str,
    version: &str,
) -> Result<impl Stream<Item = kube::Result<WatchEvent<K>>> + use<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + 'static,
{
    let params = WatchParams::default().labels(selector);
    call("watch the task", async {
        api.watch(&params, version).await
    })
    .await
}

fn by_uid<K: Resource>(objects: Vec<K>) -> BTreeMap<String, K> {
    objects
        .into_iter()
        .map(|object| (object.meta().uid.clone().unwrap_or_default(), object))
        .collect()
}

/// Takes over one event of a watch; `false` when the watch has ended and everything has to be listed again.
fn apply<K: Resource>(
    objects: &mut BTreeMap<String, K>,
    event: Option<kube::Result<WatchEvent<K>>>,
) -> bool {
    match event {
        Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
            objects.insert(object.meta().uid.clone().unwrap_or_default(), object);
            true
        }
        Some(Ok(WatchEvent::Deleted(object))) => {
            objects.remove(object.meta().uid.as_deref().unwrap_or_default());
            true
        }
        Some(Ok(WatchEvent::Bookmark(_))) => true,
        Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => false,
    }
}
