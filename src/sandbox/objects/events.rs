//! Event objects, by which the components of the cluster report about other objects.
//!
//! There are two formats: the scheduler writes events with a series and microseconds, and all others write events with a count
//! and seconds. They follow Kubernetes, `staging/src/k8s.io/client-go/tools/events` and `tools/record`, v1.36.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    clock,
    deletion::{self, Options},
    node::NODE,
    object::{Object, text},
    registry::{Part, Registry},
    resource::Kind,
    selection::Selection,
};

/// The lifetime of an event, that of a real API server.
const LIFETIME_SECONDS: i64 = 3600;

/// A part of the cluster that records events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Component {
    JobController,
    Kubelet,
    Scheduler,
    VolumeController,
}

/// The `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Severity {
    Normal,
    Warning,
}

/// The content of an event.
struct News<'a> {
    component: Component,
    severity: Severity,
    reason: &'a str,
    message: &'a str,
    field: &'a str,
}

/// Writes the events of one component.
#[derive(Clone)]
pub struct Recorder {
    registry: Arc<Registry>,
    component: Component,
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Self::JobController => "job-controller",
            Self::Kubelet => "kubelet",
            Self::Scheduler => "default-scheduler",
            Self::VolumeController => "persistentvolume-controller",
        }
    }
}

impl Recorder {
    pub fn new(registry: Arc<Registry>, component: Component) -> Self {
        Self {
            registry,
            component,
        }
    }

    /// Records an event of the type `Normal`.
    pub fn note(&self, object: &Object, reason: &str, message: &str) {
        self.record_field(object, "", Severity::Normal, reason, message);
    }

    /// Records an event of the type `Warning`.
    pub fn warn(&self, object: &Object, reason: &str, message: &str) {
        self.record_field(object, "", Severity::Warning, reason, message);
    }

    /// Records an event about a part of `object`, such as `spec.containers{task}`. A failure is only logged.
    pub fn record_field(
        &self,
        object: &Object,
        field: &str,
        severity: Severity,
        reason: &str,
        message: &str,
    ) {
        let news = &News {
            component: self.component,
            severity,
            reason,
            message,
            field,
        };
        let now = clock::now();
        let name = format!("{}.{:016x}", object.name(), fingerprint(object, news));
        let counted = self.registry.update(
            Kind::Event,
            object.namespace(),
            &name,
            Part::Anything,
            false,
            |event| {
                if news.component == Component::Scheduler {
                    let count = event["series"]["count"].as_i64().unwrap_or(1) + 1;
                    event["series"] =
                        json!({ "count": count, "lastObservedTime": clock::micros(now) });
                } else {
                    event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
                    event["lastTimestamp"] = json!(clock::seconds(now));
                }
            },
        );
        if counted.is_ok() {
            return;
        }
        let event = describe(object, news, &name);
        if let Err(status) = self
            .registry
            .create(Kind::Event, object.namespace(), event, false)
        {
            log::debug!("event {name}: {status}");
        }
    }
}

/// Removes events that are older than [`LIFETIME_SECONDS`].
pub fn sweep(registry: &Registry) {
    let now = clock::now();
    let events = registry.store().list(Kind::Event, &Selection::default());
    for event in events {
        let value = event.value();
        let times = [
            &value["lastTimestamp"],
            &value["metadata"]["creationTimestamp"],
        ];
        let time = times.into_iter().find_map(|time| clock::parse(text(time)));
        if time.is_some_and(|time| clock::elapsed_seconds(time, now) > LIFETIME_SECONDS) {
            let options = Options::default();
            drop(deletion::delete_object(registry, &event, &options));
        }
    }
}

fn describe(object: &Object, news: &News<'_>, name: &str) -> Value {
    let resource = object.kind.resource();
    let now = clock::now();
    let mut involved = json!({
        "kind": resource.kind, "apiVersion": resource.api_version(), "name": object.name(), "uid": object.uid,
        "namespace": object.namespace(), "resourceVersion": object.version.to_string(),
    });
    if !news.field.is_empty() {
        involved["fieldPath"] = json!(news.field);
    }
    let severity = match news.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    let component = news.component.name();
    let mut event = json!({
        "metadata": { "name": name }, "involvedObject": involved, "reason": news.reason, "message": news.message,
        "type": severity, "reportingComponent": component, "reportingInstance": "",
    });
    if news.component == Component::Scheduler {
        event["source"] = json!({});
        event["eventTime"] = json!(clock::micros(now));
        event["action"] = json!(if news.reason == "Scheduled" {
            "Binding"
        } else {
            "Scheduling"
        });
        event["reportingInstance"] = json!("default-scheduler-sandbox");
        return event;
    }
    event["source"] = json!({ "component": component });
    if news.component == Component::Kubelet {
        event["source"]["host"] = json!(NODE);
        event["reportingInstance"] = json!(NODE);
    }
    event["count"] = json!(1);
    event["firstTimestamp"] = json!(clock::seconds(now));
    event["lastTimestamp"] = json!(clock::seconds(now));
    event
}

fn fingerprint(object: &Object, news: &News<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (
        &object.uid,
        news.component.name(),
        news.reason,
        news.message,
        news.field,
    )
        .hash(&mut hasher);
    hasher.finish()
}
