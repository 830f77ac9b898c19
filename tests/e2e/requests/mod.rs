//! A table of requests to Kubernetes, which a real cluster and the sandbox answer alike.
//!
//! `table.jsonl` has a request a line, with the answer of Kubernetes 1.36. Where 1.20 answers differently, `on_1_20` has its answer and
//! `why` the reason. Requests that change nothing are left to the recorded answers in `fixtures/recorded`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{World, is_real_cluster};

const TABLE: &str = include_str!("table.jsonl");
/// The fewest requests that the table has.
const FEWEST: usize = 300;

/// A request and its answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    method: String,
    path: String,
    /// The kind of a patch.
    #[serde(rename = "type")]
    patch: Option<String>,
    body: Option<Value>,
    want: Want,
    on_1_20: Option<Want>,
    why: Option<String>,
}

/// The parts of an answer that must be equal; those that are missing are not compared.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Want {
    status: u16,
    kind: Option<String>,
    reason: Option<String>,
    /// The fields of the object that are wrong, each with the reason.
    #[serde(default)]
    causes: Vec<String>,
}

#[test]
fn requests_are_answered_as_by_kubernetes() {
    let world = World::new();
    let rows: Vec<Row> = TABLE
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(rows.len() >= FEWEST, "{} rows", rows.len());
    let of_kept = kept().map(|(path, object)| {
        let path = path.replace("{ns}", &world.namespace);
        (
            "POST".to_owned(),
            path,
            "json".to_owned(),
            object.to_string(),
        )
    });
    for (answer, _) in world.send(of_kept.into_iter().collect()) {
        assert_eq!(answer, 201);
    }
    let is_old = is_real_cluster() && {
        let version = (
            "GET".to_owned(),
            "/version".to_owned(),
            "json".to_owned(),
            String::new(),
        );
        world.send(vec![version])[0].1["minor"] == "20"
    };
    let requests = rows.iter().map(|row| {
        let fill = |text: String| {
            text.replace("{ns}", &world.namespace)
                .replace("<300 KiB>", &"x".repeat(300 * 1024))
        };
        let body = row.body.as_ref().map(|body| fill(body.to_string()));
        let kind = match &row.patch {
            Some(patch) => format!("{patch}+json"),
            None => "json".to_owned(),
        };
        (
            row.method.clone(),
            fill(row.path.clone()),
            kind,
            body.unwrap_or_default(),
        )
    });
    let answers = world.send(requests.collect());
    let mut failures = Vec::new();
    for (row, (status, body)) in rows.iter().zip(answers) {
        assert_eq!(row.on_1_20.is_some(), row.why.is_some(), "{}", row.name);
        let want = row.on_1_20.as_ref().filter(|_| is_old).unwrap_or(&row.want);
        let got = seen(status, &body, want);
        if got != *want {
            failures.push(format!("{}\n  wanted {want:?}\n  got    {got:?}", row.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The parts of an answer that a row compares.
fn seen(status: u16, body: &Value, want: &Want) -> Want {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let mut causes: Vec<String> = body["details"]["causes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|cause| {
            let [field, reason] = ["field", "reason"].map(|key| cause[key].as_str().unwrap_or(""));
            format!("{field} {reason}")
        })
        .collect();
    causes.sort();
    causes.dedup();
    Want {
        status,
        kind: want.kind.as_ref().and_then(|_| word(&body["kind"])),
        reason: want.reason.as_ref().and_then(|_| word(&body["reason"])),
        causes: if want.causes.is_empty() {
            Vec::new()
        } else {
            causes
        },
    }
}

/// The objects that some requests name, with the paths at which they are created.
fn kept() -> [(&'static str, Value); 6] {
    let pod = |policy: &str| json!({ "restartPolicy": policy, "nodeSelector": { "no": "such" }, "containers": [{ "name": "c", "image": "i" }] });
    let kept = |spec: Value| json!({ "metadata": { "name": "kept" }, "spec": spec });
    [
        (
            "/api/v1/namespaces/{ns}/configmaps",
            json!({ "metadata": { "name": "kept" }, "data": { "a": "b" } }),
        ),
        (
            "/api/v1/namespaces/{ns}/secrets",
            json!({ "metadata": { "name": "fixed" }, "immutable": true, "data": { "a": "YQ==" } }),
        ),
        (
            "/api/v1/namespaces/{ns}/persistentvolumeclaims",
            kept(json!({
                "accessModes": ["ReadWriteOnce"], "storageClassName": "nosuch", "resources": { "requests": { "storage": "1Gi" } },
            })),
        ),
        (
            "/apis/batch/v1/namespaces/{ns}/jobs",
            kept(json!({ "parallelism": 0, "template": { "spec": pod("Never") } })),
        ),
        (
            "/api/v1/namespaces/{ns}/services",
            kept(json!({ "clusterIP": "None", "selector": { "a": "b" } })),
        ),
        ("/api/v1/namespaces/{ns}/pods", kept(pod("Always"))),
    ]
}
