//! A panic is a fault of the server: it is counted. The request of a handler that panics is answered with 500, and the server goes on.

use std::panic::{self, AssertUnwindSafe};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
};
use futures::FutureExt;
use prometheus::IntCounter;

use crate::{api::Reason, executor};

/// Counts the panics of this process from now on, those of its own tasks too. Each still writes its message to stderr.
pub fn count(panics: IntCounter) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        panics.inc();
        report(panic);
    }));
}

/// Answers a request, also if its handler panics.
pub async fn answer<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    // What the handler held is dropped, and the locks of this program do not care about poison.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => {
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

    #[test]
    fn a_panic_of_any_thread_is_counted() {
        let counter = IntCounter::new("panics", "p").unwrap();
        count(counter.clone());
        let ended = std::thread::spawn(|| panic!("as expected")).join();
        drop(panic::take_hook());
        assert!(ended.is_err() && counter.get() > 0);
    }

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
