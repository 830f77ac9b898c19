//! The key of a request that may be sent twice: the header `Idempotency-Key`.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::error;
use crate::{
    api::{KEY_HEADER, Problem},
    executor::{Error, RequestKey},
};

/// The key of a request, if it has one.
pub struct Key(pub Option<RequestKey>);

impl FromRequest for Key {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut values = request.headers().get_all(KEY_HEADER);
        let refused = |message: String| error::invalid(&[Problem::new(KEY_HEADER, message)]);
        ready(match (values.next(), values.next()) {
            (None, _) => Ok(Self(None)),
            (Some(value), None) => {
                let text = String::from_utf8_lossy(value.as_bytes());
                let key = text.parse().map_err(refused);
                key.map(|key| Self(Some(key)))
            }
            (Some(_), Some(_)) => Err(refused("is given more than once".to_owned())),
        })
    }
}
