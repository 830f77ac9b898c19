//! A panic in a handler is a fault of the server: the request is answered with 500, and the server goes on.

use std::panic::AssertUnwindSafe;

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};
use futures::FutureExt;

use super::metrics::Metrics;
use crate::{api::Reason, executor};

/// Answers a request, also if its handler panics. The panic itself has written its message to stderr.
pub async fn answer<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let metrics = request.app_data::<Data<Metrics>>().cloned();
    // What the handler held is dropped, and the locks of this program do not care about poison.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => {
            if let Some(metrics) = metrics {
                metrics.panics.inc();
            }
            let message = "a fault of the server: its log has the details";
            Err(executor::Error::new(Reason::InternalError, message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        middleware::from_fn,
        test,
        web::{self},
    };

    use super::*;

    #[actix_rt::test]
    async fn a_panic_is_a_500_and_the_server_goes_on() {
        async fn handler() -> HttpResponse {
            panic!("as expected")
        }
        let app = App::new()
            .wrap(from_fn(answer))
            .route("/", web::get().to(handler));
        let app = test::init_service(app).await;
        for _ in 0..2 {
            let request = test::TestRequest::get().uri("/").to_request();
            let error = test::try_call_service(&app, request).await.err().unwrap();
            let response = error.error_response();
            assert_eq!(response.status(), 500);
        }
    }
}
