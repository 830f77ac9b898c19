//! The contract between client and server: paths, messages, headers and reasons, each defined once.
//!
//! Plain data and pure functions. Both ends import them, so the two cannot differ; `fixtures/wire` freezes the messages byte for
//! byte. Nothing here knows actix or ureq, reads a clock or does I/O.
//!
//! ```text
//! client ──► api ◄── executor
//!             ▲
//!           server
//! ```

pub mod path;

mod definition;
mod error;
mod files;
mod glob;
mod health;
mod id;
mod list;
mod logs;
mod masked;
mod nodes;
mod openapi;
mod parameter;
mod query;
mod recovery;
mod resources;
mod routes;
mod schema;
mod shape;
mod signal;
mod source;
mod sweep;
mod task;
mod time;
mod time_limit;
mod user;
mod volume;
mod wait;

pub use definition::{
    MAX_JOBS, MAX_NUM_NODES, RegistryLogin, TaskDefinition, VolumeMount, check_env_name,
    is_reserved_env, secret_variable,
};
pub use error::{ErrorBody, Problem, Reason, describe, limit_problems};
pub use files::{
    ARCHIVE_HOME, ARCHIVE_ROOT, ARCHIVE_WORKDIR, SKY_WORKDIR, TaskCheckResponse, TaskFiles,
    archive_path, format_size,
};
pub use glob::matches_glob;
pub use health::Health;
pub use id::{GroupId, InvalidId, TaskId, VolumeId};
pub use list::{ListPlace, ListQuery, ListRecord, Sort, read_statuses};
pub use logs::{
    LogCursor, LogEnd, LogLine, LogPlace, LogPoint, LogQuery, LogRecord, NDJSON, PLAIN_TEXT, Since,
    line_prefix, read_bool,
};
pub use masked::{mask, masked};
pub use nodes::{Amounts, ClusterNode, GpuType, NodeListResponse};
pub use openapi::openapi;
pub use parameter::{Kind, Parameter};
pub use query::encode_query;
pub use recovery::Recovery;
pub use resources::{Accelerators, Quantity, Resources, check_image_name, read_cpus, read_memory};
pub use routes::{Answer, Body, JSON, Part, PartContent, REFUSALS, Route, Type, methods, routes};
pub use shape::{Got, nearest};
pub use signal::signal_name;
pub use source::{LeftOut, TaskDefinitionResponse, TaskOrigin, TaskSource, has_secret};
pub use sweep::{
    GroupSubmitResponse, JOB_RANK, MAX_GROUP, NUM_JOBS, Sweep, SweepParameter, TaskGroup,
};
pub use task::{
    NodeStatus, SubmitFlags, TaskDeleteResponse, TaskDryRunResponse, TaskEvent, TaskListResponse,
    TaskMetadata, TaskState, TaskStatus, TaskStopAllResponse, TaskStopResponse, TaskSubmitResponse,
};
pub use time::Timestamp;
pub use time_limit::TimeLimit;
pub use user::{InvalidUser, User, Whoami, short_username, username_label};
pub use volume::{
    AccessMode, VolumeCreateResponse, VolumeDefinition, VolumeDeleteResponse, VolumeListResponse,
    VolumeMetadata, VolumePhase, VolumeStatus,
};

pub use wait::{Awaited, LONGEST_WAIT, TaskWaitResponse, WaitQuery};

pub use crate::k8s::names::{is_dns_label, is_dns_subdomain, is_label_key};

/// The header with the name of the user. It is a statement, not a proof: see the help topic `security`.
pub const USER_HEADER: &str = "X-User";

/// The header with a token of the cluster, for use behind a proxy that needs `Authorization` for itself.
pub const TOKEN_HEADER: &str = "x-k8s-cli-token";

/// The header with the key of a request: the same request of the same key makes nothing twice. In the answer of [`path::ROOT`] it says
/// that the server knows such keys.
pub const KEY_HEADER: &str = "Idempotency-Key";

/// The header with the id of a request, which the server also writes to its log.
pub const REQUEST_ID_HEADER: &str = "X-Request-Id";

#[cfg(test)]
mod tests;
