//! `HEAD`: the answer to a `GET` without its body, as RFC 9110, section 9.3.2, has it.
//!
//! The body is dropped rather than read and thrown away, since that of a log may have no end.

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

/// The size of a body, without the body.
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

/// Takes the body out of the answer to a `HEAD`.
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
