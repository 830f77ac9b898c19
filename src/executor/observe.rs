//! One task, kept in sight: its Jobs and pods as they are now, for as long as somebody looks.
//!
//! All who look at a task share one [`Sight`], and in it each looks at one node: a change of a pod costs those who look at its
//! node, not all of them.

use std::{
    fmt::Debug,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    time::{interval, sleep, timeout},
};

use super::{
    DEADLINE, Executor, Result, call, labels, list,
    shared::Owned,
    status::{self, Observed},
};
use crate::api::{TaskId, User};

/// How long to wait before listing again after a watch broke, and how often to look for events while a pod is missing:
/// nothing that is watched says why it is.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a watch lasts, in seconds. Then there is a new one: a connection can be dead without a word.
const WATCH_SECONDS: u32 = 60;
/// How long a watch is waited for at most: what is silent for longer than it should have lasted is dead.
pub const WATCH: Duration = Duration::from_secs(WATCH_SECONDS as u64).saturating_add(DEADLINE);

/// A task, as far as it is known.
pub struct Sight {
    pub num_nodes: u32,
    nodes: Vec<watch::Receiver<Observed>>,
    lists: Arc<Lists>,
    _work: Owned,
}

/// The lists that were made, to tell those who want a new one when they have it.
#[derive(Default)]
struct Lists {
    wanted: Notify,
    begun: AtomicU64,
    finished: watch::Sender<u64>,
}

impl Sight {
    /// What is known about the node of a rank below `num_nodes`, and all that will be.
    pub fn node(&self, rank: u32) -> watch::Receiver<Observed> {
        self.nodes[rank as usize].clone()
    }

    /// Whether the task has been stopped.
    pub fn is_gone(&self) -> bool {
        self.nodes.iter().all(|node| {
            let jobs = &node.borrow().jobs;
            jobs.iter()
                .all(|job| job.metadata.deletion_timestamp.is_some())
        })
    }

    /// Asks Kubernetes anew, and waits until it has answered or does not.
    ///
    /// The watches of Jobs and pods are not in step, and one that is dead says nothing. Who has to know asks for a list.
    pub async fn refresh(&self) {
        let begun = self.lists.begun.load(Ordering::SeqCst);
        self.lists.wanted.notify_one();
        let mut finished = self.lists.finished.subscribe();
        let answer = finished.wait_for(|finished| *finished > begun);
        if timeout(DEADLINE, answer).await.is_err() {
            log::debug!("a task cannot be listed anew");
        }
    }
}

impl Executor {
    /// Keeps a task of `user` in sight, beginning with what was observed already.
    pub(super) fn keep_in_sight(&self, user: &User, id: &TaskId, observed: Observed) -> Sight {
        let num_nodes = status::tasks(&observed, &self.namespace)
            .pop()
            .map_or(1, |task| task.metadata.num_nodes);
        let mut nodes = Nodes(
            (0..num_nodes)
                .map(|_| watch::Sender::new(Observed::default()))
                .collect(),
        );
        nodes.replace(observed);
        let receivers = nodes.0.iter().map(watch::Sender::subscribe).collect();
        let lists = Arc::new(Lists::default());
        let (executor, user, id) = (self.clone(), user.clone(), id.clone());
        let requests = lists.clone();
        let work = tokio::spawn(async move {
            loop {
                match executor
                    .observe_once(&user, &id, &mut nodes, &requests)
                    .await
                {
                    Ok(()) => (),
                    Err(error) => {
                        log::debug!("task {id}: lost sight of it, looking again: {error}");
                        sleep(PAUSE).await;
                    }
                }
            }
        });
        Sight {
            num_nodes,
            nodes: receivers,
            lists,
            _work: work.into(),
        }
    }

    /// Lists, then watches for as long as the watches last and nobody wants a new list.
    async fn observe_once(
        &self,
        user: &User,
        id: &TaskId,
        nodes: &mut Nodes,
        lists: &Lists,
    ) -> Result<()> {
        let begun = lists.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let selector = labels::task_selector(id);
        let params = ListParams::default().labels(&selector);
        let (jobs_api, pods_api) = (self.jobs(), self.pods());
        let ((mut jobs, jobs_version), (pods, pods_version)) = futures::try_join!(
            list(&jobs_api, params.clone(), "Jobs"),
            list(&pods_api, params, "pods")
        )?;
        jobs.retain(|job| labels::is_owned_by(&job.metadata, user));
        let observed = Observed {
            jobs,
            pods,
            events: Vec::new(),
        };
        nodes.replace(observed);
        lists.finished.send_replace(begun);

        let mut job_events = pin!(events(&jobs_api, &selector, &jobs_version).await?);
        let mut pod_events = pin!(events(&pods_api, &selector, &pods_version).await?);
        let mut patience = pin!(sleep(WATCH));
        let mut look = interval(PAUSE);
        let mut may_miss_pods = true;
        loop {
            let goes_on = tokio::select! {
                event = job_events.next() => match event {
                    Some(Ok(WatchEvent::Added(job) | WatchEvent::Modified(job) | WatchEvent::Deleted(job)))
                        if !labels::is_owned_by(&job.metadata, user) => true,
                    event => nodes.apply(event, |node| &mut node.jobs),
                },
                event = pod_events.next() => {
                    may_miss_pods |= matches!(event, Some(Ok(WatchEvent::Deleted(_))));
                    nodes.apply(event, |node| &mut node.pods)
                }
                _ = look.tick(), if may_miss_pods => {
                    let mut missing = nodes.missing();
                    may_miss_pods = !missing.jobs.is_empty();
                    missing.events = self.creation_failures(&missing).await?;
                    nodes.explain(&missing);
                    true
                }
                () = lists.wanted.notified() => false,
                () = &mut patience => false,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// The nodes of a task by rank, each with those who look at it.
struct Nodes(Vec<watch::Sender<Observed>>);

impl Nodes {
    /// Takes over a whole list.
    fn replace(&mut self, observed: Observed) {
        let mut nodes = vec![Observed::default(); self.0.len()];
        for job in observed.jobs {
            if let Some(node) = nodes.get_mut(rank(&job)) {
                node.jobs.push(job);
            }
        }
        for pod in observed.pods {
            if let Some(node) = nodes.get_mut(rank(&pod)) {
                node.pods.push(pod);
            }
        }
        for (sender, node) in self.0.iter().zip(nodes) {
            sender.send_replace(node);
        }
    }

    /// Takes over one event of a watch; `false` when the watch has ended and everything has to be listed again.
    fn apply<K: Resource>(
        &mut self,
        event: Option<kube::Result<WatchEvent<K>>>,
        objects: impl Fn(&mut Observed) -> &mut Vec<K>,
    ) -> bool {
        let (object, is_deleted) = match event {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => (object, false),
            Some(Ok(WatchEvent::Deleted(object))) => (object, true),
            Some(Ok(WatchEvent::Bookmark(_))) => return true,
            Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => return false,
        };
        if let Some(sender) = self.0.get(rank(&object)) {
            sender.send_modify(|node| {
                let objects = objects(node);
                objects.retain(|other| other.meta().uid != object.meta().uid);
                if !is_deleted {
                    objects.push(object);
                }
            });
        }
        true
    }

    /// The Jobs that have no pods.
    fn missing(&self) -> Observed {
        let nodes = self.0.iter().map(watch::Sender::borrow);
        let missing = nodes.filter(|node| node.misses_pods());
        Observed {
            jobs: missing.flat_map(|node| node.jobs.clone()).collect(),
            ..Observed::default()
        }
    }

    /// Takes over why the pods of these Jobs are missing.
    fn explain(&mut self, missing: &Observed) {
        for job in &missing.jobs {
            let events = missing.events.iter();
            let events: Vec<_> = events
                .filter(|event| event.involved_object.uid == job.metadata.uid)
                .cloned()
                .collect();
            if let Some(sender) = self.0.get(rank(job)) {
                sender.send_if_modified(|node| {
                    let is_news = node.events != events;
                    node.events = events;
                    is_news
                });
            }
        }
    }
}

/// The node that an object says it belongs to; whether a pod really does, its owner says.
fn rank(object: &impl Resource) -> usize {
    labels::label(object.meta(), labels::NODE_IDX)
        .and_then(|rank| rank.parse().ok())
        .unwrap_or(0)
}

/// What happens to the objects that `selector` selects, from a version on.
pub async fn events<K>(
    api: &Api<K>,
    selector: &str,
    version: &str,
) -> Result<impl Stream<Item = kube::Result<WatchEvent<K>>> + use<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + 'static,
{
    let params = WatchParams::default()
        .labels(selector)
        .timeout(WATCH_SECONDS);
    call("watch tasks", async { api.watch(&params, version).await }).await
}
