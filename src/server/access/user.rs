//! The user of a request, and the users whose objects it is about.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web::Query};

use super::Known;
use crate::{
    api::{Problem, Reason, User, read_bool},
    executor::Error,
    server::error,
};

/// What [`super::check`] has found.
impl FromRequest for Known {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Self>().cloned();
        // A route without a row in the table of rights.
        let missing = || {
            Error::new(
                Reason::InternalError,
                "the route has no rule about its users",
            )
        };
        ready(known.ok_or_else(missing))
    }
}

/// The user that [`super::check`] has found.
impl FromRequest for User {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let known = Known::from_request(request, payload).into_inner();
        ready(known.map(|known| known.user))
    }
}

/// Whether a query asks for all users. The handler reports a value that is no boolean.
pub fn is_about_all_users(query: &str) -> bool {
    let pairs = Query::<Vec<(String, String)>>::from_query(query);
    pairs.is_ok_and(|pairs| read_flag(&pairs, "all_users", false).unwrap_or(true))
}

/// The filter of a list: the objects of the user, or with `all_users` those of all users.
pub struct UserFilter {
    pub all_users: bool,
}

impl UserFilter {
    /// The user whose objects are wanted; `None` for all users.
    pub fn of<'a>(&self, user: &'a User) -> Option<&'a User> {
        (!self.all_users).then_some(user)
    }
}

impl FromRequest for UserFilter {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let pairs = Query::<Vec<(String, String)>>::from_request(request, payload).into_inner();
        ready(pairs.and_then(|Query(pairs)| {
            let all_users = read_flag(&pairs, "all_users", false)
                .map_err(|problem| error::invalid(&[problem]))?;
            Ok(Self { all_users })
        }))
    }
}

/// Reads a boolean of a query. The last value counts.
pub fn read_flag(pairs: &[(String, String)], name: &str, default: bool) -> Result<bool, Problem> {
    let values = pairs.iter().filter(|(key, _)| key == name);
    values
        .map(|(_, value)| value)
        .try_fold(default, |_, value| {
            read_bool(value).map_err(|message| Problem::new(name, message))
        })
}
