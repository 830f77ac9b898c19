//! `/bench/static`: answers with what it was given, and nothing is done for it. What another path costs beside it is our doing.

use std::sync::Mutex;

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{Bytes, PayloadConfig, ServiceConfig, resource},
};

/// Larger than any list that is compared.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// One for all workers, which each configure their own application.
static KEPT: Mutex<Bytes> = Mutex::new(Bytes::new());

pub fn configure(config: &mut ServiceConfig) {
    config.service(
        resource("/bench/static")
            .app_data(PayloadConfig::new(MAX_BODY))
            .route(actix_web::web::put().to(put))
            .route(actix_web::web::get().to(get)),
    );
}

async fn put(body: Bytes) -> HttpResponse {
    *KEPT.lock().expect("nobody panics with it") = body;
    HttpResponse::NoContent().finish()
}

async fn get() -> HttpResponse {
    let body = KEPT.lock().expect("nobody panics with it").clone();
    HttpResponse::Ok()
        .insert_header(ContentType::json())
        .body(body)
}
