//! The user of a request, and the users whose objects it is about.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Query};

use super::error;
use crate::{
    api::{Problem, Reason, USER_HEADER, User, read_bool},
    executor::Error,
};

impl FromRequest for User {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(user(request))
    }
}

/// The user of a request, from exactly one header: of two headers, a proxy may have checked the other one.
///
/// Requests of browser pages are refused. A page can send any user name, and with DNS rebinding it can reach servers in the network
/// of its reader. Browsers send `Origin` with each request that may change something.
fn user(request: &HttpRequest) -> Result<User, Error> {
    let unauthorized = |message: String| Error::new(Reason::Unauthorized, message);
    if request.headers().contains_key(header::ORIGIN) {
        let message = "requests of pages in browsers, which have the header Origin, are refused";
        return Err(Error::new(Reason::Forbidden, message));
    }
    let mut values = request.headers().get_all(USER_HEADER);
    let (value, further) = (values.next(), values.next());
    let Some(value) = value else {
        return Err(unauthorized(format!(
            "the header {USER_HEADER} is missing: log in with `k8s-cli auth login <user>`"
        )));
    };
    if further.is_some() {
        return Err(unauthorized(format!(
            "the header {USER_HEADER} is given more than once"
        )));
    }
    let name = std::str::from_utf8(value.as_bytes());
    let name = name.map_err(|_| unauthorized(format!("the header {USER_HEADER} is not UTF-8")))?;
    name.parse()
        .map_err(|invalid| unauthorized(format!("the header {USER_HEADER}: {invalid}")))
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
