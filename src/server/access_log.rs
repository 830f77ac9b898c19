//! The access log: one line per request, with the id of its answer.

use std::time::Instant;

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};

use super::{access::Known, metrics::Metrics, routes};
use crate::api::REQUEST_ID_HEADER;

/// Logs a request when its answer begins, since a log stream may last for days.
pub async fn log<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let id = format!("{:016x}", rand::random::<u64>());
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let metrics = request.app_data::<Data<Metrics>>().cloned();
    let answer = next.call(request).await;
    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let user = answer.as_ref().ok().and_then(|response| {
        let extensions = response.request().extensions();
        Some(extensions.get::<Known>()?.user.to_string())
    });
    // Quoting in Rust's form, so that text from outside can neither end the line nor send codes to the terminal.
    if let (Some(metrics), Ok(response)) = (&metrics, &answer) {
        let route = routes::pattern(response.request());
        let seconds = started.elapsed().as_secs_f64();
        metrics.count(&method, route.as_deref(), status.as_u16(), seconds);
    }
    log::info!(
        "request method={method} path={path:?} user={:?} status={} ms={} request_id={id}",
        user.unwrap_or_default(),
        status.as_u16(),
        started.elapsed().as_millis(),
    );
    let mut response = answer?;
    if let (Ok(name), Ok(value)) = (
        HeaderName::try_from(REQUEST_ID_HEADER),
        HeaderValue::try_from(id),
    ) {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
