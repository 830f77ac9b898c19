//! A server that is killed behind each request of a submit.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use flate2::{Compression, write::GzEncoder};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Secret, Service},
};
use serde_json::Value;

use super::{FORM, form};
use crate::{
    harness::{Server, TempDir, Verdict, World, is_real_cluster, wait_until, with_headers},
    http::{ADA, agent},
};

/// What is left is shown, and a stop removes it with all its objects.
#[test]
fn a_submit_that_is_cut_anywhere_leaves_nothing_hidden() {
    if is_real_cluster() {
        eprintln!("the requests to this cluster are encrypted, so nothing can count them");
        return;
    }
    let world = World::new();
    let ada = world.login("ada");
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    tar.append_data(&mut header, "home/", &b""[..]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    tar.append_data(&mut header, "home/sky_workdir/a", &b"1"[..])
        .unwrap();
    let archive = tar.into_inner().unwrap().finish().unwrap();
    let task = r#"{"num_nodes": 4, "run": "sleep 1000", "secrets": {"TOKEN": "s3cret"}}"#;
    let body = form(task, &archive);
    let mut job_counts = BTreeSet::new();
    for most in 1.. {
        let server: Arc<Mutex<Option<Server>>> = Arc::default();
        let (killed, writes) = (server.clone(), AtomicUsize::new(0));
        let judge = move |head: &str| {
            let is_of_submit = head.starts_with("POST ") && !head.contains("authorization.k8s.io");
            let is_write = is_of_submit || head.starts_with("PATCH");
            if is_write && writes.fetch_add(1, Ordering::SeqCst) >= most {
                if let Some(server) = killed.lock().unwrap().as_ref() {
                    server.signal("KILL");
                }
                return Verdict::Answer(String::new());
            }
            Verdict::Forward(with_headers(head, &[]))
        };
        let dir = TempDir::new();
        let started = world.server_behind(&dir, judge);
        let url = format!("{}/tasks/submit", started.url);
        *server.lock().unwrap() = Some(started);
        let submitted = agent()
            .post(url)
            .header(ADA.0, ADA.1)
            .header(FORM.0, FORM.1);
        let is_whole = submitted
            .send(&body[..])
            .is_ok_and(|answer| answer.status() == 200);
        let jobs = world.names::<Job>().len();
        job_counts.insert(jobs);
        let tasks = || {
            let listed = ada.run(["jobs", "list", "-o", "json"]).success().stdout;
            let listed: Value = serde_json::from_str(&listed).unwrap();
            listed["tasks"].as_array().unwrap().clone()
        };
        wait_until("the other server lists the task with its Jobs", || {
            let tasks = tasks();
            let all = tasks
                .iter()
                .map(|task| task["metadata"]["node_jobs"].as_array().unwrap().len());
            all.sum::<usize>() == jobs
        });
        let [task] = tasks().try_into().unwrap();
        let id = task["task_id"].as_str().unwrap();
        if !is_whole {
            let reason = format!("being created: {jobs} of 4 Jobs exist");
            assert_eq!(
                (&task["status"], &task["reason"]),
                (&"pending".into(), &reason.into()),
                "{most}"
            );
        }
        ada.run(["jobs", "stop", id]).success();
        wait_until("nothing is left", || {
            world.names::<Job>().is_empty()
                && world.names_of::<Secret>(id).is_empty()
                && world.names_of::<Service>(id).is_empty()
        });
        // The way to the server holds it, too. It may be answered while it ends.
        let ended = server.lock().unwrap().take();
        drop(ended);
        if is_whole {
            break;
        }
    }
    assert!(
        job_counts.is_superset(&BTreeSet::from([1, 4])),
        "{job_counts:?}"
    );
}
