//! `HEAD`: the answer to a `GET` without its body (RFC 9110, section 9.3.2).
//!
//! The body is dropped and not read, since the body of a log may have no end.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    Error,
    body::{BodySize, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::Next,
    web::Bytes,
};

/// The size of a body without its bytes.
pub struct OnlySize(BodySize);

impl MessageBody for OnlySize {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

/// Drops the body of the answer to a `HEAD`.
pub async fn drop_body<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, OnlySize>>, Error> {
    let is_head = request.method() == Method::HEAD;
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| match is_head {
        true => EitherBody::right(OnlySize(body.size())),
        false => EitherBody::left(body),
    }))
}
