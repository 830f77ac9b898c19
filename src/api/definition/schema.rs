//! SkyPilot's fields of a task that have no effect: the shape of their values, and the reason.
//!
//! Mirrors `sky/utils/schemas.py` of SkyPilot 0.14.1, the further checks of its `sky/task.py`, and `sky/data/storage.py`.

use super::super::shape::Shape::{self, *};

/// The longest hook, in bytes.
const MAX_HOOK: usize = 16 * 1024;

/// Fields without effect, each with its shape and the reason. Those without a reason are not for the server, or are read elsewhere.
pub const IGNORED: &[(&str, Shape, &str)] = &[
    ("file_mounts", FILE_MOUNTS, ""),
    (
        "managed_secrets",
        List(&Either(&[Text, Map(&Map(&Any))]), usize::MAX),
        "there is no store of secrets; give them with --secret",
    ),
    ("config", CONFIG, ""),
    (
        "api_server_access",
        Bool,
        "a task gets no access to this server",
    ),
    ("inputs", COST, "it only estimates costs"),
    ("outputs", COST, "it only estimates costs"),
    (
        "event_callback",
        Text,
        "nothing is run when a task's state changes",
    ),
    ("file_mounts_mapping", Map(&Any), "it is SkyPilot's own"),
    (
        "volume_mounts",
        List(&Map(&Any), usize::MAX),
        "it is SkyPilot's own",
    ),
    ("_metadata", Any, "it is SkyPilot's own"),
];

/// Fields of files that are not a single batch task, each with the message for it.
pub const OTHER_KINDS: &[(&str, &str)] = &[
    ("service", "is not a batch task's: SkyServe is not here"),
    ("pool", "is not a batch task's: there are no pools here"),
    (
        "execution",
        "is not a batch task's: it begins a pipeline or a job group",
    ),
];

/// The shape of a git source.
pub const GIT: Shape = Fields(&[("url", Text), ("ref", Text)]);

const COST: Shape = Single(&From(f64::NEG_INFINITY));

const FILE_MOUNTS: Shape = Map(&Either(&[Text, STORAGE]));

/// The kinds of SkyPilot's storage (`sky/data/storage.py`, `StoreType`).
const STORES: &[&str] = &[
    "s3",
    "gcs",
    "azure",
    "r2",
    "ibm",
    "oci",
    "nebius",
    "coreweave",
    "vastdata",
    "tigris",
    "volume",
];

const STORAGE: Shape = Fields(&[
    ("name", Text),
    ("source", Either(&[Text, List(&Text, usize::MAX)])),
    ("store", Word(STORES)),
    ("persistent", Bool),
    ("mode", Word(&["MOUNT", "COPY", "MOUNT_CACHED"])),
    (
        "type",
        Word(&[
            "MODEL_CHECKPOINT_RO",
            "MODEL_CHECKPOINT_RW",
            "DATASET_RO",
            "DATASET_RW",
        ]),
    ),
    ("config", Map(&Any)),
    ("_is_sky_managed", Bool),
    ("_bucket_sub_path", Text),
    ("_force_delete", Bool),
]);

/// The limits of lists in a pod. A Job repeats them for each node, and each item is merged and checked.
const POD_CONFIG: Shape = Given(&Open(&[(
    "spec",
    Open(&[
        ("containers", List(&Any, 16)),
        ("initContainers", List(&Any, 16)),
        ("volumes", List(&Any, 64)),
        ("tolerations", List(&Any, 64)),
        ("imagePullSecrets", List(&Any, 16)),
        ("hostAliases", List(&Any, 64)),
        ("topologySpreadConstraints", List(&Any, 16)),
        ("readinessGates", List(&Any, 16)),
    ]),
)]));

const KUBERNETES: Shape = Given(&Open(&[
    ("pod_config", POD_CONFIG),
    ("custom_metadata", Map(&Any)),
    ("provision_timeout", Integer(i64::MIN, i64::MAX)),
    ("dws", Map(&Any)),
    ("kueue", Map(&Any)),
    ("remote_identity", Text),
    ("set_pod_resource_limits", Either(&[Bool, From(1.0)])),
]));

const CONFIG: Shape = Open(&[
    ("kubernetes", KUBERNETES),
    ("nvidia_gpus", Open(&[("disable_ecc", Bool)])),
    (
        "docker",
        Open(&[("run_options", Either(&[Text, List(&Text, usize::MAX)]))]),
    ),
    ("active_workspace", Text),
    ("hooks", List(&HOOK, 32)),
]);

const HOOK: Shape = Fields(&[
    (
        "run",
        TextLike(|run| run.len() <= MAX_HOOK, "a script of at most 16 KiB"),
    ),
    (
        "events",
        List(&Word(&["stop", "preemption", "down"]), usize::MAX),
    ),
    ("timeout", Integer(0, i64::MAX)),
]);
