//! Limits the body of a request: the time in which a client must send it, and its end where the client asks for an upgrade.
//!
//! A client that stops sending would occupy an open file. For a request that asks for another protocol, such as WebSocket, actix
//! takes all that follows for the body. The server stays with HTTP, so the body has the length that the request gives.

use std::{io, time::Duration};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{ConnectionType, header},
    middleware::Next,
    web::Bytes,
};
use futures::{StreamExt, stream};
use tokio::time::sleep;

/// The longest time for a body of 1 MiB over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The bytes of a longer body that a slow line carries in a second.
const SLOW_LINE: u64 = 64 * 1024;
/// The longest time for any body.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// The time in which a client must send a body of this length.
fn time_for(length: Option<usize>) -> Duration {
    let more = Duration::from_secs(length.unwrap_or(0) as u64 / SLOW_LINE);
    (BODY_TIMEOUT + more).min(MAX_TIMEOUT)
}

/// Fails the body of a request that does not end in time.
pub async fn limit_time<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return next.call(request).await;
    }
    let headers = request.headers();
    let is_upgrade = request.head().upgrade() && !headers.contains_key(header::TRANSFER_ENCODING);
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let left = is_upgrade.then(|| length.unwrap_or(0));
    let parts = (payload, Box::pin(sleep(time_for(length))), left);
    let timed = stream::unfold(Some(parts), |parts| async {
        let (mut payload, mut end, left) = parts?;
        if left == Some(0) {
            return None;
        }
        tokio::select! {
            chunk = payload.next() => {
                let chunk = chunk?.map(|chunk| match left {
                    Some(left) => chunk.slice(..chunk.len().min(left)),
                    None => chunk,
                });
                let read = chunk.as_ref().map_or(0, Bytes::len);
                Some((chunk, Some((payload, end, left.map(|left| left - read)))))
            }
            () = &mut end => {
                let error = PayloadError::Io(io::ErrorKind::TimedOut.into());
                Some((Err(error), None))
            }
        }
    });
    request.set_payload(Payload::Stream {
        // The form asks once more after the end.
        payload: timed.fuse().boxed_local(),
    });
    let mut response = next.call(request).await?;
    if is_upgrade {
        // What follows is not a request.
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
