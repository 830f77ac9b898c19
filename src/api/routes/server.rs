//! The routes about the server and its cluster.

use serde_json::Value;

use super::{Answer, GET, Route, Type, json};
use crate::api::{Health, KEY_HEADER, NodeListResponse, Whoami, path};

/// The media type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

const OPEN: Route = Route {
    needs_user: false,
    ..GET
};

const HEALTHY: Route = Route {
    answers: &[json(&[Type::of::<Health>()], "")],
    answer_headers: &[(
        KEY_HEADER,
        "`supported`: the server knows such keys in requests.",
    )],
    ..OPEN
};

pub const ROUTES: &[Route] = &[
    Route {
        path: path::NODES,
        name: "list_nodes",
        summary: "Lists the machines of the cluster, what they have and what is free.",
        notes: "A node is `{name, ready, total, free, gpu_type}`, and `gpus` are those of all nodes by type, `{type, total, free}`. `total` and \
                `free` of a node are `{cpus, memory, gpus}`, memory in bytes. `free` is null if the server may not see the pods of other namespaces.",
        answers: &[json(&[Type::of::<NodeListResponse>()], "")],
        ..GET
    },
    Route {
        path: path::WHOAMI,
        name: "whoami",
        summary: "Names the user of the request, and how the server knows them.",
        answers: &[json(&[Type::of::<Whoami>()], "")],
        ..GET
    },
    Route {
        path: path::ROOT,
        name: "root",
        summary: "Says that the server is alive.",
        notes: "The answer has a header `Idempotency-Key` if the server knows such keys.",
        ..HEALTHY
    },
    Route {
        path: path::HEALTHZ,
        name: "healthz",
        summary: "Says that the server is alive, for probes.",
        ..HEALTHY
    },
    Route {
        path: path::READYZ,
        name: "readyz",
        summary: "Says that Kubernetes answers, and that its objects were read.",
        notes: "When Kubernetes stops answering, the watches notice it after up to 10 seconds.",
        refusals: &[503, 504],
        ..HEALTHY
    },
    Route {
        path: path::METRICS,
        name: "metrics",
        summary: "Numbers about the server for Prometheus: see `k8s-cli help metrics`.",
        notes: "With `serve --metrics-address` they are at that address, and not here.",
        answers: &[Answer {
            media_type: PROMETHEUS,
            types: &[Type::inline::<String>()],
            notes: "numbers in Prometheus' text format",
        }],
        ..OPEN
    },
    Route {
        path: path::OPENAPI,
        name: "openapi",
        summary: "Describes this API for programs: OpenAPI 3.1.",
        answers: &[json(&[Type::inline::<Value>()], "the document")],
        ..OPEN
    },
];
