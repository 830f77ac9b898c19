//! The view of a random history: objects are written, and lists and events arrive late, twice, and in another order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use proptest::{option, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::TaskState,
    executor::identity::{Uid, Version},
    golden::REGRESSIONS,
};

const TASKS: [&str; 3] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"];

fn id(task: usize) -> TaskId {
    TASKS[task].parse().unwrap()
}

fn user(name: &str) -> User {
    name.parse().unwrap()
}

fn job(task: usize, rank: u32, version: u64, condition: Option<&str>) -> JobRow {
    let conditions: Vec<Value> = condition
        .iter()
        .map(|kind| json!({"type": kind, "status": "True"}))
        .collect();
    let owner = ["a@b.c", "a-b.c"][task % 2];
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("job-{task}-node-{rank}"),
            "uid": format!("job-{task}-{rank}"),
            "resourceVersion": version.to_string(),
            "labels": {"task-id": TASKS[task], "username": "a-b.c", "node-idx": rank.to_string()},
            "annotations": {
                "num-nodes": "2", "k8s-cli/user": owner, "created-at": format!("2026-01-02T03:04:0{task}"),
            },
        },
        "status": {"conditions": conditions},
    }))
    .unwrap()
}

fn pod(task: usize, rank: u32, version: u64, phase: &str) -> PodRow {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("pod-{task}-{rank}"),
            "uid": format!("pod-{task}-{rank}"),
            "resourceVersion": version.to_string(),
            "labels": {"task-id": TASKS[task], "node-idx": rank.to_string()},
            "ownerReferences": [{"kind": "Job", "uid": format!("job-{task}-{rank}"), "controller": true}],
        },
        "status": {"phase": phase},
    }))
    .unwrap()
}

fn failure(task: usize, rank: u32, version: u64) -> EventRow {
    serde_json::from_value(json!({
        "metadata": {"name": "e", "uid": format!("event-{task}-{rank}"), "resourceVersion": version.to_string()},
        "involvedObject": {"kind": "Job", "uid": format!("job-{task}-{rank}")},
        "reason": "FailedCreate",
        "message": "Error creating: pods \"x\" is forbidden: exceeded quota",
    }))
    .unwrap()
}

/// The Jobs that the view knows: name, uid and version.
fn known(view: &View) -> BTreeSet<(String, Uid, Version)> {
    let tasks = (0..TASKS.len()).filter_map(|task| view.task(id(task)));
    tasks
        .flat_map(|task| task.jobs.clone())
        .map(named)
        .collect()
}

fn named(job: Arc<JobRow>) -> (String, Uid, Version) {
    (job.name.to_string(), job.uid, job.version)
}

fn knows(view: &View, uid: Uid) -> bool {
    known(view).iter().any(|job| job.1 == uid)
}

/// The objects in Kubernetes, and the events of the watch so far.
#[derive(Default)]
struct Cluster {
    version: u64,
    jobs: BTreeMap<(usize, u32), u64>,
    /// The events of the watch, in order.
    events: Vec<(JobRow, bool)>,
}

#[derive(Clone, Debug)]
enum Act {
    /// Another program creates or changes a Job.
    Write(usize, u32),
    Delete(usize, u32),
    /// This server writes a Job, and the answer comes after so many events of the watch.
    Create(usize, u32, usize),
    /// This server deletes a Job.
    Stop(usize, u32),
    /// The watch sends so many events.
    Watch(usize),
    /// A task, or everything, is listed, and the answer comes after so many events of the watch. A Job is deleted in the meantime.
    List(Option<usize>, Option<(usize, u32)>, usize),
    /// The watch cannot resume: everything is listed.
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let job = || (0..TASKS.len(), 0..2_u32);
    prop_oneof![
        4 => job().prop_map(|(task, rank)| Act::Write(task, rank)),
        2 => job().prop_map(|(task, rank)| Act::Delete(task, rank)),
        3 => (job(), 0..4_usize).prop_map(|((task, rank), late)| Act::Create(task, rank, late)),
        2 => job().prop_map(|(task, rank)| Act::Stop(task, rank)),
        4 => (0..4_usize).prop_map(Act::Watch),
        2 => (option::of(0..TASKS.len()), option::of(job()), prop_oneof![0..4_usize, Just(usize::MAX)])
            .prop_map(|(task, gone, late)| Act::List(task, gone, late)),
        1 => Just(Act::Reload),
    ]
}

/// A cluster, a view of it, and the number of events that the view has got.
#[derive(Default)]
struct World {
    cluster: Cluster,
    view: View,
    shown: usize,
    /// How often a Job of that place was deleted. The next one is another object.
    lives: BTreeMap<(usize, u32), u32>,
}

impl World {
    fn row(&self, (task, rank): (usize, u32)) -> Option<JobRow> {
        let version = *self.cluster.jobs.get(&(task, rank))?;
        let mut row = job(task, rank, version, None);
        let life = self.lives.get(&(task, rank)).copied().unwrap_or(0);
        row.uid = Uid::new(&format!("job-{task}-{rank}-{life}"));
        Some(row)
    }

    fn write(&mut self, place: (usize, u32)) -> JobRow {
        self.cluster.version += 1;
        self.cluster.jobs.insert(place, self.cluster.version);
        let row = self.row(place).unwrap();
        self.cluster.events.push((row.clone(), false));
        row
    }

    fn delete(&mut self, place: (usize, u32)) -> Option<JobRow> {
        let mut row = self.row(place)?;
        self.cluster.version += 1;
        self.cluster.jobs.remove(&place);
        *self.lives.entry(place).or_default() += 1;
        row.version = Version::new(&self.cluster.version.to_string());
        self.cluster.events.push((row.clone(), true));
        Some(row)
    }

    fn watch(&mut self, count: usize) {
        let end = self
            .shown
            .saturating_add(count)
            .min(self.cluster.events.len());
        for (row, is_deleted) in self.cluster.events[self.shown..end].iter().cloned() {
            let now = Instant::now();
            self.view
                .change::<JobRow, _>(|table| table.merge_event(row, is_deleted, now));
        }
        self.shown = end;
    }

    fn list(&mut self, task: Option<usize>, gone: Option<(usize, u32)>, late: usize) {
        let places = self.cluster.jobs.keys().copied();
        let places: Vec<_> = places
            .filter(|place| task.is_none_or(|task| place.0 == task))
            .collect();
        let rows: Vec<_> = places
            .into_iter()
            .filter_map(|place| self.row(place))
            .collect();
        let version = Version::new(&self.cluster.version.to_string());
        let highest = self
            .view
            .change::<JobRow, _>(|table| Table::<JobRow>::versions(table).highest());
        gone.and_then(|place| self.delete(place));
        self.watch(late);
        let scope = task.map_or(Scope::All, |task| Scope::Task(id(task)));
        self.view
            .change::<JobRow, _>(|table| table.merge_list(rows, version, &scope, highest));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Write(task, rank) => drop(self.write((task, rank))),
            Act::Delete(task, rank) => drop(self.delete((task, rank))),
            Act::Create(task, rank, late) => {
                if self.cluster.jobs.contains_key(&(task, rank)) {
                    return;
                }
                let row = self.write((task, rank));
                self.watch(late);
                let uid = row.uid;
                self.view.change::<JobRow, _>(|table| table.merge(row));
                assert!(knows(&self.view, uid), "what was created is not seen");
            }
            Act::Stop(task, rank) => {
                let Some(row) = self.delete((task, rank)) else {
                    return;
                };
                let now = Instant::now();
                self.view.change::<JobRow, _>(|table| {
                    Table::<JobRow>::mark_deleted(table, row.uid, now)
                });
                assert!(!knows(&self.view, row.uid), "what was stopped is seen");
            }
            Act::Watch(count) => self.watch(count),
            Act::List(task, gone, late) => self.list(task, gone, late),
            Act::Reload => {
                self.view
                    .change::<JobRow, _>(|table| Table::<JobRow>::versions(table).forget());
                self.shown = self.cluster.events.len();
                self.list(None, None, 0);
                let version = Version::new(&self.cluster.version.to_string());
                self.view.change::<JobRow, _>(|table| {
                    Table::<JobRow>::versions(table).advance(version, Instant::now())
                });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(REGRESSIONS))]

    #[test]
    fn the_view_equals_the_cluster_after_all_events(acts in prop::collection::vec(act(), 0..60)) {
        let mut world = World::default();
        world.act(Act::Reload);
        for act in acts {
            world.act(act);
        }
        world.watch(usize::MAX / 2);
        let places = world.cluster.jobs.keys();
        let truth: BTreeSet<_> = places.map(|place| named(Arc::new(world.row(*place).unwrap()))).collect();
        prop_assert_eq!(known(&world.view), truth);
        // The indices agree with the tasks.
        let of_users: usize = ["a@b.c", "a-b.c"].iter().map(|name| world.view.list(Some(&user(name))).len()).sum();
        prop_assert_eq!(of_users, world.view.list(None).len());
    }
}

#[test]
fn lists_are_sorted_and_each_change_gives_a_new_version() {
    let view = View::default();
    let put = |row: JobRow| view.change::<JobRow, _>(|table| table.put(row));
    for task in 0..3 {
        put(job(task, 0, 1, None));
    }
    let ids = |user: Option<&User>| {
        view.list(user)
            .into_iter()
            .map(|(id, _)| id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(None), [id(2), id(1), id(0)]);
    let (ada, other) = (user("a@b.c"), user("a-b.c"));
    assert_eq!(ids(Some(&ada)), [id(2), id(0)]);
    assert_eq!(ids(Some(&other)), [id(1)]);

    let versions = || [Some(&ada), Some(&other), None].map(|user| view.list_version(user));
    let before = versions();
    view.change::<PodRow, _>(|table| table.put(pod(0, 0, 2, "Running")));
    let after = versions();
    assert!(before[0] != after[0] && before[1] == after[1] && before[2] != after[2]);
    view.change::<JobRow, _>(|table| Table::<JobRow>::remove(table, Uid::new("job-1-0")));
    assert!(versions()[1] != after[1] && versions()[2] != after[2]);
    assert_eq!(ids(Some(&other)), []);
}

#[test]
fn subscribers_of_a_node_see_its_changes() {
    let view = View::default();
    view.change::<JobRow, _>(|table| table.put(job(0, 0, 1, None)));
    view.change::<JobRow, _>(|table| table.put(job(0, 1, 2, None)));
    let mut nodes = view.subscribe(&user("a@b.c"), id(0), 2, None);
    let strangers = view.subscribe(&user("a-b.c"), id(0), 2, None);
    view.change::<PodRow, _>(|table| table.put(pod(0, 1, 3, "Running")));
    assert!(!nodes[0].has_changed().unwrap() && nodes[1].has_changed().unwrap());
    assert_eq!(nodes[1].borrow_and_update().pods.len(), 1);
    assert!(strangers[1].borrow().jobs.is_empty());
    view.change::<JobRow, _>(|table| Table::<JobRow>::remove(table, Uid::new("job-0-1")));
    assert!(nodes[1].borrow_and_update().jobs.is_empty());
    drop((nodes, strangers));
    view.change::<JobRow, _>(|table| table.put(job(0, 0, 4, None)));
    assert!(view.state().subscribers.is_empty());
}

#[test]
fn the_reason_for_a_missing_pod_is_kept_with_the_job() {
    let view = View::default();
    let reason = || {
        let task = view.task(id(0)).unwrap();
        task.status(id(0), None, "default").unwrap().metadata.nodes[0]
            .reason
            .clone()
    };
    // The watch of events may be ahead of that of Jobs.
    view.change::<EventRow, _>(|table| table.put(failure(0, 0, 1)));
    view.change::<JobRow, _>(|table| table.put(job(0, 0, 1, None)));
    assert_eq!(reason().as_deref(), Some("exceeded quota"));
    view.change::<EventRow, _>(|table| Table::<EventRow>::remove(table, Uid::new("event-0-0")));
    assert_eq!(reason().as_deref(), Some("exceeded quota"));
    view.change::<JobRow, _>(|table| Table::<JobRow>::remove(table, Uid::new("job-0-0")));
    view.change::<JobRow, _>(|table| table.put(job(0, 0, 3, None)));
    assert_eq!(reason(), None);
}

#[test]
fn a_failure_makes_a_task_failing_for_running_and_new_jobs() {
    let view = View::default();
    let put = |row: JobRow| view.change::<JobRow, _>(|table| table.put(row));
    let failing = || view.state().unsettled.pop_front();
    put(job(0, 0, 1, None));
    put(job(0, 1, 2, None));
    assert_eq!(failing(), None);
    put(job(0, 0, 3, Some("Failed")));
    assert_eq!(failing(), Some(id(0)));
    // Further failures, of stopped nodes, change nothing.
    put(job(0, 1, 4, None));
    assert_eq!(failing(), None);
    put(job(1, 0, 5, Some("Failed")));
    assert_eq!(failing(), None);
    put(job(1, 1, 6, None));
    assert_eq!(failing(), Some(id(1)));
    put(job(2, 0, 7, Some("Failed")));
    put(job(2, 1, 8, Some("Complete")));
    assert_eq!(failing(), None);
}

#[test]
fn a_postponed_task_does_not_delay_others() {
    let view = View::default();
    let put = |row: JobRow| view.change::<JobRow, _>(|table| table.put(row));
    let failing = || view.state().unsettled.pop_front();
    put(job(0, 0, 1, Some("Failed")));
    put(job(0, 1, 2, None));
    assert_eq!(failing(), Some(id(0)));
    view.postpone(id(0));
    put(job(0, 2, 3, None));
    assert_eq!(failing(), None);
    put(job(1, 0, 4, Some("Failed")));
    put(job(1, 1, 5, None));
    assert_eq!(failing(), Some(id(1)));
    view.try_again(id(0));
    view.try_again(id(0));
    assert_eq!((failing(), failing()), (Some(id(0)), None));
}

/// A list may come before the watch, and an older event of the watch after the list.
#[test]
fn a_job_that_a_list_lacks_is_deleted_once_the_watch_says_so() {
    let view = View::default();
    let put = |row: JobRow| view.change::<JobRow, _>(|table| table.put(row));
    let list = |rows: Vec<JobRow>, version: &str| {
        let version = Version::new(version);
        view.change::<JobRow, _>(|table| {
            table.merge_list(rows, version, &Scope::Task(id(0)), Version::default());
        });
    };
    let event = |row: JobRow, is_deleted: bool| {
        let now = Instant::now();
        view.change::<JobRow, _>(|table| table.merge_event(row, is_deleted, now));
    };
    let state = || {
        let task = view.task(id(0)).unwrap();
        let nodes = task.nodes_without_job();
        nodes.first().map(|node| node.status)
    };
    // The Job of rank 0 is gone, so the task was complete.
    put(job(0, 0, 1, None));
    put(job(0, 1, 2, None));
    list(vec![job(0, 1, 2, None)], "9");
    assert_eq!(state(), None);
    event(job(0, 0, 4, None), false);
    event(job(0, 0, 5, Some("Complete")), true);
    assert_eq!(state(), Some(TaskState::Completed));

    let task = view.task(id(0)).unwrap();
    assert!(task.awaited_ends.is_empty());
}

#[test]
fn an_event_that_comes_late_does_not_bring_back_what_was_deleted() {
    let view = View::default();
    view.change::<JobRow, _>(|table| table.put(job(0, 0, 1, None)));
    let nodes = view.subscribe(&"a@b.c".parse().unwrap(), id(0), 2, None);
    let uid = Uid::new("job-0-0");
    view.change::<JobRow, _>(|table| Table::<JobRow>::mark_deleted(table, uid, Instant::now()));
    // The watch still shows what happened before the deletion.
    for version in 2..5 {
        let row = job(0, 0, version, None);
        view.change::<JobRow, _>(|table| table.merge_event(row, false, Instant::now()));
        assert!(
            nodes[0].borrow().jobs.is_empty(),
            "told of version {version}"
        );
        assert!(view.task(id(0)).is_none());
    }
}
