//! The baselines of benchmarks: `/bench/static` answers with a stored body, and a server with `K8S_CLI_BENCH_UNCOUNTED` counts no
//! requests.

use std::{env, sync::Mutex};

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{Bytes, PayloadConfig, ServiceConfig, resource},
};

/// The largest body. Larger than any list that is compared.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// The stored body, shared by all workers.
static KEPT: Mutex<Bytes> = Mutex::new(Bytes::new());

/// Whether requests count for the metrics.
pub fn counts() -> bool {
    env::var_os("K8S_CLI_BENCH_UNCOUNTED").is_none()
}

pub fn configure(config: &mut ServiceConfig) {
    config.service(
        resource("/bench/static")
            .app_data(PayloadConfig::new(MAX_BODY))
            .route(actix_web::web::put().to(put))
            .route(actix_web::web::get().to(get)),
    );
}

async fn put(body: Bytes) -> HttpResponse {
    *KEPT.lock().expect("no holder panics") = body;
    HttpResponse::NoContent().finish()
}

async fn get() -> HttpResponse {
    let body = KEPT.lock().expect("no holder panics").clone();
    HttpResponse::Ok()
        .insert_header(ContentType::json())
        .body(body)
}
