//! The state of a pod that its worker and its containers share: its status, and the signal to end.

use std::{cell::RefCell, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    hosts::Membership,
    machine::Machine,
    pod_status::{self, View},
};
use crate::sandbox::objects::{clock, events::Severity, object::Object};

/// A pod of this machine.
pub struct Pod {
    pub machine: Rc<Machine>,
    pub object: Arc<Object>,
    pub value: Value,
    pub directory: PathBuf,
    pub view: RefCell<View>,
    /// Notified when the pod changes, or an object that it may wait for.
    pub changed: Rc<Notify>,
    /// The grace period, once the containers have to end.
    pub stop: watch::Sender<Option<Duration>>,
    /// The volumes: name, directory, and whether it is read-only.
    pub sources: RefCell<Vec<(String, PathBuf, bool)>>,
    /// The entry in the hosts file, while the pod runs.
    pub names: RefCell<Option<Membership>>,
}

/// The pod had to end first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stopped;

impl Pod {
    /// Writes the view into the status of the pod.
    pub fn publish(&self) {
        let view = self.view.borrow().clone();
        if let Some(names) = &*self.names.borrow() {
            names.set_ready(view.is_ready());
        }
        self.machine.registry.edit(&self.object, |value| {
            pod_status::render(value, &view, clock::now());
        });
    }

    /// Records an event about the pod, or about the part of it that `field` names.
    pub fn say(&self, severity: Severity, reason: &str, message: &str, field: &str) {
        let recorder = &self.machine.recorder;
        recorder.record_field(&self.object, field, severity, reason, message);
    }

    /// Waits for a change or for `time`.
    pub async fn pause(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            _ = self.stopped() => Err(Stopped),
            () = self.changed.notified() => Ok(()),
            () = sleep(time) => Ok(()),
        }
    }

    /// Waits for `time`.
    pub async fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            _ = self.stopped() => Err(Stopped),
            () = sleep(time) => Ok(()),
        }
    }

    /// Waits until the pod has to end, and returns its grace period.
    pub async fn stopped(&self) -> Duration {
        let mut stop = self.stop.subscribe();
        let grace = stop.wait_for(Option::is_some).await.map(|grace| *grace);
        grace.ok().flatten().unwrap_or_default()
    }

    /// The stored state of the pod, or none if it is gone.
    pub fn present(&self) -> Option<Value> {
        let object = self.machine.registry.store().get_uid(&self.object.uid)?;
        Some(object.value())
    }

    /// The end of `activeDeadlineSeconds`.
    pub fn deadline(&self, value: &Value) -> Option<Timestamp> {
        let seconds = value["spec"]["activeDeadlineSeconds"].as_i64()?;
        Some(clock::after(self.view.borrow().started, seconds))
    }
}
