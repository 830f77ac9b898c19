//! Limits the time in which a client must send the body of a request. A client that stops sending would occupy an open file.

use std::{io, time::Duration};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    middleware::Next,
};
use futures::{StreamExt, stream};
use tokio::time::sleep;

/// The longest time for a body of 1 MiB over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Fails the body of a request that does not end in time.
pub async fn limit_time<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return next.call(request).await;
    }
    let parts = (payload, Box::pin(sleep(BODY_TIMEOUT)));
    let timed = stream::unfold(Some(parts), |parts| async {
        let (mut payload, mut end) = parts?;
        tokio::select! {
            chunk = payload.next() => Some((chunk?, Some((payload, end)))),
            () = &mut end => {
                let error = PayloadError::Io(io::ErrorKind::TimedOut.into());
                Some((Err(error), None))
            }
        }
    });
    request.set_payload(Payload::Stream {
        payload: timed.boxed_local(),
    });
    next.call(request).await
}
