//! `GET /`, `GET /healthz` and `GET /readyz`.

use serde::Serialize;
use utoipa::ToSchema;

/// The answer of a server that is alive.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    pub status: &'static str,
    /// Always `k8s-cli-api`.
    pub service: &'static str,
}

impl Health {
    pub const OK: Self = Self {
        status: "ok",
        service: "k8s-cli-api",
    };
}
