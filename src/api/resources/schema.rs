//! SkyPilot's fields of `resources` that have no effect: the shape of their values, and the reason.
//!
//! Mirrors `sky/utils/schemas.py` (`_get_single_resources_schema`) of SkyPilot 0.14.1, and the further checks of its
//! `sky/resources.py`.

use serde_json::Value;

use super::super::{
    Problem,
    shape::{
        Got,
        Shape::{self, *},
        whole,
    },
};

/// Fields without effect, each with its shape and the reason.
pub const IGNORED: &[(&str, Shape, &str)] = &[
    (
        "infra",
        TextLike(is_infra, "k8s, kubernetes/CONTEXT, *, or CLOUD/REGION/ZONE"),
        "the task runs on the server's cluster",
    ),
    (
        "cloud",
        Word(CLOUDS),
        "the task runs on the server's cluster",
    ),
    ("region", Text, "the task runs on the server's cluster"),
    ("zone", Text, "the task runs on the server's cluster"),
    (
        "instance_type",
        Text,
        "say what the task needs with cpus, memory and accelerators",
    ),
    (
        "use_spot",
        Bool,
        "which nodes a task gets is the cluster's business",
    ),
    (
        "disk_tier",
        Word(&["low", "medium", "high", "ultra", "best"]),
        "a node's disk is what it is",
    ),
    (
        "network_tier",
        Word(&["standard", "best"]),
        "the cluster's network is what it is",
    ),
    ("local_disk", Text, "a node's disk is what it is"),
    ("max_hourly_cost", Positive, "a cluster has no prices"),
    (
        "ports",
        Any,
        "a task's ports are open to the cluster, and to nobody else",
    ),
    ("autostop", Any, "a task's pods end with the task"),
    ("job_recovery", RECOVERY, ""),
    (
        "priority",
        Integer(-1000, 1000),
        "tasks start as the cluster has room; config.kubernetes.pod_config can name a priorityClassName",
    ),
    (
        "priority_class",
        Text,
        "config.kubernetes.pod_config can name a priorityClassName",
    ),
    ("any_of", Any, ""),
    ("ordered", Any, ""),
    ("accelerator_args", TPU, "there are no TPUs here"),
    (
        "ephemeral_storage",
        Any,
        "disk_size says how much disk the task needs",
    ),
    (
        "volumes",
        List(&Map(&Any), usize::MAX),
        "volumes of a task stand in `volumes` at the top",
    ),
];

/// The clouds of SkyPilot (`sky/skylet/constants.py`).
const CLOUDS: &[&str] = &[
    "aws",
    "azure",
    "gcp",
    "ibm",
    "lambda",
    "scp",
    "oci",
    "kubernetes",
    "runpod",
    "vast",
    "vsphere",
    "cudo",
    "fluidstack",
    "paperspace",
    "primeintellect",
    "do",
    "nebius",
    "ssh",
    "slurm",
    "hyperbolic",
    "seeweb",
    "shadeform",
    "yotta",
    "mithril",
    "verda",
];

const RECOVERY: Shape = Either(&[
    Text,
    Fields(&[
        ("strategy", Text),
        ("max_restarts_on_errors", Integer(0, i64::MAX)),
        (
            "recover_on_exit_codes",
            Either(&[EXIT_CODE, List(&EXIT_CODE, usize::MAX)]),
        ),
    ]),
]);
const TPU: Shape = Fields(&[
    ("runtime_version", Text),
    ("tpu_name", Text),
    ("tpu_vm", Bool),
    ("gcp_queued_resource", Bool),
]);

const EXIT_CODE: Shape = Integer(0, 255);

const AUTOSTOP: Shape = Either(&[
    Bool,
    Integer(0, i64::MAX),
    TextLike(
        is_duration,
        "minutes, or a duration such as 10m, 2h, 1d or 1w",
    ),
    Fields(&[
        ("idle_minutes", Given(&Integer(0, i64::MAX))),
        ("down", Given(&Bool)),
        ("wait_for", Given(&Word(&["jobs_and_ssh", "jobs", "none"]))),
        ("hook", Given(&Text)),
        ("hook_timeout", Given(&Integer(1, i64::MAX))),
    ]),
]);

/// Whether a value of `infra` or `cloud` may mean Kubernetes.
pub fn allows_kubernetes(infra: &str) -> bool {
    let cloud = infra.split('/').next().unwrap_or_default();
    ["k8s", "kubernetes", "*"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(cloud))
}

fn is_infra(infra: &str) -> bool {
    let (cloud, place) = match infra.split_once('/') {
        Some((cloud, place)) => (cloud.to_ascii_lowercase(), Some(place)),
        None => (infra.to_ascii_lowercase(), None),
    };
    match cloud.as_str() {
        // The name of a context may contain slashes.
        "k8s" | "kubernetes" => place.is_none_or(|context| {
            !context.is_empty() && !context.starts_with('/') && !context.contains("//")
        }),
        cloud if cloud == "*" || CLOUDS.contains(&cloud) => {
            let parts: Vec<_> = place.iter().flat_map(|place| place.split('/')).collect();
            parts.len() <= 2 && parts.iter().all(|part| !part.is_empty())
        }
        _ => false,
    }
}

fn is_duration(text: &str) -> bool {
    let units = ['m', 'h', 'd', 'w', 'M', 'H', 'D', 'W'];
    let digits = text.strip_suffix(units).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks a field, and returns it in SkyPilot's normal form.
pub fn normalize(
    key: &str,
    field: &str,
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    match key {
        "ports" => match super::ports::read(value) {
            Ok(ports) => return (!ports.is_empty()).then(|| ports.into()),
            Err(message) => problems.push(Problem::new(field, message)),
        },
        "autostop" => {
            AUTOSTOP.check(field, value, problems);
            return Some(autostop(value));
        }
        "disk_tier" | "network_tier" | "cloud" => {
            return value.as_str().map(|text| text.to_ascii_lowercase().into());
        }
        "infra" => return value.as_str().map(|text| lower_cloud(text).into()),
        "job_recovery" => return Some(recovery(field, value, problems)),
        "priority_class" if value.as_str().is_some_and(|class| class.trim().is_empty()) => {
            return None;
        }
        _ => (),
    }
    Some(value.clone())
}

/// `K8S/ctx` to `kubernetes/ctx`.
fn lower_cloud(infra: &str) -> String {
    let (cloud, rest) = infra.split_at(infra.find('/').unwrap_or(infra.len()));
    match cloud.to_ascii_lowercase().as_str() {
        "k8s" => format!("kubernetes{rest}"),
        cloud => format!("{cloud}{rest}"),
    }
}

/// `10h` to `{idle_minutes: 600, down: false}`.
fn autostop(value: &Value) -> Value {
    let minutes = |minutes: i64| serde_json::json!({"idle_minutes": minutes, "down": false});
    match value {
        Value::Bool(false) => value.clone(),
        Value::Bool(true) => minutes(0),
        Value::String(text) => {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
                "h" => 60,
                "d" => 24 * 60,
                "w" => 7 * 24 * 60,
                _ => 1,
            };
            minutes(digits.parse::<i64>().unwrap_or(0).saturating_mul(unit))
        }
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.retain(|_, value| !value.is_null());
            fields.entry("idle_minutes").or_insert(0.into());
            fields.entry("down").or_insert(false.into());
            fields.into()
        }
        other => whole(other).map_or_else(|| other.clone(), minutes),
    }
}

/// `failover` to `{strategy: FAILOVER}`.
fn recovery(field: &str, value: &Value, problems: &mut Vec<Problem>) -> Value {
    let Value::Object(fields) = value else {
        let strategy = value.as_str().map(str::to_ascii_uppercase);
        return serde_json::json!({"strategy": strategy});
    };
    if let Some(Value::Array(codes)) = fields.get("recover_on_exit_codes") {
        let is_twice = |(index, code): (usize, &Value)| codes[..index].contains(code);
        if codes.len() > 256 || codes.iter().enumerate().any(is_twice) {
            let message = format!("names an exit code twice: {}", Got(value));
            problems.push(Problem::new(
                format!("{field}.recover_on_exit_codes"),
                message,
            ));
        }
    }
    let mut fields = fields.clone();
    let strategy = fields
        .get("strategy")
        .and_then(Value::as_str)
        .map(str::to_ascii_uppercase);
    fields.insert("strategy".to_owned(), strategy.into());
    fields.into()
}
