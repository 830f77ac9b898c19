//! `GET /metrics`: numbers about the server, in Prometheus' text format.
//!
//! Labels have few values: routes are the patterns of the API, and what a client makes up counts as `other`.

use std::{fs, time::SystemTime};

use actix_web::{
    HttpResponse,
    http::{Method, header},
    web::Data,
};
use prometheus::{
    Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use rustix::process::{Resource, getrlimit};

use super::streams::Streams;
use crate::{
    api::Reason,
    executor::{Error, Executor},
};

/// The seconds that separate the classes of requests.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];
/// The methods that have a number of their own.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const OTHER: &str = "other";

/// The numbers of a server, shared by all workers.
pub struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    pub panics: IntCounter,
    log_streams: IntGauge,
    tasks: IntGaugeVec,
    nodes: IntGaugeVec,
    /// None unless the operator wants users to be named.
    unfinished: Option<IntGaugeVec>,
    view_age: Gauge,
    kept_files: IntGauge,
    files_budget: IntGauge,
    memory: IntGauge,
    threads: IntGauge,
    open_files: IntGauge,
    max_files: IntGauge,
}

impl Metrics {
    /// The numbers of a server of this executor with these log streams.
    ///
    /// # Errors
    /// Never: the names are valid and different.
    pub fn new(executor: &Executor, streams: &Streams, per_user: bool) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = HistogramOpts::new(
            "k8s_cli_http_request_duration_seconds",
            "How long requests took until their answers began.",
        );
        let requests = requests.buckets(SECONDS.to_vec());
        let gauge = |name: &str, help: &str| IntGauge::new(name, help);
        let by_state = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["state"]);
        let unfinished = per_user.then(|| {
            let options = Opts::new("k8s_cli_unfinished_tasks", "Unfinished tasks of a user.");
            IntGaugeVec::new(options, &["user"])
        });
        let metrics = Self {
            requests: HistogramVec::new(requests, &["method", "route", "status"])?,
            panics: IntCounter::new(
                "k8s_cli_panics_total",
                "Requests that ended in a fault of the server itself.",
            )?,
            log_streams: gauge("k8s_cli_log_streams", "Open logs, watched lists and waits.")?,
            tasks: by_state("k8s_cli_tasks", "Tasks of all users.")?,
            nodes: by_state("k8s_cli_task_nodes", "Nodes of the tasks of all users.")?,
            unfinished: unfinished.transpose()?,
            view_age: Gauge::new(
                "k8s_cli_view_age_seconds",
                "Age of what the server knows of Kubernetes; -1 while it knows nothing.",
            )?,
            kept_files: gauge(
                "k8s_cli_files_bytes",
                "Files of unfinished tasks that are kept in Kubernetes.",
            )?,
            files_budget: gauge(
                "k8s_cli_files_budget_bytes",
                "The most files that are kept in Kubernetes.",
            )?,
            memory: gauge("process_resident_memory_bytes", "Memory of the process.")?,
            threads: gauge("process_threads", "Threads of the process.")?,
            open_files: gauge("process_open_fds", "Open file descriptors.")?,
            max_files: gauge("process_max_fds", "The most open file descriptors.")?,
            registry,
        };
        let started = IntGauge::new(
            "process_start_time_seconds",
            "Start of the process, since 1970.",
        )?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        started.set(i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX));
        let options = Opts::new("k8s_cli_build_info", "The version of the program.");
        let build = IntGauge::with_opts(options.const_label("version", env!("CARGO_PKG_VERSION")))?;
        build.set(1);
        let mut collectors: Vec<Box<dyn Collector>> = vec![
            Box::new(executor.calls()),
            Box::new(metrics.requests.clone()),
            Box::new(streams.sent.clone()),
            Box::new(metrics.panics.clone()),
            Box::new(metrics.log_streams.clone()),
            Box::new(metrics.tasks.clone()),
            Box::new(metrics.nodes.clone()),
            Box::new(metrics.view_age.clone()),
            Box::new(metrics.kept_files.clone()),
            Box::new(metrics.files_budget.clone()),
            Box::new(metrics.memory.clone()),
            Box::new(metrics.threads.clone()),
            Box::new(metrics.open_files.clone()),
            Box::new(metrics.max_files.clone()),
            Box::new(started),
            Box::new(build),
        ];
        collectors.extend(
            (metrics.unfinished.clone()).map(|by_user| Box::new(by_user) as Box<dyn Collector>),
        );
        for collector in collectors {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Counts a request. `route` is the pattern of its path; none if the API has no such path.
    pub fn count(&self, method: &Method, route: Option<&str>, status: u16, seconds: f64) {
        let known = METHODS.iter().find(|known| **known == method.as_str());
        let labels = [
            known.copied().unwrap_or(OTHER),
            route.unwrap_or(OTHER),
            &status.to_string(),
        ];
        self.requests.with_label_values(&labels).observe(seconds);
    }

    /// Reads the numbers that are not counted, but measured.
    fn measure(&self, executor: &Executor, streams: &Streams) {
        let age = executor.view_age();
        self.view_age.set(age.map_or(-1.0, |age| age.as_secs_f64()));
        let numbers = executor.count();
        let all = [(&self.tasks, numbers.tasks), (&self.nodes, numbers.nodes)];
        for (gauges, counts) in all {
            // An unknown number is none: 0 would say that all tasks are gone.
            let counts = counts.into_iter().filter(|_| age.is_some());
            for (state, count) in counts {
                gauges.with_label_values(&[state]).set(to_gauge(count));
            }
        }
        if let Some(gauges) = &self.unfinished {
            gauges.reset();
            for (user, count) in numbers.unfinished {
                gauges.with_label_values(&[&user]).set(to_gauge(count));
            }
        }
        let (kept, budget) = executor.kept_files();
        self.kept_files.set(to_gauge(kept));
        self.files_budget.set(to_gauge(budget));
        self.log_streams.set(to_gauge(streams.count() as u64));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or(0_u64)
        };
        self.memory.set(to_gauge(number("VmRSS:") * 1024));
        self.threads.set(to_gauge(number("Threads:")));
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.open_files.set(to_gauge(files as u64));
        let most = getrlimit(Resource::Nofile).current;
        self.max_files.set(to_gauge(most.unwrap_or(u64::MAX)));
    }
}

fn to_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// `GET /metrics`.
pub async fn show(
    metrics: Data<Metrics>,
    executor: Data<Executor>,
    streams: Data<Streams>,
) -> Result<HttpResponse, Error> {
    metrics.measure(&executor, &streams);
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    let encoded = encoder.encode(&metrics.registry.gather(), &mut text);
    encoded.map_err(|error| {
        Error::new(
            Reason::InternalError,
            format!("cannot write the metrics: {error}"),
        )
    })?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, encoder.format_type().to_owned()))
        .body(text))
}
